package core

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"melon/core/event"
	"melon/core/fork"
	"melon/core/internal/world"
	"melon/core/ipc"
	"melon/core/spawn"
)

// A pretence is a world without processes: a worker is a socket pair, of which the test holds the other end, and an
// eventfd in place of a pidfd.
type pretence struct {
	t       *testing.T
	next    int
	workers map[int]*pretended // by pidfd
	starts  []int              // indexes
	fail    func(index int) error
}

type pretended struct {
	index, peer int
	signals     []syscall.Signal
	status      fork.Status
}

func pretend(t *testing.T) *pretence {
	return &pretence{t: t, workers: make(map[int]*pretended), fail: func(int) error { return nil }}
}

func (w *pretence) outside() *world.World {
	return &world.World{
		Inherit: func() (spawn.Inheritance, bool, error) { return spawn.Inheritance{}, false, nil },
		Start:   w.start,
		Reap: func(pidfd int) (fork.Status, bool, error) {
			p := w.workers[pidfd]
			delete(w.workers, pidfd)
			return p.status, true, nil
		},
		Kill: func(pidfd int, signal syscall.Signal) error {
			p := w.workers[pidfd]
			p.signals = append(p.signals, signal)
			p.status = fork.Status{Known: true, Signal: signal}
			w.end(pidfd)
			return nil
		},
	}
}

func (w *pretence) start(spec spawn.Spec) (spawn.Process, error) {
	index := spec.Index
	w.starts = append(w.starts, index)
	if err := w.fail(index); err != nil {
		return spawn.Process{}, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	pidfd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		w.t.Fatal(err)
	}
	w.next++
	w.workers[pidfd] = &pretended{index: index, peer: pair[1]}
	return spawn.Process{PID: w.next, PIDFD: pidfd, Channel: pair[0]}, nil
}

// end makes a worker end.
func (w *pretence) end(pidfd int) {
	_ = unix.Close(w.workers[pidfd].peer)
	_, _ = unix.Write(pidfd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// hooks are called upon some events of a group.
type hooks struct {
	started func(w *Worker)
	ended   func(w *Worker, status fork.Status)
}

// observe adds hooks to those that the group has.
func observe(g *Group) *hooks {
	h, before := new(hooks), g.Observe
	g.Observe = func(e Event) {
		if before != nil {
			before(e)
		}
		switch {
		case e.Kind == Started && h.started != nil:
			h.started(e.Worker)
		case e.Kind == Exited && h.ended != nil:
			h.ended(e.Worker, e.Status)
		}
	}
	return h
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestRunFailsWhenAWorkerCannotBeStarted(t *testing.T) {
	world := pretend(t)
	world.fail = func(index int) error {
		if index == 2 {
			return unix.EAGAIN
		}
		return nil
	}
	g := Group{Workers: 4, Logger: quiet(), StopTimeout: time.Millisecond}
	g.outside = world.outside()
	if err := g.Run(context.Background()); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("Run returned %v", err)
	}
	if !slices.Equal(world.starts, []int{0, 1, 2}) || len(world.workers) != 0 || len(g.Running()) != 0 {
		t.Errorf("after the starts %v, %d workers are left", world.starts, len(world.workers))
	}
}

func TestRunSaysWhyAWorkerCannotBegin(t *testing.T) {
	for cause, want := range map[error]error{
		spawn.ErrInherited: ErrWorker, spawn.ErrOrphan: ErrMasterGone, spawn.ErrNoChannel: spawn.ErrNoChannel,
	} {
		world := pretend(t).outside()
		world.Inherit = func() (spawn.Inheritance, bool, error) { return spawn.Inheritance{}, true, cause }
		g := Group{}
		g.outside = world
		if err := g.Run(context.Background()); !errors.Is(err, want) {
			t.Errorf("with %v, Run returned %v", cause, err)
		}
	}
}

func TestAPanicInTheMasterLeavesNoWorker(t *testing.T) {
	world := pretend(t)
	g := Group{Workers: 3}
	g.outside = world.outside()
	observe(&g).started = func(w *Worker) {
		if w.Index() == 2 {
			panic("as asked")
		}
	}
	func() {
		defer func() {
			if recover() != "as asked" {
				t.Error("the panic was swallowed")
			}
		}()
		_ = g.Run(context.Background())
	}()
	if len(world.workers) != 0 {
		t.Errorf("%d workers are left", len(world.workers))
	}
}

// TestLastWords fails if what a worker sent is lost when its end is noticed first.
func TestLastWords(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	world := pretend(t)
	g := Group{Workers: 1, Logger: quiet(), StopTimeout: time.Millisecond}
	g.outside = world.outside()
	observe(&g).started = func(w *Worker) {
		if world.next > 1 {
			return
		}
		for pidfd, p := range world.workers {
			_, _ = unix.Write(pidfd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
			// More than one read takes, and some of another message.
			words := ipc.AppendFrame(nil, 1, make([]byte, 100000))
			words = ipc.AppendFrame(words, 2, []byte("good-bye"))
			words = append(words, 100, 0, 0, 0, 1)
			if n, err := unix.Write(p.peer, words); n != len(words) {
				t.Errorf("%d bytes of %d were written: %v", n, len(words), err)
			}
			// p.peer stays open, as if a process that the worker started had inherited it.
			t.Cleanup(func() { unix.Close(p.peer) })
		}
	}
	var got []string
	for msgType := range uint32(3) {
		g.Handle(msgType, Handlers{Master: func(from *Worker, payload []byte) {
			got = append(got, fmt.Sprint(msgType, " ", len(payload)))
			if err := from.Send(1, nil); !errors.Is(err, ErrClosed) || len(g.Running()) != 0 {
				t.Errorf("the worker has ended, but Send returned %v and %v are running", err, g.Running())
			}
		}})
	}
	observe(&g).ended = func(w *Worker, status fork.Status) {
		got = append(got, "ended")
		cancel()
	}
	if err := g.Run(ctx); err != nil {
		t.Error(err)
	}
	if len(got) < 3 || !slices.Equal(got[:3], []string{"1 100000", "2 8", "ended"}) {
		t.Errorf("there came %q", got)
	}
}

// That the kernel refuses to wait for a process does not mean that there is none: it is tried again, and told why.
func TestAWorkerIsReapedAsSoonAsTheKernelLetsIt(t *testing.T) {
	const refusals = 8 // Held is told after the pauses have become long
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	world := pretend(t)
	outside := world.outside()
	reap, asked := outside.Reap, 0
	outside.Reap = func(pidfd int) (fork.Status, bool, error) {
		if asked++; asked <= refusals {
			return fork.Status{}, false, unix.EINVAL
		}
		return reap(pidfd)
	}
	var held error
	var status fork.Status
	g := Group{Workers: 1, Logger: quiet(), StopTimeout: time.Millisecond}
	g.Observe = func(e Event) {
		switch e.Kind {
		case Started:
			if held == nil {
				for pidfd, p := range world.workers {
					p.status = fork.Status{Known: true, Code: 3}
					world.end(pidfd)
				}
			}
		case Held:
			held = e.Err
		case Exited:
			if held != nil && status == (fork.Status{}) {
				status = e.Status
				stop()
			}
		}
	}
	g.outside = outside
	if err := g.Run(ctx); err != nil {
		t.Errorf("Run returned %v", err)
	}
	if !errors.Is(held, unix.EINVAL) || status != (fork.Status{Known: true, Code: 3}) || asked <= refusals {
		t.Errorf("after %d tries, held because of %v, and then it %v", asked, held, status)
	}
}

// A process may wait in the kernel for what never comes, a device mostly, and does not end by SIGKILL then.
func TestAStopDoesNotWaitForAWorkerThatSIGKILLDoesNotEnd(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	world := pretend(t)
	outside := world.outside()
	var killed time.Time
	outside.Kill = func(_ int, signal syscall.Signal) error {
		if signal == syscall.SIGKILL {
			killed = time.Now()
		}
		return nil
	}
	outside.Reap = func(int) (fork.Status, bool, error) { return fork.Status{}, false, nil }
	var held error
	var status fork.Status
	g := Group{Workers: 1, Logger: quiet(), StopTimeout: time.Millisecond, KillTimeout: time.Millisecond}
	g.Observe = func(e Event) {
		switch e.Kind {
		case Started:
			stop()
		case Held:
			held = e.Err
		case Exited:
			status = e.Status
		}
	}
	g.outside = outside
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Run returned %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Run does not return")
	}
	if held == nil || status != (fork.Status{Held: true}) || time.Since(killed) < time.Second {
		t.Errorf("%v after SIGKILL it is held because of %v, and then %v", time.Since(killed), held, status)
	}
	for _, p := range world.workers {
		_ = unix.Close(p.peer)
	}
}

func TestFailedStartsAreRetriedLaterAndLater(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	world := pretend(t)
	world.fail = func(int) error {
		if len(world.starts) == 5 {
			cancel()
		}
		if world.next == 1 {
			return unix.EAGAIN
		}
		return nil
	}
	g := Group{Workers: 1, Logger: quiet(), Backoff: fork.Backoff{Least: 10 * time.Millisecond, Jitter: -1}}
	g.outside = world.outside()
	observe(&g).started = func(*Worker) {
		for pidfd := range world.workers {
			world.end(pidfd)
		}
	}
	begin := time.Now()
	if err := g.Run(ctx); err != nil {
		t.Error(err)
	}
	// After the one that worked: at once, after 10, 20 and 40 ms.
	if took := time.Since(begin); len(world.starts) < 5 || took < 70*time.Millisecond {
		t.Errorf("%d starts were tried in %v", len(world.starts), took)
	}
}

// TestSupervision has workers end and starts fail at random, and checks that all slots are filled again all the same.
func TestSupervision(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 7))
		world := pretend(t)
		failing := true
		world.fail = func(int) error {
			if failing && world.next >= 5 && random.IntN(3) == 0 {
				return unix.EAGAIN
			}
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		g := Group{Workers: 5, Logger: quiet(), StopTimeout: time.Millisecond,
			Backoff: fork.Backoff{Least: time.Microsecond, Most: time.Millisecond}}
		g.outside = world.outside()
		ends := 0
		observe(&g).ended = func(w *Worker, status fork.Status) {
			if slices.Contains(g.Running(), w) {
				t.Errorf("seed %d: %v has ended and is running", seed, w)
			}
			if ends++; ends == 40 {
				failing = false
			}
		}
		observe(&g).started = func(w *Worker) {
			switch {
			case world.next < 5: // the first round
			case failing:
				for pidfd, p := range world.workers {
					if random.IntN(2) == 0 && p.status == (fork.Status{}) {
						p.status = fork.Status{Known: true, Code: 1}
						world.end(pidfd)
					}
				}
				if len(g.Running()) == 5 && ends < 40 { // keep it going
					for pidfd, p := range world.workers {
						if p.status == (fork.Status{}) {
							p.status = fork.Status{Known: true, Code: 1}
							world.end(pidfd)
							break
						}
					}
				}
			case len(g.Running()) == 5:
				cancel()
			}
		}
		if err := g.Run(ctx); err != nil {
			t.Errorf("seed %d: Run returned %v", seed, err)
		}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Errorf("seed %d: %d of 5 workers run again in the end, after %d ends", seed, len(world.workers), ends)
		}
		if len(world.workers) != 0 {
			t.Errorf("seed %d: %d workers are left", seed, len(world.workers))
		}
		cancel()
	}
}

// TestTheLoopLooksForEventsWhileGoroutinesPost fails if posted functions keep the loop from its descriptors.
func TestTheLoopLooksForEventsWhileGoroutinesPost(t *testing.T) {
	var e engine
	if err := e.open(); err != nil {
		t.Fatal(err)
	}
	defer e.close()
	give := time.Now().Add(20 * time.Second)
	var again func()
	again = func() {
		if time.Now().After(give) {
			t.Error("a timer of 1 ms does not expire while functions are posted")
			e.finished = true
		}
		e.post(again)
	}
	e.post(again)
	e.after(time.Millisecond, func() { e.finished = true })
	e.run()
}

// Where Run ends early, and where a worker cannot be watched, one that may not be killed is left to itself, and the log says so.
func TestNobodyWaitsForAWorkerThatMayNotBeKilled(t *testing.T) {
	for _, unseen := range []bool{false, true} {
		world := pretend(t)
		outside := world.outside()
		outside.Kill = func(int, syscall.Signal) error { return unix.EPERM }
		outside.Reap = func(int) (fork.Status, bool, error) { return fork.Status{}, false, nil }
		outside.Start = func(spec spawn.Spec) (spawn.Process, error) {
			p, err := world.start(spec)
			if unseen {
				_ = unix.Close(p.Channel)
				p.Channel = 1 << 20 // which cannot be open
			}
			return p, err
		}
		var log bytes.Buffer
		g := Group{Workers: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		g.outside = outside
		observe(&g).started = func(*Worker) { panic("as asked") }
		func() {
			defer func() {
				if (recover() == nil) != unseen {
					t.Error("the panic was swallowed")
				}
			}()
			_ = g.Run(context.Background())
		}()
		want := fmt.Sprintf("and is left to itself\" worker=0 pid=1 error=%q", unix.EPERM)
		if strings.Count(log.String(), want) != 1 {
			t.Errorf("the log does not say %s:\n%s", want, &log)
		}
		for _, p := range world.workers {
			_ = unix.Close(p.peer)
		}
	}
}

func TestPostAfterCloseIsHarmless(t *testing.T) {
	var e engine
	if err := e.open(); err != nil {
		t.Fatal(err)
	}
	e.sleeping.Store(true)
	wake := e.loop.Descriptors()[1]
	e.close()
	// Somebody else gets the descriptor of the loop's wake-up.
	pipe := make([]int, 2)
	if err := unix.Pipe2(pipe, unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	if pipe[1] != wake {
		if err := unix.Dup3(pipe[1], wake, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(wake)
	}
	e.post(func() { t.Error("called") })
	if n, err := unix.Read(pipe[0], make([]byte, 8)); err != unix.EAGAIN {
		t.Errorf("post wrote %d bytes into somebody else's descriptor: %v", n, err)
	}
}

func TestUnwatchableWorker(t *testing.T) {
	world := pretend(t)
	outside := world.outside()
	outside.Start = func(spec spawn.Spec) (spawn.Process, error) {
		p, err := world.start(spec)
		_ = unix.Close(p.Channel)
		p.Channel = 1 << 20 // which cannot be open
		return p, err
	}
	g := Group{Workers: 1}
	g.outside = outside
	var refused *event.DescriptorError
	if err := g.Run(context.Background()); !errors.As(err, &refused) || !errors.Is(err, unix.EBADF) {
		t.Errorf("Run returned %v", err)
	}
	if len(world.workers) != 0 {
		t.Errorf("%d workers are left", len(world.workers))
	}
}
