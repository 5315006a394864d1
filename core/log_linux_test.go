package core_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"melon/core"
	"melon/core/fork"
)

// A stuckPipe is one that is full, until it is read.
type stuckPipe struct {
	w    *os.File
	read func() // from now on

	mu   sync.Mutex
	text strings.Builder
}

func newStuckPipe(t *testing.T) *stuckPipe {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	var err error
	for err == nil {
		_, err = unix.Write(fds[1], []byte{'.'})
	}
	if err := unix.SetNonblock(fds[1], false); err != nil {
		t.Fatal(err)
	}
	r := os.NewFile(uintptr(fds[0]), "pipe")
	p := &stuckPipe{w: os.NewFile(uintptr(fds[1]), "pipe")}
	done := make(chan bool)
	p.read = sync.OnceFunc(func() {
		go func() {
			defer close(done)
			_, _ = io.Copy(p, r)
		}()
	})
	t.Cleanup(func() {
		p.read()
		_ = p.w.Close()
		<-done
		_ = r.Close()
	})
	return p
}

// Write is called with what was read.
func (p *stuckPipe) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(text)
}

func (p *stuckPipe) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.TrimLeft(p.text.String(), ".")
}

// TestAStuckLogHoldsUpNobody fails if a group does not go on, or does not end, while its logger takes nothing, or if what is lost
// meanwhile is not told.
func TestAStuckLogHoldsUpNobody(t *testing.T) {
	for _, given := range []bool{true, false} {
		t.Run(fmt.Sprint("a logger of its own ", given), func(t *testing.T) {
			role(t, "kit")
			pipe := newStuckPipe(t)
			g := kit(&core.Group{Workers: 1, Backoff: fork.Backoff{Least: time.Millisecond, Most: time.Millisecond}})
			if given {
				g.Logger = slog.New(slog.NewTextHandler(pipe.w, nil))
			} else {
				standardError(t)
				if err := unix.Dup2(int(pipe.w.Fd()), 2); err != nil {
					t.Fatal(err)
				}
			}
			events := watch(g)
			run := func(kills int) {
				ctx, cancel := context.WithCancel(context.Background())
				done := make(chan error, 1)
				go func() { done <- g.Run(ctx) }()
				for range kills {
					signalTo(t, await(t, events, core.Ready).Worker, syscall.SIGKILL)
				}
				await(t, events, core.Ready)
				cancel()
				if err := receive(t, done, "the end of Run"); err != nil {
					t.Error(err)
				}
			}
			begin := time.Now()
			run(10) // two lines each
			if took := time.Since(begin); took > 15*time.Second {
				t.Errorf("it took %v", took)
			}
			pipe.read()
			eventually(t, "the line is taken", func() bool { return strings.Count(pipe.String(), "\n") == 1 })
			run(1)
			want := regexp.MustCompile(`^[^\n]*worker ended[^\n]*\n[^\n]*lines of the log were lost[^\n]* lines=19\n[^\n]*worker ended[^\n]*\n[^\n]*another worker will take its place[^\n]*\n$`)
			eventually(t, "all is read", func() bool { return strings.Count(pipe.String(), "\n") >= 4 })
			if got := pipe.String(); !want.MatchString(got) {
				t.Errorf("the log is\n%s", got)
			}
		})
	}
}
