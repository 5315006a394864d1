package core_test

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"weak"

	"melon/core"
	"melon/core/fork"
)

func init() {
	programs["fickle"] = func() error { // cannot begin while there is a file
		g := kit(new(core.Group))
		g.Attached = func(*core.Master) error {
			if _, err := os.Stat(os.Getenv("CORE_TEST_FILE")); err == nil {
				return errors.New("as asked")
			}
			return nil
		}
		return g.Run(context.Background())
	}
}

// Traffic sends messages to the workers of a group, which are to send them back, until it is stopped. Each that was taken is
// to come back once, and what was sent by one goroutine to one worker in order.
type traffic struct {
	taken, back atomic.Int64
	stop        func()
}

func startTraffic(t *testing.T, g *core.Group) *traffic {
	traffic := new(traffic)
	next := make(map[*core.Worker]uint64)
	g.Handle(echo, core.Handlers{Master: func(from *core.Worker, payload []byte) {
		n := binary.NativeEndian.Uint64(payload)
		if n < next[from] {
			t.Errorf("message %d came back from %v after %d", n, from, next[from]-1)
		}
		next[from] = n + 1
		traffic.back.Add(1)
	}})
	end := make(chan struct{})
	var senders sync.WaitGroup
	senders.Go(func() {
		payload := make([]byte, 100)
		for n := uint64(0); ; n++ {
			select {
			case <-end:
				return
			default:
			}
			binary.NativeEndian.PutUint64(payload, n)
			for _, w := range g.Running() {
				switch err := w.SendContext(context.Background(), echo, payload); {
				case err == nil:
					traffic.taken.Add(1)
				case !errors.Is(err, core.ErrClosed):
					t.Error(err)
				}
			}
			time.Sleep(50 * time.Microsecond)
		}
	})
	traffic.stop = sync.OnceFunc(func() {
		close(end)
		senders.Wait()
	})
	t.Cleanup(traffic.stop)
	return traffic
}

// settle checks, after the end of the group, that nothing was lost.
func (traffic *traffic) settle(t *testing.T) {
	t.Helper()
	if taken, back := traffic.taken.Load(), traffic.back.Load(); taken == 0 || taken != back {
		t.Errorf("%d messages were taken, and %d came back", taken, back)
	}
}

func TestRestartLosesNoMessageAndRefusesNoConnection(t *testing.T) {
	g := core.Group{Workers: 2}
	has := heirs(t, &g)
	traffic := startTraffic(t, &g)
	workers, events, stop := begin(t, &g)
	end := make(chan struct{})
	var clients sync.WaitGroup
	var served atomic.Int64
	for _, address := range [][2]string{{"tcp", has.tcp.Addr().String()}, {"unix", has.unix.Addr().String()}} {
		clients.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				if _, err := ask(address[0], address[1]); err != nil {
					t.Errorf("%v was not served: %v", address, err)
				}
				served.Add(1)
			}
		})
	}
	for range 3 {
		before := g.Running()
		if err := g.Restart(short(t)); err != nil {
			t.Error(err)
		}
		for _, w := range g.Running() {
			for _, old := range before {
				if w == old {
					t.Errorf("%v was not replaced", w)
				}
			}
		}
	}
	close(end)
	clients.Wait()
	traffic.stop()
	if err := stop(); err != nil {
		t.Error(err)
	}
	traffic.settle(t)
	if served.Load() < 10 {
		t.Errorf("%d connections were served", served.Load())
	}
	exits := 0
	alive := len(workers)
	for len(events) > 0 {
		switch e := <-events; e.Kind {
		case core.Exited:
			exits++
			alive--
			if !e.Asked || e.Status != (fork.Status{Known: true}) {
				t.Errorf("%v %v, asked %t", e.Worker, e.Status, e.Asked)
			}
		case core.Ready:
			alive++
		case core.Draining:
			if alive < 3 && exits < 6 {
				t.Errorf("%v was asked to end while %d were ready", e.Worker, alive)
			}
		case core.Restarting, core.Signalled, core.RollFailed:
			t.Errorf("there was the event %v", e.Kind)
		}
	}
	if exits != 8 {
		t.Errorf("%d workers ended, want 8", exits)
	}
	if n := g.Stats(); n.Starts != 8 || n.Restarts != 0 {
		t.Errorf("%d starts and %d restarts were counted", n.Starts, n.Restarts)
	}
}

func TestARestartThatFailsKeepsTheOldWorkers(t *testing.T) {
	role(t, "fickle")
	standardError(t)
	file := filepath.Join(t.TempDir(), "present")
	t.Setenv("CORE_TEST_FILE", file)
	g := kit(&core.Group{Workers: 2})
	workers, events, _ := begin(t, g)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := g.Restart(short(t))
	if !errors.Is(err, core.ErrNotReplaced) || !strings.Contains(err.Error(), "exited with status 1 before it was ready") {
		t.Errorf("Restart returned %v", err)
	}
	if e := await(t, events, core.RollFailed); e.Worker == nil || e.Status.Code != 1 {
		t.Errorf("the event is %+v", e)
	}
	for i, w := range g.Running() {
		if w != workers[i] {
			t.Errorf("%v runs in place of %v", w, workers[i])
		}
		if _, err := sum.Do(short(t), w, nil); err != nil {
			t.Errorf("%v: %v", w, err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := g.Restart(short(t)); err != nil {
		t.Errorf("a Restart that can succeed: %v", err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.Restart(ended); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Restart with a context that has ended: %v", err)
	}
}

// A worker that fails again and again, and so waits to be started, is not passed over: what it fails of may have been mended.
func TestRestartStartsAWorkerThatWaits(t *testing.T) {
	role(t, "fickle")
	standardError(t)
	file := filepath.Join(t.TempDir(), "present")
	t.Setenv("CORE_TEST_FILE", file)
	g := kit(&core.Group{Workers: 2, Backoff: fork.Backoff{Least: 2 * deadline, Most: 2 * deadline, Stable: 2 * deadline}})
	workers, events, stop := begin(t, g)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	signalTo(t, workers[0], syscall.SIGKILL)
	for await(t, events, core.Restarting).Wait == 0 {
	}
	if err := g.Restart(short(t)); !errors.Is(err, core.ErrNotReplaced) {
		t.Errorf("Restart, when the worker fails once more, returned %v", err)
	}
	if e := await(t, events, core.RollFailed); e.Index != 0 || e.Worker == workers[0] || e.Status.Code != 1 {
		t.Errorf("the event is %+v", e)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := g.Restart(short(t)); err != nil {
		t.Error(err)
	}
	running := g.Running()
	if len(running) != 2 || slices.Contains(running, workers[1]) {
		t.Errorf("after Restart the workers %v are running", running)
	}
	for _, w := range running {
		if _, err := sum.Do(short(t), w, nil); err != nil {
			t.Errorf("%v: %v", w, err)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestRestartEndsWithTheGroup(t *testing.T) {
	role(t, "lazy")
	g := core.Group{Workers: 1, HoldReady: true}
	if err := g.Restart(short(t)); !errors.Is(err, core.ErrClosed) {
		t.Errorf("Restart before Run: %v", err)
	}
	events := watch(&g)
	stop := run(t, &g)
	w := await(t, events, core.Started).Worker
	if err := w.Send(last, nil); err != nil {
		t.Fatal(err)
	}
	await(t, events, core.Ready)
	result := make(chan error, 1)
	go func() { result <- g.Restart(short(t)) }()
	await(t, events, core.Started) // and it never becomes ready
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := receive(t, result, "Restart"); !errors.Is(err, core.ErrClosed) {
		t.Errorf("Restart while the group stops: %v", err)
	}
}

func TestResizeLosesNoMessage(t *testing.T) {
	role(t, "kit")
	g := core.Group{Workers: 2}
	if err := g.Resize(1); !errors.Is(err, core.ErrClosed) {
		t.Errorf("Resize before Run: %v", err)
	}
	traffic := startTraffic(t, &g)
	_, events, stop := begin(t, &g)
	if err := g.Resize(-1); !errors.Is(err, core.ErrNegative) {
		t.Errorf("Resize to -1: %v", err)
	}
	running := 2
	for _, n := range []int{4, 1, 3, 0, 2} {
		if err := g.Resize(n); err != nil {
			t.Fatal(err)
		}
		for ; running < n; running++ {
			await(t, events, core.Ready)
		}
		for ; running > n; running-- {
			if e := await(t, events, core.Exited); !e.Asked || e.Status != (fork.Status{Known: true}) || e.Index < n {
				t.Errorf("to resize to %d, %v %v, asked %t", n, e.Worker, e.Status, e.Asked)
			}
		}
		var indexes []int
		for _, w := range g.Running() {
			indexes = append(indexes, w.Index())
		}
		for i := range indexes {
			if indexes[i] != i || len(indexes) != n {
				t.Errorf("after Resize(%d) the workers %v are running", n, indexes)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	traffic.stop()
	if err := stop(); err != nil {
		t.Error(err)
	}
	traffic.settle(t)
}

func TestABudgetThatIsSpentEndsTheGroupAndSaysWhy(t *testing.T) {
	role(t, "dies")
	g := core.Group{Workers: 1, Budget: fork.Budget{Failures: 2, Within: time.Minute}, Backoff: fork.Backoff{Least: time.Millisecond},
		Logger: slog.New(slog.DiscardHandler)}
	var kinds []core.EventKind
	g.Observe = func(e core.Event) { kinds = append(kinds, e.Kind) }
	err := g.Run(short(t))
	want := "core: workers failed more than 2 times in 1m0s; the last one, worker 0, exited with status 3"
	var spent *core.BudgetError
	if !errors.As(err, &spent) || err.Error() != want || spent.Status != (fork.Status{Known: true, Code: 3}) || spent.Program != nil {
		t.Errorf("Run returned %v, want %s", err, want)
	}
	if kinds[len(kinds)-1] != core.BudgetSpent {
		t.Errorf("the events were %v", kinds)
	}
	if left := children(t, os.Getpid()); len(left) != 0 {
		t.Errorf("Run left the processes %v", left)
	}
}

func TestABudgetThatIsSpentByStartsThatFailSaysWhy(t *testing.T) {
	role(t, "dies")
	program := filepath.Join(t.TempDir(), "program")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	g := core.Group{Programs: []core.Program{{Path: program}}, Budget: fork.Budget{Failures: 2, Within: time.Minute},
		Backoff: fork.Backoff{Least: time.Millisecond}, Logger: slog.New(slog.DiscardHandler)}
	g.Observe = func(e core.Event) {
		if e.Program != &g.Programs[0] {
			t.Errorf("%v is of program %v", e.Kind, e.Program)
		}
		if e.Kind == core.Started {
			_ = os.Remove(program)
		}
	}
	err = g.Run(short(t))
	var spent *core.BudgetError
	if !errors.As(err, &spent) || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "program 0 ("+program+"), could not be started: ") {
		t.Errorf("Run returned %v", err)
	}
}

func TestWorkersThatDoNotDrainAreSentSignals(t *testing.T) {
	role(t, "kit")
	g := kit(&core.Group{Workers: 2, StopTimeout: 100 * time.Millisecond, KillTimeout: 100 * time.Millisecond})
	workers, events, stop := begin(t, g)
	if err := stuck.Send(workers[0], true); err != nil {
		t.Fatal(err)
	}
	signalTo(t, workers[1], syscall.SIGSTOP)
	eventually(t, "the first is stuck", func() bool { return workers[0].Stats().Queued == 0 })
	if err := stop(); err != nil {
		t.Error(err)
	}
	got := map[int][]syscall.Signal{}
	for len(events) > 0 {
		switch e := <-events; e.Kind {
		case core.Signalled:
			got[e.Index] = append(got[e.Index], e.Signal)
		case core.Exited:
			want := []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}[e.Index]
			if !e.Asked || e.Status != (fork.Status{Known: true, Signal: want}) {
				t.Errorf("%v %v, asked %t", e.Worker, e.Status, e.Asked)
			}
		}
	}
	if len(got[0]) != 1 || len(got[1]) != 2 || got[1][1] != syscall.SIGKILL {
		t.Errorf("the signals were %v", got)
	}
}

// A worker that has ended leaves nothing in the master, however long a worker may take to end; where the program keeps the Worker, no more
// than that.
func TestAWorkerThatHasEndedHoldsNoMemory(t *testing.T) {
	role(t, "echo")
	const times, size = 20, 1 << 20
	got := make(chan int)
	g := core.Group{Workers: 1, StopTimeout: time.Hour, StartTimeout: time.Hour, QueueLimit: 2 * size}
	g.Handle(echo, core.Handlers{Master: func(_ *core.Worker, payload []byte) { got <- len(payload) }})
	run(t, &g)
	inUse := func() uint64 {
		var memory runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&memory)
		return memory.HeapAlloc
	}
	message := make([]byte, size)
	before := inUse()
	var kept []*core.Worker
	var others []weak.Pointer[core.Worker]
	for i := range times {
		var w *core.Worker
		eventually(t, "there is a worker", func() bool {
			running := g.Running()
			if len(running) == 1 {
				w = running[0]
			}
			return len(running) == 1
		})
		if err := w.Send(echo, message); err != nil {
			t.Fatal(err)
		}
		if n := receive(t, got, "the echo"); n != size {
			t.Fatalf("the echo has %d bytes", n)
		}
		if i%2 == 0 {
			kept = append(kept, w)
		} else {
			others = append(others, weak.Make(w))
		}
		if err := g.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the memory of ended workers is free", func() bool {
		now, left := inUse(), 0
		for _, w := range others {
			if w.Value() != nil {
				left++
			}
		}
		return left <= 1 && now < before+times/4*size // what was done last may still be referred to from the stack
	})
	runtime.KeepAlive(kept)
}
