package core_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"melon/core"
	"melon/core/ipc"
)

func short(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	return ctx
}

var greedyCall = core.Call[string, string]{Type: 33, Codec: rot{}}

func init() { programs["greedy"] = greedy }

// greedy is a worker that knows nothing of this package. It sends requests, large ones first and small ones when a file is
// gone, and reads nothing.
func greedy() error {
	fd, err := strconv.Atoi(os.Args[len(os.Args)-1])
	if err != nil {
		return err
	}
	channel := os.NewFile(uintptr(fd), "channel")
	request := func(id uint32, body string) {
		payload := binary.NativeEndian.AppendUint32(nil, id)
		payload = append(append(payload, 0, 0, 0, 0), body...) // 0: a request
		if _, err := channel.Write(ipc.AppendFrame(nil, greedyCall.Type, payload)); err != nil {
			os.Exit(1)
		}
	}
	for id := range uint32(greedyCalls) {
		request(id, strings.Repeat("x", 1<<20))
	}
	_, _ = channel.Write(ipc.AppendFrame(nil, last, nil))
	for present(os.Getenv("CORE_TEST_FILE")) {
		time.Sleep(time.Millisecond)
	}
	for id := range uint32(greedyCalls) {
		request(greedyCalls+id, "")
	}
	stuckInACallback()
	return nil
}

const greedyCalls = 64

func TestCallsOfOneWorkerHoldABoundedAmountOfMemory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "first requests")
	t.Setenv("CORE_TEST_FILE", file)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const most = 8
	g := core.Group{Programs: []core.Program{selfAs(t, "greedy")}, MaxCallBytes: most << 20, StopTimeout: 50 * time.Millisecond}
	var large, small atomic.Int64
	asked, free := make(chan bool, 1), make(chan bool)
	reply := strings.Repeat("y", 1<<20)
	greedyCall.HandleMaster(&g, func(_ context.Context, _ *core.Worker, request string) (string, error) {
		if request == "" {
			small.Add(1)
			return reply, nil
		}
		large.Add(1)
		<-free
		return "", nil
	})
	g.Handle(last, core.Handlers{Master: func(*core.Worker, []byte) { asked <- true }})
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc >> 20
	}
	before := heap()
	begin(t, &g)
	receive(t, asked, "the requests")
	eventually(t, "the requests that are accepted are handled", func() bool { return large.Load() >= most })
	if n := large.Load(); n != most {
		t.Errorf("%d requests of 1 MiB are handled at the same time, want %d", n, most)
	}
	close(free)
	eventually(t, "all requests are answered", func() bool { return g.Stats().MessagesOut == greedyCalls })
	_ = os.Remove(file)
	eventually(t, "the small requests are handled", func() bool { return small.Load() == greedyCalls })
	eventually(t, "their replies hold little memory", func() bool { return heap() < before+greedyCalls/2 })
}

func TestThousandsOfCallsAtOnceGetTheirOwnReplies(t *testing.T) {
	role(t, "kit")
	const calls = 3000
	t.Setenv("CORE_TEST_MAX_CALLS", fmt.Sprint(calls))
	g := kit(&core.Group{Workers: 2})
	workers, _, _ := begin(t, g)
	var all sync.WaitGroup
	for n := range calls {
		all.Go(func() {
			if got, err := sum.Do(short(t), workers[n%2], []int{n, 1, 2}); got != n+3 || err != nil {
				t.Errorf("the sum of %d, 1 and 2 is %d, %v", n, got, err)
			}
		})
	}
	all.Wait()
}

func TestCallsTheOtherWay(t *testing.T) {
	role(t, "kit")
	g := kit(&core.Group{Workers: 2})
	tell.HandleMaster(g, func(_ context.Context, from *core.Worker, what string) (string, error) {
		if what == "fail" {
			return "", errors.New("no")
		}
		return fmt.Sprint(from.Index(), " ", what), nil
	})
	workers, _, _ := begin(t, g)
	var all sync.WaitGroup
	for n := range 500 {
		all.Go(func() {
			want := fmt.Sprint(n%2, " ", n)
			if got, err := tell.Do(short(t), workers[n%2], fmt.Sprint("ask ", n)); got != want || err != nil {
				t.Errorf("the answer is %q, %v, want %q", got, err, want)
			}
		})
	}
	all.Wait()
	if _, err := tell.Do(short(t), workers[0], "ask fail"); err == nil || strings.Count(err.Error(), "answers: ") != 2 {
		t.Errorf("an error from the master's handler, by the worker's: %v", err)
	}
}

func TestFailuresOfCalls(t *testing.T) {
	role(t, "kit")
	t.Setenv("CORE_TEST_MAX_PAYLOAD", "1000")
	g := kit(&core.Group{Workers: 1, MaxPayload: 1000})
	workers, _, _ := begin(t, g)
	w := workers[0]
	remote := func(what, request, text string) {
		t.Helper()
		var e *core.RemoteError
		if _, err := tell.Do(short(t), w, request); !errors.As(err, &e) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", what, err)
		}
	}
	remote("the handler's error", "fail so", "failed as asked: so")
	remote("a reply that is too large", "large", "larger than Group.MaxPayload")
	remote("no handler in the master", "ask x", "there is no handler for this request")
	remote("a call that was not registered", "unregistered", "not that of a call")
	if _, err := tell.Do(short(t), w, strings.Repeat("x", 1000)); !errors.Is(err, core.ErrTooLarge) {
		t.Errorf("a request that is too large: %v", err)
	}
	if _, err := (core.Call[int, int]{Type: 98}).Do(short(t), w, 1); !errors.Is(err, core.ErrNoCall) {
		t.Errorf("a call without handlers: %v", err)
	}
	if _, err := (core.Call[bool, string]{Type: tell.Type}).Do(short(t), w, true); err == nil || !strings.Contains(err.Error(), "cannot decode") {
		t.Errorf("a request that cannot be decoded: %v", err)
	}
	if _, err := (core.Call[string, int]{Type: tell.Type}).Do(short(t), w, "cancelled"); err == nil || !strings.Contains(err.Error(), "cannot decode") {
		t.Errorf("a reply that cannot be decoded: %v", err)
	}
}

// TestAFailureWithALongText fails if an error whose text is larger than a message may be leaves the caller waiting.
func TestAFailureWithALongText(t *testing.T) {
	role(t, "kit")
	t.Setenv("CORE_TEST_MAX_PAYLOAD", "3000")
	g := kit(&core.Group{Workers: 1, MaxPayload: 3000})
	workers, _, _ := begin(t, g)
	text := strings.Repeat("ü", 1490) // with what the handler says before it, too much
	_, err := tell.Do(short(t), workers[0], "fail "+text)
	if err == nil || !strings.Contains(err.Error(), text[:2800]) {
		t.Errorf("the error is %.100v", err)
	}
}

func TestCallsEndWithTheirContext(t *testing.T) {
	role(t, "kit")
	g := kit(&core.Group{Workers: 1})
	workers, _, _ := begin(t, g)
	w := workers[0]
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	before := w.Stats().MessagesOut
	if _, err := tell.Do(ended, w, "block"); !errors.Is(err, context.Canceled) || w.Stats().MessagesOut != before {
		t.Errorf("a call with a context that has ended: %v", err)
	}
	timeout, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := tell.Do(timeout, w, "block"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call that takes too long: %v", err)
	}
	later, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 2)
	tell.Go(later, w, "block", func(_ string, err error) { done <- err })
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := receive(t, done, "Go"); !errors.Is(err, context.Canceled) {
		t.Errorf("a call by Go that was cancelled: %v", err)
	}
	eventually(t, "the handlers see that they were cancelled", func() bool {
		n, err := tell.Do(short(t), w, "cancelled")
		if err != nil {
			t.Fatal(err)
		}
		return n == "2"
	})
	if len(done) != 0 {
		t.Error("done was called twice")
	}
}

func TestCallsEndWithTheOtherProcess(t *testing.T) {
	role(t, "kit")
	g := kit(&core.Group{Workers: 1})
	workers, events, _ := begin(t, g)
	errs := make(chan error, 200)
	for n := range 100 {
		go func() {
			_, err := tell.Do(short(t), workers[0], "block")
			errs <- err
		}()
		if n == 50 {
			eventually(t, "calls are under way", func() bool { return workers[0].Stats().MessagesOut > 20 })
		}
	}
	tell.Go(short(t), workers[0], "block", func(_ string, err error) { errs <- err })
	signalTo(t, workers[0], syscall.SIGKILL)
	for range 101 {
		if err := receive(t, errs, "a call"); !errors.Is(err, core.ErrClosed) {
			t.Errorf("a call to a worker that was killed: %v", err)
		}
	}
	again := await(t, events, core.Ready).Worker
	if _, err := tell.Do(short(t), again, "exit"); !errors.Is(err, core.ErrClosed) {
		t.Errorf("a call that ends the worker: %v", err)
	}
	if got, err := sum.Do(short(t), await(t, events, core.Ready).Worker, []int{1, 2}); got != 3 || err != nil {
		t.Errorf("a call to the one in its place: %d, %v", got, err)
	}
}

func TestRequestsThatAreBeingHandledAreAnsweredBeforeTheEnd(t *testing.T) {
	role(t, "kit")
	g := kit(&core.Group{Workers: 1})
	workers, _, stop := begin(t, g)
	replies := make(chan string, 10)
	for range 10 {
		go func() {
			reply, err := tell.Do(short(t), workers[0], "sleep 300ms")
			replies <- fmt.Sprint(reply, err)
		}()
	}
	eventually(t, "the requests are sent", func() bool { return workers[0].Stats().BytesOut >= 10*(16+13) })
	if err := stop(); err != nil {
		t.Error(err)
	}
	for range 10 {
		if reply := receive(t, replies, "a reply"); reply != "slept<nil>" {
			t.Errorf("the reply is %s", reply)
		}
	}
	if _, err := tell.Do(short(t), workers[0], "cancelled"); !errors.Is(err, core.ErrClosed) {
		t.Errorf("Do after Run has returned: %v", err)
	}
	done := make(chan error, 1)
	tell.Go(context.Background(), workers[0], "cancelled", func(_ string, err error) { done <- err })
	if err := receive(t, done, "Go after Run has returned"); !errors.Is(err, core.ErrClosed) {
		t.Errorf("Go after Run has returned: %v", err)
	}
}

func TestRequestsThatAreNeverAnsweredEndWithTheGroup(t *testing.T) {
	role(t, "kit")
	g := kit(&core.Group{Workers: 1, StopTimeout: 100 * time.Millisecond})
	workers, _, stop := begin(t, g)
	errs := make(chan error, 1)
	go func() {
		_, err := tell.Do(short(t), workers[0], "block")
		errs <- err
	}()
	eventually(t, "the request is sent", func() bool { return workers[0].Stats().BytesOut >= 16+7 })
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := receive(t, errs, "the call"); !errors.Is(err, core.ErrClosed) {
		t.Errorf("the call returned %v", err)
	}
}

func TestMoreCallsThanMaxCallsAreRefused(t *testing.T) {
	role(t, "kit")
	t.Setenv("CORE_TEST_MAX_CALLS", "2")
	g := kit(&core.Group{Workers: 1})
	workers, _, _ := begin(t, g)
	w := workers[0]
	ctx, cancel := context.WithCancel(context.Background())
	var blocked sync.WaitGroup
	for range 2 {
		blocked.Go(func() { _, _ = tell.Do(ctx, w, "block") })
	}
	eventually(t, "both requests are sent", func() bool { return w.Stats().MessagesOut == 2 })
	if _, err := tell.Do(short(t), w, "cancelled"); !errors.Is(err, core.ErrBusy) {
		t.Errorf("one call too many: %v", err)
	}
	cancel()
	blocked.Wait()
	eventually(t, "there is room again", func() bool {
		_, err := tell.Do(short(t), w, "cancelled")
		return err == nil
	})
}

// TestAReplyMakesRoomForTheNextRequest fails if a caller that has its reply can be told that the handler is still at it.
func TestAReplyMakesRoomForTheNextRequest(t *testing.T) {
	role(t, "kit")
	t.Setenv("CORE_TEST_MAX_CALLS", "1")
	g := kit(&core.Group{Workers: 1})
	workers, _, _ := begin(t, g)
	for n := range 3000 {
		if got, err := sum.Do(short(t), workers[0], []int{n}); got != n || err != nil {
			t.Fatalf("call %d returned %d, %v", n, got, err)
		}
	}
}

func TestCallsFromCallbacks(t *testing.T) {
	role(t, "kit")
	const rounds = 500
	g := kit(&core.Group{Workers: 1})
	done := make(chan error, 1)
	var inCallback atomic.Int64
	guard := func() func() { // callbacks run one after the other
		if n := inCallback.Add(1); n != 1 {
			t.Errorf("%d callbacks run at the same time", n)
		}
		return func() { inCallback.Add(-1) }
	}
	g.Observe = func(e core.Event) {
		defer guard()()
		if e.Kind != core.Ready {
			return
		}
		var next func(total int, err error)
		n := 0
		next = func(total int, err error) {
			defer guard()()
			runtime.Gosched()
			if n++; err != nil || total != n || n == rounds {
				done <- err
				return
			}
			sum.Go(context.Background(), e.Worker, []int{total, 1}, next)
		}
		sum.Go(context.Background(), e.Worker, []int{1}, next)
	}
	run(t, g)
	if err := receive(t, done, "the last reply"); err != nil {
		t.Error(err)
	}
}
