package core_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"melon/core"
	"melon/core/fork"
	"melon/core/internal/world"
	"melon/core/ipc"
)

func init() {
	programs["refused"] = refusedWorker
	programs["deaf"] = deafWorker
	programs["words"] = wordsWorker
	programs["chatty"] = func() error {
		signal.Ignore(syscall.SIGTERM)
		err := wordsWorker()
		if err == nil {
			stuckInACallback()
		}
		return err
	}
}

// A refusal has the kernel refuse a system call on a channel of this process for some time, or not at all.
type refusal struct {
	call  string
	errno syscall.Errno
	left  atomic.Int64 // how many are still to be refused
	asked atomic.Int64 // how many were
}

func (r *refusal) attach(g *core.Group) {
	w := world.Real()
	w.Refuse = func(call string) error {
		if call != r.call || r.left.Add(-1) < 0 {
			return nil
		}
		r.asked.Add(1)
		return r.errno
	}
	world.Attach(g, w)
}

// always is how many calls are refused where all are.
const always = 1 << 40

// refusedWorker is an echo. From the message misbehave on, so many system calls fail as its environment says: CALL ERRNO NUMBER.
func refusedWorker() error {
	g := echoWorker()
	var r refusal
	var errno, number int
	if _, err := fmt.Sscan(os.Getenv("CORE_TEST_REFUSE"), &r.call, &errno, &number); err != nil {
		return err
	}
	r.errno = syscall.Errno(errno)
	r.attach(g)
	g.Handle(misbehave, core.Handlers{Worker: func(m *core.Master, _ []byte) {
		r.left.Store(int64(number))
		_ = m.Send(last, nil)
	}})
	return g.Run(context.Background())
}

// deafWorker closes its channel for reading, and lives on.
func deafWorker() error {
	fd, err := strconv.Atoi(os.Args[len(os.Args)-1])
	if err == nil {
		err = unix.Shutdown(fd, unix.SHUT_RD)
	}
	if err == nil {
		_, err = unix.Write(fd, ipc.AppendFrame(nil, last, nil))
	}
	if err == nil {
		stuckInACallback()
	}
	return err
}

// wordsWorker sends some messages, and ends.
func wordsWorker() error {
	fd, err := strconv.Atoi(os.Args[len(os.Args)-1])
	for n := 0; n < 100 && err == nil; n++ {
		_, err = unix.Write(fd, ipc.AppendFrame(nil, last, nil))
	}
	return err
}

// A shortage of memory in the kernel passes: what was accepted arrives, and nobody ends for it.
func TestAShortageOfMemoryLosesNothing(t *testing.T) {
	for _, refused := range []struct {
		at, call string
		errno    syscall.Errno
	}{
		{"master", "send", unix.ENOBUFS}, {"master", "send", unix.ENOMEM}, {"master", "read", unix.ENOMEM}, {"master", "read", unix.ENOBUFS},
		{"worker", "send", unix.ENOBUFS}, {"worker", "read", unix.ENOMEM},
	} {
		t.Run(fmt.Sprintf("%s in the %s, %d", refused.call, refused.at, refused.errno), func(t *testing.T) {
			const messages, shortage = 300, 8
			role(t, "refused")
			t.Setenv("CORE_TEST_REFUSE", fmt.Sprint(refused.call, " ", int(refused.errno), " ", shortage))
			g := core.Group{Workers: 1}
			here := refusal{call: refused.call, errno: refused.errno}
			here.attach(&g)
			begun, answers := make(chan bool, 1), make(chan uint32, messages)
			g.Handle(last, core.Handlers{Master: func(*core.Worker, []byte) { begun <- true }})
			g.Handle(echo, core.Handlers{Master: func(_ *core.Worker, payload []byte) {
				answers <- binary.NativeEndian.Uint32(payload)
			}})
			workers, events, stop := begin(t, &g)
			started := time.Now()
			if refused.at == "master" {
				here.left.Store(shortage)
			} else if err := workers[0].Send(misbehave, nil); err != nil {
				t.Fatal(err)
			} else {
				receive(t, begun, "the worker to begin")
			}
			for n := range uint32(messages) {
				if err := workers[0].SendContext(t.Context(), echo, binary.NativeEndian.AppendUint32(nil, n)); err != nil {
					t.Fatalf("message %d: %v", n, err)
				}
			}
			for n := range uint32(messages) {
				if got := receive(t, answers, "an answer"); got != n {
					t.Fatalf("answer %d is %d", n, got)
				}
			}
			if refused.at == "master" && here.asked.Load() != shortage {
				t.Errorf("%d calls were refused", here.asked.Load())
			}
			// A call that is refused is not made again at once.
			if took := time.Since(started); took < shortage*10*time.Millisecond {
				t.Errorf("%d calls were refused in %v", shortage, took)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			if e := await(t, events, core.Exited); !e.Asked || e.Status != (fork.Status{Known: true}) {
				t.Errorf("the worker %v", e.Status)
			}
		})
	}
}

// What a worker had sent before it ended arrives, also where the kernel is short of memory at that time.
func TestAShortageOfMemoryLosesNoLastWords(t *testing.T) {
	program := selfAs(t, "words")
	program.Once = true
	g := core.Group{Programs: []core.Program{program}}
	here := refusal{call: "read", errno: unix.ENOMEM}
	here.attach(&g)
	here.left.Store(always)
	words := 0
	g.Handle(last, core.Handlers{Master: func(*core.Worker, []byte) { words++ }})
	workers, events, _ := begin(t, &g)
	eventually(t, "the worker has ended", func() bool { return !present(fmt.Sprintf("/proc/%d", workers[0].PID())) })
	here.left.Store(0)
	if e := await(t, events, core.Exited); words != 100 || e.Status != (fork.Status{Known: true}) {
		t.Errorf("%d words have come, and the worker %v", words, e.Status)
	}
}

// A wait for a channel to take more that the kernel refuses is tried again.
func TestAWaitThatIsRefusedIsTriedAgain(t *testing.T) {
	role(t, "refused")
	t.Setenv("CORE_TEST_REFUSE", "none 1 0")
	g := core.Group{Workers: 1, QueueLimit: 64 << 20}
	here := refusal{call: "watch", errno: unix.ENOSPC}
	here.attach(&g)
	answers := make(chan int, 1)
	g.Handle(echo, core.Handlers{Master: func(_ *core.Worker, payload []byte) { answers <- len(payload) }})
	workers, _, _ := begin(t, &g)
	here.left.Store(3)
	if err := workers[0].Send(echo, make([]byte, 8<<20)); err != nil {
		t.Fatal(err)
	}
	if n := receive(t, answers, "the answer"); n != 8<<20 {
		t.Errorf("the answer has %d bytes", n)
	}
	if here.asked.Load() != 3 {
		t.Errorf("%d calls were refused", here.asked.Load())
	}
}

// A worker that the kernel does not tell for a while whether its master is there does not take it for gone, nor one that is gone for there.
func TestWhetherTheMasterIsThereIsAskedAgain(t *testing.T) {
	for _, c := range []struct {
		calls int64
		want  fork.Status
	}{{8, fork.Status{Known: true}}, {always, fork.Status{Known: true, Code: 127}}} {
		role(t, "refused")
		t.Setenv("CORE_TEST_REFUSE", fmt.Sprintf("poll %d %d", int(unix.ENOMEM), c.calls))
		g, begun := core.Group{Workers: 1}, make(chan bool, 1)
		g.Handle(last, core.Handlers{Master: func(*core.Worker, []byte) { begun <- true }})
		workers, events, stop := begin(t, &g)
		if err := workers[0].Send(misbehave, nil); err != nil {
			t.Fatal(err)
		}
		receive(t, begun, "the worker to begin")
		if err := stop(); err != nil {
			t.Error(err)
		}
		if e := await(t, events, core.Exited); e.Status != c.want {
			t.Errorf("after %d refusals the worker %v", c.calls, e.Status)
		}
	}
}

// A worker that can be told nothing any more is ended, and the log and those who observe the group are told why.
func TestAWorkerThatCannotBeSentToIsReplaced(t *testing.T) {
	for _, what := range []string{"deaf", "refused"} {
		t.Run(what, func(t *testing.T) {
			var log bytes.Buffer
			cause, program := unix.EPIPE, selfAs(t, "deaf")
			if what == "refused" {
				cause, program = unix.EIO, selfAs(t, "bare")
			}
			g := core.Group{Programs: []core.Program{program}, StopTimeout: 50 * time.Millisecond,
				Logger: slog.New(slog.NewTextHandler(&log, nil))}
			here := refusal{call: "send", errno: unix.EIO}
			here.attach(&g)
			spoke := make(chan bool, 10)
			g.Handle(last, core.Handlers{Master: func(*core.Worker, []byte) { spoke <- true }})
			workers, events, stop := begin(t, &g)
			if what == "deaf" {
				receive(t, spoke, "the worker to be deaf")
			} else {
				here.left.Store(1)
			}
			if err := workers[0].Send(echo, nil); err != nil {
				t.Fatal(err)
			}
			if e := await(t, events, core.Draining); e.Worker != workers[0] || !errors.Is(e.Err, cause) {
				t.Errorf("%v was asked to end: %v", e.Worker, e.Err)
			}
			if e := await(t, events, core.Exited); e.Worker != workers[0] {
				t.Errorf("%v has ended", e.Worker)
			}
			if e := await(t, events, core.Ready); e.Worker == workers[0] {
				t.Errorf("%v is ready", e.Worker)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			line := fmt.Sprintf("pid=%d error=%q", workers[0].PID(), cause)
			if strings.Count(log.String(), "nothing can be sent to a worker") != 1 || !strings.Contains(log.String(), line) {
				t.Errorf("the log does not say once that nothing can be sent, with %s:\n%s", line, &log)
			}
		})
	}
}

// A worker that cannot be read from any more is ended as well.
func TestAWorkerThatCannotBeReadIsReplaced(t *testing.T) {
	role(t, "echo")
	var log bytes.Buffer
	g := core.Group{Workers: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	here := refusal{call: "read", errno: unix.EIO}
	here.attach(&g)
	workers, events, stop := begin(t, &g)
	here.left.Store(1)
	if err := workers[0].Send(echo, nil); err != nil {
		t.Fatal(err)
	}
	if e := await(t, events, core.Exited); e.Worker != workers[0] {
		t.Errorf("%v has ended", e.Worker)
	}
	await(t, events, core.Ready)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if line := fmt.Sprintf("pid=%d error=%q", workers[0].PID(), "it cannot be read: "+unix.EIO.Error()); !strings.Contains(log.String(), line) {
		t.Errorf("the log does not say %s:\n%s", line, &log)
	}
}

// A worker that cannot reach its master any more ends, and says why.
func TestAWorkerThatLosesItsChannelSaysWhy(t *testing.T) {
	for _, call := range []string{"send", "read"} {
		t.Run(call, func(t *testing.T) {
			role(t, "refused")
			t.Setenv("CORE_TEST_REFUSE", fmt.Sprintf("%s %d 1", call, int(unix.EIO)))
			text := standardError(t)
			g := core.Group{Workers: 1}
			workers, events, _ := begin(t, &g)
			if err := workers[0].Send(misbehave, nil); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the worker has ended", func() bool { return workers[0].Send(echo, nil) == core.ErrClosed })
			if e := await(t, events, core.Exited); e.Worker != workers[0] || e.Status != (fork.Status{Known: true, Code: 1}) {
				t.Errorf("%v %v", e.Worker, e.Status)
			}
			if !strings.Contains(text(), unix.EIO.Error()) {
				t.Errorf("it says %q", text())
			}
		})
	}
}

// That a worker is to end is told it as soon as the kernel is able to; where it never will be the worker is sent a signal at once.
func TestAWorkerThatCannotBeAskedToEndIsSignalled(t *testing.T) {
	for _, c := range []struct {
		errno syscall.Errno
		left  int64
		want  fork.Status
	}{{unix.ENOBUFS, 3, fork.Status{Known: true}}, {unix.EIO, always, fork.Status{Known: true, Signal: syscall.SIGTERM}}} {
		t.Run(c.errno.Error(), func(t *testing.T) {
			role(t, "echo")
			var log bytes.Buffer
			g := core.Group{Workers: 1, StopTimeout: deadline, Logger: slog.New(slog.NewTextHandler(&log, nil))}
			here := refusal{call: "shutdown", errno: c.errno}
			here.attach(&g)
			workers, events, stop := begin(t, &g)
			here.left.Store(c.left)
			began := time.Now()
			if err := stop(); err != nil {
				t.Error(err)
			}
			if e := await(t, events, core.Exited); e.Status != c.want || !e.Asked || time.Since(began) > deadline/2 {
				t.Errorf("the worker %v, after %v", e.Status, time.Since(began))
			}
			said := strings.Contains(log.String(), fmt.Sprintf("pid=%d error=%q", workers[0].PID(), c.errno))
			if said != (c.errno == unix.EIO) {
				t.Errorf("the log says\n%s", &log)
			}
		})
	}
}

// A signal that the kernel does not let be sent is told with the cause. A worker that may not even be killed is left to itself: nobody
// waits for its end, and what it had sent arrives.
func TestAWorkerThatMayNotBeSentSignals(t *testing.T) {
	for _, c := range []struct {
		what    string
		refused []syscall.Signal
		want    fork.Status
	}{
		{"but may be killed", []syscall.Signal{syscall.SIGTERM}, fork.Status{Known: true, Signal: syscall.SIGKILL}},
		{"of any kind", []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}, fork.Status{Left: true}},
	} {
		t.Run(c.what, func(t *testing.T) {
			var log bytes.Buffer
			g := core.Group{Programs: []core.Program{selfAs(t, "chatty")}, StopTimeout: 10 * time.Millisecond,
				KillTimeout: 10 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))}
			w := world.Real()
			kill := w.Kill
			w.Kill = func(pidfd int, signal syscall.Signal) error {
				if slices.Contains(c.refused, signal) {
					return unix.EPERM
				}
				return kill(pidfd, signal)
			}
			world.Attach(&g, w)
			words, spoke := 0, make(chan bool, 1)
			g.Handle(last, core.Handlers{Master: func(*core.Worker, []byte) {
				if words++; words == 1 {
					spoke <- true
				}
			}})
			workers, events, stop := begin(t, &g)
			pid := workers[0].PID()
			t.Cleanup(func() { // it is a child of this process, until that is waited for
				if c.want.Left {
					_ = syscall.Kill(pid, syscall.SIGKILL)
					_, _ = unix.Wait4(pid, nil, 0, nil)
				}
			})
			receive(t, spoke, "the worker to begin")
			if err := stop(); err != nil {
				t.Error(err)
			}
			if e := await(t, events, core.Exited); e.Status != c.want || !e.Asked || words != 100 {
				t.Errorf("the worker %v, asked %t, after %d words", e.Status, e.Asked, words)
			}
			lines := strings.Count(log.String(), fmt.Sprintf("pid=%d error=%q", pid, unix.EPERM))
			left := strings.Count(log.String(), "cannot be killed, and is left to itself")
			if lines != len(c.refused) || left != len(c.refused)-1 {
				t.Errorf("%d signals are refused, and the log says\n%s", len(c.refused), &log)
			}
		})
	}
}
