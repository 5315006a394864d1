package coretest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"melon/core"
	"melon/core/coretest"
	"melon/core/fork"
)

var (
	double = core.Call[int, int]{Type: 1}
	note   = core.Message[string]{Type: 2}
)

func TestWorkersAnswer(t *testing.T) {
	test := coretest.Run(t, func(g *core.Group) error {
		g.Workers = 3
		double.HandleWorker(g, func(_ context.Context, _ *core.Master, n int) (int, error) { return 2 * n, nil })
		return nil
	})
	test.AwaitReady(3)
	var all sync.WaitGroup
	for i := range 300 {
		all.Go(func() {
			w := test.Group().Running()[i%3]
			if got, err := double.Do(context.Background(), w, i); got != 2*i || err != nil {
				t.Errorf("%d doubled is %d, %v", i, got, err)
			}
		})
	}
	all.Wait()
	if err := test.Stop(); err != nil {
		t.Error(err)
	}
	if s := test.Group().Stats(); s.MessagesIn != 300 || s.Starts != 3 {
		t.Errorf("%+v", s)
	}
}

func TestAWorkerThatCrashesIsReplaced(t *testing.T) {
	notes := make(chan string, 10)
	test := coretest.Run(t, func(g *core.Group) error {
		g.Workers = 2
		g.Payload = func(index int) []byte { return fmt.Append(nil, "of ", index) }
		double.HandleWorker(g, func(ctx context.Context, _ *core.Master, _ int) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		note.HandleMaster(g, func(_ *core.Worker, text string) { notes <- text })
		isWorker := g.IsWorker()
		g.Attached = func(m *core.Master) error {
			return note.Send(m, fmt.Sprint(m.Index(), " ", string(m.Payload()), " ", isWorker, " ", core.IsWorker()))
		}
		return nil
	})
	before := test.Worker(1)
	test.AwaitReady(2)
	failed := make(chan error)
	go func() {
		_, err := double.Do(context.Background(), before, 1)
		failed <- err
	}()
	for before.Stats().MessagesOut == 0 {
		runtime.Gosched()
	}
	test.Crash(1)
	if e := test.Await(core.Exited); e.Worker != before || e.Status.Signal != 9 || e.Asked {
		t.Errorf("%+v", e)
	}
	test.Await(core.Restarting)
	test.Await(core.Ready)
	if after := test.Worker(1); after == before || after.PID() <= before.PID() {
		t.Errorf("%v was not replaced: %v", before, after)
	}
	if err := <-failed; !errors.Is(err, core.ErrClosed) {
		t.Errorf("the call to it returned %v", err)
	}
	var got []string
	for range 3 {
		got = append(got, <-notes)
	}
	slices.Sort(got)
	if want := []string{"0 of 0 true false", "1 of 1 true false", "1 of 1 true false"}; !slices.Equal(got, want) {
		t.Errorf("the workers said %q, want %q", got, want)
	}
}

func TestWorkersInherit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	var address string
	test := coretest.Run(t, func(g *core.Group) error {
		g.Workers = 2
		l, err := g.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		f, err := g.File("file", func() (*os.File, error) { return os.Create(path) })
		if err != nil {
			return err
		}
		if !g.IsWorker() {
			address = l.Addr().String()
			return nil
		}
		g.Attached = func(m *core.Master) error {
			fmt.Fprintln(f, "worker", m.Index())
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return // the worker has ended
					}
					fmt.Fprint(c, m.PID() == os.Getpid())
					_ = c.Close()
				}
			}()
			return nil
		}
		return nil
	})
	ask := func() {
		t.Helper()
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if answer, err := io.ReadAll(c); string(answer) != "true" || err != nil {
			t.Errorf("the answer is %q, %v", answer, err)
		}
	}
	test.AwaitReady(2)
	ask()
	test.Crash(0)
	test.Await(core.Exited)
	test.AwaitReady(2)
	for range 20 {
		ask()
	}
	if err := test.Group().Restart(t.Context()); err != nil {
		t.Error(err)
	}
	ask()
	if err := test.Stop(); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(path)
	if n := strings.Count(string(text), "worker "); n != 5 || err != nil {
		t.Errorf("%d workers wrote %q, %v", n, text, err)
	}
}

func TestABudget(t *testing.T) {
	cause := errors.New("as asked")
	test := coretest.Run(t, func(g *core.Group) error {
		g.Workers, g.Budget, g.Backoff = 1, fork.Budget{Failures: 1, Within: time.Minute}, fork.Backoff{Least: time.Millisecond}
		if g.IsWorker() {
			return cause
		}
		return nil
	})
	var spent *core.BudgetError
	if err := test.Wait(); !errors.As(err, &spent) || spent.Status != (fork.Status{Known: true, Code: 1}) {
		t.Errorf("Run returned %v", err)
	}
}

// A failure collects what a test of a test says.
type failure struct {
	testing.TB
	mu       sync.Mutex
	cleanups []func()
	text     string
}

func (f *failure) Helper()           {}
func (f *failure) Output() io.Writer { return io.Discard }
func (f *failure) Cleanup(c func())  { f.cleanups = append(f.cleanups, c) }
func (f *failure) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.text += fmt.Sprintf(format, args...) + "\n"
}
func (f *failure) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

// failing runs a test that is to fail, and returns what it says.
func failing(test func(tb testing.TB)) string {
	f := new(failure)
	done := make(chan bool)
	go func() {
		defer close(done)
		test(f)
	}()
	<-done
	for _, c := range slices.Backward(f.cleanups) {
		c()
	}
	return f.text
}

func TestFailuresAreTold(t *testing.T) {
	for want, test := range map[string]func(tb testing.TB){
		"the group cannot be described: as asked": func(tb testing.TB) {
			coretest.Run(tb, func(*core.Group) error { return errors.New("as asked") })
		},
		"Run of the master returned: core: cannot start program 0 (p): coretest": func(tb testing.TB) {
			coretest.Run(tb, func(g *core.Group) error {
				path, err := os.Executable()
				g.Programs = []core.Program{{Path: path}}
				return err
			}).Await(core.StartFailed)
		},
		"worker 7 cannot crash": func(tb testing.TB) {
			coretest.Run(tb, func(g *core.Group) error {
				g.Workers = 1
				return nil
			}).Crash(7)
		},
		`waiting for the event "workers replaced", Run of the master returned: core: workers failed`: func(tb testing.TB) {
			coretest.Run(tb, func(g *core.Group) error {
				g.Workers, g.Budget, g.Backoff = 1, fork.Budget{Failures: 1, Within: time.Minute}, fork.Backoff{Least: time.Millisecond}
				g.Attached = func(*core.Master) error { return errors.New("as asked") }
				return nil
			}).Await(core.Rolled)
		},
	} {
		begin, _, _ := strings.Cut(want, "(p)")
		if text := failing(test); !strings.Contains(text, begin) {
			t.Errorf("the test says %q, want %q", text, want)
		}
	}
}

func TestNothingIsLeft(t *testing.T) {
	round := func() {
		t.Run("", func(t *testing.T) {
			test := coretest.Run(t, func(g *core.Group) error {
				g.Workers = 3
				l, err := g.Listen("tcp", "127.0.0.1:0")
				if err == nil && g.IsWorker() {
					go func() { _, _ = l.Accept() }()
				}
				return err
			})
			test.AwaitReady(3)
			test.Crash(1)
			test.Await(core.Restarting)
		})
	}
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	round()
	descriptors, goroutines := count(), runtime.NumGoroutine()
	for range 5 {
		round()
	}
	if n := count(); n != descriptors {
		t.Errorf("there were %d descriptors, and now there are %d", descriptors, n)
	}
	for give := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > goroutines; time.Sleep(time.Millisecond) {
		if time.Now().After(give) {
			t.Fatalf("there were %d goroutines, and now there are %d", goroutines, runtime.NumGoroutine())
		}
	}
}
