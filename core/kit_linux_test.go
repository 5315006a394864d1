package core_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
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
)

// The messages and calls of the worker called kit, which does what it is told.

type point struct{ X, Y int }

// rot is a codec of a program's own.
type rot struct{}

func (rot) Marshal(v any) ([]byte, error) {
	if v.(string) == "unspeakable" {
		return nil, errUnspeakable
	}
	return []byte(turn(v.(string))), nil
}

func (rot) Unmarshal(data []byte, v any) error {
	*v.(*string) = turn(string(data))
	return nil
}

func turn(s string) string {
	return strings.Map(func(r rune) rune { return r ^ 1 }, s)
}

var errUnspeakable = errors.New("this cannot be said")

var (
	asJSON   = core.Message[point]{Type: 20}
	asGob    = core.Message[map[string]point]{Type: 21, Codec: core.Gob}
	asBinary = core.Message[time.Time]{Type: 22, Codec: core.Binary}
	asURL    = core.Message[url.URL]{Type: 23, Codec: core.Binary} // with methods of its pointer
	asURLPtr = core.Message[*url.URL]{Type: 24, Codec: core.Binary}
	asRot    = core.Message[string]{Type: 25, Codec: rot{}}
	stuck    = core.Message[bool]{Type: 26}

	sum  = core.Call[[]int, int]{Type: 30}
	tell = core.Call[string, string]{Type: 31}
	seen = core.Call[bool, core.Stats]{Type: 32}
)

func init() {
	programs["kit"] = func() error {
		var g core.Group
		g.MaxCalls, _ = strconv.Atoi(os.Getenv("CORE_TEST_MAX_CALLS"))
		if limit, err := strconv.Atoi(os.Getenv("CORE_TEST_MAX_PAYLOAD")); err == nil {
			g.MaxPayload = uint32(limit)
		}
		return kit(&g).Run(context.Background())
	}
}

func back[T any](g *core.Group, m core.Message[T]) {
	m.HandleWorker(g, func(from *core.Master, v T) {
		if err := m.Send(from, v); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	})
}

// kit describes the worker.
func kit(g *core.Group) *core.Group {
	back(g, asJSON)
	back(g, asGob)
	back(g, asBinary)
	back(g, asURL)
	back(g, asURLPtr)
	back(g, asRot)
	stuck.HandleWorker(g, func(*core.Master, bool) { stuckInACallback() })
	g.Handle(echo, core.Handlers{Worker: func(m *core.Master, payload []byte) {
		if err := m.Send(echo, payload); err != nil {
			fmt.Fprintln(os.Stderr, "echo:", err)
		}
	}})
	sum.HandleWorker(g, func(_ context.Context, _ *core.Master, terms []int) (total int, _ error) {
		for _, n := range terms {
			total += n
		}
		return total, nil
	})
	seen.HandleWorker(g, func(_ context.Context, from *core.Master, _ bool) (core.Stats, error) { return from.Stats(), nil })
	var cancelled atomic.Int64
	tell.HandleWorker(g, func(ctx context.Context, from *core.Master, what string) (string, error) {
		what, rest, _ := strings.Cut(what, " ")
		switch what {
		case "sleep":
			d, err := time.ParseDuration(rest)
			time.Sleep(d)
			return "slept", err
		case "fail":
			return "", fmt.Errorf("failed as asked: %s", rest)
		case "large":
			return strings.Repeat("x", 1<<20), nil
		case "block":
			<-ctx.Done()
			cancelled.Add(1)
			return "", ctx.Err()
		case "cancelled":
			return fmt.Sprint(cancelled.Load()), nil
		case "ask": // the master, while it waits for the answer
			return tell.Do(ctx, from, rest)
		case "unregistered":
			_, err := core.Call[int, int]{Type: 99}.Do(ctx, from, 1)
			return "", err
		case "exit":
			os.Exit(4)
		}
		return "", fmt.Errorf("unknown: %s", what)
	})
	return g
}

func stuckInACallback() {
	for {
		time.Sleep(time.Hour)
	}
}

// watch adds a channel of all events to those who observe the group.
func watch(g *core.Group) <-chan core.Event {
	events, before := make(chan core.Event, 10000), g.Observe
	g.Observe = func(e core.Event) {
		if before != nil {
			before(e)
		}
		events <- e
	}
	return events
}

// await returns the next event of a kind.
func await(t *testing.T, events <-chan core.Event, kind core.EventKind) core.Event {
	t.Helper()
	for {
		if e := receive(t, events, kind.String()); e.Kind == kind {
			return e
		}
	}
}

// begin runs a group, and returns its workers when all are ready.
func begin(t *testing.T, g *core.Group) (workers []*core.Worker, events <-chan core.Event, stop func() error) {
	t.Helper()
	events = watch(g)
	stop = run(t, g)
	for range g.Workers + len(g.Programs) {
		workers = append(workers, await(t, events, core.Ready).Worker)
	}
	slices.SortFunc(workers, func(a, b *core.Worker) int { return a.Index() - b.Index() })
	return workers, events, stop
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for give := time.Now().Add(deadline); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(give) {
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}

// standardError collects what is written to descriptor 2, by workers too, until the test ends.
func standardError(t *testing.T) (text func() string) {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "stderr")
	if err != nil {
		t.Fatal(err)
	}
	before, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Dup2(int(file.Fd()), 2); err != nil {
		t.Fatal(err)
	}
	restore := sync.OnceFunc(func() {
		_ = unix.Dup2(before, 2)
		_ = unix.Close(before)
		_ = file.Close()
	})
	t.Cleanup(restore)
	return func() string {
		text, err := os.ReadFile(file.Name())
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
}

func signalTo(t *testing.T, w *core.Worker, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(w.PID(), signal); err != nil {
		t.Errorf("%v: %v", w, err)
	}
}
