package main

/*
#include "engine.h"
*/
import "C"

import (
	"errors"
	"math"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"melon/core/event"
	"melon/core/ipc"
)

// A channel is the Go side of one mln_fork_t: what arrives on a socket pair, cut into frames.
type channel struct {
	loop     *loop
	c        uintptr // mln_fork_t
	worker   uintptr // the struct worker at the other end, or 0
	fd       int
	inbox    ipc.Inbox
	pinner   runtime.Pinner
	pinned   *byte     // the inbox's memory as it was pinned
	level    C.int32_t // how many handlers were running, at least, when messages in that memory were handed out
	queued   bool      // in the loop's backlog
	received int       // bytes, in all
	more     bool      // the last read filled its buffer: another one may bring more
	short    bool      // of memory is the kernel, and that was told
	reads    int       // since the loop looked at other descriptors
	broken   error     // what is wrong with what came
}

// noLevel is the level of memory of which nothing was handed out.
const noLevel = math.MaxInt32

// engineChannelAttach is the entry channel_attach of struct engine_table.
//
//export engineChannelAttach
func engineChannelAttach(handle C.int64_t, fd C.int, c, worker C.uintptr_t, rest unsafe.Pointer, size C.size_t) C.int {
	room(false)
	l := loopOf(handle)
	ch := &channel{loop: l, c: uintptr(c), worker: uintptr(worker), fd: int(fd), level: noLevel}
	ch.inbox.MaxPayload, ch.inbox.Discard = maxPayload.Load(), discard
	if err := unix.SetNonblock(ch.fd, true); err != nil {
		return result(err)
	}
	err := l.Set(ch.fd, event.Registration[target]{Directions: event.Read, Timeout: event.NoTimeout,
		Target: target{channel: ch}, Pollable: true})
	if err != nil {
		return result(err)
	}
	l.channels[uintptr(c)] = ch
	if size > 0 {
		ch.put(unsafe.Slice((*byte)(rest), int(size)))
		l.busy()
	}
	return 0
}

// engineChannelDetach is the entry channel_detach of struct engine_table.
//
//export engineChannelDetach
func engineChannelDetach(handle C.int64_t, fd C.int, c C.uintptr_t, frame C.uint32_t, rest *unsafe.Pointer, size *C.size_t) {
	room(false)
	l := loopOf(handle)
	l.settle()
	l.takeBack(int(fd))
	l.Clear(int(fd))
	ch := l.channels[uintptr(c)]
	if ch == nil {
		return
	}
	if rest != nil {
		if left := ch.rest(frame); len(left) > 0 {
			*rest, *size = toC(left), C.size_t(len(left))
		}
	}
	delete(l.channels, uintptr(c))
	l.backlog = slices.DeleteFunc(l.backlog, func(other *channel) bool { return other == ch })
	ch.keep()
	ch.inbox.Close()
	ch.pinner.Unpin()
}

// discard gives the pages of memory back to the system that nobody uses any more. To the Go runtime it is what it was.
func discard(memory []byte) {
	page := unix.Getpagesize()
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(memory)))) & (page - 1)
	_ = unix.Madvise(memory[skip:skip+(len(memory)-skip)&^(page-1)], unix.MADV_DONTNEED)
}

// rest is what was received and not handed to a handler: the frames of the step from the given one on, and what is in
// the inbox.
func (ch *channel) rest(frame C.uint32_t) []byte {
	var left []byte
	if step := ch.loop.step; frame < step.count {
		for _, memory := range [][]byte{ch.inbox.Memory(), message(step, len(step.message))} {
			base := C.uintptr_t(uintptr(unsafe.Pointer(unsafe.SliceData(memory))))
			for _, f := range step.frames[frame:step.count] {
				if from := f.data - base; from < C.uintptr_t(len(memory)) {
					left = ipc.AppendFrame(left, uint32(f._type), memory[from:][:f.length])
				}
			}
		}
	}
	return append(left, ch.inbox.Bytes()...)
}

// engineChannelWantWrite is the entry channel_want_write of struct engine_table.
//
//export engineChannelWantWrite
func engineChannelWantWrite(handle C.int64_t, fd C.int, c C.uintptr_t, scarce C.int) C.int {
	room(false)
	l := loopOf(handle)
	ch := l.channels[uintptr(c)]
	if ch == nil { // sent before anybody reads: writing is all that is asked for
		ch = &channel{loop: l, c: uintptr(c), fd: int(fd), level: noLevel}
	}
	err := l.Set(int(fd), event.Registration[target]{Directions: event.Write, OneShot: true, Append: true,
		Timeout: event.KeepTimeout, Target: target{channel: ch}, Pollable: true})
	if err == nil && scarce != 0 {
		l.Rest(int(fd), event.Write)
	}
	return result(err)
}

// engineChannelReceive is the entry channel_receive of struct engine_table.
//
//export engineChannelReceive
func engineChannelReceive(handle C.int64_t, fd C.int, c C.uintptr_t) {
	room(false)
	l := loopOf(handle)
	l.settle()
	l.busy()
	l.step.kind = C.STEP_NONE
	if ch := l.channels[uintptr(c)]; ch != nil && !ch.handOut() {
		ch.receive()
	}
}

// leave leaves the next message to the C side if that is all that there is to a channel: it needs no engine where it comes whole and
// alone. Of anything else, take takes over what was received.
func (ch *channel) leave() {
	t, data, plain := ch.loop.Plain(ch.fd)
	if !plain || t.channel != ch || ch.inbox.Buffered() > 0 || ch.supervised() {
		return
	}
	step := ch.loop.step
	step.direct_limit = C.uint64_t(ch.inbox.MaxPayload)
	direct := &step.direct[ch.fd%len(step.direct)]
	direct.channel = C.uintptr_t(ch.c)
	atomic.StoreUint64((*uint64)(&direct.data), data)
}

// takeBack has the engine receive what comes next on a channel.
func (l *loop) takeBack(fd int) {
	if fd >= 0 {
		atomic.StoreUint64((*uint64)(&l.step.direct[fd%len(l.step.direct)].data), 0)
	}
}

// take takes over what the C side has received, and has not delivered.
func (l *loop) take() {
	n := int(l.step.arrived)
	if l.step.arrived = 0; n == 0 {
		return
	}
	if ch := l.channels[uintptr(l.step.arrived_from)]; ch != nil {
		ch.keep()
		ch.received += n
		ch.put(message(l.step, n))
	}
}

// message is the memory for messages that the C side receives.
func message(step *C.struct_step, n int) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&step.message[0])), n)
}

// put adds bytes to those that have come.
func (ch *channel) put(in []byte) {
	for len(in) > 0 {
		n := copy(ch.inbox.Space(), in)
		ch.inbox.Added(n)
		in = in[n:]
	}
	ch.pin()
	ch.enqueue()
}

// settle takes over what is the engine's, and notes how far out the messages of the last step were delivered. One that arrived in a
// dispatch inside a handler is delivered after that handler has returned if the inner dispatch was broken before.
func (l *loop) settle() {
	l.take()
	if l.step.kind != C.STEP_FRAMES {
		return
	}
	if ch := l.channels[uintptr(l.step.target)]; ch != nil {
		ch.level = min(ch.level, l.step.outermost)
	}
}

// keep makes the messages whose handlers are running outlive what comes next: those that were handed out while fewer
// handlers were running than are now. The handlers of the others have returned.
func (ch *channel) keep() {
	if ch.level < ch.loop.step.handling {
		ch.loop.kept = append(ch.loop.kept, ch.inbox.Hold())
		return
	}
	ch.level = noLevel
}

// mostReads is how often a channel is read before the loop looks at other descriptors again.
const mostReads = 8

// receive reads what has come. It reports whether that made a step.
func (ch *channel) receive() bool {
	ch.reads, ch.more = 0, true
	return ch.handOut()
}

// handOut makes a step of what is in the inbox, or else of what the kernel has. It reports whether there was something to
// do.
func (ch *channel) handOut() bool {
	for !ch.frames() {
		if !ch.more || ch.reads == mostReads {
			ch.more = false
			return false
		}
		if ch.read() {
			return true
		}
	}
	return true
}

// read reads once. It reports whether that made a step. What it reads may end inside of a message, whose rest is not to be taken for one.
func (ch *channel) read() bool {
	ch.loop.takeBack(ch.fd)
	ch.keep()
	space := ch.inbox.Space()
	ch.pin()
	n, errno := read(ch.fd, space)
	ch.reads++
	ch.more = n == len(space)
	switch {
	case n > 0:
		ch.short = false
		ch.inbox.Added(n)
		ch.received += n
		if w := ch.loop.workers[ch.worker]; w != nil {
			ch.loop.supervisor.Sign(w.life)
		}
		return false
	case errno == nil:
	case errno == unix.EAGAIN:
		return false
	case errno == unix.ENOMEM || errno == unix.ENOBUFS: // what is there stays there
		ch.loop.Rest(ch.fd, event.Read)
		if ch.short {
			return false
		}
		ch.short = true
		ch.loop.say("cannot be read, which is tried again: " + errno.Error())
		ch.loop.step.kind, ch.loop.step.target = C.STEP_TELL, C.uintptr_t(ch.worker)
		return true
	case errno != unix.ECONNRESET: // which is an end like any other, with messages that nobody read
		ch.broken = errors.New("it cannot be read: " + errno.Error())
	}
	ch.close()
	return true
}

// drain is for a channel whose worker has ended: it reads until there is something to do, or the bytes that were left are
// read. It may have to be called again.
func (ch *channel) drain(left *int) {
	for *left > 0 {
		before := ch.received
		made := ch.receive()
		*left -= ch.received - before
		if made || ch.resting() {
			return
		}
		if ch.received == before { // somebody else has read
			break
		}
	}
	ch.close()
}

// resting reports whether the kernel was short of memory a moment ago.
func (ch *channel) resting() bool { return ch.loop.Resting(ch.fd, event.Read) }

// pin tells the Go runtime that C looks at the inbox's memory.
func (ch *channel) pin() {
	if memory := unsafe.SliceData(ch.inbox.Memory()); memory != ch.pinned {
		ch.pinner.Unpin()
		ch.pinner.Pin(memory)
		ch.pinned, ch.level = memory, noLevel
	}
}

// enqueue has the loop hand out what is in the inbox before it looks for anything else.
func (ch *channel) enqueue() {
	if !ch.queued {
		ch.queued = true
		ch.loop.backlog = append(ch.loop.backlog, ch)
	}
}

// frames puts frames that have arrived into the step. It reports whether there was something to do.
func (ch *channel) frames() bool {
	step := ch.loop.step
	n := 0
	for n < len(step.frames) {
		frame, ok, err := ch.inbox.Next()
		if err != nil {
			ch.broken = err
			break
		}
		if !ok {
			break
		}
		if frame.Type == ipc.Control && ch.control(frame.Payload) {
			continue
		}
		out := &step.frames[n]
		out._type = C.uint32_t(frame.Type)
		out.length = C.uint32_t(len(frame.Payload))
		out.data = C.uintptr_t(uintptr(unsafe.Pointer(unsafe.SliceData(frame.Payload))))
		n++
	}
	switch {
	case n > 0:
		step.kind, step.count, step.target = C.STEP_FRAMES, C.uint32_t(n), C.uintptr_t(ch.c)
		ch.level = min(ch.level, step.handling)
		step.outermost = step.handling
		if n == len(step.frames) || ch.more || ch.broken != nil {
			ch.enqueue()
		} else if n == 1 {
			ch.leave()
		}
		return true
	case ch.broken != nil:
		ch.close()
		return true
	}
	return false
}

// control takes what a worker says of itself, if workers are to do so: else the type is the program's own like any other.
func (ch *channel) control(payload []byte) bool {
	if !ch.supervised() {
		return false
	}
	if len(payload) == 1 && payload[0] == ipc.ControlReady {
		ch.loop.supervisor.Ready(ch.loop.workers[ch.worker].life)
	}
	return true
}

// supervised reports whether a worker is to say something of itself.
func (ch *channel) supervised() bool {
	if ch.loop.workers[ch.worker] == nil {
		return false
	}
	policy := ch.loop.supervisor.Policy()
	return policy.StartTimeout != 0 || policy.Heartbeat != 0
}

// pending reports whether something has come that was not read yet.
func (ch *channel) pending() bool {
	n, err := unix.IoctlGetInt(ch.fd, unix.TIOCINQ)
	return err == nil && n > 0
}

// close says that the channel is at its end. The C side detaches it.
func (ch *channel) close() {
	if n := ch.inbox.Buffered(); n > 0 && ch.broken == nil {
		ch.broken = errors.New("it ends inside of a message, of which " + strconv.Itoa(n) + " bytes have come")
	}
	step := ch.loop.step
	step.kind, step.target = C.STEP_CLOSED, C.uintptr_t(ch.c)
	ch.loop.say("")
	if ch.broken != nil {
		ch.loop.say(ch.broken.Error())
	}
}

// read does not wait, whatever mode the program has put the descriptor into.
func read(fd int, p []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
			unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}
