package event

import (
	"slices"
	"testing"
	"time"
)

// offering makes a loop with so many descriptors that are ready, of which each is registered as change leaves it. It returns the
// descriptors, the batch, and what was put into it.
func offering(t *testing.T, n int, change func(int, *Registration[string])) (l *Loop[string], fds []int, offer *Batch, put []string) {
	t.Helper()
	l = newLoop(t)
	offer, put = new(Batch), make([]string, batch)
	l.UseBatch(offer, len(put), func(n, _ int, target string) bool {
		put[n] = target
		return target != foreign
	})
	for i := range n {
		fd, _ := pair(t)
		fds = append(fds, fd)
		r := Registration[string]{Directions: Write, Timeout: NoTimeout, Target: string(rune('a' + i))}
		if change != nil {
			change(i, &r)
		}
		if err := l.Set(fd, r); err != nil {
			t.Fatal(err)
		}
	}
	return l, fds, offer, put
}

func next(t *testing.T, l *Loop[string]) string {
	t.Helper()
	var e Event[string]
	if outcome := l.Next(&e, NoWait); outcome != Took {
		t.Fatalf("Next returned %d, want an event", outcome)
	}
	return e.Target
}

func TestWhatIsOffered(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(int, *Registration[string]) // of c, the third of five
		want   int                              // behind a, which Next has taken
	}{
		{"all that is plain", nil, 4},
		{"nothing from a one-shot on", func(_ int, r *Registration[string]) { r.OneShot = true }, 1},
		{"nothing from the owner's own on", func(_ int, r *Registration[string]) { r.Target = foreign }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			limit(t)
			l, _, offer, put := offering(t, 5, func(i int, r *Registration[string]) {
				if i == 2 && c.change != nil {
					c.change(i, r)
				}
			})
			if first := next(t, l); first != "a" {
				t.Fatalf("%q came first", first)
			}
			if n, all := l.Offer(), []string{"b", "c", "d", "e"}; n != c.want || !slices.Equal(put[:n], all[:n]) {
				t.Fatalf("%q were offered, want %q", put[:n], all[:c.want])
			}
			for want := range c.want {
				if n, ok := offer.Take(); n != want || !ok {
					t.Fatalf("number %d was taken (%t), want %d", n, ok, want)
				}
			}
			if n, ok := offer.Take(); ok {
				t.Errorf("number %d was taken, of %d", n, c.want)
			}
			if may, want := l.MayWait(), c.want == 4; may != want {
				t.Errorf("the owner may wait: %t, want %t", may, want)
			}
		})
	}
}

func TestTimersComeBeforeWhatIsOffered(t *testing.T) {
	limit(t)
	l, _, _, _ := offering(t, 2, nil)
	l.After(0, "first")
	l.After(0, "second")
	for _, want := range []string{"first", "second"} {
		if n := l.Offer(); n != 0 {
			t.Errorf("%d were offered before timer %s", n, want)
		}
		if came := next(t, l); came != want {
			t.Errorf("%q came, want %q", came, want)
		}
	}
}

// Whatever changes the loop withdraws what was not taken, and Next goes on where the owner has stopped.
func TestChangesWithdraw(t *testing.T) {
	for name, change := range map[string]func(l *Loop[string], fds []int){
		"another target": func(l *Loop[string], fds []int) {
			_ = l.Set(fds[4], Registration[string]{Directions: Write, Timeout: NoTimeout, Target: "e"})
		},
		"a descriptor less": func(l *Loop[string], fds []int) { l.Clear(fds[0]) },
		"Next":              func(*Loop[string], []int) {},
		"Withdraw":          func(l *Loop[string], _ []int) { l.Withdraw() },
		"another offer":     func(l *Loop[string], _ []int) { l.Offer(); l.Withdraw() },
	} {
		t.Run(name, func(t *testing.T) {
			limit(t)
			l, fds, offer, _ := offering(t, 5, nil)
			next(t, l)
			l.Offer()
			if !l.MayWait() {
				t.Error("the owner may not wait after all that is offered")
			}
			offer.Take()
			offer.Take()
			change(l, fds)
			if came := next(t, l); came != "d" {
				t.Errorf("%q came after a, b and c", came)
			}
			if n, ok := offer.Take(); ok {
				t.Errorf("number %d was taken although it was withdrawn", n)
			}
			if came := next(t, l); came != "e" {
				t.Errorf("%q came after d", came)
			}
		})
	}
}

// Activity ends a deadline, also one that a handler has set before its descriptor has its turn.
func TestTakingAnOfferedEventEndsItsDeadline(t *testing.T) {
	limit(t)
	l, fds, offer, _ := offering(t, 2, nil)
	next(t, l)
	_ = l.Set(fds[1], Registration[string]{Directions: Write, Timeout: time.Hour, Target: "b"})
	l.Offer()
	if _, ok := offer.Take(); !ok {
		t.Fatal("nothing was offered")
	}
	l.Withdraw()
	if !l.timeouts.empty() {
		t.Error("the descriptor was ready, and its deadline stays")
	}
}

// After a change the kernel need not know at once of the next ones: the owner asks before it waits.
func TestNobodyWaitsAfterAPartWasWithdrawn(t *testing.T) {
	limit(t)
	l, fds, offer, _ := offering(t, 3, nil)
	next(t, l)
	l.Offer()
	l.MayWait()
	offer.Take()
	l.Clear(fds[0])
	if l.waiting {
		t.Error("the owner is taken to be waiting, and has an event left")
	}
}

// Offering all of many again after each would take the square of their number.
func TestWithdrawnOffersBecomeSmaller(t *testing.T) {
	limit(t)
	const descriptors = 100
	l, fds, offer, _ := offering(t, descriptors, nil)
	offered := 0
	next(t, l)
	for left := descriptors - 1; left > 0; {
		offered += l.Offer()
		for {
			if _, ok := offer.Take(); !ok {
				break
			}
			left--
			l.OnTimeout(fds[0], "")
			_ = l.Set(fds[0], Registration[string]{Directions: Write, Timeout: time.Hour, Target: "a"})
		}
	}
	if offered > 5*descriptors {
		t.Errorf("%d events were offered for %d that came", offered, descriptors)
	}
}
