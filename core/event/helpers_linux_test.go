package event

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// foreign is the target of a descriptor that the owner does not take from a batch.
const foreign = "foreign"

func newLoop(t *testing.T) *Loop[string] {
	t.Helper()
	l, err := New[string]()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// round takes what one wait brings: the events of one iteration. handle, if not nil, runs after each as a handler does. What it
// has the loop offer is taken from the batch.
func round(l *Loop[string], handle func(Event[string])) []Event[string] {
	var offered [batch]Event[string]
	var offer Batch
	l.UseBatch(&offer, len(offered), func(n, fd int, target string) bool {
		offered[n] = Event[string]{}
		if target == foreign {
			return false
		}
		offered[n] = Event[string]{Kind: Ready, FD: fd, Direction: l.pendingOf(&l.ready[l.taken+n]), Target: target}
		return true
	})
	var events []Event[string]
	var e Event[string]
	outcome := l.Next(&e, NoWait)
	for outcome == Interrupted {
		outcome = l.Next(&e, NoWait)
	}
	for took := outcome == Took; took; {
		events = append(events, e)
		if handle != nil {
			handle(e)
		}
		if n, ok := offer.Take(); ok {
			e = offered[n]
		} else {
			took = l.takeLocked(&e)
		}
	}
	return events
}

func (l *Loop[T]) takeLocked(e *Event[T]) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.withdraw()
	return !l.closed && l.take(e)
}

// pretendToWait makes the loop take its owner to be asleep outside, as after an outcome of Idle.
func (l *Loop[T]) pretendToWait() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = true
}

// await waits for the next event, outside of Next where Next leaves it to its owner.
func await(l *Loop[string], how Wait) Event[string] {
	var e Event[string]
	for {
		switch outcome := l.Next(&e, how); {
		case outcome == Took:
			return e
		case outcome == Idle && how == Outside:
			if n, _ := unix.EpollWait(l.epoll, l.buffer, -1); n > 0 {
				l.Collect(n)
			}
		}
	}
}

// idle fails the test unless the loop has nothing to do.
func idle(t *testing.T, l *Loop[string]) {
	t.Helper()
	var e Event[string]
	for {
		switch l.Next(&e, Outside) {
		case Idle:
			return
		case Took:
			t.Fatalf("%s came, want nothing", show(e))
		}
	}
}

// silent fails the test where the kernel has anything to report: an owner who waited would spin.
func silent(t *testing.T, l *Loop[string]) {
	t.Helper()
	var events [8]unix.EpollEvent
	if n, err := unix.EpollWait(l.epoll, events[:], 0); n != 0 || err != nil {
		t.Fatalf("the kernel reports %d events, %v; want none: %+v", n, err, events[:max(n, 0)])
	}
}

func show(e Event[string]) string {
	switch e.Kind {
	case Ready:
		return letters(e.Direction) + ":" + e.Target
	case Timeout:
		return "timeout:" + e.Target
	case Expired:
		return "timer:" + e.Target
	}
	return fmt.Sprintf("an event of kind %d", e.Kind)
}

func showAll(events []Event[string]) string {
	var all []string
	for _, e := range events {
		all = append(all, show(e))
	}
	return strings.Join(all, " ")
}

func expect(t *testing.T, what string, events []Event[string], want string) {
	t.Helper()
	if got := showAll(events); got != want {
		t.Fatalf("%s: %q, want %q", what, got, want)
	}
}

func letters(d Direction) string {
	var s string
	for i, letter := range []string{"R", "W", "E"} {
		if d&(1<<i) != 0 {
			s += letter
		}
	}
	return s
}

func direction(s string) Direction {
	var d Direction
	for i, letter := range []string{"R", "W", "E"} {
		if strings.Contains(s, letter) {
			d |= 1 << i
		}
	}
	return d
}

func set(t *testing.T, l *Loop[string], fd int, r Registration[string]) {
	t.Helper()
	if err := l.Set(fd, r); err != nil {
		t.Fatal(err)
	}
}

// watch registers fd for directions under a name, without deadline.
func watch(t *testing.T, l *Loop[string], fd int, d Direction, name string) {
	t.Helper()
	set(t, l, fd, Registration[string]{Directions: d, Timeout: NoTimeout, Target: name})
}

// pair returns both ends of a stream, non-blocking.
func pair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	return own(t, fds[0]), own(t, fds[1])
}

func pipe(t *testing.T) (r, w int) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	return own(t, fds[0]), own(t, fds[1])
}

var owned = map[int]bool{}

// own closes fd when the test is over, unless shut did so before. Tests run one after another and call it from one
// goroutine.
func own(t *testing.T, fd int) int {
	owned[fd] = true
	t.Cleanup(func() {
		if owned[fd] {
			shut(t, fd)
		}
	})
	return fd
}

func shut(t *testing.T, fd int) {
	t.Helper()
	delete(owned, fd)
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
}

// reuse makes the number fd mean what from means, as closing it and opening something else does, and closes from.
func reuse(t *testing.T, fd, from int) {
	t.Helper()
	if err := unix.Dup3(from, fd, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	shut(t, from)
}

func regularFile(t *testing.T) int {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "file"), unix.O_RDWR|unix.O_CREAT)
}

func open(t *testing.T, path string, flags int) int {
	t.Helper()
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return own(t, fd)
}

func write(t *testing.T, fd int) {
	t.Helper()
	if _, err := unix.Write(fd, []byte("x")); err != nil {
		t.Fatal(err)
	}
}

// fill writes until the kernel takes no more.
func fill(t *testing.T, fd int) {
	t.Helper()
	var block [4096]byte
	for {
		switch _, err := unix.Write(fd, block[:]); err {
		case nil, unix.EINTR:
		case unix.EAGAIN:
			return
		default:
			t.Fatal(err)
		}
	}
}

// drain reads all that is there.
func drain(t *testing.T, fd int) {
	t.Helper()
	var block [1 << 16]byte
	for {
		switch n, err := unix.Read(fd, block[:]); {
		case err == unix.EAGAIN || err == nil && n == 0:
			return
		case err != nil && err != unix.EINTR:
			t.Fatal(err)
		}
	}
}

// remaining returns the time to the next expiry of a loop's timerfd, 0 when it is off.
func remaining(t *testing.T, l *Loop[string]) time.Duration {
	t.Helper()
	var spec unix.ItimerSpec
	if err := unix.TimerfdGettime(l.timer, &spec); err != nil {
		t.Fatal(err)
	}
	return time.Duration(spec.Value.Nano())
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
