package event

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestBreakFromAHandler(t *testing.T) {
	limit(t)
	l, fds, _ := twoReady(t)
	l.After(0, "timer")
	var got []Event[string]
	take := func(e Event[string]) {
		got = append(got, e)
		l.Break()
	}
	l.Run(take)
	if len(got) != 1 || show(got[0]) != "timer:timer" {
		t.Fatalf("%s came before Run returned, want the timer", showAll(got))
	}
	// The rest stays queued for further runs, one event each.
	l.Run(take)
	l.Run(take)
	if len(got) != 3 || got[1].FD+got[2].FD != fds[0]+fds[1] || got[1].FD == got[2].FD {
		t.Errorf("%s came, want the timer and each descriptor once", showAll(got))
	}
}

func TestBreakBeforeRun(t *testing.T) {
	limit(t)
	l, _, _ := twoReady(t)
	l.Break()
	l.Run(func(e Event[string]) { t.Errorf("%s came after Break", show(e)) })
	count := 0
	l.Run(func(Event[string]) { // the flag is cleared
		count++
		l.Break()
	})
	if count != 1 {
		t.Errorf("%d events, want one", count)
	}
}

func TestBreakWhileRunWaits(t *testing.T) {
	limit(t)
	l := newLoop(t)
	waits := make(chan struct{}, 100)
	l.BeforeWait(func() bool { waits <- struct{}{}; return true })
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Run(func(e Event[string]) { t.Errorf("%s came", show(e)) })
	}()
	<-waits
	l.Break()
	<-done
}

func TestCloseFromAHandler(t *testing.T) {
	limit(t)
	l, _, _ := twoReady(t)
	count := 0
	l.Run(func(Event[string]) {
		count++
		l.Close()
	})
	if count != 1 {
		t.Errorf("%d events, want one: the loop was closed", count)
	}
}

// A loop that is closed answers every call, and touches no descriptor that has got one of its numbers since.
func TestClosedLoop(t *testing.T) {
	limit(t)
	l, fds, _ := twoReady(t)
	id := l.After(0, "x")
	round(l, nil)
	l.After(0, "x")
	numbers := l.Descriptors()
	l.Close()
	l.Close()
	var reused [3][2]int
	for i, number := range numbers {
		a, b := pair(t)
		fd, err := unix.FcntlInt(uintptr(a), unix.F_DUPFD_CLOEXEC, number)
		if err != nil {
			t.Fatal(err)
		}
		reused[i] = [2]int{own(t, fd), b}
	}

	var e Event[string]
	for _, how := range []Wait{NoWait, Outside, Park, Outside | Once} {
		if got := l.Next(&e, how); got != Idle {
			t.Errorf("Next(%d) is %d, want Idle", how, got)
		}
	}
	if err := l.Set(fds[0], Registration[string]{Directions: Read}); !errors.Is(err, ErrClosed) {
		t.Errorf("Set: %v, want ErrClosed", err)
	}
	if l.Has(fds[0]) || l.Clear(fds[0]) || l.OnTimeout(fds[0], "") || l.Pending() {
		t.Error("something is left")
	}
	if l.Cancel(id) || l.After(0, "") != 0 {
		t.Error("a timer can be set or cancelled")
	}
	l.Run(func(Event[string]) { t.Error("an event came") })
	l.Collect(0)
	l.Wake()
	l.Break()
	l.Run(func(Event[string]) { t.Error("an event came") })
	for i, r := range reused {
		var b [16]byte
		if n, err := unix.Read(r[1], b[:]); err != unix.EAGAIN {
			t.Errorf("%d bytes (%v) went to a descriptor that has number %d of the loop now", n, err, i)
		}
	}
}

func TestCloseLeavesNothingOpenButWhatIsNotItsOwn(t *testing.T) {
	limit(t)
	a, b := pair(t)
	newLoop(t).Close() // whatever the first one opens for the whole program
	before := openDescriptors(t)
	for range 50 {
		l, err := New[string]()
		if err != nil {
			t.Fatal(err)
		}
		watch(t, l, a, Read, "a")
		l.After(time.Hour, "")
		seen := map[int]bool{}
		for _, fd := range l.Descriptors() {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			if err != nil || flags&unix.FD_CLOEXEC == 0 || seen[fd] {
				t.Errorf("descriptor %d: flags %#x, %v; want close-on-exec, and each once", fd, flags, err)
			}
			seen[fd] = true
		}
		round(l, nil)
		l.Close()
	}
	if after := openDescriptors(t); after != before {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
	write(t, a) // still open
	drain(t, b)
}

// Each of the three descriptors is refused in turn. The error says so and nothing stays open.
func TestNewWithoutDescriptors(t *testing.T) {
	limit(t)
	newLoop(t).Close()
	before := openDescriptors(t)
	var numbers [4]int
	for i := range numbers {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		numbers[i] = fd
	}
	for _, fd := range numbers {
		_ = unix.Close(fd)
	}
	var nofile unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &nofile); err != nil {
		t.Fatal(err)
	}
	for n := range 4 {
		less := nofile
		less.Cur = uint64(numbers[n])
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &less); err != nil {
			t.Fatal(err)
		}
		l, err := New[string]()
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &nofile); err != nil {
			t.Fatal(err)
		}
		var failed *OpenError
		switch {
		case n == 3 && err != nil:
			t.Errorf("room for three: %v", err)
		case n < 3 && (!errors.As(err, &failed) || !errors.Is(err, unix.EMFILE)):
			t.Errorf("room for %d: %v, want EMFILE", n, err)
		case err == nil:
			l.Close()
		}
	}
	if after := openDescriptors(t); after != before {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
}

// Close while another goroutine waits ends its wait.
func TestCloseWhileRunWaits(t *testing.T) {
	for n := range 20 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			limit(t)
			l := newLoop(t)
			waits := make(chan struct{}, 100)
			l.BeforeWait(func() bool { waits <- struct{}{}; return true })
			done := make(chan struct{})
			go func() {
				defer close(done)
				l.Run(func(e Event[string]) { t.Errorf("%s came", show(e)) })
			}()
			<-waits
			l.Close()
			<-done
		})
	}
}

// A program that closes what it has not opened learns of it: nothing is reported any more.
func TestTheKernelRefusesToWait(t *testing.T) {
	for _, ready := range []bool{false, true} {
		t.Run(fmt.Sprintf("a file is ready %t", ready), func(t *testing.T) {
			limit(t)
			l := newLoop(t)
			if ready {
				watch(t, l, regularFile(t), Read, "file")
			}
			if err := l.Err(); err != nil {
				t.Fatal(err)
			}
			reuse(t, l.epoll, open(t, "/dev/null", unix.O_RDONLY))
			var refused *WaitError
			if err := l.Run(func(Event[string]) {}); !errors.As(err, &refused) || !errors.Is(err, unix.EINVAL) || err != l.Err() {
				t.Errorf("Run returned %v", err)
			}
			var e Event[string]
			if got := l.Next(&e, Park); got != Failed {
				t.Errorf("outcome %d, want Failed", got)
			}
		})
	}
}
