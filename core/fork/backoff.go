// Package fork decides what happens to workers: how one ended, and whether and when another takes its place. How a Go
// program starts one is package spawn's.
package fork

import "time"

// Backoff says how long to wait before a worker is started again: not at all the first time, then longer and longer
// while it keeps failing. The zero value has the defaults.
type Backoff struct {
	// Least is the first wait that is not zero; 0 means 100 ms. It doubles with each further failure.
	Least time.Duration
	// Most is where the waits stop growing; 0 means 30 s.
	Most time.Duration
	// Stable is how long a worker must have lived for its end to count as the first failure again; 0 means 1 s.
	Stable time.Duration
	// Jitter is the part of each wait that is left to chance, so that workers that fail together are not started together;
	// 0 means 0.2, at most a fifth less than said above, and a negative value means nothing.
	Jitter float64

	failures int
}

// Failed says that a worker ended (or could not be started) after it had lived for so long, and returns how long to wait
// before the next start.
func (b *Backoff) Failed(lived time.Duration) time.Duration {
	if lived >= or(b.Stable, time.Second) {
		b.failures = 0
	}
	b.failures++
	if b.failures == 1 {
		return 0
	}
	wait, most := or(b.Least, 100*time.Millisecond), or(b.Most, 30*time.Second)
	for range b.failures - 2 {
		if wait > most/2 {
			return most
		}
		wait *= 2
	}
	return min(wait, most)
}

// Failures is the number of failures in a row.
func (b *Backoff) Failures() int { return b.failures }

func (b *Backoff) jitter() float64 {
	switch {
	case b.Jitter == 0:
		return 0.2
	case b.Jitter < 0:
		return 0
	}
	return min(b.Jitter, 1)
}

func or(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}
