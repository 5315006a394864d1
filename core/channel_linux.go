package core

import (
	"errors"
	"fmt"
	"io"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"melon/core/event"
	"melon/core/ipc"
	"melon/core/spawn"
)

// A channel is this process's end of the socket pair between master and worker. Its methods belong to the goroutine of
// Run; other goroutines have its queue.
type channel struct {
	engine *engine
	fd     int
	queue  *queue
	in     ipc.Inbox
	count  *counters
	rights *rights // nil where the kernel lets none be sent
	refuse func(call string) error

	// handle is called for each message, and reports whether there was a handler. handled is called, if it is set, after each.
	// arrived is called, if it is set, whenever something has come. ended is called once, when no message will come any more; err
	// is nil, or wraps ipc.ErrFrame, io.ErrUnexpectedEOF or the error of a read, or is errDescriptors. deaf is called once, when
	// nothing can be sent any more, and that is not since the peer has ended; err is why. written is called once, after
	// finish, when nothing is left to write; lost says that it could not be.
	handle  func(ipc.Frame) bool
	handled func()
	arrived func()
	ended   func(err error)
	deaf    func(err error)
	written func(lost bool)

	resume func() // write, as a value that need not be made each time

	reading   bool
	retrying  bool // is written in a moment
	finishing bool
	broken    bool // nothing can be written any more
	doubtful  bool // whether that is so since the peer has ended
	closed    bool
}

// scarce reports whether the kernel has refused something for want of memory, which passes, where a lost message does not come back.
func scarce(err error) bool { return err == unix.ENOBUFS || err == unix.ENOMEM }

// openChannel takes over fd for a link. It is the owner's job to set handle, ended, deaf and written before the loop runs.
func openChannel(e *engine, fd int, g *Group, l *link) (*channel, error) {
	c := &channel{engine: e, fd: fd, reading: true, count: &l.in, refuse: g.world().Refuse}
	c.in.MaxPayload = g.maxPayload()
	if !spawn.Guarded(fd) {
		c.rights = new(rights)
	}
	c.resume = c.write
	c.queue = newQueue(g, func() { e.post(c.resume) })
	l.group, l.engine, l.queue = g, e, c.queue
	if err := e.watch(fd, c.read); err != nil {
		return nil, err
	}
	return c, nil
}

// Reads in one go, so that a peer that sends without end does not keep the others waiting.
const mostReads = 16

func (c *channel) read() {
	for range mostReads {
		if !c.readOnce() {
			return
		}
	}
}

// readOnce reads and handles what one system call brings. It reports whether another may bring more.
func (c *channel) readOnce() bool {
	if !c.reading {
		return false
	}
	space := c.in.Space()
	n, err := c.receive(space)
	switch {
	case err == errDescriptors:
		c.reading = false
		c.ended(err)
		return false
	case err == unix.EINTR:
		return true
	case err == unix.EAGAIN:
		return false
	case scarce(err): // what is there stays there
		c.engine.loop.Rest(c.fd, event.Read)
		return false
	case err != nil && err != unix.ECONNRESET:
		c.reading = false
		c.ended(fmt.Errorf("it cannot be read: %w", err))
		return false
	case err != nil || n == 0:
		// ECONNRESET: the peer ended without reading all that was sent to it. What it had sent itself was read before.
		c.reading = false
		err = nil
		if n := c.in.Buffered(); n > 0 {
			err = fmt.Errorf("it ended in the middle of a message, of which %d bytes have come: %w", n, io.ErrUnexpectedEOF)
		}
		c.ended(err)
		return false
	}
	c.in.Added(n)
	c.count.bytes.Add(uint64(n))
	if c.arrived != nil {
		c.arrived()
	}
	begin := time.Now()
	complete, err := c.handleFrames()
	c.engine.handling.Add(int64(time.Since(begin)))
	if err != nil {
		c.reading = false
		c.ended(err)
	}
	return complete && n == len(space)
}

// errDescriptors is why a channel is ended through which descriptors came.
var errDescriptors = errors.New("it has sent descriptors, which nobody has asked for")

// receive reads what is there. Where the kernel does not refuse descriptors it would close those that came itself, before a
// plain read returns, and that may take as long as their sender likes. They are taken, and left to another goroutine.
func (c *channel) receive(space []byte) (int, error) {
	if err := c.refused("read"); err != nil {
		return 0, err
	}
	if c.rights == nil {
		// Not read, by which other descriptors are read as well: whoever looks at the calls of a process can tell them apart.
		n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(c.fd), uintptr(unsafe.Pointer(&space[0])), uintptr(len(space)), 0, 0, 0)
		if errno != 0 {
			return 0, errno
		}
		return int(n), nil
	}
	n, control, err := c.rights.receive(c.fd, space)
	if len(control) == 0 {
		return n, err
	}
	messages, _ := unix.ParseSocketControlMessage(control)
	for i := range messages {
		fds, _ := unix.ParseUnixRights(&messages[i])
		go func() {
			for _, fd := range fds {
				_ = unix.Close(fd)
			}
		}()
	}
	return 0, errDescriptors
}

// rights is where descriptors that come along are put.
type rights struct {
	header  unix.Msghdr
	data    unix.Iovec
	control [1040]byte // for 253 of them, which is what the kernel allows in one message (SCM_MAX_FD)
}

// receive is recvmsg without an allocation for each call.
func (r *rights) receive(fd int, space []byte) (n int, control []byte, err error) {
	r.data.Base = &space[0]
	r.data.SetLen(len(space))
	r.header = unix.Msghdr{Iov: &r.data, Iovlen: 1, Control: &r.control[0]}
	r.header.SetControllen(len(r.control))
	size, _, errno := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&r.header)), unix.MSG_CMSG_CLOEXEC)
	if errno != 0 {
		return 0, nil, errno
	}
	return int(size), r.control[:r.header.Controllen], nil
}

// handleFrames handles the messages that are complete, and reports whether those were all, and may be followed by more.
func (c *channel) handleFrames() (all bool, err error) {
	for c.reading {
		frame, ok, err := c.in.Next()
		if err != nil || !ok {
			return err == nil, err
		}
		if frame.Type != ipc.Control {
			c.count.messages.Add(1)
		}
		if !c.handle(frame) {
			c.count.unhandled.Add(1)
		}
		if c.handled != nil {
			c.handled()
		}
	}
	return false, nil
}

// pending reports whether something has come that was not read yet.
func (c *channel) pending() bool {
	if c.closed { // and its descriptor may be another's by now
		return false
	}
	n, err := unix.IoctlGetInt(c.fd, unix.TIOCINQ)
	return err == nil && n > 0
}

// write writes what is queued, and goes on when the kernel can take more.
func (c *channel) write() {
	if c.closed || c.broken {
		return
	}
	empty, blocked, err := c.queue.write(c.sendmsg)
	switch {
	case scarce(err):
		c.writeSoon()
	case err != nil:
		c.broken = true
		c.queue.close()
		c.queue.discard()
		c.undeliverable(err)
	case blocked:
		if c.awaitRoom() != nil {
			c.writeSoon()
		}
	}
	c.conclude(empty)
}

// conclude has written called if it is time.
func (c *channel) conclude(empty bool) {
	if c.finishing && (empty || c.broken && !c.doubtful) {
		c.finishing = false
		c.written(c.broken)
	}
}

// awaitRoom has write called when the kernel can take more.
func (c *channel) awaitRoom() error {
	if err := c.refused("watch"); err != nil {
		return err
	}
	return c.engine.loop.Set(c.fd, event.Registration[func()]{Directions: event.Write, OneShot: true, Append: true,
		Timeout: event.KeepTimeout, Target: c.resume, Pollable: true})
}

// writeSoon has write called in a moment: after a shortage of memory the kernel might say at once that it can take more.
func (c *channel) writeSoon() {
	if c.retrying {
		return
	}
	c.retrying = true
	c.engine.after(event.RetryAfter, func() {
		c.retrying = false
		c.write()
	})
}

// undeliverable acts upon an error that writing has brought. Mostly the peer has ended, which is acted upon when everything that it has
// sent was read. One that is only deaf would never be seen to end. Which of both it is may take the kernel a moment to tell: it refuses
// what is sent to a peer that is closing its channel before it says that this end is closed.
func (c *channel) undeliverable(err error) {
	switch {
	case err != unix.EPIPE && err != unix.ECONNRESET:
		c.deaf(err)
	case !c.hungUp():
		c.doubtful = true
		c.engine.after(event.RetryAfter, func() {
			c.doubtful = false
			if c.closed {
				return
			}
			if !c.hungUp() {
				c.deaf(err)
			}
			c.conclude(false)
		})
	}
}

func (c *channel) sendmsg(buffers [][]byte) (int, error) {
	if err := c.refused("send"); err != nil {
		return 0, err
	}
	for {
		n, err := unix.SendmsgBuffers(c.fd, buffers, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, nil
		default:
			return 0, err
		}
	}
}

// finish takes no more messages to send, writes those that are queued, and has written called.
func (c *channel) finish() {
	c.queue.close()
	if c.closed || c.finishing {
		return
	}
	c.finishing = true
	if c.broken {
		c.conclude(false)
		return
	}
	c.write()
}

// stopReading leaves alone what the peer sends from now on. It drops a wait for being able to write as well, and is
// followed by finish.
func (c *channel) stopReading() {
	c.reading = false
	_ = c.engine.loop.Set(c.fd, event.Registration[func()]{Timeout: event.NoTimeout})
}

// endWriting tells the peer that nothing will come any more.
func (c *channel) endWriting() error { return c.shutdown(unix.SHUT_WR) }

func (c *channel) shutdown(how int) error {
	if err := c.refused("shutdown"); err != nil {
		return err
	}
	return unix.Shutdown(c.fd, how)
}

// refused is the error that a test has a system call fail with.
func (c *channel) refused(call string) error {
	if c.refuse == nil {
		return nil
	}
	return c.refuse(call)
}

// lastWords handles what a peer that has ended had sent. It reports whether that was all: where the kernel is short of memory the rest
// is for another call, some time after event.RetryAfter.
func (c *channel) lastWords() (all bool) {
	if c.closed {
		return true
	}
	c.queue.close()
	c.queue.discard()
	c.broken = true
	// A process that has inherited the other end may still hold it: it must not be able to make this go on for ever.
	err := c.shutdown(unix.SHUT_RDWR)
	resting := func() bool { return c.engine.loop.Resting(c.fd, event.Read) }
	for c.reading && !resting() && (err == nil || c.pending()) {
		c.readOnce()
	}
	return !resting()
}

// hungUp reports whether the other end is closed altogether, and not just for writing. Where the kernel does not tell, it is taken for
// closed.
func (c *channel) hungUp() bool {
	poll := []unix.PollFd{{Fd: int32(c.fd)}}
	for range 100 {
		err := c.refused("poll")
		if err == nil {
			_, err = unix.Poll(poll, 0)
		}
		if err == nil {
			return poll[0].Revents&unix.POLLHUP != 0
		}
		time.Sleep(time.Millisecond)
	}
	return true
}

func (c *channel) close() {
	if c.closed {
		return
	}
	c.closed, c.reading = true, false
	c.queue.close()
	c.queue.discard()
	c.engine.loop.Clear(c.fd)
	if c.rights != nil { // there may be some that were not read yet, and are closed with it
		_ = unix.Shutdown(c.fd, unix.SHUT_RDWR)
		for n, err := 1, error(nil); n > 0 || err == errDescriptors || err == unix.EINTR; {
			n, err = c.receive(c.in.Space())
		}
	}
	_ = unix.Close(c.fd)
	c.in.Close()
}
