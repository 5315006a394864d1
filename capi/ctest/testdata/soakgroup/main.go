// Soakgroup is the twin in Go of programs/soak_group.c: a master whose workers are killed, replaced and changed in number again and
// again, and that talks with all of them, needs as much of everything in the end as in the beginning: descriptors, threads, mappings,
// goroutines, memory. So does a worker that lives as long as it does. It takes 6 s, or SOAK_S.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"melon/core"
	"melon/core/fork"
)

const (
	workers  = 3
	largest  = 200000
	every    = 50 // messages, of which the last is so large
	address  = "127.0.0.1:0"
	file     = "log"
	fed      = 3 // messages for each worker at each tick
	calledAt = 5 // ticks, of which each has one call for every worker
)

const (
	tick        = 4 * time.Millisecond
	killPause   = 150 * time.Millisecond
	rollPause   = 100 * time.Millisecond
	samplePause = 500 * time.Millisecond
	drainLimit  = 20 * time.Second
)

const echo uint32 = 1

// A worker asks back before it answers twice, and tells what it holds.
var (
	twice = core.Call[uint32, uint32]{Type: 2}
	once  = core.Call[uint32, uint32]{Type: 3}
	held  = core.Call[uint32, holding]{Type: 4}
)

func wrong(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "wrong: "+format+"\n", args...)
	os.Exit(1)
}

func must[T any](v T, err error) T {
	if err != nil {
		wrong("%v", err)
	}
	return v
}

// seed is what the random choices of this run begin with; SEED=number in the environment repeats it, as far as they go.
func seed() uint64 {
	seed := rand.Uint64()
	if text := os.Getenv("SEED"); text != "" {
		seed = must(strconv.ParseUint(text, 0, 64))
	}
	fmt.Printf("SEED=%d\n", seed)
	return seed
}

func message(n uint32) []byte {
	size := 4 + int(n)%900
	if n%every == every-1 {
		size = largest
	}
	return binary.NativeEndian.AppendUint32(make([]byte, 0, size), n)[:size]
}

func check(payload []byte, n uint32) {
	if !bytes.Equal(payload, message(n)) {
		wrong("message %d has %d bytes, and begins with %v", n, len(payload), payload[:min(4, len(payload))])
	}
}

func payload(index int) []byte { return bytes.Repeat([]byte{byte(index)}, 10000) }

func main() {
	g := core.Group{Workers: workers, Payload: payload, Backoff: fork.Backoff{Least: time.Millisecond, Most: 200 * time.Millisecond}}
	isProgram := slices.Contains(os.Args, "program")
	if !isProgram { // which inherits nothing
		must(g.Listen("tcp", address))
		must(g.File(file, func() (*os.File, error) { return os.Open(os.DevNull) }))
	}
	if core.IsWorker() {
		work(&g, isProgram)
	} else {
		lead(&g)
	}
}

func work(g *core.Group, isProgram bool) {
	g.Attached = func(m *core.Master) error {
		if !isProgram && !bytes.Equal(m.Payload(), payload(m.Index())) {
			wrong("the payload has %d bytes", len(m.Payload()))
		}
		return nil
	}
	expected := uint32(0)
	g.Handle(echo, core.Handlers{Worker: func(m *core.Master, payload []byte) {
		check(payload, expected)
		expected++
		if err := m.Send(echo, payload); err != nil && !errors.Is(err, core.ErrClosed) {
			wrong("a worker cannot send: %v", err)
		}
	}})
	once.HandleWorker(g, nil) // the answers are for this process
	twice.HandleWorker(g, func(ctx context.Context, m *core.Master, n uint32) (uint32, error) {
		same, err := once.Do(ctx, m, n)
		return 2 * same, err
	})
	held.HandleWorker(g, func(context.Context, *core.Master, uint32) (holding, error) { return measure(), nil })
	if err := g.Run(context.Background()); err != nil {
		os.Exit(127)
	}
}

// ---- in the master ----

type life struct{ sent, echoed, calls uint32 }

// A master drives the group from a goroutine of its own.
type master struct {
	group  *core.Group
	random *rand.Rand
	limit  time.Duration

	mu    sync.Mutex
	lives map[*core.Worker]*life // of processes that live

	kills, starts, rolls, echoes, answers int
	samples, lasting                      []holding // of this process, and of the worker that lasts
}

func lead(g *core.Group) {
	m := &master{group: g, random: rand.New(rand.NewPCG(seed(), 0)), limit: 6 * time.Second, lives: make(map[*core.Worker]*life)}
	if text := os.Getenv("SOAK_S"); text != "" {
		m.limit = time.Duration(must(strconv.Atoi(text))) * time.Second
	}
	self := must(os.Executable())
	g.Programs = []core.Program{
		{Path: self, Args: []string{"program"}, Reports: true},
		{Path: self, Args: []string{"program"}, Reports: true, Once: true}, // which is not replaced
	}
	g.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	g.Observe = m.observe
	g.Handle(echo, core.Handlers{Master: m.echoed})
	once.HandleMaster(g, func(_ context.Context, _ *core.Worker, n uint32) (uint32, error) { return n, nil })
	twice.HandleMaster(g, nil)
	held.HandleMaster(g, nil)
	ctx, stop := context.WithCancel(context.Background())
	driven := make(chan struct{})
	go func() {
		defer close(driven)
		defer stop()
		m.drive(ctx)
	}()
	if err := g.Run(ctx); err != nil {
		wrong("Run has returned: %v", err)
	}
	<-driven
	m.judge()
}

func (m *master) observe(e core.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e.Kind {
	case core.Started:
		m.starts++
		m.lives[e.Worker] = new(life)
	case core.Exited:
		if l := m.lives[e.Worker]; e.Asked && e.Status == (fork.Status{Known: true}) && l.echoed != l.sent {
			wrong("%v has answered %d of %d messages", e.Worker, l.echoed, l.sent)
		}
		delete(m.lives, e.Worker)
	}
}

func (m *master) echoed(from *core.Worker, payload []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.lives[from]
	check(payload, l.echoed)
	if l.echoed++; l.echoed > l.sent {
		wrong("a message was answered that was not sent")
	}
	m.echoes++
}

// send sends the next message to a worker, and returns how many that has been sent.
func (m *master) send(w *core.Worker) (sent uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.lives[w]
	if l == nil { // it has ended, or is just being told of
		return 0
	}
	if err := w.Send(echo, message(l.sent)); err == nil {
		l.sent++
	} else if !errors.Is(err, core.ErrClosed) && !errors.Is(err, core.ErrQueueFull) {
		wrong("a message is not accepted: %v", err)
	}
	return l.sent
}

// feed sends the next messages to a worker, and calls it now and then.
func (m *master) feed(ctx context.Context, w *core.Worker, call bool) {
	for range fed {
		m.send(w)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.lives[w]
	if l == nil || !call {
		return
	}
	l.calls++
	number := l.sent
	go func() {
		n, err := twice.Do(ctx, w, number)
		m.mu.Lock()
		defer m.mu.Unlock()
		if l.calls--; err != nil {
			return
		}
		if m.answers++; n != 2*number {
			wrong("twice %d is %d", number, n)
		}
	}()
}

// quiet reports whether all workers are there, nobody else is, and all that was said was answered.
func (m *master) quiet() bool {
	const size = workers + 2 // and the programs
	running := m.group.Running()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(running) != size || len(m.lives) != size {
		return false
	}
	for _, l := range m.lives {
		if l.echoed != l.sent || l.calls != 0 {
			return false
		}
	}
	return true
}

// calm waits until it is quiet.
func (m *master) calm() {
	for give := time.Now().Add(drainLimit); !m.quiet(); time.Sleep(tick) {
		if time.Now().After(give) {
			wrong("not all is answered")
		}
	}
}

// roll replaces all workers, of which there is one more meanwhile.
func (m *master) roll(ctx context.Context) error {
	return errors.Join(m.group.Resize(workers+1), m.group.Restart(ctx), m.group.Resize(workers))
}

// lasts reports whether a worker is the one that is neither killed nor replaced.
func lasts(w *core.Worker) bool { return w.Program() != nil && w.Program().Once }

// drive kills, replaces and talks until the time is over.
func (m *master) drive(ctx context.Context) {
	begin := time.Now()
	nextKill, nextRoll, nextSample := begin.Add(killPause), begin, begin
	var rolling chan error // nil: nothing is being replaced
	enough := func() bool { return len(m.samples) >= 8 && m.kills >= 5 && m.rolls >= 3 }
	for number := 0; time.Since(begin) < m.limit || !enough(); number++ {
		time.Sleep(tick)
		now := time.Now()
		select {
		case err := <-rolling:
			if err == nil {
				m.rolls++
			} else if !errors.Is(err, core.ErrNotReplaced) {
				wrong("the workers are not replaced: %v", err)
			}
			rolling, nextRoll = nil, now.Add(rollPause)
		default:
		}
		if rolling == nil && now.After(nextSample) {
			m.calm()
			if err := m.group.Restart(ctx); err != nil {
				wrong("the workers are not replaced: %v", err)
			}
			m.calm()
			m.sample(ctx)
			nextSample = time.Now().Add(samplePause)
			continue
		}
		running := m.group.Running()
		for _, w := range running {
			m.feed(ctx, w, number%calledAt == 0)
		}
		running = slices.DeleteFunc(slices.Clone(running), lasts)
		if now.After(nextKill) && len(running) > 0 {
			nextKill = now.Add(killPause)
			m.kills++
			_ = syscall.Kill(running[m.random.IntN(len(running))].PID(), syscall.SIGKILL)
		}
		if rolling == nil && now.After(nextRoll) && now.Before(nextSample) {
			result := make(chan error, 1)
			rolling = result
			go func() { result <- m.roll(ctx) }()
		}
	}
}

// ---- what a process holds ----

// A holding is how much a process holds of each resource.
type holding [len(resources)]int

var resources = [...]struct {
	name string
	more int // than in the second quarter of the samples there may be in the last
}{
	{"descriptors", 0},
	{"threads", 2},   // Go's runtime starts a thread or two more when it first needs them
	{"mappings", 16}, // its allocator moves
	{"goroutines", 0},
	{"bytes of the heap", 48 << 10}, // 1 KiB lost at each restart is seen in 6 s
	{"KiB resident", 1024},
}

func entries(folder string) int { return len(must(os.ReadDir(folder))) }

func measure() holding {
	runtime.GC()         // twice: a sync.Pool keeps what it has over the first
	debug.FreeOSMemory() // which collects, too
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	status := must(os.ReadFile("/proc/self/status"))
	_, line, _ := bytes.Cut(status, []byte("VmRSS:"))
	resident := 0
	must(fmt.Sscan(string(line), &resident))
	return holding{entries("/proc/self/fd"), entries("/proc/self/task"),
		bytes.Count(must(os.ReadFile("/proc/self/maps")), []byte("\n")), runtime.NumGoroutine(), int(memory.HeapAlloc), resident}
}

// sample looks at what is held when all workers but one are new, and that one was just sent a large message: who was has kept buffers
// for the next.
func (m *master) sample(ctx context.Context) {
	running := m.group.Running()
	last := running[slices.IndexFunc(running, lasts)]
	for sent := uint32(1); sent%every != 0; {
		sent = m.send(last)
	}
	m.calm()
	m.lasting = append(m.lasting, must(held.Do(ctx, last, 0)))
	m.samples = append(m.samples, measure())
}

// medians are those of some samples.
func medians(samples []holding) (h holding) {
	for i := range h {
		var all []int
		for _, sample := range samples {
			all = append(all, sample[i])
		}
		slices.Sort(all)
		h[i] = all[len(all)/2]
	}
	return h
}

func (m *master) judge() {
	fmt.Printf("%v: %d killed, %d times all replaced, %d processes, %d messages and %d calls answered\n", m.limit, m.kills, m.rolls,
		m.starts, m.echoes, m.answers)
	if m.echoes == 0 || m.answers == 0 {
		wrong("nobody has answered")
	}
	if len(m.lasting) != len(m.samples) {
		wrong("one worker does not last: it has told what it holds %d times of %d", len(m.lasting), len(m.samples))
	}
	judge("the master", m.samples)
	judge("the worker that lasts", m.lasting)
}

// judge compares what a process holds in the last quarter of the time with the second.
func judge(who string, samples []holding) {
	quarter := len(samples) / 4
	before, after := medians(samples[quarter:2*quarter]), medians(samples[3*quarter:])
	for i, r := range resources {
		fmt.Printf("%s: %s: %d in the second quarter, %d in the last\n", who, r.name, before[i], after[i])
		if after[i] > before[i]+r.more {
			wrong("%s has more %s than before: %d and then %d", who, r.name, before[i], after[i])
		}
	}
}
