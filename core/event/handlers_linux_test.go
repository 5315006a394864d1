package event

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// twoReady returns a loop on which two descriptors are readable, and their peers.
func twoReady(t *testing.T) (l *Loop[string], fds, peers [2]int) {
	t.Helper()
	l = newLoop(t)
	for i := range fds {
		fds[i], peers[i] = pair(t)
		write(t, peers[i])
		watch(t, l, fds[i], Read, fmt.Sprint(fds[i]))
	}
	return l, fds, peers
}

func other(fds [2]int, fd int) int { return fds[0] + fds[1] - fd }

func TestClearOfAnotherReadyDescriptor(t *testing.T) {
	limit(t)
	l, fds, _ := twoReady(t)
	events := round(l, func(e Event[string]) { l.Clear(other(fds, e.FD)) })
	if len(events) != 1 {
		t.Fatalf("%s came, want one event: the other descriptor was cleared", showAll(events))
	}
	first := events[0].FD
	expect(t, "next round", round(l, nil), fmt.Sprint("R:", first))
}

// What was noticed of a descriptor is not reported to whoever registers its number next.
func TestClearAndReuseOfAnotherReadyDescriptor(t *testing.T) {
	for _, appending := range []bool{false, true} {
		t.Run(fmt.Sprintf("append=%t", appending), func(t *testing.T) {
			limit(t)
			l, fds, _ := twoReady(t)
			fresh, peer := pair(t)
			var number int
			events := round(l, func(e Event[string]) {
				if number != 0 {
					return
				}
				number = other(fds, e.FD)
				l.Clear(number)
				reuse(t, number, fresh)
				set(t, l, number, Registration[string]{Directions: Read | Write, Append: appending, Timeout: NoTimeout, Target: "new"})
				write(t, peer)
			})
			if len(events) != 1 || events[0].FD == number {
				t.Fatalf("%s came, want only the other descriptor", showAll(events))
			}
			l.Clear(events[0].FD)
			expect(t, "next round", round(l, nil), "R:new W:new")
		})
	}
}

func TestClearOfTheCurrentDescriptor(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, b := pair(t)
	write(t, b)
	watch(t, l, a, Read|Write, "old")
	expect(t, "cleared while reading", round(l, func(e Event[string]) { l.Clear(e.FD) }), "R:old")
	silent(t, l)
	idle(t, l)
}

func TestClearAndSetOfTheCurrentDescriptor(t *testing.T) {
	for _, appending := range []bool{false, true} {
		for _, reusing := range []bool{false, true} {
			t.Run(fmt.Sprintf("append=%t/reuse=%t", appending, reusing), func(t *testing.T) {
				limit(t)
				l := newLoop(t)
				a, b := pair(t)
				fresh, peer := pair(t)
				write(t, b)
				watch(t, l, a, Read|Write, "old")
				expect(t, "cleared and set while reading", round(l, func(e Event[string]) {
					l.Clear(a)
					if reusing {
						reuse(t, a, fresh)
						write(t, peer)
					}
					set(t, l, a, Registration[string]{Directions: Read | Write, Append: appending, Timeout: NoTimeout, Target: "new"})
				}), "R:old")
				expect(t, "next round", round(l, nil), "R:new W:new")
			})
		}
	}
}

// A Set from a handler holds at once for the directions that have not had their turn.
func TestSetOnTheCurrentDescriptor(t *testing.T) {
	tests := []struct {
		name        string
		set         Registration[string]
		round, next string
	}{
		{"dropped", Registration[string]{}, "R:old", ""},
		{"dropped but one that had its turn", Registration[string]{Directions: Read}, "R:old", "R:new"},
		{"another target", Registration[string]{Directions: Write}, "R:old W:new", "W:new"},
		{"both", Registration[string]{Directions: Read | Write}, "R:old W:new", "R:new W:new"},
		{"one-shot", Registration[string]{Directions: Write, OneShot: true}, "R:old W:new", ""},
		{"added", Registration[string]{Directions: Error, Append: true}, "R:old W:old", "R:old W:old"},
		{"replaced", Registration[string]{Directions: Write, Append: true}, "R:old W:new", "R:old W:new"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			limit(t)
			l := newLoop(t)
			a, b := pair(t)
			write(t, b)
			watch(t, l, a, Read|Write, "old")
			r := test.set
			r.Timeout, r.Target = NoTimeout, "new"
			done := false
			expect(t, "round", round(l, func(e Event[string]) {
				if !done {
					done = true
					set(t, l, a, r)
				}
			}), test.round)
			expect(t, "next round", round(l, nil), test.next)
		})
	}
}

// Read, then write: a handler of the write that arms reading again gets it in the next round.
func TestDirectionsHaveOneTurnEach(t *testing.T) {
	limit(t)
	l, fds, _ := twoReady(t)
	for _, fd := range fds {
		watch(t, l, fd, Read|Write, "old")
	}
	var second int
	events := round(l, func(e Event[string]) {
		switch {
		case second == 0:
			second = other(fds, e.FD)
			l.Clear(e.FD)
			watch(t, l, second, Write, "writer")
		case e.Target == "writer":
			watch(t, l, second, Read|Write, "both")
		}
	})
	expect(t, "round", events, "R:old W:writer")
	expect(t, "next round", round(l, nil), "R:both W:both")
}

func TestOneShotArmedAgainFromItsHandler(t *testing.T) {
	limit(t)
	l := newLoop(t)
	for _, fd := range []int{regularFile(t), func() int { a, b := pair(t); write(t, b); return a }()} {
		again := Registration[string]{Directions: Read, OneShot: true, Append: true, Timeout: NoTimeout, Target: "x"}
		set(t, l, fd, again)
		for range 3 {
			expect(t, "armed again", round(l, func(Event[string]) { set(t, l, fd, again) }), "R:x")
		}
		expect(t, "last time", round(l, nil), "R:x")
		expect(t, "not armed", round(l, nil), "")
	}
	silent(t, l)
}

// A handler takes back what expired together with its own timer.
func TestCancelOfAnExpiredTimer(t *testing.T) {
	limit(t)
	l := newLoop(t)
	var ids [3]TimerID
	for i := range ids {
		ids[i] = l.After(0, fmt.Sprint(i))
	}
	expect(t, "the first cancels the second", round(l, func(e Event[string]) {
		if e.Target == "0" && !l.Cancel(ids[1]) {
			t.Error("a timer that was not reported cannot be cancelled")
		}
	}), "timer:0 timer:2")
}

// A timer that sets itself again for now lets descriptors have their turn.
func TestTimersDoNotStarveDescriptors(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, b := pair(t)
	c, _ := pair(t)
	write(t, b)
	watch(t, l, a, Read, "socket")
	set(t, l, c, Registration[string]{Directions: Read, Timeout: 0, Target: "c"})
	l.OnTimeout(c, "c")
	l.After(0, "timer")
	seen := map[string]int{}
	for range 30 {
		e := await(l, Park)
		seen[show(e)]++
		if e.Kind == Expired {
			l.After(0, "timer")
		}
	}
	if seen["R:socket"] < 5 || seen["timer:timer"] < 5 || seen["timeout:c"] != 1 {
		t.Errorf("of 30 events: %v", seen)
	}
}

// Timers come first, then descriptors, then deadlines of descriptors.
func TestOrderOfOneIteration(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, b := pair(t)
	c, _ := pair(t)
	write(t, b)
	set(t, l, c, Registration[string]{Directions: Read, Timeout: 0})
	l.OnTimeout(c, "c")
	watch(t, l, a, Read|Write, "a")
	l.After(0, "first")
	l.After(0, "second")
	expect(t, "round", round(l, nil), "timer:first timer:second R:a W:a timeout:c")
}

// An event that the kernel reported before Clear does not reach a registration that came after it.
func TestEventsFromBeforeClearAreStale(t *testing.T) {
	for _, reusing := range []bool{false, true} {
		t.Run(fmt.Sprintf("reuse=%t", reusing), func(t *testing.T) {
			limit(t)
			l := newLoop(t)
			buffer := make([]unix.EpollEvent, 8)
			l.UseBuffer(buffer)
			a, b := pair(t)
			fresh, _ := pair(t)
			watch(t, l, a, Read, "old")
			idle(t, l)
			write(t, b)
			n, err := unix.EpollWait(l.Descriptors()[0], buffer, -1)
			if n != 1 || err != nil {
				t.Fatalf("the kernel reports %d events, %v; want one", n, err)
			}
			l.Clear(a)
			if reusing {
				reuse(t, a, fresh)
			} else {
				drain(t, a)
			}
			set(t, l, a, Registration[string]{Directions: Read, Timeout: time.Hour, Target: "new"})
			l.Collect(n)
			if l.timeouts.empty() {
				t.Error("a stale event ended the deadline of the new registration")
			}
			expect(t, "after the number was used again", round(l, nil), "")
		})
	}
}

// Programs forget to Clear before they close. What the number means next can be registered all the same.
func TestCloseWithoutClear(t *testing.T) {
	for _, waiting := range []bool{false, true} {
		t.Run(fmt.Sprintf("waiting=%t", waiting), func(t *testing.T) {
			limit(t)
			l := newLoop(t)
			a, b := pair(t)
			fresh, peer := pair(t)
			watch(t, l, a, Read, "old")
			round(l, nil)
			write(t, b)
			reuse(t, a, fresh)
			expect(t, "nobody watches the new descriptor", round(l, nil), "")
			if waiting {
				l.pretendToWait()
			}
			watch(t, l, a, Read|Write, "new")
			expect(t, "registered without Clear", round(l, nil), "W:new")
			write(t, peer)
			expect(t, "data", round(l, nil), "R:new W:new")
			l.Clear(a)
			silent(t, l)
		})
	}
}

// The same directions as before do not look like a change; the kernel has to be told of them all the same.
func TestCloseWithoutClearAndTheSameDirections(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, _ := pair(t)
	fresh, peer := pair(t)
	watch(t, l, a, Read, "old")
	round(l, nil)
	reuse(t, a, fresh)
	watch(t, l, a, Read, "new")
	write(t, peer)
	expect(t, "data", round(l, nil), "R:new")
}

func TestRegularFileClosedWithoutClear(t *testing.T) {
	limit(t)
	l := newLoop(t)
	file := regularFile(t)
	fresh, peer := pair(t)
	watch(t, l, file, Read, "file")
	expect(t, "a regular file", round(l, nil), "R:file")
	reuse(t, file, fresh)
	watch(t, l, file, Read, "socket")
	silent(t, l)
	write(t, peer)
	expect(t, "data", round(l, nil), "R:socket")
}

func TestSetAfterCloseSaysSo(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, _ := pair(t)
	watch(t, l, a, Read, "a")
	round(l, nil)
	shut(t, a)
	if err := l.Set(a, Registration[string]{Directions: Read, Timeout: NoTimeout}); !errors.Is(err, unix.EBADF) {
		t.Errorf("setting a closed descriptor: %v, want EBADF", err)
	}
}

func TestClearAfterClose(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, b := pair(t)
	fresh, peer := pair(t)
	set(t, l, a, Registration[string]{Directions: Read, Timeout: 0, Target: "old"})
	l.OnTimeout(a, "old")
	write(t, b)
	shut(t, a)
	if !l.Clear(a) || l.Has(a) {
		t.Fatal("a closed descriptor cannot be cleared")
	}
	idle(t, l)
	fd, err := unix.FcntlInt(uintptr(fresh), unix.F_DUPFD_CLOEXEC, a)
	if err != nil {
		t.Fatal(err)
	}
	own(t, fd)
	watch(t, l, fd, Read, "new")
	write(t, peer)
	expect(t, "new descriptor", round(l, nil), "R:new")
}

// A number that meant a file and means a socket now, and the other way round.
func TestNumberChangesBetweenFileAndSocket(t *testing.T) {
	limit(t)
	l := newLoop(t)
	number := regularFile(t)
	watch(t, l, number, Read, "file")
	expect(t, "file", round(l, nil), "R:file")
	l.Clear(number)
	a, b := pair(t)
	reuse(t, number, a)
	watch(t, l, number, Read, "socket")
	expect(t, "socket without data", round(l, nil), "")
	write(t, b)
	expect(t, "socket with data", round(l, nil), "R:socket")
	l.Clear(number)
	reuse(t, number, regularFile(t))
	watch(t, l, number, Write, "file again")
	expect(t, "file again", round(l, nil), "W:file again")
}
