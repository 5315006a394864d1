package event

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Deadlines whose order once lost some of them, in every order of setting: all come, in order, none early.
func TestTimersOfManyDelays(t *testing.T) {
	delays := []time.Duration{5, 15, 25, 50, 90}
	for i := range delays {
		delays[i] *= time.Millisecond / 4
	}
	var orders [][]time.Duration
	var permute func(rest, taken []time.Duration)
	permute = func(rest, taken []time.Duration) {
		if len(rest) == 0 {
			orders = append(orders, taken)
		}
		for i, d := range rest {
			permute(slices.Concat(rest[:i], rest[i+1:]), slices.Concat(taken, []time.Duration{d}))
		}
	}
	permute(delays, nil)
	for _, order := range orders {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			limit(t)
			l := newLoop(t)
			start := time.Now()
			for _, d := range order {
				l.After(d, d.String())
			}
			// Being interrupted between two calls of After may swap deadlines only if that takes milliseconds.
			swapped := time.Since(start) > time.Millisecond
			var got []string
			for range order {
				e := await(l, Park)
				d, err := time.ParseDuration(e.Target)
				if err != nil || e.Kind != Expired {
					t.Fatalf("unexpected event %+v", e)
				}
				if passed := time.Since(start); passed < d {
					t.Errorf("a timer of %v came after %v", d, passed)
				}
				got = append(got, e.Target)
			}
			var want []string
			for _, d := range delays {
				want = append(want, d.String())
			}
			if swapped {
				slices.Sort(got)
				slices.Sort(want)
			}
			if !slices.Equal(got, want) {
				t.Errorf("timers came as %v, want %v", got, want)
			}
			idle(t, l)
		})
	}
}

func TestManyTimersSomeCancelled(t *testing.T) {
	limit(t)
	random := newRandom(t)
	l := newLoop(t)
	type timer struct {
		id       TimerID
		earliest time.Time
		due      int64
	}
	left := map[string]timer{}
	for i := range 2000 {
		d := time.Duration(random.Int64N(int64(30 * time.Millisecond)))
		name := fmt.Sprint(i)
		earliest := time.Now().Add(d)
		id := l.After(d, name)
		left[name] = timer{id, earliest, l.slots[int(uint32(id))-1].when(l)}
		if random.IntN(4) == 0 {
			if !l.Cancel(id) {
				t.Fatal("a timer that was set just now cannot be cancelled")
			}
			delete(left, name)
		}
	}
	last := int64(0)
	for len(left) > 0 {
		e := await(l, Park)
		timer, ok := left[e.Target]
		if !ok {
			t.Fatalf("timer %s came twice or after it was cancelled", e.Target)
		}
		if time.Now().Before(timer.earliest) {
			t.Errorf("timer %s is early", e.Target)
		}
		if timer.due < last {
			t.Errorf("timer %s is out of order", e.Target)
		}
		last = timer.due
		delete(left, e.Target)
		if l.Cancel(timer.id) {
			t.Errorf("timer %s can be cancelled after it was reported", e.Target)
		}
	}
	idle(t, l)
}

// when returns the deadline of a timer that is set.
func (t *timer[T]) when(l *Loop[T]) int64 { return l.timers.entries[t.index-1].when }

// Equal deadlines come in the order in which they were set; cancelling some does not change that.
func TestOrderOfEqualDeadlines(t *testing.T) {
	limit(t)
	random := newRandom(t)
	l := newLoop(t)
	var want []string
	for i := range 100 {
		id := l.After(0, fmt.Sprint(i))
		// After reads the clock, so make the deadlines equal by hand.
		l.timers.set(&l.slots[int(uint32(id))-1].node, 1)
		if random.IntN(3) == 0 {
			l.Cancel(id)
		} else {
			want = append(want, fmt.Sprint("timer:", i))
		}
	}
	got := round(l, nil)
	for i, e := range got {
		if i >= len(want) || show(e) != want[i] {
			t.Fatalf("event %d is %s, want all of %v in order", i, show(e), want)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d timers came, want %d", len(got), len(want))
	}
}

func TestCancel(t *testing.T) {
	limit(t)
	l := newLoop(t)
	for _, id := range []TimerID{0, 1, 1 << 32, math.MaxUint64, math.MaxUint32} {
		if l.Cancel(id) {
			t.Errorf("Cancel(%#x) finds a timer in a new loop", id)
		}
	}
	id := l.After(0, "x")
	if !l.Cancel(id) {
		t.Error("a timer cannot be cancelled")
	}
	if l.Cancel(id) {
		t.Error("a timer can be cancelled twice")
	}
	expect(t, "cancelled", round(l, nil), "")
}

// IDs are not used twice, although their slots are: an old ID does not touch the timer that came after it.
func TestStaleIDs(t *testing.T) {
	limit(t)
	l := newLoop(t)
	seen := map[TimerID]bool{}
	var stale []TimerID
	for n := range 50 {
		id := l.After(0, fmt.Sprint(n))
		if id == 0 || seen[id] {
			t.Fatalf("timer %d has the ID %#x, which is zero or was used before", n, id)
		}
		seen[id] = true
		for _, old := range stale {
			if l.Cancel(old) {
				t.Fatalf("the ID %#x of a timer that is gone cancels another one", old)
			}
		}
		if n%3 == 0 {
			l.Cancel(id)
		} else {
			expect(t, "the timer that has the slot now", round(l, nil), fmt.Sprint("timer:", n))
		}
		stale = append(stale, id)
	}
	if len(l.slots) != 1 {
		t.Errorf("%d slots for timers of which one was set at a time", len(l.slots))
	}
}

func TestTimerDelaysThatAreNegativeOrZero(t *testing.T) {
	limit(t)
	l := newLoop(t)
	for _, d := range []time.Duration{0, -1, -time.Hour, math.MinInt64} {
		l.After(d, d.String())
		expect(t, "due at once", round(l, nil), "timer:"+d.String())
	}
}

// Delays beyond 32 bits of microseconds, milliseconds or seconds neither come early nor disturb the others.
func TestHugeDelays(t *testing.T) {
	huge := []time.Duration{
		2147484 * time.Millisecond, 4294968 * time.Millisecond, math.MaxInt32 * time.Millisecond,
		math.MaxUint32 * time.Millisecond, math.MaxUint32 * time.Second, math.MaxInt64 / 2, math.MaxInt64 - 1, math.MaxInt64,
	}
	for _, d := range huge {
		t.Run(d.String(), func(t *testing.T) {
			limit(t)
			l := newLoop(t)
			a, _ := pair(t)
			start := time.Now()
			id := l.After(d, "huge")
			set(t, l, a, Registration[string]{Directions: Read, Timeout: d})
			l.OnTimeout(a, "huge")
			expect(t, "huge delay", round(l, nil), "")
			idle(t, l)
			// 0 is no alarm at all, which is right for what overflows the clock: that is centuries away.
			if value := remaining(t, l); value != 0 && value < d-time.Since(start) {
				t.Errorf("the kernel will wake the loop in %v, want %v", value, d)
			} else if value == 0 && d < math.MaxInt64/2 {
				t.Error("the kernel will not wake the loop")
			}
			l.After(time.Millisecond, "short")
			if e := await(l, Park); show(e) != "timer:short" {
				t.Errorf("%s came, want the short timer", show(e))
			}
			idle(t, l)
			if !l.Cancel(id) || !l.Clear(a) {
				t.Error("the timer or the descriptor with the huge delay is gone")
			}
		})
	}
}

// A step of the wall clock moves no deadline: the kernel's timers go by the monotonic clock, and so does the loop.
func TestDeadlinesAreMonotonic(t *testing.T) {
	l := newLoop(t)
	info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(l.timer))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("clockid: %d\n", unix.CLOCK_MONOTONIC); !strings.Contains(string(info), want) {
		t.Errorf("the timerfd has %q, want %q in it", info, want)
	}
	if !strings.Contains(l.base.String(), " m=") { // how package time shows a reading of the monotonic clock
		t.Errorf("the loop counts from %s", l.base)
	}
}

// While the owner sleeps, the kernel's alarm moves up for an earlier deadline and stays for a later one.
func TestAlarmWhileWaiting(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, _ := pair(t)
	idle(t, l)
	if value := remaining(t, l); value != 0 {
		t.Fatalf("a loop without deadlines has an alarm in %v", value)
	}
	alarm := func(what string, least, most time.Duration) {
		t.Helper()
		// A machine under load takes its time between setting and looking, so the lower bound is half of the delay.
		if value := remaining(t, l); value <= least/2 || value > most {
			t.Errorf("%s: the alarm is in %v, want %v to %v", what, value, least, most)
		}
	}
	l.After(4*time.Hour, "")
	alarm("first timer", 4*time.Hour, 4*time.Hour)
	l.After(8*time.Hour, "")
	alarm("later timer", 4*time.Hour, 4*time.Hour)
	id := l.After(2*time.Hour, "")
	alarm("earlier timer", 2*time.Hour, 2*time.Hour)
	set(t, l, a, Registration[string]{Directions: Read, Timeout: time.Hour})
	alarm("earlier timeout", time.Hour, time.Hour)
	l.Clear(a)
	l.Cancel(id)
	l.After(time.Millisecond, "now")
	if e := await(l, Park); show(e) != "timer:now" {
		t.Errorf("%s came, want the timer", show(e))
	}
	idle(t, l)
	alarm("after the earliest", 4*time.Hour, 4*time.Hour)
}

// TestDueTimersArmNothing fails if a system call is made for a timer that is due anyway, or if such timers keep whoever
// wants to say something to the loop from doing so.
func TestDueTimersArmNothing(t *testing.T) {
	limit(t)
	l := newLoop(t)
	asked := 0
	l.BeforeWait(func() bool {
		asked++
		return asked%2 == 0
	})
	timer := l.timer
	l.timer = -1 // which cannot be armed
	defer func() { l.timer = timer }()
	var e Event[string]
	for range 100 {
		l.After(0, "due")
		for l.Next(&e, Park) == Interrupted {
		}
		if e.Kind != Expired || e.Target != "due" {
			t.Fatalf("there came %+v", e)
		}
	}
	if asked < 200 {
		t.Errorf("whether the loop may wait was asked %d times for 100 timers", asked)
	}
}

// A timer comes in time where the kernel refuses to set the alarm, and the alarm is used again when it can be.
func TestTimersWithoutAnAlarm(t *testing.T) {
	for name, how := range map[string]Wait{"inside": Park, "outside": Outside} {
		t.Run(name, func(t *testing.T) {
			limit(t)
			l := newLoop(t)
			timer := l.timer
			l.timer = -1
			defer func() { l.timer = timer }()
			begin := time.Now()
			const delay = 20 * time.Millisecond
			l.After(delay, "first")
			if e := await(l, how); show(e) != "timer:first" || time.Since(begin) < delay {
				t.Fatalf("%s came after %v", show(e), time.Since(begin))
			}
			time.AfterFunc(delay, func() { l.After(delay, "while the owner waits") })
			if e := await(l, how); show(e) != "timer:while the owner waits" {
				t.Fatalf("%s came", show(e))
			}
			l.timer = timer
			l.After(time.Hour, "later")
			idle(t, l)
			if value := remaining(t, l); value == 0 {
				t.Error("the alarm is not set")
			}
		})
	}
}
