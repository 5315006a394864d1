package event

import (
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Loop is one reactor. Every method may be called from any goroutine or thread, also while another one waits in Next;
// Next itself belongs to one at a time. T is what the owner wants back with an event.
type Loop[T any] struct {
	mu      sync.Mutex
	epoll   int
	timer   int // timerfd with the earliest deadline
	wake    int // eventfd
	closed  bool
	waiting bool // Next is in the kernel, or the owner may be
	inside  bool // Next is in the kernel
	base    time.Time
	now     int64 // nanoseconds since base, read once per wait

	table   []*descriptor[T] // by descriptor number
	changed []*descriptor[T] // whose mask the kernel has yet to learn
	always  []*descriptor[T] // which epoll cannot watch since they are always ready: regular files
	resting []*descriptor[T] // see Rest
	rested  int64            // when their rest is over
	buffer  []unix.EpollEvent

	ready  []occurrence[T] // noticed and not yet taken
	taken  int             // how many of ready are done with
	rounds uint64          // tells registrations of one descriptor number apart

	batch     *Batch
	put       func(number, fd int, target T) bool // one more event into it
	offered   int                                 // how many events it was given, the next of ready; 0: it has none
	batchMost int
	batchSize int // how many it is given next, at most

	timeouts heap // of descriptors
	timers   heap
	slots    []*timer[T]
	free     []int
	alarm    int64 // deadline for which the timerfd is armed; 0: it is not

	before  func() bool
	ghosts  int // waits in succession that have brought something of a descriptor that is not registered
	refused int // how often in succession it did not allow a wait
	err     error
	broken  atomic.Bool
}

type descriptor[T any] struct {
	fd      int
	round   uint64
	armed   Direction
	oneShot Direction
	resting Direction // of those that are armed; see Rest
	targets [directions]T
	// kernel is the mask that epoll holds; 0: not registered there, since a descriptor without interest would still
	// report hang-ups, for ever and to nobody.
	kernel   uint32
	unsure   bool // kernel may not be true
	pollable bool
	always   bool
	changed  bool

	deadline  node
	onTimeout T
	hasTarget bool // onTimeout was set
}

type occurrence[T any] struct {
	descriptor *descriptor[T]
	events     uint32
	served     Direction
}

type timer[T any] struct {
	node
	generation uint32
	target     T
}

// The special descriptors carry negative numbers in their epoll data.
const (
	wakeData  = -1
	timerData = -2
)

const batch = 128

// mostGhosts is how many waits in succession may report what is not registered any more: once may be another thread's doing, which has
// removed it after the wait.
const mostGhosts = 3

// RetryAfter is when the kernel is asked again for what it has refused for want of memory.
const RetryAfter = 20 * time.Millisecond

// New makes a loop. It holds three descriptors, all close-on-exec, until Close.
func New[T any]() (*Loop[T], error) {
	l := &Loop[T]{base: time.Now(), epoll: -1, timer: -1, wake: -1, buffer: make([]unix.EpollEvent, batch)}
	if err := l.open(); err != nil {
		l.Close()
		return nil, &OpenError{err}
	}
	return l, nil
}

func (l *Loop[T]) open() (err error) {
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if l.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return err
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return err
	}
	return l.addSpecial(l.epoll)
}

// addSpecial adds the loop's own descriptors. Edge-triggered: every write and every expiry is one event, and nothing has to be read to
// silence it.
func (l *Loop[T]) addSpecial(epoll int) error {
	for _, special := range [...]struct{ fd, data int }{{l.wake, wakeData}, {l.timer, timerData}} {
		event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(special.data)}
		if err := control(epoll, unix.EPOLL_CTL_ADD, special.fd, &event); err != nil {
			return err
		}
	}
	return nil
}

// control is epoll_ctl, which is not to be given up for a signal: what is not watched then would be waited for in vain.
func control(epoll, operation, fd int, event *unix.EpollEvent) error {
	for {
		if err := unix.EpollCtl(epoll, operation, fd, event); err != unix.EINTR {
			return err
		}
	}
}

// exorcise gets rid of ghosts: the kernel goes on reporting a descriptor that was closed without Clear for as long as another one of this
// process or of a child refers to the same open file, and it can be removed by nobody. So a new epoll instance takes the place of
// the old one. Where there can be none now, the next ghost has it tried again.
func (l *Loop[T]) exorcise() {
	l.ghosts = 0
	fresh, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return
	}
	defer unix.Close(fresh)
	if l.addSpecial(fresh) != nil {
		return
	}
	for _, d := range l.table {
		if d == nil || d.kernel == 0 {
			continue
		}
		event := d.event(d.kernel)
		// One that is not open, or now is what epoll cannot watch, was closed without Clear, too: nothing can be reported for it.
		err := control(fresh, unix.EPOLL_CTL_ADD, d.fd, &event)
		if err != nil && err != unix.EBADF && err != unix.EPERM {
			return
		}
	}
	_ = unix.Dup3(fresh, l.epoll, unix.O_CLOEXEC)
}

// Close releases the loop's own descriptors. It closes none that was registered. A wait that Next is in ends; an owner
// who waits outside has to come back first.
func (l *Loop[T]) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.withdraw()
	l.closed = true
	if l.inside {
		l.wakeUp() // closing an epoll instance does not end a wait for it, so whoever waits closes
	} else {
		l.release()
	}
	l.table, l.changed, l.always, l.resting, l.ready, l.slots = nil, nil, nil, nil, nil, nil
	l.taken, l.timers, l.timeouts = 0, heap{}, heap{}
}

func (l *Loop[T]) release() {
	for _, fd := range l.Descriptors() {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// Descriptors returns the loop's own descriptors: the epoll instance first, then the eventfd to which eight bytes can be
// written to end a wait, then the rest. A process that inherits them by fork closes them.
func (l *Loop[T]) Descriptors() [3]int { return [3]int{l.epoll, l.wake, l.timer} }

// UseBuffer replaces the memory in which the kernel reports events, so that an owner who waits outside Go can do so with
// a buffer of its own and hand it over with [Loop.Collect].
func (l *Loop[T]) UseBuffer(buffer []unix.EpollEvent) { l.buffer = buffer }

// BeforeWait sets a function that Next calls when nothing is pending, right before it sleeps. Where it returns false Next
// returns Interrupted instead, and has a look at the kernel every other time. It must not call the loop.
func (l *Loop[T]) BeforeWait(before func() bool) { l.before = before }

// Pending reports whether the next call of Next will take something without waiting.
func (l *Loop[T]) Pending() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closed && l.pending()
}

func (l *Loop[T]) clock() int64 { return int64(time.Since(l.base)) }

func (l *Loop[T]) lookup(fd int) *descriptor[T] {
	if uint(fd) < uint(len(l.table)) {
		return l.table[fd]
	}
	return nil
}

// Has reports whether fd is registered.
func (l *Loop[T]) Has(fd int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lookup(fd) != nil
}

// Set registers fd or changes its registration. Descriptors that epoll cannot watch because they never block, such as
// regular files, count as always ready. The error is that of the kernel: [unix.EBADF] for a descriptor that is not open.
func (l *Loop[T]) Set(fd int, r Registration[T]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	l.withdraw()
	d := l.lookup(fd)
	fresh := d == nil
	if fresh {
		if fd < 0 {
			return &DescriptorError{fd, unix.EBADF}
		}
		l.rounds++
		d = &descriptor[T]{fd: fd, round: l.rounds, deadline: node{key: fd}}
	}
	armed, oneShot := d.armed, d.oneShot
	if !r.Append {
		armed, oneShot = 0, 0
	}
	armed |= r.Directions
	oneShot &^= r.Directions
	if r.OneShot {
		oneShot |= r.Directions
	}
	if !fresh && !r.Append {
		l.doubt(d)
	}
	d.pollable = r.Pollable || d.pollable && r.Append
	resting := d.resting &^ r.Directions
	if err := l.admit(d, armed&^resting, fresh); err != nil {
		return &DescriptorError{fd, err}
	}
	d.armed, d.oneShot, d.resting = armed, oneShot, resting
	for i := range d.targets {
		if r.Directions&(1<<i) != 0 {
			d.targets[i] = r.Target
		}
	}
	if fresh {
		for fd >= len(l.table) {
			l.table = append(l.table, make([]*descriptor[T], max(64, len(l.table)))...)
		}
		l.table[fd] = d
	}
	switch {
	case r.Timeout >= 0:
		l.timeouts.set(&d.deadline, l.deadline(r.Timeout))
		l.alarmEarlier()
	case r.Timeout != KeepTimeout:
		l.timeouts.remove(&d.deadline)
	}
	return nil
}

// Plain reports whether fd is registered for nothing but to be read, again and again and without a deadline; if so, for which target,
// and by which data the kernel reports it: whoever waits outside may read by itself then, as long as the registration stands.
func (l *Loop[T]) Plain(fd int) (target T, data uint64, plain bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.lookup(fd)
	if d == nil || d.armed != Read || d.resting != 0 || d.oneShot != 0 || d.always || d.deadline.queued() {
		return target, 0, false
	}
	var bytes [8]byte
	binary.NativeEndian.PutUint32(bytes[:], uint32(d.fd))
	binary.NativeEndian.PutUint32(bytes[4:], uint32(d.round))
	return d.targets[0], binary.NativeEndian.Uint64(bytes[:]), true
}

// Rest leaves directions of fd alone for RetryAfter, or until they are set anew: what the kernel has refused to do in them, for want of
// memory, it would report as possible at once. What is registered stays as it is.
func (l *Loop[T]) Rest(fd int, directions Direction) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.lookup(fd)
	if d == nil {
		return
	}
	l.withdraw()
	d.resting |= directions
	if len(l.resting) == 0 {
		l.rested = l.deadline(RetryAfter)
	}
	if !slices.Contains(l.resting, d) {
		l.resting = append(l.resting, d)
	}
	l.change(d)
	l.alarmEarlier()
}

// Resting reports whether any of the directions of fd is left alone for now.
func (l *Loop[T]) Resting(fd int, directions Direction) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.lookup(fd)
	return d != nil && d.resting&directions != 0
}

// wakeRested ends the rest of all that rest, when it is over.
func (l *Loop[T]) wakeRested() {
	if len(l.resting) == 0 || l.rested > l.now {
		return
	}
	for _, d := range l.resting {
		d.resting = 0
		l.change(d)
	}
	clear(l.resting)
	l.resting = l.resting[:0]
}

// doubt is for a descriptor that is set anew, without Clear: it may have been closed and its number used again, and then
// the kernel knows nothing of it. It is told at once.
func (l *Loop[T]) doubt(d *descriptor[T]) {
	l.drop(d)
	d.unsure = true
}

// drop forgets that d is always ready.
func (l *Loop[T]) drop(d *descriptor[T]) {
	if d.always {
		d.always = false
		l.always = slices.DeleteFunc(l.always, func(other *descriptor[T]) bool { return other == d })
	}
}

// admit makes the kernel watch d for armed. What is already in the kernel is changed before the next wait, together with
// what else changes until then; what is not is added now, so that the caller learns of a failure.
func (l *Loop[T]) admit(d *descriptor[T], armed Direction, fresh bool) error {
	mask := interest(armed)
	switch {
	case d.always:
		if l.waiting && armed != 0 {
			l.wakeUp()
		}
		return nil
	case mask == 0 && fresh:
		_, err := unix.FcntlInt(uintptr(d.fd), unix.F_GETFD, 0)
		return err
	case mask != 0 && d.kernel == 0:
		return l.tell(d, mask)
	case mask != d.kernel && l.waiting, mask != 0 && d.unsure:
		return l.tell(d, mask)
	case mask != d.kernel:
		l.change(d)
	}
	return nil
}

func (l *Loop[T]) change(d *descriptor[T]) {
	if !d.changed && !d.always {
		d.changed = true
		l.changed = append(l.changed, d)
	}
}

// settle tells the kernel what changed since the last wait.
func (l *Loop[T]) settle() {
	refused := l.changed[:0]
	for _, d := range l.changed {
		d.changed = false
		if l.lookup(d.fd) != d {
			continue
		}
		// Any other failure is a descriptor that was closed without Clear: nothing can be reported for it.
		err := l.tell(d, interest(d.wanted()))
		if errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EPERM) {
			d.changed = true
			refused = append(refused, d)
		}
	}
	clear(l.changed[len(refused):])
	l.changed = refused
	if len(refused) > 0 {
		l.askAgain()
	}
}

// wanted is what the kernel is to report.
func (d *descriptor[T]) wanted() Direction { return d.armed &^ d.resting }

// event is how the kernel is told of d, and what it reports it by.
func (d *descriptor[T]) event(mask uint32) unix.EpollEvent {
	return unix.EpollEvent{Events: mask, Fd: int32(d.fd), Pad: int32(d.round)}
}

// tell brings the kernel's mask for d in line with mask.
func (l *Loop[T]) tell(d *descriptor[T], mask uint32) error {
	if mask == d.kernel && !d.unsure {
		return nil
	}
	unsure := d.unsure
	d.unsure = false
	event := d.event(mask)
	var err error
	switch {
	case mask == 0:
		err = control(l.epoll, unix.EPOLL_CTL_DEL, d.fd, nil)
	case d.kernel == 0:
		err = control(l.epoll, unix.EPOLL_CTL_ADD, d.fd, &event)
		if errors.Is(err, unix.EEXIST) {
			err = control(l.epoll, unix.EPOLL_CTL_MOD, d.fd, &event)
		}
	default:
		err = control(l.epoll, unix.EPOLL_CTL_MOD, d.fd, &event)
		if errors.Is(err, unix.ENOENT) { // closed without Clear, and the number was used again
			err = control(l.epoll, unix.EPOLL_CTL_ADD, d.fd, &event)
		}
	}
	if errors.Is(err, unix.EPERM) && mask != 0 && !d.pollable {
		d.always, d.kernel = true, 0
		l.always = append(l.always, d)
		if l.waiting {
			l.wakeUp()
		}
		return nil
	}
	if err == nil || mask == 0 {
		d.kernel = mask
		return nil
	}
	d.unsure = unsure
	return err
}

func interest(armed Direction) uint32 {
	var mask uint32
	if armed&Read != 0 {
		mask |= unix.EPOLLIN | unix.EPOLLRDHUP
	}
	if armed&Write != 0 {
		mask |= unix.EPOLLOUT
	}
	if armed&Error != 0 {
		mask |= unix.EPOLLERR
	}
	return mask
}

// OnTimeout sets what comes back when the deadline of fd passes. It reports whether fd is registered.
func (l *Loop[T]) OnTimeout(fd int, target T) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.lookup(fd)
	if d == nil {
		return false
	}
	d.onTimeout, d.hasTarget = target, true
	return true
}

// Clear forgets fd: nothing is reported for it any more, not even what was noticed before. Clear before closing a
// descriptor. It reports whether fd was registered.
func (l *Loop[T]) Clear(fd int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.lookup(fd)
	if d == nil {
		return false
	}
	l.withdraw()
	// At once, not before the next wait: the description may live on in another process after the caller closes it.
	_ = l.tell(d, 0)
	l.timeouts.remove(&d.deadline)
	l.drop(d)
	d.armed = 0
	l.table[fd] = nil
	return true
}

func (l *Loop[T]) deadline(after time.Duration) int64 {
	now := l.clock()
	if when := now + int64(after); when > now {
		return when
	}
	if after > 0 { // centuries from now
		return 1<<63 - 1
	}
	return now
}

// After sets a timer. It is reported once, not before d has passed, and is gone then.
func (l *Loop[T]) After(d time.Duration, target T) TimerID {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0
	}
	var t *timer[T]
	if n := len(l.free); n > 0 {
		t = l.slots[l.free[n-1]]
		l.free = l.free[:n-1]
	} else {
		t = &timer[T]{node: node{key: len(l.slots)}}
		l.slots = append(l.slots, t)
	}
	t.generation++
	t.target = target
	l.timers.set(&t.node, l.deadline(max(d, 0)))
	l.alarmEarlier()
	return TimerID(uint64(t.generation)<<32 | uint64(t.key+1))
}

// Cancel takes a timer back. It reports whether there was anything to take back: a timer that was reported or cancelled
// before is nothing.
func (l *Loop[T]) Cancel(id TimerID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	slot := int(uint32(id)) - 1
	if slot < 0 || slot >= len(l.slots) {
		return false
	}
	t := l.slots[slot]
	if !t.queued() || t.generation != uint32(id>>32) {
		return false
	}
	l.timers.remove(&t.node)
	l.vacate(t)
	return true
}

func (l *Loop[T]) vacate(t *timer[T]) (target T) {
	target, t.target = t.target, target
	l.free = append(l.free, t.key)
	return target
}

// Wake ends the wait that Next is in, or the next one if there is none.
func (l *Loop[T]) Wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed { // else the number of the eventfd may be somebody else's by now
		l.wakeUp()
	}
}

func (l *Loop[T]) wakeUp() {
	one := [8]byte{1}
	for {
		if _, err := unix.Write(l.wake, one[:]); err != unix.EINTR {
			return // full: it is about to wake anyway
		}
	}
}
