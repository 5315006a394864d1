package main

/*
#include "engine.h"
*/
import "C"

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"melon/core/event"
	"melon/core/fork"
)

// A worker is the Go side of one struct worker: a place, and the process that has it now. What is to be done with it is
// decided by the supervisor of the loop that watches it.
type worker struct {
	loop   *loop
	c      uintptr // struct worker
	life   *fork.Process
	pid    int
	pidfd  int           // -1: no process
	timer  event.TimerID // for what the supervisor has armed
	status fork.Status
	left   int // bytes that it sent before it ended and that were not read yet

	refusal error // why it is not reaped
}

// policy is what the configuration says about workers.
var policy atomic.Pointer[fork.Policy]

// setPolicy takes the settings over for loops that come to watch workers from now on.
func setPolicy(s *C.struct_engine_settings) {
	ms := func(n C.int64_t) time.Duration { return time.Duration(n) * time.Millisecond }
	p := &fork.Policy{
		Backoff: fork.Backoff{Least: ms(s.backoff_min), Most: ms(s.backoff_max), Stable: ms(s.backoff_reset),
			Jitter: float64(s.backoff_jitter) / 100},
		Budget:       fork.Budget{Failures: int(s.failure_limit), Within: ms(s.failure_window)},
		StartTimeout: ms(s.start_timeout),
		Heartbeat:    ms(s.heartbeat),
		AbortTimeout: ms(s.kill_timeout),
		DrainTimeout: ms(s.drain_timeout),
		TermTimeout:  ms(s.kill_timeout),
	}
	if s.backoff_jitter == 0 {
		p.Backoff.Jitter = -1 // 0 has a meaning of its own there
	}
	policy.Store(p)
}

// supervise returns the supervisor for somebody who tells it something.
func (l *loop) supervise() *fork.Supervisor {
	l.busy()
	if l.supervisor == nil {
		l.supervisor = fork.NewSupervisor(*policy.Load(), time.Now, rand.Float64)
	}
	return l.supervisor
}

// engineWorkerWatch is the entry worker_watch of struct engine_table.
//
//export engineWorkerWatch
func engineWorkerWatch(handle C.int64_t, c C.uintptr_t, pid, pidfd C.int, role C.int) C.int {
	room(false)
	l := loopOf(handle)
	s := l.supervise()
	w := l.workers[uintptr(c)]
	known := w != nil
	if !known {
		w = &worker{loop: l, c: uintptr(c), pidfd: -1}
	}
	// First what may fail: nobody must take a process for started that is not watched.
	err := l.Set(int(pidfd), event.Registration[target]{
		Directions: event.Read, Timeout: event.NoTimeout, Target: target{worker: w}, Pollable: true,
	})
	if err != nil {
		return result(err)
	}
	w.pid, w.pidfd = int(pid), int(pidfd)
	if known {
		s.Started(w.life)
		return 0
	}
	w.life = s.Adopt(roleOf(role))
	w.life.Place().Owner = w
	l.workers[w.c] = w
	return 0
}

func roleOf(role C.int) fork.Role {
	return fork.Role{Once: role&C.ENGINE_WORKER_ONCE != 0, Mute: role&C.ENGINE_WORKER_MUTE != 0}
}

// engineWorkerRetry is the entry worker_retry of struct engine_table.
//
//export engineWorkerRetry
func engineWorkerRetry(handle C.int64_t, c C.uintptr_t, role C.int) {
	room(false)
	l := loopOf(handle)
	if w := l.workers[uintptr(c)]; w != nil {
		l.supervise().Failed(w.life, nil)
		return
	}
	w := &worker{loop: l, c: uintptr(c), pidfd: -1, life: l.supervise().Add(roleOf(role))}
	w.life.Place().Owner = w
	l.workers[w.c] = w
}

// engineWorkerExpire is the entry worker_expire of struct engine_table.
//
//export engineWorkerExpire
func engineWorkerExpire(handle C.int64_t, c C.uintptr_t) {
	room(false)
	l := loopOf(handle)
	if w := l.workers[uintptr(c)]; w != nil {
		l.supervise().End(w.life)
	}
}

// engineWorkerSilent is the entry worker_silent of struct engine_table.
//
//export engineWorkerSilent
func engineWorkerSilent(handle C.int64_t, c C.uintptr_t) {
	room(false)
	l := loopOf(handle)
	if w := l.workers[uintptr(c)]; w != nil && !slices.Contains(l.ended, w) {
		l.supervise().Silent(w.life)
	}
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
	w.c = 0 // what was ordered for it is not done any more
	l.supervise().Remove(w.life.Place())
	l.supervise().Exited(w.life, fork.Status{})
}

// engineWorkersStop is the entry workers_stop of struct engine_table.
//
//export engineWorkersStop
func engineWorkersStop(handle C.int64_t) {
	room(false)
	loopOf(handle).supervise().Stop()
}

// obey carries out what the supervisor orders, up to the next thing that is for the C side. It reports whether there was
// such a thing.
func (l *loop) obey() bool {
	if l.supervisor == nil {
		return false
	}
	for {
		order, ok := l.nextOrder()
		if !ok {
			return false
		}
		if order.Do == fork.Done {
			l.step.kind, l.step.again = C.STEP_STOPPED, 0
			if l.spent {
				l.step.again = 1
			}
			return true
		}
		w := order.Process.Place().Owner.(*worker)
		if w.c == 0 {
			continue
		}
		w.life = order.Process
		switch order.Do {
		case fork.Start:
			return l.stepFor(C.STEP_START, w)
		case fork.Drain:
			return l.stepFor(C.STEP_DRAIN, w)
		case fork.Kill:
			if err := fork.Send(w.pidfd, order.Signal); err != nil {
				return l.refused(err, w)
			}
		case fork.Look:
			if w.reap() {
				return true
			}
		case fork.Arm:
			l.Cancel(w.timer)
			w.timer = l.After(order.After, target{worker: w, armed: true})
		case fork.Tell:
			if l.tell(&order, w) {
				return true
			}
		}
	}
}

// nextOrder returns the next order, of which one may have been put aside.
func (l *loop) nextOrder() (fork.Order, bool) {
	if aside := l.aside; aside != nil {
		l.aside = nil
		return *aside, true
	}
	return l.supervisor.Next()
}

func (l *loop) stepFor(kind C.int32_t, w *worker) bool {
	l.step.kind, l.step.target = kind, C.uintptr_t(w.c)
	return true
}

// tell makes a step of what is to be told; false where nobody wants to know.
func (l *loop) tell(order *fork.Order, w *worker) bool {
	switch order.Event {
	case fork.Exited:
		l.step.delay, l.step.again = 0, 0
		if next, ok := l.nextOrder(); ok {
			if next.Do == fork.Tell && next.Event == fork.Restarting {
				l.step.delay, l.step.again = C.int64_t(next.After.Milliseconds()), 1
			} else {
				l.aside = &next
			}
		}
		l.say(order.Status.String())
		l.step.count = C.uint32_t(order.Status.Signal)
		return l.stepFor(C.STEP_EXITED, w)
	case fork.Unready:
		l.say("is not ready after " + l.supervisor.Policy().StartTimeout.String() + " (worker_start_timeout); it is sent SIGABRT")
	case fork.Hung:
		l.say("has given no sign of life for " + l.supervisor.Policy().Heartbeat.String() + " (worker_heartbeat); it is sent SIGABRT")
	case fork.Signalled:
		l.say("does not end; it is sent signal " + fork.SignalName(order.Signal))
	case fork.Held:
		l.say("cannot be reaped: " + fork.WhyHeld(w.pid, w.refusal).Error())
	case fork.BudgetSpent:
		l.spent = true
		budget := l.supervisor.Policy().Budget
		l.say("was one failure too many: more than " + strconv.Itoa(budget.Failures) + " in " + budget.Within.String() +
			" (worker_failure_limit, worker_failure_window), and all are stopped; it " + order.Status.String())
	default:
		return false
	}
	return l.stepFor(C.STEP_TELL, w)
}

// refused tells that the kernel does not let a signal be sent. A process that cannot even be killed is left to itself.
func (l *loop) refused(err error, w *worker) bool {
	l.say("cannot be sent " + err.Error())
	if l.supervisor.Refused(w.life) {
		l.Clear(w.pidfd)
		l.supervisor.Exited(w.life, fork.Status{Left: true})
	}
	return l.stepFor(C.STEP_TELL, w)
}

// mostLeft is taken for what a worker has left where the kernel does not tell: more than a socket holds.
const mostLeft = 64 << 20

// reap is called when the process has ended, or may have. What it sent before is delivered first.
func (w *worker) reap() bool {
	status, ended, err := fork.Reap(w.pidfd)
	if !ended && err == nil && w.loop.supervisor.Lives(w.life) {
		return w.loop.obey()
	}
	w.loop.Clear(w.pidfd)            // it is readable for as long as the process cannot be reaped
	if !ended && err != unix.EBADF { // which is what stands for the pidfd of a process that was gone before it could be opened
		w.refusal = err
		if w.loop.supervisor.Held(w.life) {
			return w.loop.obey()
		}
		status.Held = true
	}
	w.loop.Cancel(w.timer)
	w.status = status
	if ch := w.loop.channelOf(w); ch != nil {
		// So much and no more: a child of the worker may have the other end, and go on writing for ever.
		var err error
		if w.left, err = unix.IoctlGetInt(ch.fd, unix.TIOCINQ); err != nil {
			w.left = mostLeft
		}
	}
	w.loop.ended = append(w.loop.ended, w)
	return w.loop.finish()
}

// finish goes on with the processes that have ended: first what is left in their channels, then the end itself. It
// reports whether that made a step.
func (l *loop) finish() bool {
	for i, w := range l.ended {
		ch := l.channelOf(w)
		if ch == nil {
			l.ended = slices.Delete(l.ended, i, i+1)
			w.pidfd = -1
			l.supervisor.Exited(w.life, w.status)
			return l.obey()
		}
		if !ch.resting() {
			ch.drain(&w.left)
			return true
		}
	}
	return false
}

func (l *loop) channelOf(w *worker) *channel {
	for _, ch := range l.channels {
		if ch.worker == w.c {
			return ch
		}
	}
	return nil
}

// expired is called when the time that was armed for the worker has passed. It reports whether that made a step.
func (w *worker) expired() bool {
	if ch := w.loop.channelOf(w); ch != nil && ch.pending() {
		w.loop.supervisor.Sign(w.life) // this process may have been stopped itself
	}
	w.loop.supervisor.Expired(w.life)
	return w.loop.obey()
}
