package main

/*
#include "engine.h"
*/
import "C"

import (
	"time"

	"golang.org/x/sys/unix"

	"melon/core/event"
	"melon/core/fork"
)

// expiry is how long a process may live on after its channel was closed from this side.
const expiry = time.Second

// A worker is the Go side of one struct worker: the end of its process, and when the next one starts.
type worker struct {
	loop    *loop
	c       uintptr // struct worker
	pidfd   int     // -1: no process
	started time.Time
	backoff fork.Backoff
	timer   event.TimerID // for the start of the next process, or the end of this one
	status  fork.Status
	left    int // bytes that it sent before it ended and that were not read yet
}

func (l *loop) workerOf(c C.uintptr_t) *worker {
	w := l.workers[uintptr(c)]
	if w == nil {
		w = &worker{loop: l, c: uintptr(c), pidfd: -1}
		l.workers[w.c] = w
	}
	return w
}

// engineWorkerWatch is the entry worker_watch of struct engine_table.
//
//export engineWorkerWatch
func engineWorkerWatch(handle C.int64_t, c C.uintptr_t, pidfd C.int) C.int {
	room(false)
	w := loopOf(handle).workerOf(c)
	w.pidfd, w.started = int(pidfd), time.Now()
	return result(w.loop.Set(w.pidfd, event.Registration[target]{
		Directions: event.Read, Timeout: event.NoTimeout, Target: target{worker: w},
	}))
}

// engineWorkerExpire is the entry worker_expire of struct engine_table.
//
//export engineWorkerExpire
func engineWorkerExpire(handle C.int64_t, c C.uintptr_t) {
	room(false)
	if w := loopOf(handle).workerOf(c); w.pidfd >= 0 {
		w.after(expiry, toKill)
	}
}

// engineWorkerRetry is the entry worker_retry of struct engine_table.
//
//export engineWorkerRetry
func engineWorkerRetry(handle C.int64_t, c C.uintptr_t) {
	room(false)
	w := loopOf(handle).workerOf(c)
	w.after(w.backoff.Failed(0), toStart)
}

// engineWorkerForget is the entry worker_forget of struct engine_table.
//
//export engineWorkerForget
func engineWorkerForget(handle C.int64_t, c C.uintptr_t) {
	room(false)
	l := loopOf(handle)
	w := l.workers[uintptr(c)]
	if w == nil {
		return
	}
	delete(l.workers, w.c)
	l.Cancel(w.timer)
	if w.pidfd >= 0 {
		l.Clear(w.pidfd)
	}
	for i := range l.ended {
		if l.ended[i] == w {
			l.ended = append(l.ended[:i], l.ended[i+1:]...)
			break
		}
	}
}

func (w *worker) after(d time.Duration, p purpose) {
	w.loop.Cancel(w.timer)
	w.timer = w.loop.After(d, target{worker: w, purpose: p})
}

// reap is called when the process has ended. What it sent before is delivered first.
func (w *worker) reap() bool {
	status, ended, err := fork.Reap(w.pidfd)
	if err == nil && !ended {
		return false
	}
	w.status = status
	w.loop.Clear(w.pidfd)
	w.loop.Cancel(w.timer)
	if ch := w.loop.channelOf(w); ch != nil {
		// So much and no more: a child of the worker may have the other end, and go on writing for ever.
		w.left, _ = unix.IoctlGetInt(ch.fd, unix.TIOCINQ)
	}
	w.loop.ended = append(w.loop.ended, w)
	return w.loop.finish()
}

// finish goes on with the processes that have ended: first what is left in their channels, then the end itself. It
// reports whether that made a step.
func (l *loop) finish() bool {
	if len(l.ended) == 0 {
		return false
	}
	w := l.ended[0]
	if ch := l.channelOf(w); ch != nil {
		ch.drain(&w.left)
		return true
	}
	l.ended = l.ended[1:]
	w.pidfd = -1
	wait := w.backoff.Failed(time.Since(w.started))
	step := l.step
	step.kind, step.target, step.delay = C.STEP_EXITED, C.uintptr_t(w.c), C.int64_t(wait.Milliseconds())
	l.say(w.status.String())
	w.after(wait, toStart)
	return true
}

func (l *loop) channelOf(w *worker) *channel {
	for _, ch := range l.channels {
		if ch.worker == w.c {
			return ch
		}
	}
	return nil
}

// expired is called when the worker's timer is.
func (w *worker) expired(p purpose) bool {
	switch {
	case p == toKill && w.pidfd >= 0:
		_ = unix.PidfdSendSignal(w.pidfd, unix.SIGKILL, nil, 0) // it may have ended meanwhile
	case p == toStart && w.pidfd < 0:
		w.loop.step.kind, w.loop.step.target = C.STEP_START, C.uintptr_t(w.c)
		return true
	}
	return false
}
