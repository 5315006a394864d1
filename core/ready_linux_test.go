package core_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"melon/core"
	"melon/core/fork"
)

func init() {
	programs["lazy"] = lazy
	programs["patient"] = patient
}

// lazy is a worker that is ready when it gets a message, and counts those that come before.
func lazy() error {
	g := core.Group{HoldReady: true}
	g.Handle(echo, core.Handlers{Worker: func(m *core.Master, payload []byte) { _ = m.Send(echo, payload) }})
	g.Handle(last, core.Handlers{Worker: func(m *core.Master, _ []byte) {
		m.Ready()
		m.Ready()
	}})
	return g.Run(context.Background())
}

func TestAWorkerIsReadyWhenItSaysSo(t *testing.T) {
	role(t, "lazy")
	echoes := make(chan bool, 1)
	g := core.Group{Workers: 1, HoldReady: true}
	g.Handle(echo, core.Handlers{Master: func(*core.Worker, []byte) { echoes <- true }})
	events := watch(&g)
	stop := run(t, &g)
	w := await(t, events, core.Started).Worker
	if err := w.Send(echo, nil); err != nil { // it is alive before it is ready
		t.Error(err)
	}
	receive(t, echoes, "an echo")
	if len(events) != 0 {
		t.Errorf("there was the event %v", (<-events).Kind)
	}
	if err := w.Send(last, nil); err != nil {
		t.Error(err)
	}
	if e := await(t, events, core.Ready); e.Worker != w {
		t.Errorf("ready is %v", e.Worker)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for len(events) > 0 {
		if e := <-events; e.Kind == core.Ready {
			t.Error("it was ready twice")
		}
	}
}

func TestAWorkerThatIsNotReadyInTimeIsReplaced(t *testing.T) {
	role(t, "lazy")
	trace := standardError(t)
	// Long enough for the worker to come to its main function on a busy machine, as its trace shows.
	g := core.Group{Workers: 1, StartTimeout: 3 * time.Second, KillTimeout: deadline}
	events := watch(&g)
	stop := run(t, &g)
	w := await(t, events, core.Started).Worker
	if e := await(t, events, core.Unready); e.Worker != w {
		t.Errorf("%v is not ready in time", e.Worker)
	}
	// SIGABRT makes a Go program print what its goroutines do, and exit with status 2.
	if e := await(t, events, core.Exited); e.Status != (fork.Status{Known: true, Code: 2}) || e.Asked {
		t.Errorf("%v %v, asked %t", e.Worker, e.Status, e.Asked)
	}
	if again := await(t, events, core.Started).Worker; again == w {
		t.Error("it was not replaced")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if text := trace(); !strings.Contains(text, "SIGABRT") || !strings.Contains(text, "goroutine 1 ") || !strings.Contains(text, "main.main") {
		t.Errorf("its trace is %s", text)
	}
}

func TestAWorkerThatIsStuckInACallbackIsReplaced(t *testing.T) {
	role(t, "kit")
	trace := standardError(t)
	g := kit(&core.Group{Workers: 2, Heartbeat: 400 * time.Millisecond, KillTimeout: deadline})
	workers, events, stop := begin(t, g)
	if err := stuck.Send(workers[1], true); err != nil {
		t.Fatal(err)
	}
	if e := await(t, events, core.Hung); e.Worker != workers[1] {
		t.Errorf("%v hangs", e.Worker)
	}
	if e := await(t, events, core.Exited); e.Worker != workers[1] || e.Status != (fork.Status{Known: true, Code: 2}) {
		t.Errorf("%v %v", e.Worker, e.Status)
	}
	again := await(t, events, core.Ready).Worker
	if got, err := sum.Do(short(t), again, []int{1, 2}); again.Index() != 1 || got != 3 || err != nil {
		t.Errorf("the one in its place, %v, answers %d, %v", again, got, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if text := trace(); !strings.Contains(text, "stuckInACallback") {
		t.Errorf("the trace does not say where it is stuck: %s", text)
	}
}

func TestAWorkerThatIsStoppedIsReplaced(t *testing.T) {
	role(t, "kit")
	g := kit(&core.Group{Workers: 1, Heartbeat: 400 * time.Millisecond, KillTimeout: 50 * time.Millisecond})
	workers, events, _ := begin(t, g)
	signalTo(t, workers[0], syscall.SIGSTOP)
	await(t, events, core.Hung)
	if e := await(t, events, core.Signalled); e.Signal != syscall.SIGKILL {
		t.Errorf("it was sent %v", e.Signal)
	}
	if e := await(t, events, core.Exited); e.Status != (fork.Status{Known: true, Signal: syscall.SIGKILL}) {
		t.Errorf("it %v", e.Status)
	}
	await(t, events, core.Ready)
}

func TestIdleWorkersGiveSignsOfLife(t *testing.T) {
	role(t, "kit")
	g := kit(&core.Group{Workers: 2, Heartbeat: time.Second})
	_, events, _ := begin(t, g)
	time.Sleep(3 * time.Second)
	if len(events) > 0 {
		t.Errorf("there was the event %v", (<-events).Kind)
	}
}

// TestABusyWorkerGivesSignsOfLife fails if a worker that handles many small messages in one go seems to hang.
func TestABusyWorkerGivesSignsOfLife(t *testing.T) {
	role(t, "slow")
	const messages = 2500
	answers := make(chan bool, messages)
	g := core.Group{Workers: 1, Heartbeat: time.Second}
	g.Handle(numbered, core.Handlers{Master: func(*core.Worker, []byte) { answers <- true }})
	workers, events, _ := begin(t, &g)
	for range messages {
		if err := workers[0].Send(numbered, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range messages {
		receive(t, answers, "an answer")
	}
	if len(events) > 0 {
		t.Errorf("there was the event %v", (<-events).Kind)
	}
}

// patient is a master that prints its events until its standard input ends.
func patient() error {
	if core.IsWorker() {
		return kit(new(core.Group)).Run(context.Background())
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	g := kit(&core.Group{Workers: 3, Heartbeat: 500 * time.Millisecond, StartTimeout: deadline})
	g.Observe = func(e core.Event) { fmt.Println(e.Kind) }
	return g.Run(ctx)
}

// TestAMasterThatWasStoppedFindsItsWorkersHealthy fails if the time in which a master is stopped counts against workers.
func TestAMasterThatWasStoppedFindsItsWorkersHealthy(t *testing.T) {
	role(t, "patient")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	master := exec.Command(self)
	master.Stderr = os.Stderr
	in, err1 := master.StdinPipe()
	out, err2 := master.StdoutPipe()
	if err := errors.Join(err1, err2, master.Start()); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(deadline, func() { _ = master.Process.Kill() })
	defer timer.Stop()
	lines := bufio.NewScanner(out)
	next := func() string {
		lines.Scan()
		return lines.Text()
	}
	ready := 0
	for ready < 3 {
		switch next() {
		case core.Ready.String():
			ready++
		case "":
			t.Fatal("the master ended")
		}
	}
	for range 3 {
		_ = master.Process.Signal(syscall.SIGSTOP)
		time.Sleep(1200 * time.Millisecond)
		_ = master.Process.Signal(syscall.SIGCONT)
		time.Sleep(300 * time.Millisecond)
	}
	_ = in.Close()
	var rest []string
	for line := next(); line != ""; line = next() {
		rest = append(rest, line)
	}
	if err := master.Wait(); err != nil {
		t.Error(err)
	}
	slices.Sort(rest)
	want := slices.Concat(slices.Repeat([]string{core.Exited.String()}, 3), slices.Repeat([]string{core.Draining.String()}, 3))
	slices.Sort(want)
	if !slices.Equal(rest, want) {
		t.Errorf("after it was stopped and went on, its events were %q", rest)
	}
}
