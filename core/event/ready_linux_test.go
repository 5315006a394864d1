package event

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What is reported for each state of a descriptor and each set of armed directions.
func TestConditions(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T) int
		// what is reported with R, W, E, RW, RE, WE and RWE armed; - is nothing
		want string
	}{
		{"nothing to read, room to write", func(t *testing.T) int {
			a, _ := pair(t)
			return a
		}, "- W - W - W W"},
		{"data, room to write", func(t *testing.T) int {
			a, b := pair(t)
			write(t, b)
			return a
		}, "R W - RW R W RW"},
		{"nothing to read, no room", func(t *testing.T) int {
			a, _ := pair(t)
			fill(t, a)
			return a
		}, "- - - - - - -"},
		{"peer will write no more", func(t *testing.T) int {
			a, b := pair(t)
			if err := unix.Shutdown(b, unix.SHUT_WR); err != nil {
				t.Fatal(err)
			}
			return a
		}, "R W - RW R W RW"},
		{"peer closed", func(t *testing.T) int {
			a, b := pair(t)
			shut(t, b)
			return a
		}, "R W E RW R W RW"},
		{"peer closed without reading", func(t *testing.T) int {
			a, b := pair(t)
			write(t, a)
			shut(t, b)
			return a
		}, "R W E RW RE WE RWE"},
		{"pipe without writer, empty: a hang-up and nothing else", func(t *testing.T) int {
			r, w := pipe(t)
			shut(t, w)
			return r
		}, "R W E R R W R"},
		{"pipe without reader", func(t *testing.T) int {
			r, w := pipe(t)
			shut(t, r)
			return w
		}, "R W E W E WE WE"},
		{"pipe without reader, full: an error and nothing else", func(t *testing.T) int {
			r, w := pipe(t)
			fill(t, w)
			shut(t, r)
			return w
		}, "R W E R E E E"},
		{"regular file", regularFile, "R W - RW R W RW"},
		{"/dev/null", func(t *testing.T) int { return open(t, "/dev/null", unix.O_RDWR) }, "R W - RW R W RW"},
		{"directory", func(t *testing.T) int { return open(t, t.TempDir(), unix.O_DIRECTORY) }, "R W - RW R W RW"},
	}
	for _, test := range tests {
		wants := strings.Fields(test.want)
		for i, armed := range []string{"R", "W", "E", "RW", "RE", "WE", "RWE"} {
			t.Run(test.name+"/"+armed, func(t *testing.T) {
				limit(t)
				l := newLoop(t)
				fd := test.make(t)
				watch(t, l, fd, direction(armed), "")
				for n := range 3 { // level-triggered: the same each time
					var got Direction
					for _, e := range round(l, nil) {
						if e.Kind != Ready || e.FD != fd || e.Direction <= got {
							t.Fatalf("round %d: unexpected event %+v", n, e)
						}
						got |= e.Direction
					}
					if want := direction(wants[i]); got != want {
						t.Fatalf("round %d reports %q, want %q", n, letters(got), letters(want))
					}
				}
			})
		}
	}
}

// Sequences of Set on a descriptor that is readable and writable. A step is "set" or "add" (Append), directions or 0,
// and * for OneShot; its target is its number, from 1. "round" and what it reports stand between the steps.
func TestRegistrations(t *testing.T) {
	tests := []string{
		"set 0, round",
		"add 0, round",
		"set R, round R:1, round R:1",
		"add R, round R:1, round R:1",
		"set RW, round R:1 W:1, round R:1 W:1",
		"set E, round",
		"set R*, round R:1, round",
		"set RW*, round R:1 W:1, round",
		"add RW*, round R:1 W:1, round",

		// Without Append what was armed is dropped.
		"set R, set W, round W:2, round W:2",
		"set R, set 0, round",
		"set RW, set R, round R:2, round R:2",
		"set R*, set R, round R:2, round R:2",
		"set R, set R*, round R:2, round",
		"set RW*, set R, round R:2, round R:2",
		"set R, round R:1, set W, round W:2",
		"set R*, round R:1, set W, round W:2, round W:2",
		"set R, round R:1, set 0, round, set R, round R:3",

		// With Append it stays, and each direction keeps its own target and its own OneShot.
		"set R, add W, round R:1 W:2, round R:1 W:2",
		"set R, add W*, round R:1 W:2, round R:1, round R:1",
		"set W*, add R, round R:2 W:1, round R:2",
		"set RW, add R, round R:2 W:1, round R:2 W:1",
		"set RW, add W*, round R:1 W:2, round R:1",
		"set RW*, add W, round R:1 W:2, round W:2",
		"set R*, add R, round R:2, round R:2",
		"set R, add R*, round R:2, round",
		"set R, add 0, round R:1, round R:1",
		"set R, add 0*, round R:1, round R:1",
		"set RWE, add W*, round R:1 W:2, round R:1",

		// A direction that fired once can be armed again, alone or beside others.
		"set R*, round R:1, round, add R*, round R:2, round",
		"set R*, round R:1, round, set R, round R:2, round R:2",
		"set R, add W*, round R:1 W:2, round R:1, add W*, round R:1 W:3, round R:1",
		"set R, add W*, round R:1 W:2, add W*, round R:1 W:3, round R:1",

		// Recorded first, armed later.
		"set 0, set R, round R:2, round R:2",
		"set 0, add R*, round R:2, round",
		"set 0, round, add W, round W:2",
		"add 0, add R, add W, round R:2 W:3",
	}
	for _, test := range tests {
		for _, waiting := range []bool{false, true} {
			for _, kind := range []string{"socket", "file"} {
				t.Run(fmt.Sprintf("%s/%s/waiting=%t", test, kind, waiting), func(t *testing.T) {
					limit(t)
					l := newLoop(t)
					var fd int
					if kind == "file" {
						fd = regularFile(t)
					} else {
						var peer int
						fd, peer = pair(t)
						write(t, peer)
					}
					step := 0
					for _, part := range strings.Split(test, ", ") {
						verb, rest, _ := strings.Cut(part, " ")
						if verb == "round" {
							expect(t, part, round(l, nil), rest)
							continue
						}
						step++
						if waiting {
							l.pretendToWait()
						}
						set(t, l, fd, Registration[string]{
							Directions: direction(rest),
							OneShot:    strings.Contains(rest, "*"),
							Append:     verb == "add",
							Timeout:    NoTimeout,
							Target:     fmt.Sprint(step),
						})
					}
				})
			}
		}
	}
}

// The state of a connection under load in both directions: reading goes on while a one-shot write waits for room, and
// neither silences the other.
func TestOneShotWriteBesidePersistentRead(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, b := pair(t)
	watch(t, l, a, Read, "read")
	for n := range 100 {
		fill(t, a)
		set(t, l, a, Registration[string]{Directions: Write, OneShot: true, Append: true, Timeout: KeepTimeout, Target: "write"})
		expect(t, "no room and no data", round(l, nil), "")
		for range n % 3 {
			write(t, b)
			expect(t, "data", round(l, nil), "R:read")
			expect(t, "data that was not read", round(l, nil), "R:read")
			drain(t, a)
			expect(t, "no data any more", round(l, nil), "")
		}
		drain(t, b)
		if n%2 == 0 {
			write(t, b)
			expect(t, "room and data", round(l, nil), "R:read W:write")
			expect(t, "room, which was reported, and data", round(l, nil), "R:read")
			drain(t, a)
		} else {
			expect(t, "room", round(l, nil), "W:write")
		}
		expect(t, "nothing new", round(l, nil), "")
	}
	silent(t, l)
}

// A hang-up reaches the kernel's set whatever is asked for; with nothing armed it must not keep the owner awake.
func TestHangUpWithNothingArmedIsSilent(t *testing.T) {
	socket := func(t *testing.T) (int, func()) {
		a, b := pair(t)
		return a, func() { shut(t, b) }
	}
	reader := func(t *testing.T) (int, func()) {
		r, w := pipe(t)
		return r, func() { shut(t, w) }
	}
	writer := func(t *testing.T) (int, func()) {
		r, w := pipe(t)
		return w, func() { shut(t, r) }
	}
	for name, make := range map[string]func(*testing.T) (int, func()){"socket": socket, "pipe reader": reader, "pipe writer": writer} {
		t.Run(name+"/recorded only", func(t *testing.T) {
			limit(t)
			l := newLoop(t)
			fd, hangUp := make(t)
			watch(t, l, fd, 0, "")
			hangUp()
			idle(t, l)
			silent(t, l)
		})
		t.Run(name+"/one-shot fired", func(t *testing.T) {
			limit(t)
			l := newLoop(t)
			fd, hangUp := make(t)
			set(t, l, fd, Registration[string]{Directions: Error, OneShot: true, Timeout: NoTimeout, Target: "x"})
			hangUp()
			expect(t, "hang-up", round(l, nil), "E:x")
			idle(t, l)
			silent(t, l)
			set(t, l, fd, Registration[string]{Directions: Error, OneShot: true, Append: true, Timeout: NoTimeout, Target: "y"})
			expect(t, "armed again", round(l, nil), "E:y")
			idle(t, l)
			silent(t, l)
		})
		t.Run(name+"/disarmed", func(t *testing.T) {
			limit(t)
			l := newLoop(t)
			fd, hangUp := make(t)
			watch(t, l, fd, Read|Write|Error, "x")
			hangUp()
			if len(round(l, nil)) == 0 {
				t.Fatal("the hang-up was not reported")
			}
			watch(t, l, fd, 0, "")
			idle(t, l)
			silent(t, l)
		})
		t.Run(name+"/cleared", func(t *testing.T) {
			limit(t)
			l := newLoop(t)
			fd, hangUp := make(t)
			watch(t, l, fd, Read|Write|Error, "x")
			hangUp()
			l.Clear(fd)
			silent(t, l)
			idle(t, l)
		})
	}
}

// All one-shot directions of one hang-up are not fired at once where the kernel names none: the others stay armed.
func TestHangUpGoesToOneDirection(t *testing.T) {
	limit(t)
	l := newLoop(t)
	r, w := pipe(t)
	shut(t, w)
	set(t, l, r, Registration[string]{Directions: Read | Write | Error, OneShot: true, Timeout: NoTimeout, Target: "x"})
	for _, want := range []string{"R:x", "W:x", "E:x", ""} {
		expect(t, "hang-up", round(l, nil), want)
	}
	silent(t, l)
}

// What cannot be watched is an error for an owner who knows that it can be.
func TestPollableDescriptors(t *testing.T) {
	limit(t)
	l := newLoop(t)
	file := regularFile(t)
	err := l.Set(file, Registration[string]{Directions: Read, Timeout: NoTimeout, Target: "file", Pollable: true})
	if !errors.Is(err, unix.EPERM) {
		t.Errorf("Set returned %v, want EPERM", err)
	}
	if l.Has(file) {
		t.Error("what was refused is registered")
	}
	idle(t, l)
}

// Files that are always ready neither starve the rest nor keep the loop busy once disarmed.
func TestRegularFileAmongOthers(t *testing.T) {
	limit(t)
	l := newLoop(t)
	file := regularFile(t)
	a, b := pair(t)
	watch(t, l, file, Write, "file")
	watch(t, l, a, Read, "socket")
	expect(t, "file alone", round(l, nil), "W:file")
	write(t, b)
	l.After(0, "timer")
	expect(t, "all", round(l, nil), "timer:timer R:socket W:file")
	for range 3 {
		if e := await(l, Outside); show(e) != "R:socket" && show(e) != "W:file" {
			t.Fatalf("outside: %s", show(e))
		}
	}
	drain(t, a)
	watch(t, l, file, Error, "file")
	round(l, nil)
	idle(t, l)
	silent(t, l)
	watch(t, l, file, Read, "again")
	expect(t, "armed again", round(l, nil), "R:again")
	if !l.Clear(file) || l.Clear(file) || l.Has(file) {
		t.Error("Clear does not forget a file, or does so twice")
	}
	idle(t, l)
}

func TestSetReportsWhatTheKernelSays(t *testing.T) {
	limit(t)
	l := newLoop(t)
	closed, _ := pair(t)
	shut(t, closed)
	for _, fd := range []int{closed, -1, -1 << 31, 1<<31 - 1} {
		for _, d := range []Direction{0, Read, Read | Write | Error} {
			for _, appending := range []bool{false, true} {
				err := l.Set(fd, Registration[string]{Directions: d, Append: appending, Timeout: 0, Target: "x"})
				var failed *DescriptorError
				if !errors.As(err, &failed) || failed.FD != fd || !errors.Is(err, unix.EBADF) {
					t.Errorf("Set(%d, %s): %v, want EBADF", fd, letters(d), err)
				}
				if !strings.Contains(fmt.Sprint(err), fmt.Sprint(fd)) {
					t.Errorf("%q does not name the descriptor %d", err, fd)
				}
				if l.Has(fd) || l.Clear(fd) || l.OnTimeout(fd, "x") {
					t.Errorf("descriptor %d is registered after a failure", fd)
				}
			}
		}
	}
	expect(t, "after failures", round(l, nil), "") // no deadline is left behind either
	idle(t, l)
	if own := l.Descriptors()[0]; !errors.Is(l.Set(own, Registration[string]{Directions: Read}), unix.EINVAL) {
		t.Error("a loop watches itself")
	}
}

// A failed Set leaves the number as if it had not been called.
func TestSetAfterFailure(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, b := pair(t)
	number, _ := pair(t)
	shut(t, number)
	if err := l.Set(number, Registration[string]{Directions: Read, Timeout: 0, Target: "old"}); err == nil {
		t.Fatal("a closed descriptor was registered")
	}
	reuse(t, number, a)
	own(t, number)
	set(t, l, number, Registration[string]{Directions: Read, Append: true, Timeout: NoTimeout, Target: "new"})
	expect(t, "nothing there", round(l, nil), "")
	write(t, b)
	expect(t, "data", round(l, nil), "R:new")
}

func TestHas(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, _ := pair(t)
	if l.Has(a) || l.Has(-1) || l.Has(1<<40) {
		t.Error("something is registered in a new loop")
	}
	watch(t, l, a, 0, "")
	if !l.Has(a) {
		t.Error("a descriptor that was recorded without a direction is unknown")
	}
	set(t, l, a, Registration[string]{Directions: Write, OneShot: true, Timeout: NoTimeout})
	round(l, nil)
	if !l.Has(a) {
		t.Error("a one-shot direction that fired forgot the descriptor")
	}
	if !l.Clear(a) || l.Has(a) || l.Clear(a) {
		t.Error("Clear does not forget, or does so twice")
	}
}

// The table grows with the numbers that are in use.
func TestLargeDescriptorNumbers(t *testing.T) {
	limit(t)
	var nofile unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &nofile); err != nil {
		t.Fatal(err)
	}
	l := newLoop(t)
	a, b := pair(t)
	write(t, b)
	for _, number := range []int{63, 64, 65, 1023, int(min(nofile.Cur, 1<<16)) - 1} {
		if number >= int(nofile.Cur) {
			continue
		}
		fd, err := unix.FcntlInt(uintptr(a), unix.F_DUPFD_CLOEXEC, number)
		if err != nil {
			if err == unix.EMFILE {
				continue
			}
			t.Fatal(err)
		}
		own(t, fd)
		watch(t, l, fd, Read, fmt.Sprint(fd))
		expect(t, "large number", round(l, nil), fmt.Sprint("R:", fd))
		l.Clear(fd)
	}
}

// More descriptors are ready than one wait reports; all get their turn.
func TestMoreReadyThanOneWaitReports(t *testing.T) {
	limit(t)
	l := newLoop(t)
	const count = batch + 40
	left := map[int]bool{}
	for range count {
		a, _ := pair(t)
		watch(t, l, a, Write, "")
		left[a] = true
	}
	for n := 0; len(left) > 0; n++ {
		if n == 2*count {
			t.Fatalf("%d of %d ready descriptors had no turn in %d events", len(left), count, n)
		}
		delete(left, await(l, NoWait).FD)
	}
}

func TestPending(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, b := pair(t)
	c, d := pair(t)
	watch(t, l, a, Read, "a")
	watch(t, l, c, Read, "c")
	if l.Pending() {
		t.Error("a new loop has something pending")
	}
	write(t, b)
	write(t, d)
	await(l, NoWait)
	if !l.Pending() {
		t.Error("the second of two ready descriptors is not pending")
	}
	await(l, NoWait)
	drain(t, a)
	drain(t, c)
	round(l, nil)
	if l.Pending() {
		t.Error("something is pending when nothing is ready")
	}
	l.After(0, "timer")
	l.After(0, "timer")
	await(l, Park)
	if !l.Pending() && showAll(round(l, nil)) != "timer:timer" {
		t.Error("the second of two timers is lost")
	}
	l.After(time.Hour, "later")
	round(l, nil)
	if l.Pending() {
		t.Error("a timer that has not expired is pending")
	}
}

// What may be read without the loop is what is registered for nothing else, and the kernel reports it by the data that are told.
func TestPlain(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, b := pair(t)
	plain := Registration[string]{Directions: Read, Timeout: NoTimeout, Target: "read"}
	for _, c := range []struct {
		what   string
		change func(r *Registration[string])
	}{
		{"that is written", func(r *Registration[string]) { r.Directions = Write }},
		{"that is read and written", func(r *Registration[string]) { r.Directions |= Write }},
		{"that is read once", func(r *Registration[string]) { r.OneShot = true }},
		{"with a deadline", func(r *Registration[string]) { r.Timeout = time.Hour }},
	} {
		other := plain
		c.change(&other)
		if _, _, ok := l.Plain(a); ok {
			t.Error("one that is not registered is plain")
		}
		for _, r := range []Registration[string]{plain, other, plain} {
			if err := l.Set(a, r); err != nil {
				t.Fatal(err)
			}
			target, data, ok := l.Plain(a)
			if ok != (r == plain) || ok && target != "read" {
				t.Errorf("with one %s, %+v is plain: %t, %q", c.what, r, ok, target)
			}
			if !ok {
				continue
			}
			write(t, b)
			if n, errno := l.enter(-1); n != 1 || errno != 0 || *(*uint64)(unsafe.Pointer(&l.buffer[0].Fd)) != data {
				t.Errorf("%d events, %v: %+v is not %#x", n, errno, l.buffer[0], data)
			}
			if _, err := unix.Read(a, make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
		}
		l.Clear(a)
	}
}

// A descriptor that is closed without Clear is reported for ever where another one, say of a child, refers to the same open file. That
// is not looked at for ever, and all others are watched as before.
func TestClosedButOpenElsewhere(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, b := pair(t)
	other, peer := pair(t)
	elsewhere, err := unix.Dup(a)
	if err != nil {
		t.Fatal(err)
	}
	own(t, elsewhere)
	for fd, target := range map[int]string{a: "closed", other: "other"} {
		if err := l.Set(fd, Registration[string]{Directions: Read, Timeout: NoTimeout, Target: target}); err != nil {
			t.Fatal(err)
		}
	}
	shut(t, a)
	l.Clear(a)
	write(t, b)
	write(t, peer)
	for range 2 * mostGhosts {
		if got := round(l, nil); len(got) != 1 || got[0].Target != "other" {
			t.Fatalf("what came is %v", got)
		}
	}
	if n, errno := l.enter(0); n != 1 || errno != 0 || l.buffer[0].Fd != int32(other) {
		t.Errorf("the kernel reports %d events, %v, the first of %d, and only %d is registered", n, errno, l.buffer[0].Fd, other)
	}
	if _, err := unix.Read(other, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	l.After(0, "timer")
	if e := await(l, Park); e.Target != "timer" {
		t.Errorf("%+v came, and not the timer", e)
	}
	l.Wake()
	if outcome := l.Next(&Event[string]{}, Park); outcome != Interrupted {
		t.Errorf("Next returns %v after Wake", outcome)
	}
}

// A direction that rests is not reported, not even by the kernel, until RetryAfter has passed, or until it is set anew.
func TestRest(t *testing.T) {
	limit(t)
	for _, how := range []Wait{Outside, Park} {
		l := newLoop(t)
		a, b := pair(t)
		write(t, b)
		watch(t, l, a, Read|Write, "a")
		expect(t, "with a handler that has the descriptor rest", round(l, func(e Event[string]) { l.Rest(a, Read|Write) }), "R:a")
		if !l.Resting(a, Read) || l.Resting(b, Read) {
			t.Fatal("Resting is wrong")
		}
		idle(t, l)
		silent(t, l)
		set(t, l, a, Registration[string]{Directions: Write, Append: true, OneShot: true, Timeout: KeepTimeout, Target: "a"})
		expect(t, "when one direction is set anew", round(l, nil), "W:a")
		_, _, plain := l.Plain(a)
		if plain {
			t.Error("a descriptor that rests is plain")
		}
		shut(t, b) // is reported whatever is asked for
		if e := await(l, how); show(e) != "R:a" || l.Resting(a, Read) {
			t.Errorf("%s came after the rest, want R:a", show(e))
		}
		l.Rest(a, Read)
		began := time.Now()
		await(l, how)
		if took := time.Since(began); took < RetryAfter {
			t.Errorf("a rest of %v took %v", RetryAfter, took)
		}
		l.Rest(a, Read)
		l.Clear(a)
		l.Rest(a, Read)
		time.Sleep(2 * RetryAfter)
		expect(t, "after Clear", round(l, nil), "")
	}
}
