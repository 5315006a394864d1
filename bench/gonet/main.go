// Command gonet does the work of the floor's messages.c with Go's standard library: a net.UnixConn over a socket pair, with
// bufio on both sides. Streams go to the child only.
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
	done

	header = 8
	buffer = 64 << 10
)

type end struct {
	in      *bufio.Reader
	out     *bufio.Writer
	payload []byte
}

func open(file *os.File, size int) *end {
	c, err := net.FileConn(file)
	measure.Must(err)
	measure.Must(c.(*net.UnixConn).SetWriteBuffer(1 << 20)) // as the floor's
	measure.Must(file.Close())
	return &end{bufio.NewReaderSize(c, buffer), bufio.NewWriterSize(c, buffer), make([]byte, max(size, 64))}
}

func (e *end) put(kind uint32, payload []byte) {
	var h [header]byte
	binary.NativeEndian.PutUint32(h[:], uint32(4+len(payload)))
	binary.NativeEndian.PutUint32(h[4:], kind)
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

func main() {
	measure.Begin()
	size, count := measure.Number("size", 64), measure.Number("count", 10000)
	acknowledge := measure.Number("acknowledge", 0)
	ping := measure.Text("do", "") == "ping"
	if measure.Text("role", "") == "child" {
		child(open(os.NewFile(3, "socket pair"), size), ping, size, count, acknowledge)
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
	e := open(os.NewFile(uintptr(fds[0]), "socket pair"), size)
	if ping {
		ask(e, size, count)
	} else {
		stream(e, size, count/10, acknowledge)
		measure.ReportStream(count, stream(e, size, count, acknowledge))
	}
	measure.Must(c.Wait())
}

func ask(e *end, size, count int) {
	message, warm := make([]byte, size), count/10
	var samples measure.Samples
	for i := range count + warm {
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

// stream returns how long it took until the child had everything.
func stream(e *end, size, count, acknowledge int) time.Duration {
	message := make([]byte, size)
	start := measure.Now()
	for i := range count {
		measure.Stamp(message, uint64(i))
		e.put(data, message)
		if acknowledge != 0 && (i+1)%acknowledge == 0 {
			e.flush()
			e.next()
		}
	}
	e.flush()
	if kind, _ := e.next(); kind != done {
		measure.Fail("a frame of type %d came instead of the end", kind)
	}
	return measure.Now() - start
}

func child(e *end, ping bool, size, count, acknowledge int) {
	warm := count / 10
	if ping {
		for i := range count + warm {
			_, payload := e.next()
			measure.Check(payload, size, uint64(i))
			e.put(data, payload)
			e.flush()
		}
		return
	}
	for _, n := range []int{warm, count} {
		for i := range n {
			_, payload := e.next()
			measure.Check(payload, size, uint64(i))
			if acknowledge != 0 && (i+1)%acknowledge == 0 {
				e.put(ack, nil)
				e.flush()
			}
		}
		e.put(done, nil)
		e.flush()
	}
}
