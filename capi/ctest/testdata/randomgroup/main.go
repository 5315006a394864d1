// Randomgroup is the twin in Go of programs/api_random.c: a master, its workers and a program that echoes do whatever package core
// allows, in random order, from callbacks and from other goroutines, while a model watches: no message that was accepted is lost, doubled
// or out of order between two that live; what is refused is refused with the errors that the documentation tells; each life has one
// successor, and ends as it must; both ends have counted the same; and in the end no process and no descriptor is left.
//
// The arguments are a seed, how many steps the master makes (a worker makes a quarter), and a mask of the kinds of steps to leave out;
// all have defaults, and the seed is printed. Processes and goroutines are not in step with each other, so a seed repeats what they try,
// not when. A fourth argument names a fault to plant, so that finding it can be tested. Under the race detector a process ends at its first
// race, and one that has none need not wait at its end for others to report theirs.
//
// deadline: 60s
// env: GORACE=halt_on_error=1 atexit_sleep_ms=0
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"melon/core"
	"melon/core/fork"
)

const (
	rounds      = 2 // of Run of one group
	mostWorkers = 4
	goroutines  = 2 // that make steps, in each process
	streams     = 1 + goroutines
	patience    = 20 * time.Second
)

// Types of messages; unwanted has no handler.
const (
	numbered uint32 = iota + 1
	broadcast
	unwanted
	typed
	called
)

// What the arguments say, in all processes.
var (
	seed    uint64 = rand.Uint64()
	steps          = 300
	leftOut uint64
	planted string
	program = slices.Contains(os.Args, "program")
)

// unguarded is what all goroutines of a process write to where a race is planted.
var unguarded int

// wrong is for what must not be.
func wrong(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "wrong, in %d: %s\n", os.Getpid(), fmt.Sprintf(format, args...))
	os.Exit(99)
}

func must[T any](v T, err error) T {
	if err != nil {
		wrong("%v", err)
	}
	return v
}

func readArguments() {
	for i, text := range os.Args[1:] {
		switch i {
		case 0:
			seed = must(strconv.ParseUint(text, 0, 64))
		case 1:
			steps = must(strconv.Atoi(text))
		case 2:
			leftOut = must(strconv.ParseUint(text, 0, 64))
		case 3:
			planted = text
		}
	}
	if leftOut>>len(kinds) != 0 {
		wrong("there are %d kinds of steps", len(kinds))
	}
}

// options are alike in all processes.
func options(g *core.Group) {
	random := rand.New(rand.NewPCG(seed, 0))
	g.Workers = 1 + random.IntN(mostWorkers-1)
	g.MaxPayload = largest
	if random.IntN(2) == 0 {
		g.QueueLimit = 1 + random.IntN(200000)
	}
	if random.IntN(2) == 0 {
		g.MaxCalls = 1 + random.IntN(3)
	}
	if random.IntN(2) == 0 {
		g.Heartbeat = 30 * time.Second
	}
	g.HoldReady = random.IntN(2) == 0
	g.StartTimeout = 30 * time.Second
	g.Backoff = fork.Backoff{Least: time.Millisecond, Most: 20 * time.Millisecond}
	g.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
}

func main() {
	readArguments()
	g := new(core.Group)
	options(g)
	switch {
	case program && core.IsWorker():
		echo(g)
	case core.IsWorker():
		work(g)
	default:
		lead(g)
	}
}

// echo is the program: it knows nothing of the model.
func echo(g *core.Group) {
	g.HoldReady, g.QueueLimit = false, 1<<30
	g.Handle(numbered, core.Handlers{Worker: func(m *core.Master, payload []byte) { _ = m.Send(numbered, payload) }})
	note.HandleWorker(g, func(m *core.Master, n noted) { _ = note.Send(m, n) })
	sum.HandleWorker(g, func(ctx context.Context, _ *core.Master, r terms) (int, error) { return r.add(ctx) })
	if g.Run(context.Background()) != nil {
		os.Exit(127)
	}
}

// ---- in a worker ----

func work(g *core.Group) {
	p := &process{group: g, kept: kept(), shared: attach(must(g.File("state", nil)))}
	listener := must(g.Listen("tcp", "127.0.0.1:0"))
	go p.accept(listener)
	ctx, leave := context.WithCancel(context.Background())
	p.leave = leave
	p.budget.Store(int64(steps / 4))
	var last [streams]uint32
	g.Attached = func(m *core.Master) error {
		p.born(m)
		for i := range goroutines {
			go p.act(p.actor(1 + i))
		}
		if g.HoldReady {
			go func() {
				time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
				m.Ready()
			}()
		}
		return nil
	}
	g.Handle(numbered, core.Handlers{Worker: func(m *core.Master, payload []byte) { p.receive(parse(payload), &p.mine.down) }})
	note.HandleWorker(g, func(m *core.Master, n noted) { p.receive(n.message(), &p.mine.down) })
	g.Handle(broadcast, core.Handlers{Worker: func(_ *core.Master, payload []byte) {
		if m := parse(payload); m.number <= last[m.stream] {
			wrong("broadcast %d has come after %d", m.number, last[m.stream])
		} else {
			last[m.stream] = m.number
		}
		p.maybeAct()
	}})
	sum.HandleWorker(g, func(ctx context.Context, _ *core.Master, r terms) (int, error) { return r.add(ctx) })
	sum.HandleMaster(g, nil)
	err := g.Run(ctx)
	p.lock.Lock() // for good: nothing is sent any more
	if err == core.ErrMasterGone {
		os.Exit(127)
	} else if err != nil {
		wrong("Run of a worker has returned %v", err)
	}
	p.mine.write(g.Stats().Stats)
}

// ---- in the master ----

func lead(g *core.Group) {
	fmt.Printf("seed %d, %d steps, without %#x\n", seed, steps, leftOut)
	// The arguments of all processes, also where there were none.
	arguments := []string{strconv.FormatUint(seed, 10), strconv.Itoa(steps), strconv.FormatUint(leftOut, 10), planted}
	self := must(os.Executable())
	g.Args = arguments
	g.Programs = []core.Program{{Path: self, Args: append(slices.Clone(arguments), "program"), Reports: true}}
	state := memory()
	p := &process{group: g, kept: kept(), shared: attach(state), model: &model{}}
	g.Payload = p.payload
	g.Observe = p.observe
	g.Handle(numbered, core.Handlers{Master: func(w *core.Worker, payload []byte) { p.received(w, parse(payload)) }})
	note.HandleMaster(g, func(w *core.Worker, n noted) { p.received(w, n.message()) })
	sum.HandleMaster(g, func(ctx context.Context, _ *core.Worker, r terms) (int, error) { return r.add(ctx) })
	sum.HandleWorker(g, nil)
	before := descriptors()
	for range rounds {
		p.round(state)
	}
	if after := descriptors(); !slices.Equal(before, after) {
		wrong("there were the descriptors %v, and are %v", before, after)
	}
	runtime.KeepAlive(state) // it would be closed
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		wrong("there are children left: %v", err)
	}
}

// round is one Run of the group.
func (p *process) round(state *os.File) {
	g := p.group
	must(g.File("state", func() (*os.File, error) { return state, nil }))
	listener := must(g.Listen("tcp", "127.0.0.1:0"))
	defer listener.Close()
	p.model.begin(g, listener.Addr().String())
	p.shared.replaced.Store(0)
	p.shared.deaths.Store(0)
	p.budget.Store(int64(steps / rounds))
	ctx, stop := context.WithCancel(context.Background())
	driven := make(chan struct{})
	go func() {
		defer close(driven)
		defer stop()
		p.drive()
	}()
	if err := g.Run(ctx); err != nil {
		wrong("Run has returned %v", err)
	}
	<-driven
	p.judge()
}

// drive has the steps made, and waits until the group is complete again.
func (p *process) drive() {
	p.awaitAll()
	var acting sync.WaitGroup
	for i := range goroutines {
		acting.Go(func() { p.act(p.actor(1 + i)) })
	}
	acting.Wait()
	p.awaitAll()
	p.replacing()
	p.stopping.Store(true)
}

func (p *process) awaitAll() {
	for give := time.Now().Add(patience); !p.complete(); time.Sleep(time.Millisecond) {
		if time.Now().After(give) {
			wrong("there should be %d workers and a program, and there are %v", p.model.size, p.group.Running())
		}
	}
}

// descriptors are all but the runtime's own, which come when they are first needed.
func descriptors() (list []string) {
	for _, entry := range must(os.ReadDir("/proc/self/fd")) {
		target, err := os.Readlink("/proc/self/fd/" + entry.Name())
		if err == nil && !strings.Contains(target, "anon_inode:[event") { // ReadDir's own is gone by now
			list = append(list, entry.Name()+" "+target)
		}
	}
	return list
}

// A process is what master and workers have alike.
type process struct {
	group  *core.Group
	shared *state
	kept   []int
	budget atomic.Int64 // of steps
	loop   *actor       // on the goroutine of Run

	// In a worker.
	master *core.Master
	mine   *life
	lock   sync.RWMutex // over sending and counting it
	leave  func()

	*model // in the master
}
