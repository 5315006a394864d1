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
	l.withdraw()
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
	l.wakeRested()
	if l.timerDue() {
		_, n := l.timers.first()
		l.timers.remove(n)
		*e = Event[T]{Kind: Expired, Target: l.vacate(l.slots[n.key])}
		return true
	}
	for l.taken < len(l.ready) {
		o := &l.ready[l.taken]
		served := l.serve(o, e)
		if !served || l.pendingOf(o) == 0 {
			l.pass()
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

func (l *Loop[T]) timerDue() bool {
	if l.timers.empty() {
		return false
	}
	when, _ := l.timers.first()
	return when <= l.now
}

// pass is done with the next ready descriptor.
func (l *Loop[T]) pass() {
	l.ready[l.taken].descriptor = nil
	l.taken++
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
	return directionsOf(o.events, d.wanted(), o.served) &^ o.served
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
	armed := due || l.arm()
	if how == NoWait || l.alwaysReady() {
		if outcome := l.look(); outcome != Took {
			return outcome
		}
		if how == NoWait && !l.pending() {
			return Idle
		}
		return Took
	}
	if l.before != nil && !l.before() {
		if l.refused++; l.refused > 1 { // whoever goes on keeping it from waiting must not keep it from its events
			l.refused = 0
			if l.look() == Failed {
				return Failed
			}
		}
		return Interrupted
	}
	l.refused = 0
	if due {
		return l.look()
	}
	l.waiting = true
	if how == Outside {
		if !armed {
			l.wakeUp()
		}
		return Idle
	}
	timeout := -1
	if !armed { // the kernel counts in milliseconds then
		timeout = int(min(max(earliest-l.clock(), 0)/int64(time.Millisecond)+1, math.MaxInt32))
	}
	l.inside = true
	l.mu.Unlock()
	n, errno := l.enter(timeout)
	l.mu.Lock()
	l.waiting, l.inside = false, false
	if l.closed {
		l.release()
		return Idle
	}
	return l.came(n, errno)
}

// came acts upon what the kernel has answered.
func (l *Loop[T]) came(n int, errno unix.Errno) Outcome {
	switch {
	case errno != 0 && errno != unix.EINTR:
		l.err = &WaitError{errno}
		return Failed
	case errno != 0 || l.collect(n):
		return Interrupted
	}
	return Took
}

// Err returns why Next returned Failed: a [WaitError]. It is nil before.
func (l *Loop[T]) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// MayWait reports whether Next with Outside would return Idle, and has made ready for the wait then: an owner who waits
// outside may do so after the handler of the last event without asking Next first. What was offered counts as taken: where some of it
// was withdrawn, Next is to be asked.
func (l *Loop[T]) MayWait() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.changed) > 0 || l.pending() || l.alwaysReady() {
		return false
	}
	l.waiting = l.arm()
	return l.waiting
}

func (l *Loop[T]) pending() bool {
	if l.taken+l.offered < len(l.ready) {
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

// look takes what the kernel has now.
func (l *Loop[T]) look() Outcome { return l.came(l.enter(0)) }

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
	l.withdraw()
	l.waiting = false
	if !l.closed {
		l.collect(n)
	}
}

// collect queues what the kernel reported, and reports whether somebody called Wake.
func (l *Loop[T]) collect(n int) (woken bool) {
	l.now = l.clock()
	ghosts := 0
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
			ghosts = l.ghosts + 1
			continue // of an earlier registration of the same number
		}
		// Any activity ends the deadline, before handlers run.
		l.timeouts.remove(&d.deadline)
		l.ready = append(l.ready, occurrence[T]{descriptor: d, events: event.Events})
	}
	if l.ghosts = ghosts; ghosts > mostGhosts {
		l.exorcise()
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
	if len(l.resting) > 0 {
		earliest = min(earliest, l.rested)
	}
	return earliest
}

// arm sets the timerfd to the earliest deadline, and reports whether there is anything to wake the loop for it. One that is
// armed too early is left: it costs one wake-up, where moving it would cost a system call each time a deadline is put off.
func (l *Loop[T]) arm() bool {
	earliest := l.earliest()
	if earliest == math.MaxInt64 || l.alarm != 0 && l.alarm <= earliest {
		return true
	}
	return l.setTimer(max(earliest, 1))
}

// alarmEarlier is arm for a deadline that was set while another thread waits.
func (l *Loop[T]) alarmEarlier() {
	if l.waiting && !l.arm() {
		l.wakeUp() // and it is tried again before the next wait
	}
}

// askAgain ends the wait that comes in a moment: what the kernel refused, mostly for want of memory, is to be tried again.
func (l *Loop[T]) askAgain() {
	soon := l.clock() + int64(RetryAfter)
	if (l.alarm == 0 || l.alarm > soon) && !l.setTimer(soon) {
		l.wakeUp()
	}
}

// setTimer arms the timerfd for a time. It fails where the program has closed the descriptor.
func (l *Loop[T]) setTimer(when int64) bool {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(when-l.clock(), 1))}
	if unix.TimerfdSettime(l.timer, 0, &spec, nil) != nil {
		return false
	}
	l.alarm = when
	return true
}

// Run takes events and calls handle for each, until Break or Close, or until the kernel reports none any more, which is the
// error. The handler runs on the calling goroutine and may call any method of the loop.
func (l *Loop[T]) Run(handle func(Event[T])) error {
	for !l.broken.Load() {
		var e Event[T]
		switch outcome := l.Next(&e, Park); {
		case outcome == Took:
			handle(e)
		case outcome == Failed:
			return l.Err()
		case l.isClosed():
			return nil
		}
	}
	l.broken.Store(false)
	return nil
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
