package core_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"melon/core"
	"melon/core/fork"
)

var seed = flag.Uint64("seed", 0, "seed of the storms; 0: another one each time")

// newRandom returns a source of random numbers and makes a failing test say how to get the same ones again.
func newRandom(t *testing.T) *rand.Rand {
	t.Helper()
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("to repeat: go test -run '^%s$' -seed %d", t.Name(), s)
		}
	})
	return rand.New(rand.NewPCG(s, 0))
}

// A life is one process of a storm.
type life struct {
	worker       *core.Worker
	pidfd        int // by which it is killed: numbers come back
	sent, echoed uint32
	killed       bool
	exit         core.Event
	ended        chan struct{}
	window       chan struct{} // of messages under way
}

// A storm kills, stops and replaces the workers of a group while it talks with them.
type storm struct {
	t     *testing.T
	group core.Group
	lock  sync.Mutex
	lives map[*core.Worker]*life
	talks sync.WaitGroup
	calm  chan struct{} // closed when nothing is sent any more
}

// Workers that are killed, or stopped and continued, at random, under traffic in both directions and rolling restarts, have one successor
// each; no message of a life that was not killed is lost, and none of any is doubled or out of order; nobody else ends. It storms for 3
// seconds, or for the time in CORE_STORM.
func TestStorm(t *testing.T) {
	role(t, "echo")
	limit := 3 * time.Second
	if text := os.Getenv("CORE_STORM"); text != "" {
		var err error
		if limit, err = time.ParseDuration(text); err != nil {
			t.Fatalf("CORE_STORM is %q, but it must be a time as in 60s", text)
		}
	}
	s := &storm{t: t, lives: map[*core.Worker]*life{}, calm: make(chan struct{})}
	s.group = core.Group{Workers: 4, Backoff: fork.Backoff{Least: time.Millisecond, Most: 50 * time.Millisecond}, StopTimeout: deadline}
	s.group.Observe = s.observe
	s.group.Handle(echo, core.Handlers{Master: s.echoed})
	_, events, stop := begin(t, &s.group)
	go func() {
		for range events { // which begin collects
		}
	}()
	var kills, stops, rolls int
	var rolling sync.WaitGroup
	var over atomic.Bool
	rolling.Go(func() {
		for !over.Load() {
			if err := s.group.Restart(t.Context()); err == nil {
				rolls++
			} else if !errors.Is(err, core.ErrNotReplaced) {
				t.Error(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	random := newRandom(t)
	for end := time.Now().Add(limit); kills == 0 || stops == 0 || time.Now().Before(end); time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond) {
		running := s.group.Running()
		if len(running) == 0 {
			continue
		}
		l := s.lifeOf(running[random.IntN(len(running))])
		if l == nil { // it runs, and is just being told of
			continue
		}
		if random.IntN(2) == 0 {
			kills++
			s.lock.Lock()
			l.killed = true
			s.lock.Unlock()
			_ = unix.PidfdSendSignal(l.pidfd, unix.SIGKILL, nil, 0)
			continue
		}
		stops++
		_ = unix.PidfdSendSignal(l.pidfd, unix.SIGSTOP, nil, 0)
		time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond)
		_ = unix.PidfdSendSignal(l.pidfd, unix.SIGCONT, nil, 0)
	}
	over.Store(true)
	rolling.Wait()
	if err := s.group.Restart(t.Context()); err != nil { // while nobody is killed, and all are talked with
		t.Error(err)
	}
	eventually(t, "all workers are there", func() bool { return len(s.group.Running()) == s.group.Workers })
	close(s.calm)
	s.talks.Wait()
	if err := stop(); err != nil {
		t.Error(err)
	}
	s.judge()
	t.Logf("%d killed, %d stopped and continued, %d times all replaced, %d processes", kills, stops, rolls+1, len(s.lives))
}

func (s *storm) lifeOf(w *core.Worker) *life {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.lives[w]
}

func (s *storm) observe(e core.Event) {
	switch e.Kind {
	case core.Started:
		pidfd, err := unix.PidfdOpen(e.Worker.PID(), 0) // nobody has reaped it yet
		if err != nil {
			s.t.Error(err)
		}
		l := &life{worker: e.Worker, pidfd: pidfd, ended: make(chan struct{}), window: make(chan struct{}, 100)}
		s.lock.Lock()
		s.lives[e.Worker] = l
		s.lock.Unlock()
		s.talks.Go(func() { s.talk(l) })
	case core.Exited:
		l := s.lifeOf(e.Worker)
		l.exit = e
		close(l.ended)
	}
}

// talk sends numbers to a process until that has ended, is asked to, or is to hear nothing more.
func (s *storm) talk(l *life) {
	for {
		select {
		case <-s.calm:
			return
		case <-l.ended:
			return
		case l.window <- struct{}{}:
		}
		switch err := l.worker.Send(echo, binary.NativeEndian.AppendUint32(make([]byte, 0, 1000), l.sent)[:4+l.sent%900]); {
		case err == nil:
			l.sent++
		case errors.Is(err, core.ErrClosed):
			return
		default:
			s.t.Error(err)
			return
		}
	}
}

func (s *storm) echoed(w *core.Worker, payload []byte) {
	l := s.lifeOf(w)
	if n := binary.NativeEndian.Uint32(payload); n != l.echoed || len(payload) != int(4+n%900) {
		s.t.Errorf("%v: echo %d, of %d bytes, has come after %d others", w, n, len(payload), l.echoed)
	}
	l.echoed++
	<-l.window
}

// judge looks at all lives when the group has ended.
func (s *storm) judge() {
	for w, l := range s.lives {
		_ = unix.Close(l.pidfd)
		switch {
		case l.exit.Worker == nil:
			s.t.Errorf("%v has not ended", w)
		case l.echoed > l.sent:
			s.t.Errorf("%v: %d of %d messages were echoed", w, l.echoed, l.sent)
		case l.killed && l.exit.Status == (fork.Status{Known: true, Signal: unix.SIGKILL}):
		case !l.exit.Asked || l.exit.Status != (fork.Status{Known: true}):
			s.t.Errorf("%v, which nobody has killed, %v", w, l.exit.Status)
		case l.echoed != l.sent:
			s.t.Errorf("%v has answered %d of %d messages", w, l.echoed, l.sent)
		}
	}
}

// A worker is to be gone within a second of its master.
const orphanhood = time.Second

// Nobody of a group outlives a master that is killed at any moment, also while it starts its workers, by more than a second.
func TestAMasterIsKilledAtAnyMoment(t *testing.T) {
	role(t, "master")
	adoptOrphans(t)
	times := 10
	if os.Getenv("CORE_STORM") != "" {
		times = 200
	}
	random := newRandom(t)
	longest := 300 * time.Millisecond
	orphaned, orphans, latest := 0, 0, time.Duration(0)
	for n := range times {
		master, begin := exec.Command("/proc/self/exe"), time.Now()
		said, err := master.StdoutPipe()
		if err := errors.Join(err, master.Start()); err != nil {
			t.Fatal(err)
		}
		if n == 0 { // has the time to start its workers and hear of one, which tells how long that takes here
			_, _ = said.Read(make([]byte, 1))
			longest = max(longest, 4*time.Since(begin))
		}
		time.Sleep(time.Duration(random.Int64N(int64(longest))))
		_ = master.Process.Kill()
		_ = master.Wait()
		killed, before := time.Now(), orphans
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if err == unix.ECHILD {
				break
			}
			late := time.Since(killed)
			if pid > 0 {
				orphans++
				latest = max(latest, late)
				continue
			}
			if late > orphanhood {
				left := children(t, os.Getpid())
				for _, pid := range left {
					_ = unix.Kill(pid, unix.SIGKILL)
					_, _ = unix.Wait4(pid, nil, 0, nil)
				}
				t.Fatalf("the processes %v have outlived their master by %v", left, late)
			}
			time.Sleep(time.Millisecond)
		}
		if orphans > before {
			orphaned++
		}
	}
	t.Logf("%d orphans of %d masters of %d, within %v; killed within %v", orphans, orphaned, times, latest, longest)
	if orphaned*2 < times {
		t.Errorf("only %d of %d masters have left orphans behind", orphaned, times)
	}
}
