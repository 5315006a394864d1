package core_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"melon/core"
	"melon/core/fork"
)

// What a worker called heir tells of itself, and the address that it is to listen on.
var identity = core.Message[[]string]{Type: 40}

const socketVariable = "CORE_TEST_SOCKET"

func init() { programs["heir"] = heir }

// An estate is what a group has, on both sides.
type estate struct {
	tcp, unix net.Listener
	udp       net.PacketConn
	log       *os.File
}

func inherit(g *core.Group, openLog func() (*os.File, error)) (e estate, err error) {
	var errs [4]error
	e.tcp, errs[0] = g.Listen("tcp", "127.0.0.1:0")
	e.unix, errs[1] = g.Listen("unix", os.Getenv(socketVariable))
	e.udp, errs[2] = g.ListenPacket("udp", "127.0.0.1:0")
	e.log, errs[3] = g.File("log", openLog)
	return e, errors.Join(errs[:]...)
}

// heir serves what it has inherited, until it is asked to end, and then those whom it has begun to serve.
func heir() error {
	var g core.Group
	has, err := inherit(&g, nil)
	if err != nil {
		return err
	}
	var clients sync.WaitGroup
	g.Attached = func(m *core.Master) error {
		for _, l := range []net.Listener{has.tcp, has.unix} {
			clients.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					clients.Go(func() {
						defer c.Close()
						question := make([]byte, 4)
						if _, err := io.ReadFull(c, question); err == nil {
							fmt.Fprint(c, m.Index())
						}
					})
				}
			})
		}
		go func() {
			question := make([]byte, 100)
			for {
				_, from, err := has.udp.ReadFrom(question)
				if err != nil {
					return
				}
				_, _ = has.udp.WriteTo(fmt.Append(nil, m.Index()), from)
			}
		}()
		_, notListed := g.Listen("tcp", "127.0.0.1:1")
		_, twice := g.Listen("tcp", "127.0.0.1:0")
		_, _ = fmt.Fprintf(has.log, "worker %d\n", m.Index())
		return identity.Send(m, []string{strings.Join(os.Args[1:], " "), string(m.Payload()), fmt.Sprint(errors.Is(notListed, core.ErrNotListed)),
			fmt.Sprint(errors.Is(twice, core.ErrNotListed)), has.log.Name(), fmt.Sprint(core.IsWorker(), g.IsWorker())})
	}
	g.Handle(echo, core.Handlers{Worker: func(m *core.Master, payload []byte) {
		if err := m.Send(echo, payload); err != nil {
			fmt.Fprintln(os.Stderr, "echo:", err)
		}
	}})
	err = g.Run(context.Background())
	again := g.Run(context.Background())
	if !errors.Is(again, core.ErrWorker) {
		fmt.Fprintln(os.Stderr, "a second Run in a worker returned", again)
		os.Exit(9)
	}
	if s := g.Stats(); s.MessagesOut == 0 || s.BytesOut == 0 || s.Queued != 0 {
		fmt.Fprintf(os.Stderr, "after Run a worker has counted %+v\n", s)
		os.Exit(9)
	}
	_ = has.tcp.Close()
	_ = has.unix.Close()
	clients.Wait()
	return err
}

// master makes the group of the heirs.
func heirs(t *testing.T, g *core.Group) estate {
	t.Helper()
	role(t, "heir")
	t.Setenv(socketVariable, filepath.Join(t.TempDir(), "s"))
	e, err := inherit(g, func() (*os.File, error) { return os.Create(filepath.Join(t.TempDir(), "log")) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, c := range []io.Closer{e.tcp, e.unix, e.udp, e.log} {
			_ = c.Close()
		}
	})
	return e
}

// ask asks whoever serves an address for its number.
func ask(network, address string) (string, error) {
	c, err := net.DialTimeout(network, address, deadline)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(deadline))
	if _, err := c.Write([]byte("who?")); err != nil {
		return "", err
	}
	answer := make([]byte, 10)
	n, err := c.Read(answer)
	return string(answer[:n]), err
}

func TestWorkersInheritWhatTheMasterLists(t *testing.T) {
	starts := 0
	got := make(chan []string, 10)
	g := core.Group{Workers: 2, Args: []string{"-a", "b c"}, Payload: func(index int) []byte {
		starts++
		return fmt.Appendf(nil, "worker %d, start %d", index, starts)
	}}
	has := heirs(t, &g)
	identity.HandleMaster(&g, func(_ *core.Worker, what []string) { got <- what })
	if _, err := g.Listen("tcp", "127.0.0.1:0"); !errors.Is(err, core.ErrListedTwice) {
		t.Errorf("Listen with the same arguments again: %v", err)
	}
	cannot := errors.New("cannot be opened")
	if _, err := g.File("other", func() (*os.File, error) { return nil, cannot }); !errors.Is(err, cannot) {
		t.Errorf("File that cannot be opened: %v", err)
	}
	if _, err := g.Listen("tcp", "256.0.0.1:0"); err == nil {
		t.Error("Listen on an address that there is not returned nil")
	}
	workers, events, stop := begin(t, &g)
	if _, err := g.Listen("tcp", "127.0.0.2:0"); !errors.Is(err, core.ErrRunning) {
		t.Errorf("Listen during Run: %v", err)
	}
	signalTo(t, workers[0], 9)
	await(t, events, core.Ready)
	want := [][]string{{"worker 0, start 1"}, {"worker 0, start 3"}, {"worker 1, start 2"}}
	var all [][]string
	for range want {
		what := receive(t, got, "what a worker has")
		if !slices.Equal(append([]string{what[0]}, what[2:]...), []string{"-a b c", "true", "true", "log", "true true"}) {
			t.Errorf("a worker has %q", what)
		}
		all = append(all, what[1:2])
	}
	slices.SortFunc(all, slices.Compare)
	if !slices.EqualFunc(all, want, slices.Equal) {
		t.Errorf("the payloads are %q, want %q", all, want)
	}
	for _, address := range []net.Addr{has.tcp.Addr(), has.unix.Addr(), has.udp.LocalAddr()} {
		who := map[string]bool{}
		for range 200 {
			answer, err := ask(address.Network(), address.String())
			if err != nil {
				t.Fatalf("%s %v: %v", address.Network(), address, err)
			}
			who[answer] = true
		}
		if who["0"] && who["1"] && len(who) == 2 || len(who) == 1 && address.Network() == "udp" {
			continue // which of them wakes first for a datagram is up to the kernel
		}
		t.Logf("%v: only %v answered", address, who) // the same goes for connections
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for len(events) > 0 {
		if e := <-events; e.Kind == core.Exited && e.Asked && e.Status != (fork.Status{Known: true}) {
			t.Errorf("%v %v", e.Worker, e.Status)
		}
	}
	text := make([]byte, 1000)
	n, err := has.log.ReadAt(text, 0)
	if lines := strings.SplitAfter(string(text[:n]), "\n"); err != io.EOF || len(lines) != 4 || strings.Count(string(text[:n]), "worker 0\n") != 2 {
		t.Errorf("workers share the position in a file, and wrote %q, %v", text[:n], err)
	}
}
