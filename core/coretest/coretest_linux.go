package coretest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"melon/core"
	"melon/core/fork"
	"melon/core/internal/world"
	"melon/core/spawn"
)

// Patience is how long a [Test] waits for anything, before it fails the test.
const Patience = 30 * time.Second

// A Test is a group that runs in a test. Its methods may be called from any goroutine, but those that wait fail the test by
// testing.TB.FailNow, and so belong to the test's own goroutine.
type Test struct {
	tb     testing.TB
	group  *core.Group
	setup  func(g *core.Group) error
	cancel context.CancelFunc
	done   chan struct{} // closed when Run of the master has returned
	result error
	asked  bool // Stop was called, and so the test knows the result

	mu      sync.Mutex
	changed chan struct{} // closed at the next event
	events  []core.Event
	awaited int // of events
	workers map[int]*worker
	born    int
	running sync.WaitGroup // goroutines of workers
}

// A worker is what stands for a process. Its fields are guarded by the mutex of the test.
type worker struct {
	index   int
	pid     int
	channel int // another descriptor of its end of the socket pair
	pidfd   int // an eventfd, which the master watches
	opened  []io.Closer
	ended   bool
	status  fork.Status
}

// Run runs a group in the background until the test ends. The function setup describes it: what a program does before
// core.Group.Run. It is called now for the master, and later for each worker that the master starts, on its own goroutine; a
// worker whose setup returns an error exits with status 1, as one whose Run does.
//
// Where the group has no Logger it logs to the test. When the test ends the group is stopped. The test fails if Run of the master returns an error, unless [Test.Stop] was called, or
// if anything of it is still running after [Patience].
func Run(tb testing.TB, setup func(g *core.Group) error) *Test {
	tb.Helper()
	t := &Test{tb: tb, group: new(core.Group), setup: setup, done: make(chan struct{}), changed: make(chan struct{}),
		workers: make(map[int]*worker)}
	world.Attach(t.group, &world.World{
		IsWorker: func() bool { return false },
		Inherit:  func() (spawn.Inheritance, bool, error) { return spawn.Inheritance{}, false, nil },
		Start:    t.start,
		Reap:     t.reap,
		Kill:     t.kill,
		Opened:   func(c io.Closer) { tb.Cleanup(func() { _ = c.Close() }) },
	})
	if err := setup(t.group); err != nil {
		tb.Fatalf("coretest: the group cannot be described: %v", err)
	}
	t.log(t.group)
	observe := t.group.Observe
	t.group.Observe = func(e core.Event) {
		if observe != nil {
			observe(e)
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.events = append(t.events, e)
		close(t.changed)
		t.changed = make(chan struct{})
	}
	var ctx context.Context
	ctx, t.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(t.done)
		t.result = t.group.Run(ctx)
	}()
	tb.Cleanup(t.cleanup)
	return t
}

// log has a group without a logger of its own log to the test.
func (t *Test) log(g *core.Group) {
	if g.Logger == nil {
		g.Logger = slog.New(slog.NewTextHandler(t.tb.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
}

// Group returns the master's group, for [core.Group.Broadcast], [core.Group.Running], [core.Group.Restart] and the like.
func (t *Test) Group() *core.Group { return t.group }

// Stop stops the group and returns what Run of the master returned. Further calls return the same.
func (t *Test) Stop() error {
	t.tb.Helper()
	t.mu.Lock()
	t.asked = true
	t.mu.Unlock()
	t.cancel()
	return t.Wait()
}

// Wait waits until Run of the master returns by itself, and returns what it returned. The test fails if it does not.
func (t *Test) Wait() error {
	t.tb.Helper()
	t.mu.Lock()
	t.asked = true
	t.mu.Unlock()
	select {
	case <-t.done:
	case <-time.After(Patience):
		t.tb.Fatalf("coretest: Run of the master has not returned within %v; the events were %v", Patience, t.kinds())
	}
	return t.result
}

func (t *Test) cleanup() {
	t.cancel()
	limit := time.After(Patience)
	select {
	case <-t.done:
	case <-limit:
		t.tb.Errorf("coretest: Run of the master does not return; is one of its callbacks stuck? The events were %v", t.kinds())
		return
	}
	if t.result != nil && !t.asked {
		t.tb.Errorf("coretest: Run of the master returned: %v", t.result)
	}
	gone := make(chan struct{})
	go func() {
		t.running.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-limit:
		t.tb.Errorf("coretest: a worker does not end; is one of its callbacks stuck?")
	}
}

func (t *Test) kinds() (kinds []core.EventKind) {
	for _, e := range t.Events() {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// Events returns what has happened so far.
func (t *Test) Events() []core.Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.events)
}

// Await waits for the next event of a kind, after those that calls of Await have returned before, and returns it. Events of other
// kinds in between are passed over.
func (t *Test) Await(kind core.EventKind) core.Event {
	t.tb.Helper()
	var event core.Event
	t.until(fmt.Sprintf("the event %q", kind), func() bool {
		for ; t.awaited < len(t.events); t.awaited++ {
			if event = t.events[t.awaited]; event.Kind == kind {
				t.awaited++
				return true
			}
		}
		return false
	})
	return event
}

// AwaitReady waits until so many workers are ready and not asked to end.
func (t *Test) AwaitReady(workers int) {
	t.tb.Helper()
	t.until(fmt.Sprintf("%d workers to be ready", workers), func() bool { return len(t.ready()) == workers })
}

// Worker waits until the worker of a number is ready, and returns it. While workers are being replaced it is the newest.
func (t *Test) Worker(index int) (w *core.Worker) {
	t.tb.Helper()
	t.until(fmt.Sprintf("worker %d to be ready", index), func() bool {
		ready := t.ready()
		for i := len(ready) - 1; i >= 0 && w == nil; i-- {
			if ready[i].Index() == index {
				w = ready[i]
			}
		}
		return w != nil
	})
	return w
}

// ready returns the workers that are ready and not asked to end, in the order in which they became so.
func (t *Test) ready() (ready []*core.Worker) {
	for _, e := range t.events {
		switch e.Kind {
		case core.Ready:
			ready = append(ready, e.Worker)
		case core.Exited, core.Draining, core.Hung:
			ready = slices.DeleteFunc(ready, func(w *core.Worker) bool { return w == e.Worker })
		}
	}
	return ready
}

// until waits until something is true, and looks after each event. The mutex is held while it looks.
func (t *Test) until(what string, true func() bool) {
	t.tb.Helper()
	limit := time.After(Patience)
	for {
		t.mu.Lock()
		found, changed := true(), t.changed
		t.mu.Unlock()
		if found {
			return
		}
		select {
		case <-changed:
		case <-t.done:
			t.mu.Lock()
			found := true()
			t.mu.Unlock()
			if !found {
				t.tb.Fatalf("coretest: waiting for %s, Run of the master returned: %v", what, t.result)
			}
			return
		case <-limit:
			t.tb.Fatalf("coretest: there was no sign of %s within %v; the events were %v", what, Patience, t.kinds())
		}
	}
}

// Crash ends the worker of a number, the newest while workers are being replaced, as if its process had been killed by SIGKILL:
// see the package's documentation. What it had sent before still arrives; what is queued is lost. The test fails if there
// is none.
func (t *Test) Crash(index int) {
	t.tb.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	var newest *worker
	for _, w := range t.workers {
		if w.index == index && !w.ended && (newest == nil || newest.pid < w.pid) {
			newest = w
		}
	}
	if newest == nil {
		t.tb.Errorf("coretest: worker %d cannot crash: there is none that runs", index)
		return
	}
	newest.end(fork.Status{Known: true, Signal: syscall.SIGKILL})
}

// ---- the world of the master ----

// firstPID is larger than the kernel's process IDs, so that nobody signals an innocent.
const firstPID = 1 << 22

// errProgram is why a group with programs fails.
var errProgram = errors.New("coretest: programs of other files cannot be started in a test without processes; leave out Group.Programs")

func (t *Test) start(spec spawn.Spec) (p spawn.Process, err error) {
	if spec.Path != "" {
		return p, errProgram
	}
	var open []int
	keep := func(fd int, err error) (int, error) {
		if err == nil {
			open = append(open, fd)
		}
		return fd, err
	}
	defer func() {
		if err != nil {
			for _, fd := range open {
				_ = unix.Close(fd)
			}
			err = fmt.Errorf("coretest: cannot start a worker: %w", err)
		}
	}()
	pair, err := spawn.Pair()
	if err != nil {
		return p, err
	}
	open = append(open, pair[:]...)
	for _, fd := range pair {
		if err = unix.SetNonblock(fd, true); err != nil {
			return p, err
		}
	}
	w := &worker{index: spec.Index}
	if w.channel, err = keep(duplicate(pair[1])); err != nil {
		return p, err
	}
	if w.pidfd, err = keep(unix.Eventfd(0, unix.EFD_CLOEXEC)); err != nil {
		return p, err
	}
	in := spawn.Inheritance{Index: spec.Index, Master: os.Getpid(), Channel: pair[1], Payload: slices.Clone(spec.Payload),
		Heartbeat: spec.Heartbeat}
	for _, file := range spec.Files {
		if file.FD, err = keep(duplicate(file.FD)); err != nil {
			return p, err
		}
		in.Files = append(in.Files, file)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.born++
	w.pid = firstPID + t.born
	t.workers[w.pidfd] = w
	t.running.Go(func() { t.work(w, in) })
	return spawn.Process{PID: w.pid, PIDFD: w.pidfd, Channel: pair[0]}, nil
}

func duplicate(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3) }

// work is the life of a worker.
func (t *Test) work(w *worker, in spawn.Inheritance) {
	g := new(core.Group)
	inherited := false
	world.Attach(g, &world.World{
		IsWorker: func() bool { return true },
		Inherit: func() (spawn.Inheritance, bool, error) {
			if inherited {
				return spawn.Inheritance{}, true, spawn.ErrInherited
			}
			inherited = true
			return in, true, nil
		},
		Opened: func(c io.Closer) {
			t.mu.Lock()
			defer t.mu.Unlock()
			w.opened = append(w.opened, c)
		},
	})
	if err := t.setup(g); err != nil {
		g.Attached = func(*core.Master) error { return err }
	}
	t.log(g)
	status := fork.Status{Known: true}
	if err := g.Run(context.Background()); err != nil {
		status.Code = 1
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	w.end(status)
}

// end makes the master see that the process has ended, and closes what a process does not keep beyond its end. The
// mutex is held.
func (w *worker) end(status fork.Status) {
	if w.ended {
		return
	}
	w.ended, w.status = true, status
	_ = unix.Shutdown(w.channel, unix.SHUT_RDWR)
	_ = unix.Close(w.channel)
	for _, c := range w.opened {
		_ = c.Close()
	}
	_, _ = unix.Write(w.pidfd, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // the master closes it, but not before it has reaped
}

func (t *Test) reap(pidfd int) (status fork.Status, ended bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.workers[pidfd]
	if w == nil || !w.ended {
		return fork.Status{}, false, nil
	}
	delete(t.workers, pidfd)
	return w.status, true, nil
}

func (t *Test) kill(pidfd int, signal syscall.Signal) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.workers[pidfd]; w != nil {
		w.end(fork.Status{Known: true, Signal: signal})
	}
	return nil
}
