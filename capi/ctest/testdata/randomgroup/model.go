package main

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"melon/core"
	"melon/core/fork"
)

const mostLives = 4000

// A state is what all processes know, in shared memory.
type state struct {
	replaced atomic.Uint32 // workers were asked to end
	deaths   atomic.Uint32 // that were not asked for
	lives    [mostLives]life
}

// A life is one process: of a worker, in shared memory; of a program, in the master's.
type life struct {
	doomed   atomic.Uint32 // why what is under way may be lost
	down, up [streams]direction
	unwanted struct{ down, up atomic.Uint64 }
	counted  struct{ messagesIn, messagesOut, bytesIn, bytesOut, unhandled atomic.Uint64 } // by the worker, in the end
}

// Reasons for doomed.
const (
	killed = 1 << iota
	exited // by itself
	left   // Run, in good order: what it has sent is not lost
)

// A direction is that of the messages of one goroutine.
type direction struct{ sent, received atomic.Uint32 }

func memory() *os.File {
	file := os.NewFile(uintptr(must(unix.MemfdCreate("state", unix.MFD_CLOEXEC))), "state")
	if err := file.Truncate(int64(unsafe.Sizeof(state{}))); err != nil {
		wrong("%v", err)
	}
	return file
}

func attach(file *os.File) *state {
	raw := must(file.SyscallConn())
	var data []byte
	var err error
	_ = raw.Control(func(fd uintptr) {
		data, err = unix.Mmap(int(fd), 0, int(unsafe.Sizeof(state{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	})
	must(data, err)
	return (*state)(unsafe.Pointer(&data[0]))
}

func (l *life) write(s core.Stats) {
	l.counted.messagesIn.Store(s.MessagesIn)
	l.counted.messagesOut.Store(s.MessagesOut)
	l.counted.bytesIn.Store(s.BytesIn)
	l.counted.bytesOut.Store(s.BytesOut)
	l.counted.unhandled.Store(s.Unhandled)
}

// ---- in the master ----

// A model is what the master knows.
type model struct {
	mu      sync.Mutex
	born    int // lives in shared memory
	pending []*life
	lives   map[*core.Worker]*record
	ended   []*core.Worker
	address string

	sizeLock sync.Mutex // over Resize, and what comes of it
	size     int
	least    int // there ever were

	rolled   atomic.Bool // Restart was called
	stopping atomic.Bool
	last     [streams]uint32
	starts   uint64
	restarts uint64
	perhaps  uint64         // restarts, unless the place was given up and made anew meanwhile
	waiting  map[place]bool // for a successor
	total    core.Stats
}

type place struct {
	index   int
	program bool
}

// A record is a life as its master knows it.
type record struct {
	*life
	lock  sync.RWMutex // over sending and counting it
	pidfd int          // by which it is sent signals: numbers come back
	place place
	ready bool
	asked bool
}

func (m *model) begin(g *core.Group, address string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lives, m.ended, m.waiting = map[*core.Worker]*record{}, nil, map[place]bool{}
	m.address, m.size, m.least = address, g.Workers, g.Workers
	m.starts, m.restarts, m.perhaps, m.total = 0, 0, 0, core.Stats{}
	m.rolled.Store(false)
	m.stopping.Store(false)
}

// payload tells a worker which life it has.
func (p *process) payload(int) []byte {
	m := p.model
	if m.born == mostLives {
		wrong("there are too many lives")
	}
	m.pending = append(m.pending, &p.shared.lives[m.born])
	m.born++
	return binary.NativeEndian.AppendUint32(nil, uint32(m.born-1))
}

// born finds the life of this worker.
func (p *process) born(m *core.Master) {
	number := binary.NativeEndian.Uint32(m.Payload())
	p.master, p.mine = m, &p.shared.lives[number]
	p.loop = p.actor(0)
}

func (m *model) recordOf(w *core.Worker) *record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lives[w]
}

func (p *process) observe(e core.Event) {
	m, at := p.model, place{e.Index, e.Program != nil}
	switch e.Kind {
	case core.Started:
		p.started(e.Worker, at)
	case core.Ready:
		m.mu.Lock()
		m.lives[e.Worker].ready = true
		m.mu.Unlock()
	case core.Draining:
		p.asked(e.Worker, at)
	case core.Restarting:
		m.waiting[at] = true
	case core.Exited:
		p.exited(&e)
	case core.Rolled:
	case core.RollFailed: // of a Restart that nobody has waited for until the group stops, at the latest
		if p.shared.deaths.Load() == 0 && !m.stopping.Load() {
			wrong("workers are not replaced, and none has died")
		}
	default:
		wrong("%v of worker %d: %v", e.Kind, e.Index, e.Err)
	}
	p.maybeAct()
}

func (p *process) started(w *core.Worker, at place) {
	m := p.model
	r := &record{place: at, pidfd: must(unix.PidfdOpen(w.PID(), 0))}
	if at.program {
		r.life = new(life)
	} else {
		r.life, m.pending = m.pending[0], m.pending[1:]
	}
	m.starts++
	if m.waiting[at] {
		delete(m.waiting, at)
		m.sizeLock.Lock()
		if at.program || at.index < m.least {
			m.restarts++
		} else {
			m.perhaps++
		}
		m.sizeLock.Unlock()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	most := 1
	if m.rolled.Load() {
		most = 2 // one of them is to take the place of the other
	}
	for _, other := range m.lives {
		if other.place == at && !other.asked && other.doomed.Load() == 0 { // whose channel is closed is not asked any more
			most--
		}
	}
	if most <= 0 {
		wrong("%v is one too many", w)
	}
	m.lives[w] = r
}

// asked looks at who is asked to end: somebody whose place another one has taken that is ready, unless there are to be fewer, or none.
func (p *process) asked(w *core.Worker, at place) {
	m := p.model
	m.sizeLock.Lock()
	lasting := !m.stopping.Load() && (at.program || at.index < m.least)
	m.sizeLock.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.lives[w]
	r.asked = true
	for _, other := range m.lives {
		if other.place == at && other.ready && !other.asked {
			return
		}
	}
	if lasting && r.doomed.Load() == 0 && p.shared.deaths.Load() == 0 {
		wrong("%v is asked to end, and nobody has taken its place", w)
	}
}

// exited looks at a life as a whole.
func (p *process) exited(e *core.Event) {
	m := p.model
	r, stats := m.recordOf(e.Worker), e.Worker.Stats()
	r.lock.Lock()
	defer r.lock.Unlock()
	doomed := r.doomed.Load()
	well := fork.Status{Known: true}
	switch {
	case doomed == 0 && (!e.Asked || e.Status != well):
		wrong("%v, which was to live, %v (asked: %t)", e.Worker, e.Status, e.Asked)
	case e.Status != well && (doomed&killed == 0 || e.Status != (fork.Status{Known: true, Signal: unix.SIGKILL})):
		wrong("%v %v", e.Worker, e.Status)
	}
	for i := range streams {
		if r.place.program && doomed == 0 { // which has echoed
			equal(e.Worker, "echoes", r.up[i].received.Load(), r.down[i].sent.Load())
		} else if doomed == 0 {
			equal(e.Worker, "messages to it", r.down[i].received.Load(), r.down[i].sent.Load())
		}
		if !r.place.program && doomed&^left == 0 {
			equal(e.Worker, "messages from it", r.up[i].received.Load(), r.up[i].sent.Load())
		}
	}
	if counted := &r.counted; !r.place.program && doomed == 0 {
		equal(e.Worker, "messages to it, in Stats", counted.messagesIn.Load(), stats.MessagesOut)
		equal(e.Worker, "bytes to it", counted.bytesIn.Load(), stats.BytesOut)
		equal(e.Worker, "messages from it, in Stats", stats.MessagesIn, counted.messagesOut.Load())
		equal(e.Worker, "bytes from it", stats.BytesIn, counted.bytesOut.Load())
		equal(e.Worker, "messages to it without a handler", counted.unhandled.Load(), r.unwanted.down.Load())
		equal(e.Worker, "messages from it without a handler", stats.Unhandled, r.unwanted.up.Load())
	}
	_ = unix.Close(r.pidfd)
	r.pidfd = -1
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.lives, e.Worker)
	m.ended = append(m.ended, e.Worker)
	add(&m.total, stats)
}

func equal[T comparable](w *core.Worker, what string, got, want T) {
	if got != want {
		wrong("%v, %s: %v, and not %v", w, what, got, want)
	}
}

// complete reports whether everybody is there, and nobody else.
func (p *process) complete() bool {
	m, running := p.model, p.group.Running()
	m.sizeLock.Lock()
	size := m.size
	m.sizeLock.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(running) != size+1 || len(m.lives) != size+1 {
		return false
	}
	for i, w := range running {
		r := m.lives[w]
		at := place{index: i}
		if i == size { // behind the workers
			at = place{program: true}
		}
		if r == nil || !r.ready || r.asked || r.place != at {
			return false
		}
	}
	return true
}

// judge looks at the group when Run has returned.
func (p *process) judge() {
	m, stats := p.model, p.group.Stats()
	if len(m.lives) != 0 {
		wrong("%d workers have not ended", len(m.lives))
	}
	if stats.Stats != m.total || stats.Workers != 0 || stats.Starts != m.starts ||
		stats.Restarts < m.restarts || stats.Restarts > m.restarts+m.perhaps {
		wrong("the group has counted %+v, and its workers %+v; there were %d starts, %d to %d of them in the place of another", stats,
			m.total, m.starts, m.restarts, m.restarts+m.perhaps)
	}
	for _, w := range m.ended {
		if err := w.Send(numbered, nil); err != core.ErrClosed {
			wrong("after the end of %v there is %v", w, err)
		}
	}
}

func add(total *core.Stats, s core.Stats) {
	total.MessagesIn += s.MessagesIn
	total.MessagesOut += s.MessagesOut
	total.BytesIn += s.BytesIn
	total.BytesOut += s.BytesOut
	total.Unhandled += s.Unhandled
	total.QueuedMost = max(total.QueuedMost, s.QueuedMost)
}

// replacing says that workers are asked to end from now on.
func (p *process) replacing() { p.shared.replaced.Store(1) }

// received handles a message of a worker, or the echo of a program.
func (p *process) received(w *core.Worker, got message) {
	r := p.model.recordOf(w)
	if r == nil {
		wrong("%v has sent a message after its end", w)
	}
	p.receive(got, &r.up)
}

// receive compares a message with what must come next.
func (p *process) receive(got message, from *[streams]direction) {
	if expected := from[got.stream].received.Load(); got.number != expected {
		wrong("message %d of stream %d has come, and not %d", got.number, got.stream, expected)
	}
	from[got.stream].received.Add(1)
	p.maybeAct()
}

// maybeAct makes a step in a callback.
func (p *process) maybeAct() {
	if p.loop == nil {
		p.loop = p.actor(0)
	}
	if p.loop.random.IntN(4) == 0 {
		p.step(p.loop)
	}
}

// somebody is a worker that runs, and its record; nil where there is none.
func (p *process) somebody(random *rand.Rand) (*core.Worker, *record) {
	running := p.group.Running()
	if len(running) == 0 {
		return nil, nil
	}
	w := running[random.IntN(len(running))]
	return w, p.model.recordOf(w) // it may run, and is just being told of
}

// gone reports whether a worker cannot be sent to any more.
func (p *process) gone(w *core.Worker, r *record) bool {
	return r.doomed.Load() != 0 || !slices.Contains(p.group.Running(), w)
}
