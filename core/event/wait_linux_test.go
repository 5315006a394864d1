package event

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestNoWait(t *testing.T) {
	limit(t)
	l := newLoop(t)
	var e Event[string]
	for range 3 {
		if got := l.Next(&e, NoWait); got != Idle {
			t.Fatalf("outcome %d of an empty loop, want Idle", got)
		}
	}
	a, b := pair(t)
	write(t, b)
	watch(t, l, a, Read, "a")
	if got := l.Next(&e, NoWait); got != Took || show(e) != "R:a" {
		t.Fatalf("outcome %d, %s; want R:a", got, show(e))
	}
}

// Once returns after each wait, whatever came, and loses nothing.
func TestOnce(t *testing.T) {
	for _, kind := range []string{"socket", "file"} {
		t.Run(kind, func(t *testing.T) {
			limit(t)
			l := newLoop(t)
			fd := regularFile(t)
			if kind == "socket" {
				var peer int
				fd, peer = pair(t)
				write(t, peer)
			}
			watch(t, l, fd, Read|Write, "x")
			wait := func() Outcome {
				var e Event[string]
				outcome := l.Next(&e, Outside|Once)
				if outcome == Idle {
					n, _ := unix.EpollWait(l.epoll, l.buffer, -1)
					l.Collect(max(n, 0))
					return Interrupted
				}
				return outcome
			}
			var e Event[string]
			for range 3 {
				for first := true; first || !l.Pending(); first = false { // a signal may end the wait
					if got := wait(); got != Interrupted {
						t.Fatalf("outcome %d after a wait, want Interrupted", got)
					}
				}
				for _, want := range []string{"R:x", "W:x"} {
					if got := l.Next(&e, Outside|Once); got != Took || show(e) != want {
						t.Fatalf("outcome %d, %s; want %s", got, show(e), want)
					}
				}
			}
		})
	}
	t.Run("idle", func(t *testing.T) {
		limit(t)
		l := newLoop(t)
		var e Event[string]
		if got := l.Next(&e, Outside|Once); got != Idle {
			t.Errorf("outcome %d of an empty loop, want Idle", got)
		}
	})
}

func TestBeforeWait(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, b := pair(t)
	watch(t, l, a, Read|Write, "a")
	asked, answer := 0, false
	l.BeforeWait(func() bool { asked++; return answer })
	check := func(what string, how Wait, want Outcome, wantAsked int) {
		t.Helper()
		var e Event[string]
		asked = 0
		if got := l.Next(&e, how); got != want || asked != wantAsked {
			t.Errorf("%s: outcome %d, asked %d times; want %d, %d", what, got, asked, want, wantAsked)
		}
	}
	check("refused", Park, Interrupted, 1)
	check("refused", Outside, Interrupted, 1)
	check("no wait at all", NoWait, Took, 0)
	write(t, b)
	check("something is pending", NoWait, Took, 0)
	check("something is pending", Park, Took, 0) // the second direction
	watch(t, l, a, 0, "")
	check("nothing, no wait", NoWait, Idle, 0)
	file := regularFile(t)
	watch(t, l, file, Read, "file")
	check("a file is always ready", Park, Took, 0)
	check("a file is always ready", Outside, Took, 0)
	l.Clear(file)
	answer = true
	check("allowed", Outside, Idle, 1)
	l.After(0, "timer")
	check("allowed", Park, Took, 1)
	l.BeforeWait(nil)
	check("removed", Outside, Idle, 0)
}

// A function that never allows a wait does not keep events away.
func TestEventsInSpiteOfRefusals(t *testing.T) {
	for _, how := range []Wait{Park, Outside} {
		t.Run(fmt.Sprint(how), func(t *testing.T) {
			limit(t)
			l := newLoop(t)
			l.BeforeWait(func() bool { return false })
			a, b := pair(t)
			watch(t, l, a, Read, "a")
			l.After(time.Millisecond, "timer")
			write(t, b)
			var seen []string
			for e := (Event[string]{}); len(seen) < 2; {
				if l.Next(&e, how) == Took {
					seen = append(seen, show(e))
					drain(t, a)
				}
			}
			if seen[0] != "R:a" || seen[1] != "timer:timer" {
				t.Errorf("%v came, want R:a and timer:timer", seen)
			}
		})
	}
}

// What the function before the wait notices is not slept over: Wake between its answer and the wait ends the wait.
func TestWakeRightBeforeTheWait(t *testing.T) {
	for _, how := range []Wait{Park, Outside} {
		t.Run(fmt.Sprint(how), func(t *testing.T) {
			limit(t)
			l := newLoop(t)
			asked := 0
			l.BeforeWait(func() bool {
				asked++
				// The loop's own lock is held here: write to the eventfd as a thread of C does.
				if _, err := unix.Write(l.Descriptors()[1], []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
					t.Error(err)
				}
				return true
			})
			var e Event[string]
			got := l.Next(&e, how)
			if how == Outside && got == Idle { // the owner's wait is the next
				n, _ := unix.EpollWait(l.epoll, l.buffer, -1)
				if l.Collect(n); n == 1 && l.buffer[0].Fd == wakeData {
					got = Interrupted
				}
			}
			if got != Interrupted || asked != 1 {
				t.Errorf("outcome %d after %d waits, want Interrupted after one", got, asked)
			}
		})
	}
}

func TestWake(t *testing.T) {
	for _, how := range []Wait{NoWait, Outside, Park} {
		t.Run(fmt.Sprint(how), func(t *testing.T) {
			limit(t)
			l := newLoop(t)
			a, b := pair(t)
			watch(t, l, a, Read, "a")
			for range 5 { // several are one
				l.Wake()
			}
			var e Event[string]
			if how == Outside {
				if l.Next(&e, how) != Idle || !readable(l.epoll) {
					t.Fatal("the owner who waits outside is not woken")
				}
			} else if got := l.Next(&e, how); got != Interrupted {
				t.Fatalf("outcome %d, want Interrupted", got)
			}
			round(l, nil)
			idle(t, l)
			write(t, b)
			l.Wake() // together with an event, which is not lost
			if e := await(l, how); show(e) != "R:a" {
				t.Errorf("%s came, want R:a", show(e))
			}
		})
	}
}

// Between Idle and Collect the owner waits on the epoll instance itself. What others ask for meanwhile reaches him.
func TestWaitingOutside(t *testing.T) {
	limit(t)
	l := newLoop(t)
	buffer := make([]unix.EpollEvent, 2)
	l.UseBuffer(buffer)
	outside := func() {
		t.Helper()
		n, err := unix.EpollWait(l.Descriptors()[0], buffer, -1)
		for err == unix.EINTR {
			n, err = unix.EpollWait(l.Descriptors()[0], buffer, -1)
		}
		if err != nil {
			t.Fatal(err)
		}
		l.Collect(n)
	}
	a, b := pair(t)
	write(t, b)

	idle(t, l)
	watch(t, l, a, Read, "armed meanwhile")
	outside()
	expect(t, "socket", round(l, nil), "R:armed meanwhile")
	drain(t, a)

	idle(t, l)
	set(t, l, a, Registration[string]{Directions: Write, OneShot: true, Append: true, Timeout: NoTimeout, Target: "added meanwhile"})
	outside()
	expect(t, "another direction", round(l, nil), "W:added meanwhile")

	idle(t, l)
	watch(t, l, a, 0, "")
	write(t, b)
	silent(t, l)
	drain(t, a)

	idle(t, l)
	l.After(time.Millisecond, "meanwhile")
	outside()
	expect(t, "timer", round(l, nil), "timer:meanwhile")

	idle(t, l)
	set(t, l, a, Registration[string]{Directions: Read, Timeout: time.Millisecond})
	l.OnTimeout(a, "late")
	outside()
	expect(t, "timeout", round(l, nil), "timeout:late")

	idle(t, l)
	l.Wake()
	outside()
	expect(t, "woken", round(l, nil), "")

	file := regularFile(t)
	idle(t, l)
	watch(t, l, file, Read, "file")
	outside()
	if e := await(l, Outside); show(e) != "R:file" {
		t.Errorf("%s came, want R:file", show(e))
	}
	watch(t, l, file, 0, "")
	round(l, nil)
	idle(t, l)
	watch(t, l, file, Write, "file again")
	outside()
	if e := await(l, Outside); show(e) != "W:file again" {
		t.Errorf("%s came, want W:file again", show(e))
	}
	l.Clear(file)
	round(l, nil)
	idle(t, l)
	silent(t, l)
	l.Collect(0)
	idle(t, l)

	// More are ready than the buffer takes.
	left := map[int]bool{}
	for range 5 {
		fd, _ := pair(t)
		watch(t, l, fd, Write, "")
		left[fd] = true
	}
	for n := 0; len(left) > 0 && n < 100; n++ {
		outside()
		for _, e := range round(l, nil) {
			delete(left, e.FD)
		}
	}
	if len(left) > 0 {
		t.Errorf("%d ready descriptors had no turn", len(left))
	}
	for fd := range left {
		l.Clear(fd)
	}
}

// The mask in the kernel is changed once before a wait, not at every Set.
func TestChangesAreToldTogether(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, b := pair(t)
	write(t, b)
	watch(t, l, a, Read, "a")
	round(l, nil)
	for range 10 {
		watch(t, l, a, Write, "a")
		watch(t, l, a, Read, "a")
	}
	if n := len(l.changed); n > 1 {
		t.Errorf("one descriptor is %d times in the list of changes", n)
	}
	expect(t, "after changes back and forth", round(l, nil), "R:a")
}

func readable(fd int) bool {
	n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return n == 1
}

// After the last event the owner may wait without asking for another, unless the loop has something to do; and what is asked
// for from then on reaches him in his wait.
func TestMayWait(t *testing.T) {
	limit(t)
	l := newLoop(t)
	outside := func(what, want string) {
		t.Helper()
		n, err := unix.EpollWait(l.epoll, l.buffer, -1)
		if err != nil {
			t.Fatal(err)
		}
		l.Collect(n)
		expect(t, what, round(l, nil), want)
	}
	take := func(what, want string, may bool) {
		t.Helper()
		var e Event[string]
		if got := l.Next(&e, NoWait); got != Took || show(e) != want {
			t.Fatalf("%s: outcome %d, %s; want %s", what, got, show(e), want)
		}
		if got := l.MayWait(); got != may {
			t.Fatalf("%s: the owner may wait: %t, want %t", what, got, may)
		}
	}
	a, b := pair(t)
	c, _ := pair(t)
	watch(t, l, a, Read, "a")
	write(t, b)
	take("the only event", "R:a", true)
	drain(t, a)
	silent(t, l)
	watch(t, l, c, Write, "meanwhile")
	outside("a descriptor", "W:meanwhile")
	l.Clear(c)

	l.After(0, "timer")
	take("a timer", "timer:timer", true)
	l.After(time.Millisecond, "meanwhile")
	outside("another timer", "timer:meanwhile")

	l.After(0, "first")
	l.After(0, "second")
	take("the first of two", "timer:first", false)
	take("the second", "timer:second", true)
	l.After(time.Millisecond, "set before")
	l.After(0, "now")
	take("with one to come", "timer:now", true)
	outside("which comes", "timer:set before")

	write(t, b)
	watch(t, l, a, Read|Write, "a")
	take("the first direction", "R:a", false)
	take("the second direction", "W:a", true)
	drain(t, a)

	watch(t, l, a, 0, "")
	set(t, l, c, Registration[string]{Directions: Write, OneShot: true, Timeout: NoTimeout, Target: "once"})
	round(l, nil)
	set(t, l, c, Registration[string]{Directions: Write, OneShot: true, Timeout: NoTimeout, Target: "once"})
	take("what the kernel has to be told of", "W:once", false)
	idle(t, l)

	file := regularFile(t)
	l.Collect(0) // back from the wait
	watch(t, l, file, Read, "file")
	take("what is always ready", "R:file", false)
	l.Clear(file)
	l.Close()
	if l.MayWait() {
		t.Error("the owner of a closed loop may wait")
	}
}
