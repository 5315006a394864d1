package core_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"melon/core"
	"melon/core/fork"
)

func TestStatsAreExact(t *testing.T) {
	role(t, "kit")
	const messages, size = 1000, 100
	const header, control = 8, 9
	back := make(chan bool, messages)
	g := kit(&core.Group{Workers: 2, QueueLimit: messages * (size + header)})
	g.Handle(echo, core.Handlers{Master: func(*core.Worker, []byte) {
		time.Sleep(10 * time.Microsecond)
		back <- true
	}})
	g.Handle(numbered, core.Handlers{})
	queued := make(chan core.Stats, 2)
	g.Observe = func(e core.Event) {
		if e.Kind == core.Started && e.Index == 0 { // nothing leaves before a callback returns
			for range messages {
				if err := e.Worker.Send(echo, make([]byte, size)); err != nil {
					t.Error(err)
				}
			}
			queued <- e.Worker.Stats()
		}
	}
	workers, _, stop := begin(t, g)
	all := uint64(messages * (size + header))
	if got, want := <-queued, (core.Stats{MessagesOut: messages, Queued: int(all), QueuedMost: int(all)}); got != want {
		t.Errorf("while all is queued: %+v, want %+v", got, want)
	}
	for range messages {
		receive(t, back, "an echo")
	}
	want := core.Stats{MessagesIn: messages, MessagesOut: messages, BytesIn: all + control, BytesOut: all, QueuedMost: int(all)}
	if got := workers[0].Stats(); got != want {
		t.Errorf("to and from the worker: %+v, want %+v", got, want)
	}
	if got, want := workers[1].Stats(), (core.Stats{BytesIn: control}); got != want {
		t.Errorf("to and from the idle one: %+v, want %+v", got, want)
	}
	seenBy, err := seen.Do(short(t), workers[0], true)
	if err != nil {
		t.Fatal(err)
	}
	request := uint64(header + 8 + len("true"))
	if seenBy.MessagesIn != messages+1 || seenBy.MessagesOut != messages || seenBy.BytesIn != all+request || seenBy.BytesOut != all+control {
		t.Errorf("seen by the worker: %+v", seenBy)
	}
	sums := g.Stats()
	w0, w1 := workers[0].Stats(), workers[1].Stats()
	if sums.MessagesIn != w0.MessagesIn+w1.MessagesIn || sums.BytesIn != w0.BytesIn+w1.BytesIn || sums.Workers != 2 || sums.Starts != 2 ||
		sums.Restarts != 0 || sums.Iterations == 0 || sums.HandlerTime < messages*10*time.Microsecond || sums.HandlerTime > deadline {
		t.Errorf("of the group: %+v", sums)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	after := g.Stats()
	after.HandlerTime, after.Iterations, sums.HandlerTime, sums.Iterations, sums.Workers = 0, 0, 0, 0, 0
	if after != sums {
		t.Errorf("after the end: %+v, want %+v", after, sums)
	}
}

func TestRestartsAreCounted(t *testing.T) {
	role(t, "kit")
	g := kit(&core.Group{Workers: 2})
	workers, events, _ := begin(t, g)
	signalTo(t, workers[0], 9)
	signalTo(t, await(t, events, core.Ready).Worker, 9)
	await(t, events, core.Ready)
	if s := g.Stats(); s.Starts != 4 || s.Restarts != 2 || s.Workers != 2 {
		t.Errorf("%+v", s)
	}
}

// A recorder is a slog.Handler.
type recorder struct {
	mu      sync.Mutex
	records []string
}

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *recorder) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *recorder) WithGroup(string) slog.Handler            { return r }
func (r *recorder) Handle(_ context.Context, record slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	line := record.Level.String() + " " + record.Message
	record.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "pid", "lived", "wait":
			line += " " + a.Key
		default:
			line += " " + a.String()
		}
		return true
	})
	r.records = append(r.records, line)
	return nil
}

func TestEventsAndRecordsComeInOrder(t *testing.T) {
	role(t, "kit")
	standardError(t)
	log := new(recorder)
	g := kit(&core.Group{Workers: 1, Heartbeat: 400 * time.Millisecond, Logger: slog.New(log), KillTimeout: deadline})
	var mu sync.Mutex
	var kinds []string
	var first *core.Worker
	g.Observe = func(e core.Event) {
		mu.Lock()
		defer mu.Unlock()
		kinds = append(kinds, e.Kind.String())
		switch e.Kind {
		case core.Restarting:
			if e.Worker != nil {
				t.Errorf("%v is restarting", e.Worker)
			}
		case core.Draining:
			if slices.Contains(g.Running(), e.Worker) {
				t.Errorf("%v was asked to end and is running", e.Worker)
			}
		case core.Exited:
			if e.Lived <= 0 || slices.Contains(g.Running(), e.Worker) {
				t.Errorf("%v lived %v", e.Worker, e.Lived)
			}
		}
		if first == nil {
			first = e.Worker
		}
	}
	workers, events, stop := begin(t, g)
	if workers[0] != first {
		t.Errorf("%v was started, %v is ready", first, workers[0])
	}
	signalTo(t, workers[0], syscall.SIGKILL)
	w := await(t, events, core.Ready).Worker
	if err := stuck.Send(w, true); err != nil {
		t.Fatal(err)
	}
	await(t, events, core.Ready)
	if err := stop(); err != nil {
		t.Error(err)
	}
	start := []string{"DEBUG core: worker started worker=0 pid", "DEBUG core: worker is ready worker=0 pid"}
	again := "WARN core: another worker will take its place worker=0 wait"
	want := slices.Concat(start,
		[]string{"WARN core: worker ended worker=0 pid status=was killed by signal 9 (killed) lived", again}, start,
		[]string{"ERROR core: worker gives no sign of life, and is sent SIGABRT worker=0 pid",
			"WARN core: worker ended worker=0 pid status=exited with status 2 lived", again}, start,
		[]string{"DEBUG core: worker was asked to end worker=0 pid", "DEBUG core: worker ended worker=0 pid status=exited with status 0 lived"})
	if !slices.Equal(log.records, want) {
		t.Errorf("the records are\n%s\nwant\n%s", strings.Join(log.records, "\n"), strings.Join(want, "\n"))
	}
	var logged []string
	for _, record := range log.records {
		_, text, _ := strings.Cut(record, " core: ")
		text, _, _ = strings.Cut(text, " worker=")
		logged = append(logged, text)
	}
	if !slices.Equal(kinds, logged) {
		t.Errorf("the events were %q, and the records %q", kinds, logged)
	}
}

func TestEveryKindOfEventHasWords(t *testing.T) {
	words := map[string]bool{}
	for kind := core.Started; kind <= core.BudgetSpent; kind++ {
		words[kind.String()] = true
		if strings.HasPrefix(kind.String(), "event ") {
			t.Errorf("kind %d has no words", uint8(kind))
		}
	}
	if len(words) != int(core.BudgetSpent) || core.EventKind(99).String() != "event 99" {
		t.Errorf("the words are %v", words)
	}
	e := core.BudgetError{Budget: fork.Budget{Failures: 1, Within: time.Second}, Program: &core.Program{Path: "p"}, Index: 2,
		Status: fork.Status{Known: true, Signal: syscall.SIGKILL}}
	if want := "core: workers failed more than 1 times in 1s; the last one, program 2 (p), was killed by signal 9 (killed)"; fmt.Sprint(&e) != want {
		t.Errorf("%v, want %s", &e, want)
	}
}
