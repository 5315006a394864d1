package core_test

import (
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"melon/core"
	"melon/core/fork"
)

func init() {
	programs["bare"] = bare
	programs["once"] = func() error { return nil }
}

// bare is a worker that knows nothing of this package: it reads frames from the descriptor that its last argument names, and
// answers each with its arguments and its working directory before the payload.
func bare() error {
	fd, err := strconv.Atoi(os.Args[len(os.Args)-1])
	if err != nil {
		return err
	}
	channel := os.NewFile(uintptr(fd), "channel")
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	for {
		header := make([]byte, 8)
		if _, err := io.ReadFull(channel, header); err == io.EOF {
			return nil // the master wants it to end
		} else if err != nil {
			return err
		}
		payload := make([]byte, binary.NativeEndian.Uint32(header)-4)
		if _, err := io.ReadFull(channel, payload); err != nil {
			return err
		}
		answer := strings.Join(os.Args[1:len(os.Args)-1], " ") + "|" + dir + "|" + string(payload)
		frame := binary.NativeEndian.AppendUint32(nil, uint32(4+len(answer)))
		frame = append(append(frame, header[4:]...), answer...)
		if _, err := channel.Write(frame); err != nil {
			return err
		}
	}
}

// selfAs is the test binary as a program with a role.
func selfAs(t *testing.T, name string) core.Program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return core.Program{Path: self, Env: append(os.Environ(), roleVariable+"="+name, "GORACE=atexit_sleep_ms=0")}
}

func TestProgramsAreWorkersToo(t *testing.T) {
	role(t, "kit")
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	standardError(t)
	plain, other := selfAs(t, "bare"), selfAs(t, "kit")
	plain.Args, plain.Dir = []string{"one", "two three"}, dir
	other.Reports = true
	g := kit(&core.Group{Workers: 1, Programs: []core.Program{plain, other}, Heartbeat: time.Second, StartTimeout: deadline})
	answers := make(chan string, 10)
	g.Handle(echo, core.Handlers{Master: func(from *core.Worker, payload []byte) {
		at := "worker"
		if from.Program() != nil {
			at = "program"
		}
		answers <- at + strconv.Itoa(from.Index()) + " " + string(payload)
	}})
	workers, events, _ := begin(t, g)
	want := []string{"program0 one two three|" + dir + "|hello", "program1 hello", "worker0 hello"}
	answered := func() {
		t.Helper()
		if err := g.Broadcast(echo, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		var got []string
		for range want {
			got = append(got, receive(t, answers, "an answer"))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("the answers are %q, want %q", got, want)
		}
	}
	answered()
	running := g.Running()
	if len(running) != 3 || running[0].Program() != nil || running[1].Program() != &g.Programs[0] || running[2].Program() != &g.Programs[1] ||
		!strings.HasPrefix(running[1].String(), "program 0 ("+plain.Path+", pid ") {
		t.Errorf("running are %v", running)
	}
	if got, err := sum.Do(short(t), running[2], []int{1, 2}); got != 3 || err != nil {
		t.Errorf("a call to a program: %d, %v", got, err)
	}
	signalTo(t, workers[0], 9)
	signalTo(t, workers[1], 9)
	signalTo(t, workers[2], 9)
	for range 3 {
		await(t, events, core.Ready)
	}
	answered()
	if err := g.Restart(short(t)); err != nil {
		t.Error(err)
	}
	answered()
	for len(events) > 0 {
		<-events
	}
	time.Sleep(2500 * time.Millisecond) // a program that reports gives signs of life, and one that does not needs none
	for len(events) > 0 {
		t.Errorf("there was the event %v", (<-events).Kind)
	}
	if err := stuck.Send(g.Running()[2], true); err != nil {
		t.Fatal(err)
	}
	if e := await(t, events, core.Hung); e.Program != &g.Programs[1] {
		t.Errorf("%v hangs", e.Worker)
	}
	await(t, events, core.Ready)
	answered()
}

func TestAProgramThatRunsOnceIsNotStartedAgain(t *testing.T) {
	role(t, "kit")
	program := selfAs(t, "once")
	program.Once = true
	g := kit(&core.Group{Workers: 1, Programs: []core.Program{program}})
	var events []core.EventKind
	ended, ready := make(chan fork.Status, 10), make(chan bool, 10)
	g.Observe = func(e core.Event) {
		if e.Program != nil {
			events = append(events, e.Kind)
		}
		switch {
		case e.Program == nil && e.Kind == core.Ready:
			ready <- true
		case e.Program != nil && e.Kind == core.Exited:
			ended <- e.Status
		}
	}
	stop := run(t, g)
	if status := receive(t, ended, "the end of the program"); status != (fork.Status{Known: true}) {
		t.Errorf("the program %v", status)
	}
	receive(t, ready, "the worker")
	if err := g.Restart(short(t)); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if !slices.Equal(events, []core.EventKind{core.Started, core.Ready, core.Exited}) {
		t.Errorf("the events of the program were %v", events)
	}
}

func TestAProgramIsFoundFromTheMastersDirectory(t *testing.T) {
	role(t, "kit")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(self))
	program := selfAs(t, "bare")
	program.Path, program.Dir = "./"+filepath.Base(self), t.TempDir()
	g := core.Group{Programs: []core.Program{program}}
	begin(t, &g)
	if n := len(g.Running()); n != 1 {
		t.Errorf("%d workers are running, want the program alone", n)
	}
}
