package event

import (
	"math"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Next takes the next event: expired timers first, then ready descriptors, then descriptors whose deadline passed. When
// nothing is pending it waits as wait says. An event is only taken while its registration stands: what a handler cleared
// or cancelled in the meantime is not reported.
func (l *Loop[T]) Next(e *Event[T], wait Wait) Outcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = false
	for {
		if l.closed {
			return Idle
		}
		if l.take(e) {
			return Took
		}
		if outcome := l.wait(wait &^ Once); outcome != Took {
			return outcome
		}
		if wait&Once != 0 {
			return Interrupted
		}
	}
}

// take finds what is pending.
func (l *Loop[T]) take(e *Event[T]) bool {
	if !l.timers.empty() {
		if when, n := l.timers.first(); when <= l.now {
			l.timers.remove(n)
			*e = Event[T]{Kind: Expired, Target: l.vacate(l.slots[n.key])}
			return true
		}
	}
	for l.taken < len(l.ready) {
		o := &l.ready[l.taken]
		served := l.serve(o, e)
		if !served || l.pendingOf(o) == 0 {
			o.descriptor = nil
			l.taken++
		}
		if served {
			return true
		}
	}
	l.ready, l.taken = l.ready[:0], 0
	for !l.timeouts.empty() {
		when, n := l.timeouts.first()
		if when > l.now {
			break
		}
		l.timeouts.remove(n)
		if d := l.table[n.key]; d.hasTarget {
			*e = Event[T]{Kind: Timeout, FD: d.fd, Target: d.onTimeout}
			return true
		}
	}
	return false
}

// serve takes the next direction of one ready descriptor.
func (l *Loop[T]) serve(o *occurrence[T], e *Event[T]) bool {
	d := o.descriptor
	pending := l.pendingOf(o)
	if pending == 0 {
		return false
	}
	for i := range d.targets {
		direction := Direction(1 << i)
		if pending&direction == 0 {
			continue
		}
		if o.served == 0 {
			// One that was set by a handler of this round, before it came to this descriptor, is ended like an earlier one.
			l.timeouts.remove(&d.deadline)
		}
		// Directions before this one have had their turn, even if they are armed again.
		o.served |= direction<<1 - 1
		if d.oneShot&direction != 0 {
			d.armed &^= direction
			d.oneShot &^= direction
			l.change(d)
		}
		*e = Event[T]{Kind: Ready, FD: d.fd, Direction: direction, Target: d.targets[i]}
		return true
	}
	return false
}

// pendingOf returns the directions of a ready descriptor that have not had their turn.
func (l *Loop[T]) pendingOf(o *occurrence[T]) Direction {
	d := o.descriptor
	if l.lookup(d.fd) != d {
		return 0
	}
	return directionsOf(o.events, d.armed, o.served) &^ o.served
}

// directionsOf maps what the kernel reports to armed directions. A hang-up or an error is reported by the kernel
// whatever was asked for: it goes to one armed direction, so that somebody hears of it.
func directionsOf(events uint32, armed, served Direction) Direction {
	var ready Direction
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP) != 0 {
		ready |= Read
	}
	if events&unix.EPOLLOUT != 0 {
		ready |= Write
	}
	if events&unix.EPOLLERR != 0 {
		ready |= Error
	}
	ready &= armed
	if ready == 0 && served == 0 && events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		ready = armed & -armed // the first
	}
	return ready
}

// wait waits for events and collects them. Took means: look again.
func (l *Loop[T]) wait(how Wait) Outcome {
	l.settle()
	earliest := l.earliest()
	due := earliest != math.MaxInt64 && earliest <= l.clock() // arming a timer for it would cost more than a look
	if !due {
		l.arm()
	}
	if how == NoWait || l.alwaysReady() {
		if woken := l.look(); woken {
			return Interrupted
		}
		if how == NoWait && !l.pending() {
			return Idle
		}
		return Took
	}
	if l.before != nil && !l.before() {
		if l.refused++; l.refused > 1 { // whoever goes on keeping it from waiting must not keep it from its events
			l.refused = 0
			l.look()
		}
		return Interrupted
	}
	l.refused = 0
	if due {
		if woken := l.look(); woken {
			return Interrupted
		}
		return Took
	}
	l.waiting = true
	if how == Outside {
		return Idle
	}
	l.inside = true
	l.mu.Unlock()
	n, errno := l.enter(-1)
	l.mu.Lock()
	l.waiting, l.inside = false, false
	if l.closed {
		l.release()
		return Idle
	}
	if errno != 0 || l.collect(n) {
		return Interrupted
	}
	return Took
}

// MayWait reports whether Next with Outside would return Idle, and has made ready for the wait then: an owner who waits
// outside may do so after the handler of the last event without asking Next first.
func (l *Loop[T]) MayWait() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.changed) > 0 || l.pending() || l.alwaysReady() {
		return false
	}
	l.arm()
	l.waiting = true
	return true
}

func (l *Loop[T]) pending() bool {
	if l.taken < len(l.ready) {
		return true
	}
	for _, h := range [...]*heap{&l.timers, &l.timeouts} {
		if !h.empty() {
			if when, _ := h.first(); when <= l.now {
				return true
			}
		}
	}
	return false
}

func (l *Loop[T]) alwaysReady() bool {
	for _, d := range l.always {
		if d.armed&(Read|Write) != 0 {
			return true
		}
	}
	return false
}

// look takes what the kernel has now, and reports whether somebody called Wake.
func (l *Loop[T]) look() (woken bool) {
	n, _ := l.enter(0)
	return l.collect(n)
}

// enter waits in the kernel. The Go scheduler notices only what may take long.
func (l *Loop[T]) enter(timeout int) (int, unix.Errno) {
	call := unix.Syscall6
	if timeout == 0 {
		call = unix.RawSyscall6
	}
	n, _, errno := call(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.buffer[0])),
		uintptr(len(l.buffer)), uintptr(timeout), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// Collect takes over the first n events of the buffer given with [Loop.UseBuffer], which the owner filled by waiting
// on the epoll instance itself.
func (l *Loop[T]) Collect(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = false
	if !l.closed {
		l.collect(n)
	}
}

// collect queues what the kernel reported, and reports whether somebody called Wake.
func (l *Loop[T]) collect(n int) (woken bool) {
	l.now = l.clock()
	for i := range l.buffer[:n] {
		event := &l.buffer[i]
		switch event.Fd {
		case wakeData:
			woken = true
			continue
		case timerData:
			l.alarm = 0
			continue
		}
		d := l.lookup(int(event.Fd))
		if d == nil || int32(d.round) != event.Pad {
			continue // of an earlier registration of the same number
		}
		// Any activity ends the deadline, before handlers run.
		l.timeouts.remove(&d.deadline)
		l.ready = append(l.ready, occurrence[T]{descriptor: d, events: event.Events})
	}
	for _, d := range l.always {
		if d.armed&(Read|Write) != 0 {
			l.timeouts.remove(&d.deadline)
			l.ready = append(l.ready, occurrence[T]{descriptor: d, events: unix.EPOLLIN | unix.EPOLLOUT})
		}
	}
	return woken
}

// earliest returns the first deadline; math.MaxInt64 if there is none.
func (l *Loop[T]) earliest() int64 {
	earliest := int64(math.MaxInt64)
	for _, h := range [...]*heap{&l.timers, &l.timeouts} {
		if !h.empty() {
			when, _ := h.first()
			earliest = min(earliest, when)
		}
	}
	return earliest
}

// arm sets the timerfd to the earliest deadline. One that is armed too early is left: it costs one wake-up, where moving
// it would cost a system call each time a deadline is put off.
func (l *Loop[T]) arm() {
	earliest := l.earliest()
	if earliest == math.MaxInt64 || l.alarm != 0 && l.alarm <= earliest {
		return
	}
	l.alarm = max(earliest, 1)
	l.setTimer(max(time.Duration(earliest-l.clock()), 1))
}

// alarmEarlier is arm for a deadline that was set while another thread waits.
func (l *Loop[T]) alarmEarlier() {
	if l.waiting {
		l.arm()
	}
}

// askAgain ends the wait that comes in a moment: the kernel was short of memory, and what it refused is to be tried again.
func (l *Loop[T]) askAgain() {
	if soon := l.clock() + int64(retryAfter); l.alarm == 0 || l.alarm > soon {
		l.alarm = soon
		l.setTimer(retryAfter)
	}
}

func (l *Loop[T]) setTimer(after time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(after))}
	_ = unix.TimerfdSettime(l.timer, 0, &spec, nil) // cannot fail: the descriptor is ours and the times are valid
}

// Run takes events and calls handle for each, until Break. The handler runs on the calling goroutine and may call any
// method of the loop.
func (l *Loop[T]) Run(handle func(Event[T])) {
	for !l.broken.Load() {
		var e Event[T]
		if l.Next(&e, Park) == Took {
			handle(e)
		} else if l.isClosed() {
			return
		}
	}
	l.broken.Store(false)
}

func (l *Loop[T]) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// Break makes Run return after the handler that is running now.
func (l *Loop[T]) Break() {
	l.broken.Store(true)
	l.Wake()
}
