package main

/*
#include "engine.h"
*/
import "C"

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"melon/core/event"
	"melon/core/ipc"
)

// A channel is the Go side of one mln_fork_t: what arrives on a socket pair, cut into frames.
type channel struct {
	loop   *loop
	c      uintptr // mln_fork_t
	worker uintptr // the struct worker at the other end, or 0
	fd     int
	inbox  ipc.Inbox
	pinner runtime.Pinner
	pinned *byte // the inbox's memory as it was pinned
	atEnd  bool  // nothing more will come
	broken error // what is wrong with what came
}

// engineChannelAttach is the entry channel_attach of struct engine_table.
//
//export engineChannelAttach
func engineChannelAttach(handle C.int64_t, fd C.int, c, worker C.uintptr_t) C.int {
	room(false)
	l := loopOf(handle)
	ch := &channel{loop: l, c: uintptr(c), worker: uintptr(worker), fd: int(fd)}
	ch.inbox.MaxPayload = maxPayload.Load()
	if err := unix.SetNonblock(ch.fd, true); err != nil {
		return result(err)
	}
	err := l.Set(ch.fd, event.Registration[target]{Directions: event.Read, Timeout: event.NoTimeout, Target: target{channel: ch}})
	if err != nil {
		return result(err)
	}
	l.channels[uintptr(c)] = ch
	return 0
}

// engineChannelDetach is the entry channel_detach of struct engine_table.
//
//export engineChannelDetach
func engineChannelDetach(handle C.int64_t, fd C.int, c C.uintptr_t) {
	room(false)
	l := loopOf(handle)
	ch := l.channels[uintptr(c)]
	if ch == nil {
		return
	}
	l.Clear(int(fd))
	delete(l.channels, uintptr(c))
	if l.current == ch {
		l.current = nil
	}
	ch.atEnd = true
	ch.keep()
	ch.pinner.Unpin()
}

// engineChannelWantWrite is the entry channel_want_write of struct engine_table.
//
//export engineChannelWantWrite
func engineChannelWantWrite(handle C.int64_t, fd C.int, c C.uintptr_t) C.int {
	room(false)
	l := loopOf(handle)
	ch := l.channels[uintptr(c)]
	if ch == nil { // sent before anybody reads: writing is all that is asked for
		ch = &channel{loop: l, c: uintptr(c), fd: int(fd)}
	}
	return result(l.Set(int(fd), event.Registration[target]{Directions: event.Write, OneShot: true, Append: true,
		Timeout: event.KeepTimeout, Target: target{channel: ch}}))
}

// engineChannelReceive is the entry channel_receive of struct engine_table.
//
//export engineChannelReceive
func engineChannelReceive(handle C.int64_t, fd C.int, c C.uintptr_t) {
	room(false)
	l := loopOf(handle)
	l.step.kind = C.STEP_NONE
	if ch := l.channels[uintptr(c)]; ch != nil && !ch.handOut() {
		ch.receive()
	}
}

// keep makes the messages whose handlers are running outlive what comes next.
func (ch *channel) keep() {
	if ch.loop.step.handling != 0 && ch.pinned != nil {
		ch.loop.kept = append(ch.loop.kept, ch.inbox.Hold())
	}
}

// receive reads once. It reports whether that made a step.
func (ch *channel) receive() bool {
	ch.keep()
	space := ch.inbox.Space()
	ch.pin()
	n, errno := read(ch.fd, space)
	switch {
	case n > 0:
		ch.inbox.Added(n)
		return ch.handOut()
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return false
	}
	ch.atEnd = true
	ch.close()
	return true
}

// pin tells the Go runtime that C looks at the inbox's memory.
func (ch *channel) pin() {
	if memory := unsafe.SliceData(ch.inbox.Memory()); memory != ch.pinned {
		ch.pinner.Unpin()
		ch.pinner.Pin(memory)
		ch.pinned = memory
	}
}

// handOut puts frames that have arrived into the step. It reports whether there was something to do.
func (ch *channel) handOut() bool {
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
		out := &step.frames[n]
		out._type = C.uint32_t(frame.Type)
		out.length = C.uint32_t(len(frame.Payload))
		out.data = unsafe.Pointer(unsafe.SliceData(frame.Payload))
		n++
	}
	switch {
	case n > 0:
		step.kind, step.count, step.target = C.STEP_FRAMES, C.uint32_t(n), C.uintptr_t(ch.c)
		if n == len(step.frames) || ch.broken != nil {
			ch.loop.current = ch
		}
		return true
	case ch.broken != nil:
		ch.close()
		return true
	}
	return false
}

// close says that the channel is at its end. The C side detaches it.
func (ch *channel) close() {
	step := ch.loop.step
	step.kind, step.target = C.STEP_CLOSED, C.uintptr_t(ch.c)
	ch.loop.say("")
	if ch.broken != nil {
		ch.loop.say(ch.broken.Error())
	}
}

func read(fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
