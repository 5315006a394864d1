// Command gonet does the work of the floor's messages.c with Go's standard library: a net.UnixConn over a socket pair, with
// bufio on both sides.
package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"melon/bench/measure"
)

const (
	data = iota + 1
	ack
	result

	header = 8
	buffer = 64 << 10
)

var (
	size        = measure.Number("size", 64)
	count       = measure.Number("count", 10000)
	acknowledge = measure.Number("acknowledge", 0)
	direction   = measure.Number("direction", measure.Down)
)

type end struct {
	connection net.Conn
	in         *bufio.Reader
	out        *bufio.Writer
	payload    []byte
}

func open(file *os.File) *end {
	c, err := net.FileConn(file)
	measure.Must(err)
	measure.Must(c.(*net.UnixConn).SetWriteBuffer(1 << 20)) // as the floor's
	measure.Must(file.Close())
	return &end{c, bufio.NewReaderSize(c, buffer), bufio.NewWriterSize(c, buffer), make([]byte, max(size, 64))}
}

func (e *end) put(kind uint32, payload []byte) {
	var h [header]byte
	binary.NativeEndian.PutUint32(h[:], uint32(4+len(payload)))
	binary.NativeEndian.PutUint32(h[4:], kind)
	if len(payload) >= buffer/4 { // without a copy, as the floor's
		e.flush()
		both := net.Buffers{h[:], payload}
		_, err := both.WriteTo(e.connection)
		measure.Must(err)
		return
	}
	_, err := e.out.Write(h[:])
	measure.Must(err)
	_, err = e.out.Write(payload)
	measure.Must(err)
}

func (e *end) flush() { measure.Must(e.out.Flush()) }

// next returns the next frame; its payload is valid until the next call.
func (e *end) next() (kind uint32, payload []byte) {
	h, err := e.in.Peek(header)
	measure.Must(err)
	n := int(binary.NativeEndian.Uint32(h)) - 4
	kind = binary.NativeEndian.Uint32(h[4:])
	_, _ = e.in.Discard(header)
	_, err = io.ReadFull(e.in, e.payload[:n])
	measure.Must(err)
	return kind, e.payload[:n]
}

// expect returns the payload of the next frame, which is to be of this type.
func (e *end) expect(kind uint32) []byte {
	got, payload := e.next()
	if got != kind {
		measure.Fail("a frame of type %d came instead of one of type %d", got, kind)
	}
	return payload
}

func main() {
	measure.Begin()
	ping, warm := measure.Text("do", "") == "ping", count/10
	if measure.Text("role", "") == "child" {
		e := open(os.NewFile(3, "socket pair"))
		if ping {
			e.answer(count + warm)
		} else {
			e.stream(measure.Up, warm)
			e.stream(measure.Up, count)
		}
		return
	}
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	measure.Must(err)
	theirs := os.NewFile(uintptr(fds[1]), "socket pair")
	c := exec.Command("/proc/self/exe", append(os.Args[1:], "role=child")...)
	c.Stderr = os.Stderr
	c.ExtraFiles = []*os.File{theirs}
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	measure.Must(c.Start())
	measure.Must(theirs.Close())
	e := open(os.NewFile(uintptr(fds[0]), "socket pair"))
	if ping {
		e.ask(count+warm, warm)
	} else {
		e.stream(measure.Down, warm)
		measure.ReportStream(count, direction, e.stream(measure.Down, count))
	}
	measure.Must(c.Wait())
}

func (e *end) answer(rounds int) {
	for i := range rounds {
		_, payload := e.next()
		measure.Check(payload, size, uint64(i))
		e.put(data, payload)
		e.flush()
	}
}

func (e *end) ask(rounds, warm int) {
	message := make([]byte, size)
	var samples measure.Samples
	for i := range rounds {
		start := measure.Now()
		measure.Stamp(message, uint64(i))
		e.put(data, message)
		e.flush()
		_, payload := e.next()
		measure.Check(payload, size, uint64(i))
		if i >= warm {
			samples = append(samples, measure.Now()-start)
		}
	}
	samples.Report()
}

// stream has this end do its part of a stream, in which it sends one of the directions. It returns how long the slower end took until it
// had received everything.
func (e *end) stream(sends, n int) time.Duration {
	var mine time.Duration
	switch {
	case direction == measure.Both:
		sent := make(chan struct{})
		go func() {
			e.send(n)
			close(sent)
		}()
		mine = e.receive(n)
		<-sent
	case direction == sends:
		e.send(n)
	default:
		mine = e.receive(n)
	}
	// Each end tells the other, as the floor does: the next stream begins when both are through.
	e.put(result, binary.NativeEndian.AppendUint64(nil, uint64(mine)))
	e.flush()
	return max(mine, time.Duration(binary.NativeEndian.Uint64(e.expect(result))))
}

func (e *end) send(n int) {
	message := make([]byte, size)
	measure.StampTime(message)
	for i := range n {
		measure.Stamp(message, uint64(i))
		e.put(data, message)
		if acknowledge != 0 && (i+1)%acknowledge == 0 {
			e.flush()
			e.expect(ack)
		}
	}
	e.flush()
}

// receive returns how long it took, from before the first message was sent.
func (e *end) receive(n int) time.Duration {
	var start time.Duration
	for i := range n {
		_, payload := e.next()
		measure.Check(payload, size, uint64(i))
		if i == 0 {
			start = measure.StampedTime(payload)
		}
		if acknowledge != 0 && (i+1)%acknowledge == 0 {
			e.put(ack, nil)
			e.flush()
		}
	}
	return measure.Clock() - start
}
