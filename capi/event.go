package main

/*
#include "engine.h"
*/
import "C"

import (
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"melon/core/event"
	"melon/core/fork"
)

// A loop is the Go side of one mln_event_t.
type loop struct {
	*event.Loop[target]
	step *C.struct_step

	channels map[uintptr]*channel // by mln_fork_t
	workers  map[uintptr]*worker  // by struct worker
	backlog  []*channel           // have frames that were not handed out yet
	ended    []*worker            // whose process is gone and whose channel is still to be read to its end
	aside    *fork.Order          // taken from the supervisor and not carried out yet
	spent    bool                 // too many of them have failed
	steps    uint64               // that were made
	kept     [][]byte             // memory of messages whose handlers are running

	supervisor *fork.Supervisor // of the workers that the loop watches; nil: there were none
}

// A target is what a descriptor or a timer is registered for: a handler of the program, or something of the engine's.
type target struct {
	fn, data uintptr  // the program's
	channel  *channel // a channel is ready
	worker   *worker  // a pidfd is ready, or, if armed, a worker's timer expired
	armed    bool
}

var (
	loopsLock sync.Mutex
	loops     atomic.Pointer[[]*loop] // by handle
)

func loopOf(handle C.int64_t) *loop { return (*loops.Load())[handle] }

// engineLoopNew is the entry loop_new of struct engine_table.
//
//export engineLoopNew
func engineLoopNew(step *C.struct_step, fds *C.int) C.int64_t {
	room(false)
	inner, err := event.New[target]()
	if err != nil {
		return C.int64_t(result(err))
	}
	l := &loop{Loop: inner, step: step,
		channels: make(map[uintptr]*channel), workers: make(map[uintptr]*worker)}
	inner.UseBuffer(unsafe.Slice((*unix.EpollEvent)(unsafe.Pointer(&step.events[0])), len(step.events)))
	inner.BeforeWait(l.sleep)
	inner.UseBatch((*event.Batch)(unsafe.Pointer(&step.batch)), len(step.calls), l.offer)
	for i, fd := range inner.Descriptors() {
		unsafe.Slice(fds, C.ENGINE_LOOP_DESCRIPTORS)[i] = C.int(fd)
	}
	loopsLock.Lock()
	defer loopsLock.Unlock()
	var all []*loop
	if old := loops.Load(); old != nil {
		all = append(all, *old...)
	}
	for i := range all {
		if all[i] == nil {
			all[i] = l
			loops.Store(&all)
			return C.int64_t(i)
		}
	}
	all = append(all, l)
	loops.Store(&all)
	return C.int64_t(len(all) - 1)
}

// engineLoopFree is the entry loop_free of struct engine_table.
//
//export engineLoopFree
func engineLoopFree(handle C.int64_t) {
	room(false)
	loopsLock.Lock()
	defer loopsLock.Unlock()
	all := append([]*loop(nil), *loops.Load()...)
	all[handle].Close()
	all[handle] = nil
	loops.Store(&all)
}

// sleep is asked right before a wait: whether the C side has nothing to do first. From here on whoever gives it
// something sees that the loop sleeps, and wakes it.
func (l *loop) sleep() bool {
	room(false)
	l.step.waited = 1
	atomic.StoreUint32((*uint32)(&l.step.sleeping), 1)
	if atomic.LoadUint32((*uint32)(&l.step.pending)) == 0 {
		return true
	}
	atomic.StoreUint32((*uint32)(&l.step.sleeping), 0)
	return false
}

// engineLoopNext is the entry loop_next of struct engine_table.
//
//export engineLoopNext
func engineLoopNext(handle C.int64_t) {
	room(false)
	l := loopOf(handle)
	step := l.step
	if l.steps++; l.steps%pollerSteps == 0 && pollerDue() {
		step.poller = 1
	}
	l.settle()
	step.kind, step.waited, step.more, step.may_wait, step.offered = C.STEP_NONE, 0, 0, 0, 0
	if step.handling == 0 && l.kept != nil {
		l.kept = nil
	}
	if n := step.collected; n > 0 {
		step.collected = 0
		l.Collect(int(n))
	}
	l.advance()
	switch {
	case step.kind == C.STEP_IDLE:
	case len(l.backlog) > 0 || len(l.ended) > 0 || l.aside != nil || l.supervisor != nil && l.supervisor.Pending():
		step.more = 1
	default:
		step.offered = C.int32_t(l.Offer())
		if step.rounds == 0 && l.MayWait() {
			step.may_wait = 1
		} else if l.Pending() {
			step.more = 1
		}
	}
}

// offer puts what the C side may do after this step, without asking, into the step; false for what is the engine's own business.
func (l *loop) offer(number, fd int, t target) bool {
	if t.channel != nil || t.worker != nil {
		return false
	}
	l.step.calls[number] = C.struct_call{fn: C.uintptr_t(t.fn), data: C.uintptr_t(t.data), fd: C.int32_t(fd)}
	return true
}

// busy is for what gives the loop something to do that the kernel does not know of.
func (l *loop) busy() {
	l.step.may_wait = 0
	l.Withdraw()
}

// advance finds the next thing to do and puts it into the step.
func (l *loop) advance() {
	for len(l.backlog) > 0 {
		ch := l.backlog[0]
		l.backlog = l.backlog[1:]
		ch.queued = false
		if ch.handOut() {
			return
		}
	}
	if l.obey() || len(l.ended) > 0 && l.finish() {
		return
	}
	wait := event.Outside
	if l.step.rounds != 0 {
		wait |= event.Once
	}
	for {
		var e event.Event[target]
		outcome := l.Next(&e, wait)
		if outcome == event.Idle {
			l.step.kind = C.STEP_IDLE // sleeping stays set: the C side is about to wait
			return
		}
		atomic.StoreUint32((*uint32)(&l.step.sleeping), 0)
		if outcome == event.Failed {
			l.step.kind = C.STEP_FAILED
			l.say(l.Err().Error())
			return
		}
		if outcome == event.Interrupted {
			l.step.waited = 1 // also where the wait was but a look, for something is always ready
			return
		}
		if l.act(&e) || l.obey() {
			return
		}
	}
}

// act turns an event into a step; false when it was the engine's own business.
func (l *loop) act(e *event.Event[target]) bool {
	t := &e.Target
	switch {
	case t.channel != nil && e.Direction == event.Write:
		l.step.kind, l.step.target = C.STEP_WRITABLE, C.uintptr_t(t.channel.c)
		return true
	case t.channel != nil:
		return t.channel.receive()
	case t.worker != nil && t.armed:
		return t.worker.expired()
	case t.worker != nil:
		return t.worker.reap()
	}
	if e.Kind == event.Expired {
		l.step.kind = C.STEP_TIMER
	} else {
		l.step.kind, l.step.fd = C.STEP_FD, C.int32_t(e.FD)
	}
	l.step.fn, l.step.data = C.uintptr_t(t.fn), C.uintptr_t(t.data)
	return true
}

// say puts a sentence into the step.
func (l *loop) say(text string) {
	text = text[:min(len(text), len(l.step.text)-1)]
	for i := range text {
		l.step.text[i] = C.char(text[i])
	}
	l.step.text[len(text)] = 0
}

// engineFDSet is the entry fd_set of struct engine_table.
//
//export engineFDSet
func engineFDSet(handle C.int64_t, fd C.int, in *C.struct_interest) C.int {
	room(false)
	loopOf(handle).takeBack(int(fd))
	timeout := event.NoTimeout
	switch {
	case in.timeout >= 0:
		timeout = time.Duration(in.timeout) * time.Millisecond
	case in.timeout == C.ENGINE_KEEP_TIMEOUT:
		timeout = event.KeepTimeout
	}
	return result(loopOf(handle).Set(int(fd), event.Registration[target]{
		Directions: event.Direction(in.directions),
		OneShot:    in.one_shot != 0,
		Append:     in.append != 0,
		Timeout:    timeout,
		Target:     target{fn: uintptr(in.fn), data: uintptr(in.data)},
	}))
}

// engineFDKnown is the entry fd_known of struct engine_table.
//
//export engineFDKnown
func engineFDKnown(handle C.int64_t, fd C.int) C.int {
	room(false)
	if loopOf(handle).Has(int(fd)) {
		return 1
	}
	return 0
}

// engineFDClear is the entry fd_clear of struct engine_table.
//
//export engineFDClear
func engineFDClear(handle C.int64_t, fd C.int) C.int {
	room(false)
	l := loopOf(handle)
	l.takeBack(int(fd))
	l.Clear(int(fd))
	return 0
}

// engineFDOnTimeout is the entry fd_on_timeout of struct engine_table.
//
//export engineFDOnTimeout
func engineFDOnTimeout(handle C.int64_t, fd C.int, fn, data C.uintptr_t) C.int {
	room(false)
	l := loopOf(handle)
	l.takeBack(int(fd))
	l.OnTimeout(int(fd), target{fn: uintptr(fn), data: uintptr(data)})
	return 0
}

// engineTimerSet is the entry timer_set of struct engine_table.
//
//export engineTimerSet
func engineTimerSet(handle C.int64_t, msec C.uint32_t, fn, data C.uintptr_t) C.uint64_t {
	room(false)
	id := loopOf(handle).After(time.Duration(msec)*time.Millisecond, target{fn: uintptr(fn), data: uintptr(data)})
	return C.uint64_t(id)
}

// engineTimerCancel is the entry timer_cancel of struct engine_table.
//
//export engineTimerCancel
func engineTimerCancel(handle C.int64_t, timer C.uint64_t) C.int {
	room(false)
	loopOf(handle).Cancel(event.TimerID(timer))
	return 0
}
