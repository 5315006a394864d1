package event

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// expire registers fd with a deadline that has passed by the next wait.
func expire(t *testing.T, l *Loop[string], fd int, d Direction) {
	t.Helper()
	set(t, l, fd, Registration[string]{Directions: d, Timeout: 0, Target: "ready"})
	if !l.OnTimeout(fd, fmt.Sprint(fd)) {
		t.Fatal("a registered descriptor is unknown")
	}
}

func TestTimeoutComesOnceAndLeavesDirectionsArmed(t *testing.T) {
	for _, kind := range []string{"armed", "one-shot", "recorded only"} {
		t.Run(kind, func(t *testing.T) {
			limit(t)
			l := newLoop(t)
			a, b := pair(t)
			d := Read
			if kind == "recorded only" {
				d = 0
			}
			set(t, l, a, Registration[string]{Directions: d, OneShot: kind == "one-shot", Timeout: 0, Target: "ready"})
			l.OnTimeout(a, "late")
			expect(t, "nothing happened in time", round(l, nil), "timeout:late")
			expect(t, "the deadline is gone", round(l, nil), "")
			write(t, b)
			if d != 0 {
				expect(t, "still armed", round(l, nil), "R:ready")
			}
		})
	}
}

func TestTimeoutIsNotEarly(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, _ := pair(t)
	for _, d := range []time.Duration{20 * time.Millisecond, time.Millisecond, time.Microsecond, 1} {
		start := time.Now()
		set(t, l, a, Registration[string]{Directions: Read, Timeout: d})
		l.OnTimeout(a, "late")
		e := await(l, Park)
		if passed := time.Since(start); e.Kind != Timeout || e.FD != a || passed < d {
			t.Errorf("%+v after %v, want a timeout after %v", e, passed, d)
		}
	}
}

// Activity and deadline in one iteration: activity wins, and the deadline has to be set again.
func TestActivityEndsTheDeadline(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T) int
		want string
	}{
		{"data", func(t *testing.T) int { a, b := pair(t); write(t, b); return a }, "R:ready"},
		{"end of file", func(t *testing.T) int { a, b := pair(t); shut(t, b); return a }, "R:ready"},
		{"hang-up alone", func(t *testing.T) int { r, w := pipe(t); shut(t, w); return r }, "R:ready"},
		{"file", regularFile, "R:ready"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			limit(t)
			l := newLoop(t)
			fd := test.make(t)
			expire(t, l, fd, Read)
			expect(t, "both", round(l, nil), test.want)
			expect(t, "once more", round(l, nil), test.want)
			watch(t, l, fd, 0, "")
			idle(t, l)

			expire(t, l, fd, Read) // set again by the handler, and again in time
			expect(t, "set again", round(l, func(Event[string]) { expire(t, l, fd, Read) }), test.want)
			expect(t, "set again", round(l, nil), test.want)
		})
	}
}

// What the loop does not watch for is no activity.
func TestUnwatchedActivityKeepsTheDeadline(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, b := pair(t)
	expire(t, l, a, 0)
	shut(t, b)
	expect(t, "hang-up with nothing armed", round(l, nil), fmt.Sprint("timeout:", a))
	c, d := pair(t)
	fill(t, c)
	expire(t, l, c, Write)
	write(t, d)
	expect(t, "data with only writing armed", round(l, nil), fmt.Sprint("timeout:", c))
}

func TestTimeoutValues(t *testing.T) {
	tests := []struct {
		name          string
		first, second time.Duration
		want          bool // comes now
	}{
		{"removed", 0, NoTimeout, false},
		{"removed by any negative value", 0, -3, false},
		{"removed by the most negative value", 0, math.MinInt64, false},
		{"kept", 0, KeepTimeout, true},
		{"kept, later", time.Hour, KeepTimeout, false},
		{"none to keep", NoTimeout, KeepTimeout, false},
		{"put off", 0, time.Hour, false},
		{"moved up", time.Hour, 0, true},
		{"none, then one", NoTimeout, 0, true},
	}
	for _, test := range tests {
		for _, appending := range []bool{false, true} {
			for _, waiting := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/append=%t/waiting=%t", test.name, appending, waiting), func(t *testing.T) {
					limit(t)
					l := newLoop(t)
					a, _ := pair(t)
					want := ""
					if test.want {
						want = "timeout:late"
					}
					for _, timeout := range []time.Duration{test.first, test.second} {
						if waiting {
							l.pretendToWait()
						}
						set(t, l, a, Registration[string]{Directions: Read, Append: appending, Timeout: timeout})
						l.OnTimeout(a, "late")
					}
					expect(t, "deadline", round(l, nil), want)
					expect(t, "afterwards", round(l, nil), "")
				})
			}
		}
	}
}

func TestOnTimeout(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, _ := pair(t)
	if l.OnTimeout(a, "x") || l.OnTimeout(-1, "x") {
		t.Error("an unknown descriptor takes a target")
	}
	set(t, l, a, Registration[string]{Directions: Read, Timeout: 0})
	expect(t, "without a target the deadline just passes", round(l, nil), "")
	idle(t, l)
	if !l.timeouts.empty() {
		t.Error("the deadline that passed is still there")
	}

	l.OnTimeout(a, "one")
	set(t, l, a, Registration[string]{Directions: Write, Append: true, Timeout: NoTimeout})
	set(t, l, a, Registration[string]{Directions: Read, Timeout: 0})
	expect(t, "the target survives Set", round(l, nil), "timeout:one")
	set(t, l, a, Registration[string]{Timeout: 0})
	l.OnTimeout(a, "two")
	expect(t, "the target is replaced", round(l, nil), "timeout:two")
	l.OnTimeout(a, "")
	set(t, l, a, Registration[string]{Timeout: 0})
	expect(t, "a zero target is one", round(l, nil), "timeout:")

	l.Clear(a)
	set(t, l, a, Registration[string]{Directions: Read, Timeout: 0})
	expect(t, "Clear forgets the target", round(l, nil), "")
}

// What a handler takes back does not pass, also when it has expired already; and nothing is left half removed.
func TestClearOfDeadlines(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, _ := pair(t)
	b, _ := pair(t)
	expire(t, l, a, Read)
	expire(t, l, b, Read)
	expect(t, "the first clears the second", round(l, func(e Event[string]) {
		if e.FD == a {
			l.Clear(b)
		}
	}), fmt.Sprint("timeout:", a))

	// The nearest deadline, which has not expired, is looked at, cleared from another handler, and its number is used
	// again, with Append.
	set(t, l, b, Registration[string]{Directions: Read, Timeout: time.Hour, Target: "old"})
	l.OnTimeout(b, "old")
	l.After(0, "timer")
	expect(t, "timer", round(l, func(Event[string]) { l.Clear(b) }), "timer:timer")
	if l.Has(b) || !l.timeouts.empty() {
		t.Error("the descriptor is only half removed")
	}
	fresh, peer := pair(t)
	reuse(t, b, fresh)
	set(t, l, b, Registration[string]{Directions: Read, Append: true, Timeout: 0, Target: "new"})
	l.OnTimeout(b, "new")
	write(t, peer)
	expect(t, "used again", round(l, nil), "R:new")
	drain(t, b)
	set(t, l, b, Registration[string]{Directions: Read, Append: true, Timeout: 0, Target: "new"})
	expect(t, "used again, late", round(l, nil), "timeout:new")
}

// A handler may set the deadline again, also for now: it comes in a later iteration.
func TestTimeoutSetAgainFromItsHandler(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, _ := pair(t)
	expire(t, l, a, Read)
	for range 5 {
		expect(t, "set again", round(l, func(Event[string]) { expire(t, l, a, Read) }), fmt.Sprint("timeout:", a))
	}
}
