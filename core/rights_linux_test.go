package core_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"melon/core"
	"melon/core/internal/world"
	"melon/core/ipc"
	"melon/core/spawn"
)

func init() {
	programs["linger"] = lingeringWorker
}

// linger is how long closing a descriptor may take that the worker called linger sends along.
const linger = 10 * time.Second

// lingeringWorker sends its master a TCP socket that lingers, when the master is busy and the socket is nobody else's by the
// time at which the master comes to read it.
func lingeringWorker() error {
	g := echoWorker()
	channel := channelOf()
	g.Handle(misbehave, core.Handlers{Worker: func(m *core.Master, address []byte) {
		fd, err := clogged(string(address))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		file := os.Getenv("CORE_TEST_FILE")
		_, _ = unix.Write(channel, ipc.AppendFrame(nil, numbered, nil))
		for present(file + "idle") {
			time.Sleep(time.Millisecond)
		}
		err = unix.Sendmsg(channel, ipc.AppendFrame(nil, misbehave, nil), unix.UnixRights(fd), nil, 0)
		if err == nil {
			_ = unix.Close(fd)
		}
		_ = os.Remove(file + "busy")
		_ = m.Send(last, fmt.Append(nil, errors.Is(err, unix.EPERM)))
	}})
	return g.Run(context.Background())
}

// channelOf finds the channel of this worker, which is the only socket beside the standard descriptors.
func channelOf() int {
	for fd := 3; fd < 1024; fd++ {
		if _, err := unix.Getpeername(fd); err == nil {
			return fd
		}
	}
	return -1
}

// clogged returns a connection with data that the other end does not take.
func clogged(address string) (int, error) {
	to, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}); err != nil {
		return -1, err
	}
	_ = unix.SetNonblock(fd, true)
	for err == nil {
		_, err = unix.Write(fd, make([]byte, 64<<10))
	}
	_ = unix.SetNonblock(fd, false) // or closing would not wait
	return fd, unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: int32(linger.Seconds())})
}

func present(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// A worker cannot make its master wait for a descriptor to be closed, whether or not the kernel refuses to send it.
func TestDescriptorsThatAWorkerSendsHoldUpNobody(t *testing.T) {
	for _, refused := range []bool{true, false} { // if the kernel is able to
		t.Run(fmt.Sprintf("refused %t", refused), func(t *testing.T) {
			role(t, "linger")
			file := filepath.Join(t.TempDir(), "master is ")
			t.Setenv("CORE_TEST_FILE", file)
			for _, name := range []string{"idle", "busy"} {
				if err := os.WriteFile(file+name, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			listener, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			guarded := false
			w := world.Real()
			w.Start = func(spec spawn.Spec) (spawn.Process, error) {
				p, err := spawn.Start(spec)
				if guarded = spawn.Guarded(p.Channel); guarded && !refused {
					err = errors.Join(err, unix.SetsockoptInt(p.Channel, unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 1))
				}
				return p, err
			}
			held, said, answers := make(chan bool, 1), make(chan string, 1), make(chan bool, 1)
			g := core.Group{Workers: 2}
			world.Attach(&g, w)
			g.Handle(numbered, core.Handlers{Master: func(*core.Worker, []byte) {
				_ = os.Remove(file + "idle")
				for give := time.Now().Add(deadline); present(file+"busy") && time.Now().Before(give); {
					time.Sleep(time.Millisecond)
				}
				held <- true
			}})
			g.Handle(last, core.Handlers{Master: func(_ *core.Worker, payload []byte) { said <- string(payload) }})
			g.Handle(echo, core.Handlers{Master: func(*core.Worker, []byte) { answers <- true }})
			workers, events, _ := begin(t, &g)
			if err := workers[0].Send(misbehave, []byte(listener.Addr().String())); err != nil {
				t.Fatal(err)
			}
			connection, err := listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer connection.Close() // ends the wait, wherever it is
			receive(t, held, "the worker to have sent a descriptor")
			sent := time.Now()
			if err := workers[1].Send(echo, nil); err != nil {
				t.Fatal(err)
			}
			receive(t, answers, "the echo of another worker")
			if took := time.Since(sent); took > linger/2 {
				t.Errorf("the echo of another worker took %v, where the descriptor takes %v to close", took, linger)
			}
			if refused && guarded {
				if got := receive(t, said, "what the worker says"); got != "true" {
					t.Errorf("that the descriptor was refused is %s", got)
				}
			} else if e := await(t, events, core.Exited); e.Worker != workers[0] {
				t.Errorf("%v ended, want the one that sent a descriptor", e.Worker)
			}
		})
	}
}
