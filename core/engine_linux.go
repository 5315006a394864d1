package core

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"melon/core/event"
)

// An engine is the loop of one process: everything that happens in the master or in a worker happens in engine.run, on
// the goroutine that called Group.Run.
type engine struct {
	loop     *event.Loop[func()]
	finished bool // makes run return

	// sleeping is set by the loop under mu, right before it sleeps with nothing posted. Whoever clears it wakes the loop,
	// so that the loop is woken only when it really sleeps, and once.
	sleeping atomic.Bool

	iterations atomic.Uint64
	handling   atomic.Int64 // nanoseconds spent in handlers of messages

	mu     sync.Mutex
	closed bool
	posted []func()
	spare  []func() // takes turns with posted
}

func (e *engine) open() (err error) {
	if e.loop, err = event.New[func()](); err != nil {
		return err
	}
	e.loop.BeforeWait(e.mayWait)
	return nil
}

// close calls what was posted and not called yet, unless a panic is on its way, and releases the loop.
func (e *engine) close() {
	e.mu.Lock()
	e.closed = true
	posted := e.posted
	e.posted = nil
	e.mu.Unlock()
	if e.finished {
		for _, f := range posted {
			f()
		}
	}
	e.loop.Close()
}

// post has f called on the loop's goroutine, after what is ready by then. It may be called from any goroutine. It reports
// false, and f is not called, when the loop is closed.
func (e *engine) post(f func()) bool {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return false
	}
	e.posted = append(e.posted, f)
	wake := e.sleeping.CompareAndSwap(true, false)
	e.mu.Unlock()
	if wake {
		e.loop.Wake() // not under mu: the loop calls mayWait under its own lock
	}
	return true
}

// mayWait is called by the loop before it sleeps, under the loop's lock.
func (e *engine) mayWait() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.posted) > 0 {
		return false
	}
	e.sleeping.Store(true)
	return true
}

// totals returns how often the loop had something to do, and how long handlers of messages ran.
func (e *engine) totals() (iterations uint64, handling time.Duration) {
	return e.iterations.Load(), time.Duration(e.handling.Load())
}

// run runs the loop until it is finished, or cannot go on.
func (e *engine) run() error {
	for !e.finished {
		var next event.Event[func()]
		outcome := e.loop.Next(&next, event.Park)
		e.sleeping.Store(false)
		e.iterations.Add(1)
		switch outcome {
		case event.Took:
			next.Target()
		case event.Failed:
			e.finished = true
			return fmt.Errorf("core: %w", e.loop.Err())
		default:
			e.runPosted()
		}
	}
	return nil
}

func (e *engine) runPosted() {
	e.mu.Lock()
	posted := e.posted
	e.posted, e.spare = e.spare[:0], nil
	e.mu.Unlock()
	for _, f := range posted {
		f()
	}
	clear(posted)
	e.mu.Lock()
	e.spare = posted[:0]
	e.mu.Unlock()
}

// watch has target called whenever fd can be read.
func (e *engine) watch(fd int, target func()) error {
	return e.loop.Set(fd, event.Registration[func()]{Directions: event.Read, Timeout: event.NoTimeout, Target: target, Pollable: true})
}

func (e *engine) after(d time.Duration, target func()) event.TimerID { return e.loop.After(d, target) }
