// Faultgroup is the twin in Go of programs/fault_group.c: the whole life of a group, in which every part that the machine may refuse
// is tried again: start, spawn (one worker more), restart (all are killed), traffic, reload (all are replaced), stop with messages
// under way. fault_test.go runs it again and again, and has one system call after another fail; without that it passes at the first
// try.
//
// What must hold whatever fails: what was accepted arrives once and in order as long as both ends live, the group is complete in the
// end, and no process, descriptor or mapping is left. A start that is refused says so by the error of Run, and the status is 3.
//
// With the argument "stubborn" the worker that is a program of its own does not end when it is asked to, nor upon SIGTERM.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"melon/core"
	"melon/core/fork"
)

const (
	hello uint32 = iota + 1
	numbered
	echoed
	state
)

const (
	workers   = 2 // at first
	messages  = 40
	lastWords = 10
	small     = 100
	large     = 150000
	refused   = 3 // the exit status of the master
	unable    = 4 // that of a worker
)

// What workers of this program inherit: a listener, a file with a text, and where the listener listens, as their payload.
const (
	address = "127.0.0.1:0"
	text    = "what the master knows"
)

// See fault.c.
const (
	faultPhase      = 0x6d6c6e00
	spared, exposed = 0x80, 0x81
)

// The phases, by their numbers in fault_test.go.
const (
	none, start    = 0, 1
	spawn, restart = 3, 4
	traffic        = 5
	reload, stop   = 6, 7
)

// The pauses between two looks at the group, and between two attempts to replace its workers.
const (
	tick     = 5 * time.Millisecond
	patience = 50 * time.Millisecond
)

// stubborn has the worker that is a program of its own not end by itself.
var stubborn = slices.Contains(os.Args, "stubborn")

func say(word int) { _ = unix.Prctl(faultPhase+word, 0, 0, 0, 0) }

// spare does something that is not to be refused.
func spare(do func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	say(spared)
	defer say(exposed)
	do()
}

// wrong is for what must not be, whatever fails.
func wrong(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "wrong: "+format+"\n", args...)
	os.Exit(1)
}

func main() {
	if core.IsWorker() {
		work()
	} else {
		lead()
	}
}

// ---- in a worker ----

// descriptors counts those of this process, without files of a control group: the runtime keeps one or two, or none.
func descriptors() (n int) {
	spare(func() {
		const folder = "/proc/self/fd"
		entries, err := os.ReadDir(folder)
		if err != nil {
			wrong("%v", err)
		}
		for _, entry := range entries {
			target, err := os.Readlink(filepath.Join(folder, entry.Name()))
			if err == nil && !strings.HasPrefix(target, "/sys/fs/cgroup/") { // else it is ReadDir's own
				n++
			}
		}
	})
	return n
}

// inherit opens or takes over what workers inherit.
func inherit(g *core.Group) (net.Listener, *os.File, error) {
	file, err := g.File("text", func() (file *os.File, err error) {
		spare(func() { file, err = textFile() })
		return file, err
	})
	if err != nil {
		return nil, nil, err
	}
	listener, err := g.Listen("tcp", address)
	return listener, file, err
}

func textFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("text", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "text")
	_, err = file.WriteString(text)
	return file, err
}

// told ends this process with the reason.
func told(err error, status int) {
	fmt.Fprintln(os.Stderr, "told:", err)
	os.Exit(status)
}

func work() {
	isProgram := slices.Contains(os.Args, "program")
	lingers := stubborn && isProgram
	if lingers {
		signal.Ignore(syscall.SIGTERM)
	}
	var g core.Group
	var listener net.Listener
	var file *os.File
	if !isProgram {
		var err error
		if listener, file, err = inherit(&g); err != nil {
			told(err, unable)
		}
	}
	g.QueueLimit = 1 << 30
	tell := func(m *core.Master, msgType uint32, payload []byte) {
		if err := m.Send(msgType, payload); err != nil && !errors.Is(err, core.ErrClosed) {
			wrong("a worker cannot send: %v", err)
		}
	}
	tellState := func(m *core.Master, msgType uint32) {
		tell(m, msgType, binary.NativeEndian.AppendUint32(nil, uint32(descriptors())))
	}
	expected := uint32(0)
	g.Attached = func(m *core.Master) error {
		if !isProgram {
			compare(m, listener, file)
		}
		tellState(m, hello)
		return nil
	}
	g.Handle(numbered, core.Handlers{Worker: func(m *core.Master, payload []byte) {
		check(payload, expected)
		tell(m, echoed, payload)
		if expected++; expected == messages {
			tellState(m, state)
		}
	}})
	err := g.Run(context.Background())
	if errors.Is(err, core.ErrMasterGone) {
		os.Exit(127)
	}
	if err != nil {
		told(err, unable)
	}
	for lingers {
		time.Sleep(time.Hour)
	}
}

// compare looks at what a worker has inherited.
func compare(m *core.Master, listener net.Listener, file *os.File) {
	if where := listener.Addr().String(); where != string(m.Payload()) {
		wrong("the listener of a worker is at %s, and that of its master at %s", where, m.Payload())
	}
	spare(func() {
		found := make([]byte, len(text))
		if _, err := file.ReadAt(found, 0); err != nil || string(found) != text {
			wrong("a worker has read %q, %v", found, err)
		}
	})
}

func message(n uint32) []byte {
	size := small
	if n%10 == 9 {
		size = large
	}
	payload := make([]byte, size)
	binary.NativeEndian.PutUint32(payload, n)
	return payload
}

func check(payload []byte, want uint32) {
	if !bytes.Equal(payload, message(want)) {
		wrong("message %d has %d bytes, and begins with %v", want, len(payload), payload[:min(4, len(payload))])
	}
}

// ---- in the master ----

// A life of a worker, as the master knows it.
type life struct {
	greeted, killed bool
	sent, echoed    uint32
	descriptors     int
}

// A leader is the master.
type leader struct {
	group core.Group
	mu    sync.Mutex
	lives map[*core.Worker]*life

	begun                      atomic.Bool // the group was complete once
	ended, reloads, unanswered int
	inWorker, inProgram        int
}

func lead() {
	self, err := os.Executable()
	if err != nil {
		wrong("%v", err)
	}
	l := &leader{lives: make(map[*core.Worker]*life)}
	g := &l.group
	g.Workers = workers
	g.Programs = []core.Program{{Path: self, Args: slices.Concat(os.Args[1:], []string{"program"}), Reports: true}}
	if stubborn {
		g.StopTimeout, g.KillTimeout = 2*time.Second, 500*time.Millisecond // every other worker ends in that time
	}
	g.QueueLimit = 1 << 30
	g.Backoff = fork.Backoff{Least: 10 * time.Millisecond, Most: 100 * time.Millisecond}
	g.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	g.Observe = l.observe
	g.Handle(hello, core.Handlers{Master: l.onState})
	g.Handle(state, core.Handlers{Master: l.onState})
	g.Handle(echoed, core.Handlers{Master: l.onEchoed})
	ctx, cancel := context.WithCancel(context.Background())
	say(start)
	listener, file, err := inherit(g)
	if err != nil {
		say(none)
		told(err, refused)
	}
	where := []byte(listener.Addr().String())
	g.Payload = func(int) []byte { return where }
	driven := make(chan bool)
	go func() {
		defer close(driven)
		defer cancel()
		l.drive(ctx)
	}()
	err = g.Run(ctx)
	if err != nil && !l.begun.Load() {
		say(none)
		told(err, refused)
	}
	if err != nil || ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "told:", err)
		wrong("Run has returned")
	}
	<-driven
	say(none)
	_, _ = listener.Close(), file.Close()
	if stubborn {
		l.endLeft()
	}
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		wrong("there are children left: %v", err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		wrong("%v", err)
	}
	fmt.Printf("refused=0 ended=%d reloads=%d unanswered=%d descriptors=%d mappings=%d of-files=%d in-worker=%d in-program=%d rises=0\n", l.ended,
		l.reloads, l.unanswered, descriptors(), bytes.Count(maps, []byte("\n")), bytes.Count(maps, []byte(" /")), l.inWorker, l.inProgram)
}

func (l *leader) observe(e core.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e.Kind {
	case core.Started:
		l.lives[e.Worker] = new(life)
	case core.Signalled: // everybody else here ends when asked to
		if !stubborn || e.Program == nil {
			l.ended++
		}
	case core.Exited:
		life := l.lives[e.Worker]
		if e.Asked { // it has got all that was accepted, and so has this process of what it sent
			l.unanswered += int(life.sent - life.echoed)
		} else if !life.killed {
			l.ended++
		}
	}
}

// endLeft ends those that the group has left to themselves, since it could not kill them.
func (l *leader) endLeft() {
	for w := range l.lives {
		if pid, err := unix.Wait4(w.PID(), nil, unix.WNOHANG, nil); err != nil || pid != 0 {
			continue // no child any more
		}
		l.ended++
		_ = syscall.Kill(w.PID(), syscall.SIGKILL)
		_, _ = unix.Wait4(w.PID(), nil, 0, nil)
	}
}

func (l *leader) onState(from *core.Worker, payload []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	life := l.lives[from]
	life.greeted = true
	life.descriptors = int(binary.NativeEndian.Uint32(payload))
}

func (l *leader) onEchoed(from *core.Worker, payload []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	life := l.lives[from]
	check(payload, life.echoed)
	if life.echoed++; life.echoed > life.sent {
		wrong("a message was answered that was not sent")
	}
}

// each reports whether there are so many workers, and something is so for all.
func (l *leader) each(number int, is func(w *core.Worker, life *life) bool) bool {
	running := l.group.Running()
	l.mu.Lock()
	defer l.mu.Unlock()
	all := len(running) == number
	for _, w := range running {
		if life := l.lives[w]; life == nil || !life.greeted || life.killed || !is(w, life) {
			all = false
		}
	}
	return all
}

func (l *leader) await(number int, is func(w *core.Worker, life *life) bool) {
	for !l.each(number, is) {
		time.Sleep(tick)
	}
}

func (l *leader) complete(number int) {
	l.await(number, func(*core.Worker, *life) bool { return true })
}

// feed sends the rest of what one worker is to be sent. One that cannot be sent to is about to be replaced.
func feed(w *core.Worker, life *life, upTo uint32) {
	for ; life.sent < upTo; life.sent++ {
		if err := w.Send(numbered, message(life.sent)); errors.Is(err, core.ErrClosed) {
			return
		} else if err != nil {
			wrong("a message is not accepted: %v", err)
		}
	}
}

// drive goes through the life of the group, until it is to stop.
func (l *leader) drive(ctx context.Context) {
	l.complete(workers + 1)
	l.begun.Store(true)
	say(spawn)
	if err := l.group.Resize(workers + 1); err != nil {
		wrong("%v", err)
	}
	const all = workers + 2
	l.complete(all)
	say(restart)
	l.each(all, func(w *core.Worker, life *life) bool {
		life.killed = true
		_ = syscall.Kill(w.PID(), syscall.SIGKILL)
		return true
	})
	l.complete(all)
	say(traffic)
	l.await(all, func(w *core.Worker, life *life) bool {
		feed(w, life, messages)
		return life.echoed == messages
	})
	say(reload)
	for l.group.Restart(ctx) != nil {
		l.reloads++
		time.Sleep(patience)
	}
	l.complete(all)
	l.each(all, func(w *core.Worker, life *life) bool {
		most := &l.inWorker
		if w.Program() != nil {
			most = &l.inProgram
		}
		*most = max(*most, life.descriptors)
		return true
	})
	say(stop)
	l.each(all, func(w *core.Worker, life *life) bool {
		feed(w, life, lastWords) // which are under way when the workers are asked to end
		return true
	})
}
