package fork

import (
	"math"
	"testing"
	"time"
)

const ms = time.Millisecond

func TestBackoff(t *testing.T) {
	type step struct{ lived, want time.Duration }
	at := func(lived time.Duration, waits ...time.Duration) []step {
		var steps []step
		for _, want := range waits {
			steps = append(steps, step{lived, want})
		}
		return steps
	}
	join := func(parts ...[]step) (all []step) {
		for _, part := range parts {
			all = append(all, part...)
		}
		return all
	}
	tests := []struct {
		name    string
		backoff Backoff
		steps   []step
	}{
		{"defaults: at once, then doubling up to 30 s", Backoff{}, at(0,
			0, 100*ms, 200*ms, 400*ms, 800*ms, 1600*ms, 3200*ms, 6400*ms, 12800*ms, 25600*ms, 30*time.Second, 30*time.Second)},
		{"a worker that lived is started at once again", Backoff{}, join(
			at(0, 0, 100*ms, 200*ms), at(time.Second, 0, 0, 0), at(time.Hour, 0), at(0, 100*ms, 200*ms))},
		{"one that nearly lived is not", Backoff{}, at(time.Second-1, 0, 100*ms, 200*ms)},
		{"own values", Backoff{Least: 3 * ms, Most: 20 * ms, Stable: 10 * ms}, join(
			at(9*ms, 0, 3*ms, 6*ms, 12*ms, 20*ms, 20*ms), at(10*ms, 0), at(0, 3*ms))},
		{"most is reached exactly", Backoff{Least: 5 * ms, Most: 20 * ms}, at(0, 0, 5*ms, 10*ms, 20*ms, 20*ms)},
		{"least above most", Backoff{Least: time.Minute}, at(0, 0, 30*time.Second, 30*time.Second)},
		{"least equals most", Backoff{Least: 7 * ms, Most: 7 * ms}, at(0, 0, 7*ms, 7*ms)},
		{"negative values are defaults", Backoff{Least: -1, Most: -1, Stable: -1}, at(0, 0, 100*ms, 200*ms)},
		{"a clock that went back", Backoff{}, at(-time.Hour, 0, 100*ms)},
		{"could never be started", Backoff{Stable: 1}, at(0, 0, 100*ms)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := test.backoff
			if b.Failures() != 0 {
				t.Errorf("%d failures before the first", b.Failures())
			}
			for i, step := range test.steps {
				if got := b.Failed(step.lived); got != step.want {
					t.Errorf("failure %d, having lived %v: wait %v, want %v", i+1, step.lived, got, step.want)
				}
			}
		})
	}
}

func TestFailures(t *testing.T) {
	var b Backoff
	for want := range 1000 {
		if b.Failures() != want {
			t.Fatalf("%d failures, want %d", b.Failures(), want)
		}
		if wait := b.Failed(0); wait < 0 || wait > 30*time.Second {
			t.Fatalf("after %d failures: wait %v", want+1, wait)
		}
	}
	if wait := b.Failed(time.Second); b.Failures() != 1 || wait != 0 {
		t.Errorf("%d failures and a wait of %v after a stable life, want 1 and none", b.Failures(), wait)
	}
}

// Whatever the settings, waits never shrink while failures go on and never exceed the limit.
func TestBackoffNeverShrinks(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, least := range []time.Duration{1, ms, time.Second, time.Hour, 150 * year, 1 << 62, math.MaxInt64} {
		for _, most := range []time.Duration{1, ms, time.Minute, 1000 * time.Hour, math.MaxInt64 / 2, 290 * year, math.MaxInt64} {
			b := Backoff{Least: least, Most: most}
			last := time.Duration(0)
			for n := range 200 {
				wait := b.Failed(0)
				if wait < last || wait > most || n > 0 && wait == 0 {
					t.Fatalf("least %v, most %v, failure %d: wait %v after %v", least, most, n+1, wait, last)
				}
				last = wait
			}
			if last != most {
				t.Errorf("least %v, most %v: the waits end at %v", least, most, last)
			}
		}
	}
}
