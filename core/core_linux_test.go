package core_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"melon/core"
	"melon/core/event"
	"melon/core/fork"
)

// Message types of the test programs.
const (
	echo uint32 = iota + 1
	numbered
	last
	misbehave
)

// programs are what the test binary can be instead of a test. They run in workers, and where a test needs a master that
// it can kill, in that too.
var programs = map[string]func() error{
	"echo":      func() error { return echoWorker().Run(context.Background()) },
	"stream":    streamWorker,
	"slow":      slowWorker,
	"stubborn":  stubbornWorker,
	"dies":      func() error { os.Exit(3); return nil },
	"misbehave": misbehavingWorker,
	"nested":    nestedWorker,
	"master":    victim,
}

// role makes the workers that this test starts run one of the programs.
func role(t *testing.T, name string) {
	t.Setenv(roleVariable, name)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // or each worker takes a second to end under the race detector
}

// hooks are called upon some events of a group.
type hooks struct {
	started func(w *core.Worker)
	ended   func(w *core.Worker, status fork.Status)
}

// observe adds hooks to those that the group has.
func observe(g *core.Group) *hooks {
	h, before := new(hooks), g.Observe
	g.Observe = func(e core.Event) {
		if before != nil {
			before(e)
		}
		switch {
		case e.Kind == core.Started && h.started != nil:
			h.started(e.Worker)
		case e.Kind == core.Exited && h.ended != nil:
			h.ended(e.Worker, e.Status)
		}
	}
	return h
}

const deadline = 60 * time.Second

// run runs a group in the background. The test ends when Run has returned, and fails if that left anything behind.
func run(t *testing.T, g *core.Group) (stop func() error) {
	t.Helper()
	if g.Logger == nil {
		g.Logger = slog.New(slog.DiscardHandler)
	}
	before := descriptors(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(deadline):
			t.Errorf("Run does not return after its context has ended")
			return nil
		}
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run returned %v", err)
		}
		if children := children(t, os.Getpid()); len(children) != 0 {
			t.Errorf("Run left the processes %v", children)
		}
		// What the group had of listeners and files is closed.
		left := slices.DeleteFunc(descriptors(t), func(d string) bool { return slices.Contains(before, d) })
		if len(left) != 0 {
			t.Errorf("Run left descriptors: there were %v, and now there are %v, too", before, left)
		}
	})
	return stop
}

// descriptors leaves those out that are the runtime's own, which come when they are first needed.
func descriptors(t *testing.T) []string {
	t.Helper()
	return slices.DeleteFunc(allDescriptors(t), func(d string) bool { return strings.Contains(d, " anon_inode:[event") })
}

func allDescriptors(t *testing.T) (list []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		target, err := os.Readlink("/proc/self/fd/" + entry.Name())
		if err == nil { // ReadDir's own is gone by now
			list = append(list, entry.Name()+" "+target)
		}
	}
	return list
}

// children returns the child processes of pid, zombies included.
func children(t *testing.T, pid int) (list []int) {
	t.Helper()
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			child, _ := strconv.Atoi(strings.Split(path, "/")[2])
			list = append(list, child)
		}
	}
	return list
}

func receive[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(deadline):
		t.Fatalf("timed out waiting for %s", what)
	}
	return v
}

func echoWorker() *core.Group {
	g := new(core.Group)
	g.Handle(echo, core.Handlers{Worker: func(m *core.Master, payload []byte) {
		if err := m.Send(echo, payload); err != nil {
			fmt.Fprintln(os.Stderr, "echo:", err)
		}
	}})
	return g
}

// message n of a stream has a size of its own, up to 4 MiB, and bytes that say what they belong to.
func message(seed, n uint64) []byte {
	source := rand.NewChaCha8([32]byte{byte(seed), byte(n), byte(n >> 8)})
	random := rand.New(source)
	size := random.IntN(300)
	switch kind := random.IntN(30); {
	case n == 10:
		size = 4 << 20
	case kind == 0:
		size = random.IntN(4 << 20)
	case kind < 6:
		size = random.IntN(100 << 10)
	case kind < 10:
		size = 0
	}
	payload := make([]byte, size)
	_, _ = source.Read(payload)
	return payload
}

// A checker checks that a stream arrives in order and complete.
type checker struct {
	seed, next uint64
	err        error
}

func (c *checker) take(payload []byte) {
	if want := message(c.seed, c.next); !bytes.Equal(want, payload) && c.err == nil {
		c.err = fmt.Errorf("message %d of stream %d has %d bytes, want %d with the right content", c.next, c.seed, len(payload),
			len(want))
	}
	c.next++
}

const streamLength = 200

// streamWorker sends a stream of its own from a goroutine, while it checks that of the master.
func streamWorker() error {
	var g core.Group
	sent := make(chan error, 1)
	var in checker
	g.Attached = func(m *core.Master) error {
		in.seed = uint64(m.Index()) + 100
		go func() {
			for n := range uint64(streamLength) {
				if err := m.SendContext(context.Background(), numbered, message(uint64(m.Index())+200, n)); err != nil {
					sent <- err
					return
				}
			}
			sent <- nil
		}()
		return nil
	}
	g.Handle(numbered, core.Handlers{Worker: func(m *core.Master, payload []byte) { in.take(payload) }})
	g.Handle(last, core.Handlers{Worker: func(m *core.Master, payload []byte) {
		go func() { // the stream first
			err := errors.Join(<-sent, in.err)
			_ = m.SendContext(context.Background(), last, fmt.Appendf(nil, "%d %v", in.next, err))
		}()
	}})
	return g.Run(context.Background())
}

func TestMessagesArriveCompleteAndInOrderBothWaysAtOnce(t *testing.T) {
	role(t, "stream")
	const workers = 2
	reports := make(chan string, workers)
	in := make(map[int]*checker)
	var handled atomic.Int64
	g := core.Group{Workers: workers}
	observe(&g).started = func(w *core.Worker) {
		in[w.Index()] = &checker{seed: uint64(w.Index()) + 200}
		go func() {
			for n := range uint64(streamLength) {
				if err := w.SendContext(context.Background(), numbered, message(uint64(w.Index())+100, n)); err != nil {
					t.Errorf("message %d to %v: %v", n, w, err)
					return
				}
			}
			if err := w.SendContext(context.Background(), last, nil); err != nil {
				t.Error(err)
			}
		}()
	}
	observe(&g).ended = func(w *core.Worker, status fork.Status) {
		if status != (fork.Status{Known: true}) {
			t.Errorf("%v %v", w, status)
		}
	}
	g.Handle(numbered, core.Handlers{Master: func(w *core.Worker, payload []byte) {
		in[w.Index()].take(payload)
		handled.Add(1)
	}})
	g.Handle(last, core.Handlers{Master: func(w *core.Worker, payload []byte) {
		c := in[w.Index()]
		reports <- fmt.Sprintf("%s; %d %v", payload, c.next, c.err)
	}})
	run(t, &g)
	for range workers {
		want := fmt.Sprintf("%d <nil>; %[1]d <nil>", streamLength)
		var got string
		for before := int64(-1); got == ""; {
			select {
			case got = <-reports:
			case <-time.After(deadline / 2): // a busy machine takes its time, but it gets on
				if before == handled.Load() {
					t.Fatalf("the streams stand still after %d messages", before)
				}
				before = handled.Load()
			}
		}
		if got != want {
			t.Errorf("the ends of both streams: got %q, want %q", got, want)
		}
	}
}

func TestKilledWorkersAreReplacedUnderTraffic(t *testing.T) {
	role(t, "echo")
	const kills = 12
	started := make(chan *core.Worker, 100)
	var echoed atomic.Int64
	var ended []fork.Status
	g := core.Group{Workers: 3, Backoff: fork.Backoff{Least: time.Millisecond, Most: 5 * time.Millisecond}}
	payload := make([]byte, 3000)
	observe(&g).started = func(w *core.Worker) {
		for range 20 { // stay under way
			_ = w.Send(echo, payload)
		}
		started <- w
	}
	observe(&g).ended = func(w *core.Worker, status fork.Status) {
		ended = append(ended, status)
		if err := w.Send(echo, nil); !errors.Is(err, core.ErrClosed) {
			t.Errorf("Send to a worker that has ended returned %v", err)
		}
	}
	g.Handle(echo, core.Handlers{Master: func(w *core.Worker, received []byte) {
		if len(received) != len(payload) {
			t.Errorf("an echo has %d bytes, want %d", len(received), len(payload))
		}
		echoed.Add(1)
		if err := w.Send(echo, received); err != nil && !errors.Is(err, core.ErrQueueFull) && !errors.Is(err, core.ErrClosed) {
			t.Error(err)
		}
	}})
	stop := run(t, &g)
	for range kills {
		w := receive(t, started, "a worker")
		for count := echoed.Load(); echoed.Load() < count+50; {
			time.Sleep(time.Millisecond)
		}
		if err := syscall.Kill(w.PID(), syscall.SIGKILL); err != nil {
			t.Errorf("%v: %v", w, err)
		}
	}
	for range 3 {
		receive(t, started, "the replacements")
	}
	if n := len(g.Running()); n != 3 {
		t.Errorf("%d workers are running, want 3", n)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	killed := 0
	for _, status := range ended {
		if status == (fork.Status{Known: true, Signal: syscall.SIGKILL}) {
			killed++
		}
	}
	if killed != kills || len(ended) != kills+3 {
		t.Errorf("%d of %d ends were by SIGKILL, want %d of %d", killed, len(ended), kills, kills+3)
	}
}

// victim is a master with traffic that a test kills.
func victim() error {
	if core.IsWorker() {
		return echoWorker().Run(context.Background())
	}
	g := core.Group{Workers: 4}
	var once sync.Once
	observe(&g).started = func(w *core.Worker) { _ = w.Send(echo, make([]byte, 100<<10)) }
	g.Handle(echo, core.Handlers{Master: func(w *core.Worker, payload []byte) {
		once.Do(func() {
			for _, w := range g.Running() {
				fmt.Println(w.PID())
			}
		})
		_ = w.Send(echo, payload)
	}})
	return g.Run(context.Background())
}

// adoptOrphans makes the test the parent of the orphans of what it starts, so that it can reap them and see how they ended.
func adoptOrphans(t *testing.T) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) })
}

func TestNoWorkerOutlivesItsMaster(t *testing.T) {
	role(t, "master")
	adoptOrphans(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	master := exec.Command(self)
	master.Stderr = os.Stderr
	out, err := master.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(deadline, func() { _ = master.Process.Kill() })
	defer timer.Stop()
	defer master.Wait()
	defer master.Process.Kill()
	workers := make([]int, 4)
	for i := range workers {
		if _, err := fmt.Fscanln(out, &workers[i]); err != nil {
			t.Fatalf("reading the pids of the workers: %v", err)
		}
	}
	killed := time.Now()
	_ = master.Process.Kill()
	_ = master.Wait()
	for _, pid := range workers {
		for {
			var status syscall.WaitStatus
			got, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
			if got == pid {
				if status.ExitStatus() != 127 {
					t.Errorf("worker %d ended with %#x, want status 127", pid, status)
				}
				break
			}
			if late := time.Since(killed); err != nil || late > time.Second {
				t.Errorf("worker %d: %v after %v", pid, err, late)
				_ = syscall.Kill(pid, syscall.SIGKILL)
				_, _ = syscall.Wait4(pid, nil, 0, nil)
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// slowWorker takes its time for each message, and answers the last one with how many there were.
func slowWorker() error {
	var g core.Group
	var count uint32
	g.Handle(numbered, core.Handlers{Worker: func(m *core.Master, payload []byte) {
		time.Sleep(time.Millisecond)
		count++
		if err := m.Send(numbered, binary.NativeEndian.AppendUint32(nil, count)); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}})
	return g.Run(context.Background())
}

func TestStopDeliversWhatIsQueuedAndTheAnswers(t *testing.T) {
	role(t, "slow")
	const messages = 200
	queued := make(chan bool, 2)
	answers := make(map[*core.Worker]uint32)
	g := core.Group{Workers: 2}
	observe(&g).started = func(w *core.Worker) {
		for range messages {
			if err := w.Send(numbered, make([]byte, 4000)); err != nil {
				t.Error(err)
			}
		}
		queued <- true
	}
	g.Handle(numbered, core.Handlers{Master: func(w *core.Worker, payload []byte) {
		answers[w]++
		if n := binary.NativeEndian.Uint32(payload); n != answers[w] {
			t.Errorf("%v sent answer %d, want %d", w, n, answers[w])
		}
	}})
	observe(&g).ended = func(w *core.Worker, status fork.Status) {
		if status != (fork.Status{Known: true}) || answers[w] != messages {
			t.Errorf("%v %v after %d answers, want %d", w, status, answers[w], messages)
		}
	}
	stop := run(t, &g)
	receive(t, queued, "the messages")
	receive(t, queued, "the messages")
	if err := stop(); err != nil {
		t.Error(err)
	}
	if len(answers) != 2 {
		t.Errorf("%d workers answered, want 2", len(answers))
	}
}

func TestStopWaitsForWorkersToSendWhatTheyQueued(t *testing.T) {
	role(t, "misbehave")
	const answers = 20
	queued, got := make(chan bool, 1), 0
	g := core.Group{Workers: 1}
	observe(&g).started = func(w *core.Worker) {
		_ = w.Send(misbehave, []byte("answer"))
		queued <- true
	}
	g.Handle(numbered, core.Handlers{Master: func(w *core.Worker, payload []byte) {
		// The worker reads the end of its channel while much of what it queued is not sent yet.
		time.Sleep(10 * time.Millisecond)
		got++
	}})
	stop := run(t, &g)
	receive(t, queued, "the worker")
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got != answers {
		t.Errorf("%d answers came, want %d", got, answers)
	}
}

// stubbornWorker never comes back from a handler, and worker 0 ignores SIGTERM too.
func stubbornWorker() error {
	var g core.Group
	g.Handle(misbehave, core.Handlers{Worker: func(m *core.Master, payload []byte) {
		if m.Index() == 0 {
			signal.Ignore(syscall.SIGTERM)
		}
		// A message would leave after the handler, that is never.
		_ = os.Remove(os.Getenv("CORE_TEST_FILE") + strconv.Itoa(m.Index()))
		select {}
	}})
	// A goroutine that sleeps keeps the runtime from calling this a deadlock.
	go func() {
		for {
			time.Sleep(time.Hour)
		}
	}()
	return g.Run(context.Background())
}

func TestStopEndsWorkersThatDoNotFinish(t *testing.T) {
	role(t, "stubborn")
	file := filepath.Join(t.TempDir(), "stuck")
	t.Setenv("CORE_TEST_FILE", file)
	var mu sync.Mutex
	ended := make(map[int]fork.Status)
	g := core.Group{Workers: 2, StopTimeout: 50 * time.Millisecond}
	for i := range g.Workers {
		if err := os.WriteFile(file+strconv.Itoa(i), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	observe(&g).started = func(w *core.Worker) { _ = w.Send(misbehave, nil) }
	observe(&g).ended = func(w *core.Worker, status fork.Status) {
		mu.Lock()
		defer mu.Unlock()
		ended[w.Index()] = status
	}
	stop := run(t, &g)
	for give := time.Now().Add(deadline); ; time.Sleep(time.Millisecond) {
		if left, _ := filepath.Glob(file + "*"); len(left) == 0 && len(g.Running()) == 2 {
			break
		}
		if time.Now().After(give) {
			t.Fatal("the workers do not get stuck")
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	want := map[int]syscall.Signal{0: syscall.SIGKILL, 1: syscall.SIGTERM}
	for index, signal := range want {
		if ended[index].Signal != signal {
			t.Errorf("worker %d %v, want %v", index, ended[index], signal)
		}
	}
}

func TestSendIsBounded(t *testing.T) {
	role(t, "slow")
	results := make(chan string, 1)
	g := core.Group{Workers: 1, QueueLimit: 10000, MaxPayload: 50000, StopTimeout: 20 * time.Second}
	observe(&g).started = func(w *core.Worker) {
		if err := w.Send(numbered, make([]byte, 50001)); !errors.Is(err, core.ErrTooLarge) {
			t.Errorf("a message past MaxPayload: %v", err)
		}
		sent := 0
		for ; sent < 1000; sent++ {
			if err := w.Send(numbered, make([]byte, 992)); err != nil {
				if !errors.Is(err, core.ErrQueueFull) {
					t.Errorf("a message past QueueLimit: %v", err)
				}
				break
			}
		}
		if sent != 10 {
			t.Errorf("%d messages of 1000 bytes fit into a queue of 10000", sent)
		}
		err := g.Broadcast(numbered, nil)
		var refused *core.SendError
		if !errors.Is(err, core.ErrQueueFull) || !errors.As(err, &refused) || refused.Worker != w {
			t.Errorf("Broadcast past QueueLimit: %v", err)
		}
		ended, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if err := w.SendContext(ended, numbered, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("SendContext past its deadline: %v", err)
		}
		go func() {
			for range 2000 {
				if err := w.SendContext(context.Background(), numbered, make([]byte, 992)); err != nil {
					results <- err.Error()
					return
				}
			}
			results <- "sent"
		}()
	}
	run(t, &g)
	if got := receive(t, results, "SendContext to come through"); got != "sent" {
		t.Error(got)
	}
}

func TestSendContextReturnsWhenTheWorkerDies(t *testing.T) {
	role(t, "stubborn")
	result := make(chan error, 1)
	var once sync.Once
	g := core.Group{Workers: 1}
	observe(&g).started = func(w *core.Worker) {
		once.Do(func() {
			_ = w.Send(misbehave, nil)
			go func() {
				time.AfterFunc(100*time.Millisecond, func() { _ = syscall.Kill(w.PID(), syscall.SIGKILL) })
				for {
					if err := w.SendContext(context.Background(), echo, make([]byte, 100<<10)); err != nil {
						result <- err
						return
					}
				}
			}()
		})
	}
	run(t, &g)
	if err := receive(t, result, "SendContext"); !errors.Is(err, core.ErrClosed) {
		t.Errorf("SendContext to a worker that was killed returned %v", err)
	}
}

func lastWords(n uint64) []byte { return bytes.Repeat([]byte{byte(n)}, 7000) }

// misbehavingWorker does what it is told.
func misbehavingWorker() error {
	var g core.Group
	g.Handle(misbehave, core.Handlers{Worker: func(m *core.Master, payload []byte) {
		switch string(payload) {
		case "panic":
			os.Stderr.Close() // the trace would end up among the test's output
			panic("as asked")
		case "garbage":
			_, _ = unix.Write(channelOf(), []byte{1, 0, 0, 0, 0, 0, 0, 0})
		case "half":
			channel := channelOf()
			_, _ = unix.Write(channel, []byte{100, 0, 0, 0, 1, 0, 0, 0, 'h', 'a', 'l', 'f'})
			_ = unix.Shutdown(channel, unix.SHUT_WR)
			stuckInACallback()
		case "answer":
			for range 20 {
				_ = m.Send(numbered, make([]byte, 50000))
			}
		case "words": // fewer than the kernel takes from a process that does not wait
			for n := range uint64(20) {
				_ = m.Send(numbered, lastWords(n))
			}
			_ = m.Send(9999, nil) // for which there is no handler
			go func() {           // as soon as the kernel has it all
				for m.Stats().Queued > 0 {
					time.Sleep(time.Millisecond)
				}
				os.Exit(5)
			}()
		}
	}})
	return g.Run(context.Background())
}

func TestMisbehavingWorkersAreReplaced(t *testing.T) {
	role(t, "misbehave")
	for what, want := range map[string]fork.Status{
		"panic":   {Known: true, Code: 2},
		"garbage": {Known: true, Code: 127}, // cut off: for the worker, the master is gone
		"words":   {Known: true, Code: 5},
	} {
		t.Run(what, func(t *testing.T) {
			ended := make(chan fork.Status, 10)
			replaced := make(chan bool, 10)
			first := true
			var words []byte
			g := core.Group{Workers: 1}
			observe(&g).started = func(w *core.Worker) {
				if first {
					_ = w.Send(misbehave, []byte(what))
				} else {
					replaced <- true
				}
				first = false
			}
			observe(&g).ended = func(w *core.Worker, status fork.Status) { ended <- status }
			g.Handle(numbered, core.Handlers{Master: func(w *core.Worker, payload []byte) {
				time.Sleep(5 * time.Millisecond) // so that the worker ends before its words are handled
				words = append(words, payload...)
			}})
			stop := run(t, &g)
			if got := receive(t, ended, "the end of the worker"); got != want {
				t.Errorf("the worker %v, want %v", got, want)
			}
			receive(t, replaced, "another worker")
			if err := stop(); err != nil {
				t.Error(err)
			}
			var spoken []byte
			for n := range uint64(20) {
				spoken = append(spoken, lastWords(n)...)
			}
			if what == "words" && !bytes.Equal(words, spoken) {
				t.Errorf("%d bytes came, want %d", len(words), len(spoken))
			}
		})
	}
}

func TestAWorkerThatStopsInTheMiddleOfAMessageIsEnded(t *testing.T) {
	role(t, "misbehave")
	var log bytes.Buffer
	g := core.Group{Workers: 1, StopTimeout: 50 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	workers, events, stop := begin(t, &g)
	if err := workers[0].Send(misbehave, []byte("half")); err != nil {
		t.Fatal(err)
	}
	if e := await(t, events, core.Exited); e.Worker != workers[0] || e.Status.Signal != syscall.SIGTERM {
		t.Errorf("%v %v, want that it was ended", e.Worker, e.Status)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{fmt.Sprint("pid=", workers[0].PID()), "it ended in the middle of a message, of which 12 bytes have come"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, &log)
		}
	}
}

func TestWorkersThatFailAtOnceAreNotRestartedInAStorm(t *testing.T) {
	role(t, "dies")
	starts := make(chan time.Time, 1000)
	g := core.Group{Workers: 1, Backoff: fork.Backoff{Least: 20 * time.Millisecond, Most: time.Second, Jitter: -1}}
	observe(&g).started = func(*core.Worker) { starts <- time.Now() }
	stop := run(t, &g)
	begin := receive(t, starts, "a start")
	var fifth time.Time
	for range 4 {
		fifth = receive(t, starts, "a start")
	}
	// At once, then after 20, 40 and 80 ms.
	if took := fifth.Sub(begin); took < 140*time.Millisecond {
		t.Errorf("five starts took %v", took)
	}
	if err := stop(); err != nil { // while a restart is waited for
		t.Error(err)
	}
}

// nestedWorker tells what happens when a worker runs a group of its own.
func nestedWorker() error {
	var g core.Group
	var first error
	g.Attached = func(m *core.Master) error {
		var nested core.Group
		first = nested.Run(context.Background())
		_ = m.Send(last, fmt.Append(nil, first, "; ", g.Run(context.Background()), "; ", g.Broadcast(1, nil), "; ", core.IsWorker()))
		return nil
	}
	return g.Run(context.Background())
}

func TestRunCalledTwice(t *testing.T) {
	role(t, "nested")
	reports := make(chan string, 1)
	var g core.Group
	g.Workers = 1
	g.Handle(last, core.Handlers{Master: func(w *core.Worker, payload []byte) { reports <- string(payload) }})
	stop := run(t, &g)
	want := fmt.Sprint(core.ErrWorker, "; ", core.ErrRunning, "; ", core.ErrClosed, "; ", true)
	if got := receive(t, reports, "the worker"); got != want {
		t.Errorf("in a worker, Run of a second group, Run of the same, Broadcast and IsWorker returned\n%s\nwant\n%s", got, want)
	}
	if err := g.Run(context.Background()); !errors.Is(err, core.ErrRunning) {
		t.Errorf("a second Run in the master returned %v", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("Handle while Run is running does not panic")
			}
		}()
		g.Handle(1, core.Handlers{})
	}()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := g.Broadcast(1, nil); !errors.Is(err, core.ErrClosed) {
		t.Errorf("Broadcast after Run returned %v", err)
	}
	// A group may run again.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	observe(&g).started = func(*core.Worker) { cancel() }
	if err := g.Run(ctx); err != nil {
		t.Error(err)
	}
}

func TestRunRefusesANegativeNumberOfWorkers(t *testing.T) {
	g := core.Group{Workers: -1}
	if err := g.Run(context.Background()); err == nil {
		t.Error("Run with -1 workers returned nil")
	}
}

func TestBroadcastReachesEveryWorker(t *testing.T) {
	role(t, "echo")
	const workers = 3
	answers := make(chan int, 10)
	started := make(chan bool, workers)
	g := core.Group{Workers: workers}
	observe(&g).started = func(w *core.Worker) { started <- true }
	g.Handle(echo, core.Handlers{Master: func(w *core.Worker, payload []byte) { answers <- w.Index() }})
	run(t, &g)
	for range workers {
		receive(t, started, "a worker")
	}
	if err := g.Broadcast(echo, []byte("x")); err != nil {
		t.Fatal(err)
	}
	got := []int{receive(t, answers, "an echo"), receive(t, answers, "an echo"), receive(t, answers, "an echo")}
	slices.Sort(got)
	if !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("the workers %v answered a broadcast", got)
	}
}

func TestIdleWorkersSleep(t *testing.T) {
	role(t, "echo")
	answers := make(chan bool, 2)
	g := core.Group{Workers: 2}
	observe(&g).started = func(w *core.Worker) { _ = w.Send(echo, nil) }
	g.Handle(echo, core.Handlers{Master: func(*core.Worker, []byte) { answers <- true }})
	run(t, &g)
	receive(t, answers, "an echo")
	receive(t, answers, "an echo")
	switches := func() (total int) {
		for _, w := range g.Running() {
			statuses, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", w.PID()))
			for _, path := range statuses {
				text, _ := os.ReadFile(path)
				for line := range strings.Lines(string(text)) {
					if n, found := strings.CutPrefix(line, "voluntary_ctxt_switches:"); found {
						count, _ := strconv.Atoi(strings.TrimSpace(n))
						total += count
					}
				}
			}
		}
		return total
	}
	time.Sleep(500 * time.Millisecond)
	before := switches()
	time.Sleep(time.Second)
	if n := switches() - before; before == 0 || n > 10 {
		t.Errorf("two idle workers woke %d times in a second (%d times before)", n, before)
	}
}

func TestEndedContextStartsNothing(t *testing.T) {
	role(t, "echo")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	g := core.Group{Workers: 1, Observe: func(core.Event) { t.Error("a worker was started") }}
	if err := g.Run(ctx); err != nil {
		t.Errorf("Run returned %v", err)
	}
}

func TestManyRoundsLeaveNothing(t *testing.T) {
	role(t, "echo")
	goroutines := runtime.NumGoroutine()
	before := descriptors(t)
	for range 10 {
		ctx, cancel := context.WithCancel(context.Background())
		g := core.Group{Workers: 3}
		observe(&g).started = func(w *core.Worker) { _ = w.Send(echo, nil) }
		g.Handle(echo, core.Handlers{Master: func(*core.Worker, []byte) { cancel() }})
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	}
	if after := descriptors(t); !slices.Equal(after, before) {
		t.Errorf("there were %v, and now there are %v", before, after)
	}
	if children := children(t, os.Getpid()); len(children) != 0 {
		t.Errorf("the processes %v are left", children)
	}
	for give := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > goroutines; time.Sleep(time.Millisecond) {
		if time.Now().After(give) {
			t.Fatalf("there were %d goroutines, and now there are %d", goroutines, runtime.NumGoroutine())
		}
	}
}

// A program that closes the descriptors of others is told, and leaves no workers.
func TestRunReturnsWhenItsDescriptorsAreClosed(t *testing.T) {
	role(t, "echo")
	r, w, err := os.Pipe() // the runtime has an epoll instance of its own from here on, if not before
	if err != nil {
		t.Fatal(err)
	}
	_, _ = r.Close(), w.Close()
	instances := func() (fds []int) {
		for _, entry := range allDescriptors(t) {
			if fd, target, _ := strings.Cut(entry, " "); target == "anon_inode:[eventpoll]" {
				n, _ := strconv.Atoi(fd)
				fds = append(fds, n)
			}
		}
		return fds
	}
	before := instances()
	g := core.Group{Workers: 2, Logger: slog.New(slog.DiscardHandler)}
	g.Observe = func(e core.Event) {
		if e.Kind != core.Ready {
			return
		}
		for _, fd := range instances() {
			if !slices.Contains(before, fd) {
				null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
				if err := errors.Join(err, unix.Dup3(null, fd, unix.O_CLOEXEC), unix.Close(null)); err != nil {
					t.Error(err)
				}
			}
		}
	}
	done := make(chan error, 1)
	go func() { done <- g.Run(context.Background()) }()
	var refused *event.WaitError
	if err := receive(t, done, "Run to return"); !errors.As(err, &refused) {
		t.Errorf("Run returned %v", err)
	}
	if children := children(t, os.Getpid()); len(children) != 0 {
		t.Errorf("Run left the processes %v", children)
	}
}
