package event

import (
	"fmt"
	"runtime"
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

// Holding without traffic ends at once, and the owner is left to wait with no timer that would wake it.
func TestHoldWithoutTraffic(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, _ := pair(t)
	watch(t, l, a, Read, "a")
	idle(t, l)
	if value, interval := remaining(t, l.tick); value != 0 || interval != 0 {
		t.Errorf("idle, but the tick comes in %v and every %v", value, interval)
	}
	var events [8]unix.EpollEvent
	if n, _ := unix.EpollWait(l.Descriptors()[0], events[:], 60); n > 0 {
		t.Errorf("an idle loop was woken: %+v", events[:n])
	}
}

// While events follow each other the loop holds the processor, with a tick; when they stop coming it says Idle and the
// tick is off. That must not depend on the runtime's preemption signal, which a host may block.
func TestHoldEndsWhenTrafficDoes(t *testing.T) {
	for _, blocked := range []bool{false, true} {
		t.Run(fmt.Sprintf("SIGURG blocked=%t", blocked), func(t *testing.T) {
			limit(t)
			if blocked {
				blockPreemption(t)
			}
			l := newLoop(t)
			a, b := pair(t)
			watch(t, l, a, Read, "a")
			for range 3 {
				l.pretendTraffic()
				l.Wake()
				var e Event[string]
				if got := l.Next(&e, Hold); got != Interrupted {
					t.Fatalf("outcome %d after Wake, want Interrupted", got)
				}
				if value, _ := remaining(t, l.tick); value <= 0 || value > tickEvery {
					t.Fatalf("holding, but the tick comes in %v", value)
				}
				for start := time.Now(); time.Since(start) < 3*tickEvery; { // traffic lasts for several ticks
					write(t, b)
					if e := await(l, Hold); show(e) != "R:a" {
						t.Fatalf("%s came, want R:a", show(e))
					}
					drain(t, a)
				}
				l.pretendTraffic()
				idle(t, l)
				if value, interval := remaining(t, l.tick); value != 0 || interval != 0 {
					t.Errorf("idle, but the tick comes in %v and every %v", value, interval)
				}
				silent(t, l)
				// What is asked for from now on reaches the kernel at once: the owner waits for it outside.
				set(t, l, a, Registration[string]{Directions: Write, OneShot: true, Append: true, Timeout: KeepTimeout, Target: "a"})
				var events [1]unix.EpollEvent
				if n, err := unix.EpollWait(l.epoll, events[:], 0); n != 1 {
					t.Errorf("the kernel reports %d events, %v; want room to write", n, err)
				}
				expect(t, "room to write", round(l, nil), "W:a")
			}
		})
	}
}

// The tick that ends the holding comes together with an event: the event is not left behind.
func TestLastTickTogetherWithAnEvent(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, b := pair(t)
	watch(t, l, a, Read, "a")
	l.pretendTraffic()
	l.Wake()
	var e Event[string]
	l.Next(&e, Hold) // starts the tick
	poll := []unix.PollFd{{Fd: int32(l.tick), Events: unix.POLLIN}}
	for poll[0].Revents == 0 {
		if _, err := unix.Poll(poll, -1); err != nil && err != unix.EINTR {
			t.Fatal(err)
		}
	}
	write(t, b)
	l.mu.Lock()
	l.quiet = true
	l.mu.Unlock()
	if got := l.Next(&e, Hold); got != Took || show(e) != "R:a" {
		t.Errorf("outcome %d, want R:a", got)
	}
}

// blockPreemption keeps the signal by which the Go runtime interrupts system calls from the test's thread.
func blockPreemption(t *testing.T) {
	t.Helper()
	var mask unix.Sigset_t
	mask.Val[0] = 1 << (unix.SIGURG - 1)
	runtime.LockOSThread()
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &mask, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.PthreadSigmask(unix.SIG_UNBLOCK, &mask, nil); err != nil {
			t.Error(err)
		}
		runtime.UnlockOSThread()
	})
}

// Events that come far apart, or came a while ago, are not worth the processor: Idle at once, without another wait, and
// with the tick off.
func TestHoldNotForSlowTraffic(t *testing.T) {
	tests := []struct {
		name   string
		gap    time.Duration
		recent time.Duration
	}{
		{"far apart", holdFor, 0},
		{"a while ago", 0, holdFor},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			limit(t)
			l := newLoop(t)
			l.pretendTraffic()
			l.Wake()
			var e Event[string]
			if got := l.Next(&e, Hold); got != Interrupted || !l.ticking {
				t.Fatalf("outcome %d, ticking %t; want Interrupted and a tick", got, l.ticking)
			}
			l.mu.Lock()
			l.gap, l.recent = int64(test.gap), l.clock()-int64(test.recent)
			if test.recent == 0 {
				l.recent += int64(time.Hour)
			}
			l.mu.Unlock()
			l.Wake() // a wait would end with Interrupted
			if got := l.Next(&e, Hold); got != Idle {
				t.Errorf("outcome %d, want Idle", got)
			}
			if value, _ := remaining(t, l.tick); value != 0 {
				t.Error("the tick is on")
			}
		})
	}
}

// How far apart events come is measured.
func TestGapBetweenEvents(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, b := pair(t)
	watch(t, l, a, Read, "a")
	write(t, b)
	l.mu.Lock()
	l.recent = l.clock() - int64(holdFor)
	l.mu.Unlock()
	expect(t, "one event", round(l, nil), "R:a")
	if l.gap < int64(holdFor) || l.recent != l.now {
		t.Errorf("the last event was %v ago and %v after the one before it, want 0 and more than %v",
			time.Duration(l.now-l.recent), time.Duration(l.gap), holdFor)
	}
	before := l.recent
	expect(t, "another event", round(l, nil), "R:a")
	if l.gap != l.recent-before {
		t.Errorf("the gap is %v, want %v", time.Duration(l.gap), time.Duration(l.recent-before))
	}
}

// Timers alone do not keep the processor.
func TestHoldNotForTimers(t *testing.T) {
	limit(t)
	l := newLoop(t)
	l.After(time.Hour, "")
	idle(t, l)
	l.pretendTraffic()
	for range 5 {
		l.After(time.Millisecond, "x")
		if e := await(l, Hold); show(e) != "timer:x" {
			t.Fatalf("%s came, want the timer", show(e))
		}
	}
	idle(t, l)
	if value, _ := remaining(t, l.tick); value != 0 {
		t.Error("the tick is on")
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
			l.pretendTraffic()
			watch(t, l, fd, Read|Write, "x")
			var e Event[string]
			for range 3 {
				if got := l.Next(&e, Hold|Once); got != Interrupted {
					t.Fatalf("outcome %d after a wait, want Interrupted", got)
				}
				for !l.Pending() { // a signal ended the wait
					if got := l.Next(&e, Hold|Once); got != Interrupted {
						t.Fatalf("outcome %d after a wait, want Interrupted", got)
					}
				}
				for _, want := range []string{"R:x", "W:x"} {
					if got := l.Next(&e, Hold|Once); got != Took || show(e) != want {
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
		if got := l.Next(&e, Hold|Once); got != Idle {
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
	check("refused", Hold, Interrupted, 1)
	check("no wait at all", NoWait, Took, 0)
	write(t, b)
	check("something is pending", NoWait, Took, 0)
	check("something is pending", Park, Took, 0) // the second direction
	watch(t, l, a, 0, "")
	check("nothing, no wait", NoWait, Idle, 0)
	file := regularFile(t)
	watch(t, l, file, Read, "file")
	check("a file is always ready", Park, Took, 0)
	check("a file is always ready", Hold, Took, 0)
	l.Clear(file)
	answer = true
	l.pretendCalm()
	check("allowed", Hold, Idle, 1)
	l.After(0, "timer")
	check("allowed", Park, Took, 1)
	l.BeforeWait(nil)
	l.pretendCalm()
	check("removed", Hold, Idle, 0)
}

// What the function before the wait notices is not slept over: Wake between its answer and the wait ends the wait.
func TestWakeRightBeforeTheWait(t *testing.T) {
	for _, how := range []Wait{Park, Hold} {
		t.Run(fmt.Sprint(how), func(t *testing.T) {
			limit(t)
			l := newLoop(t)
			l.pretendTraffic()
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
			if got := l.Next(&e, how); got != Interrupted || asked != 1 {
				t.Errorf("outcome %d after %d waits, want Interrupted after one", got, asked)
			}
		})
	}
}

func TestWake(t *testing.T) {
	for _, how := range []Wait{NoWait, Hold, Park} {
		t.Run(fmt.Sprint(how), func(t *testing.T) {
			limit(t)
			l := newLoop(t)
			a, b := pair(t)
			watch(t, l, a, Read, "a")
			l.pretendTraffic()
			for range 5 { // several are one
				l.Wake()
			}
			var e Event[string]
			if got := l.Next(&e, how); got != Interrupted {
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
	if e := await(l, Hold); show(e) != "R:file" {
		t.Errorf("%s came, want R:file", show(e))
	}
	watch(t, l, file, 0, "")
	round(l, nil)
	idle(t, l)
	watch(t, l, file, Write, "file again")
	outside()
	if e := await(l, Hold); show(e) != "W:file again" {
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
