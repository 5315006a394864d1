package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"melon/core"
)

const (
	header  = 8
	largest = 300000 // payload
)

// An actor is one goroutine that makes steps.
type actor struct {
	random *rand.Rand
	stream int // 0: in callbacks, which must not wait
	looked bool
}

func (p *process) actor(stream int) *actor {
	life := 0
	if p.mine != nil {
		life = 1 + int(binary.NativeEndian.Uint32(p.master.Payload()))
	}
	return &actor{random: rand.New(rand.NewPCG(seed, uint64(1+life*streams+stream))), stream: stream}
}

// kinds are the kinds of steps; the bit of one in the mask is that of its place.
var kinds = []func(p *process, a *actor){
	(*process).sendSmall, (*process).sendLarge, (*process).sendWaiting, (*process).sendTyped, (*process).sendUnwanted,
	(*process).sendTooLarge, (*process).callAndWait, (*process).callAndGoOn, (*process).callAndGiveUp, (*process).callInVain,
	(*process).look, (*process).misuse, (*process).sendToAll, (*process).resize, (*process).restart, (*process).kill,
	(*process).stopForAWhile, (*process).sendToEnded, (*process).connect, (*process).exit, (*process).leaveRun, (*process).sayReady,
}

// kept are those that are not left out, by their places.
func kept() (list []int) {
	for i := range kinds {
		if leftOut>>i&1 == 0 {
			list = append(list, i)
		}
	}
	return list
}

// act makes steps until there are enough.
func (p *process) act(a *actor) {
	for p.step(a) {
		time.Sleep(time.Duration(a.random.IntN(3000)) * time.Microsecond)
	}
}

// step reports whether one was to be made.
func (p *process) step(a *actor) bool {
	if len(p.kept) == 0 || p.budget.Add(-1) < 0 {
		return false
	}
	kinds[p.kept[a.random.IntN(len(p.kept))]](p, a)
	return true
}

// ---- messages ----

type message struct {
	stream int
	number uint32
}

func (m message) payload(size int) []byte {
	payload := make([]byte, 0, max(size, header))
	payload = binary.NativeEndian.AppendUint32(payload, uint32(m.stream))
	payload = binary.NativeEndian.AppendUint32(payload, m.number)
	return append(payload, bytes.Repeat([]byte{byte(m.number) ^ byte(m.stream)}, cap(payload)-header)...)
}

func parse(payload []byte) message {
	if len(payload) < header {
		wrong("a message has %d bytes", len(payload))
	}
	m := message{int(binary.NativeEndian.Uint32(payload)), binary.NativeEndian.Uint32(payload[4:])}
	if m.stream >= streams || !bytes.Equal(payload, m.payload(len(payload))) {
		wrong("message %v has another content, of %d bytes", m, len(payload))
	}
	return m
}

// A noted is a message with a codec; both kinds are numbered together.
type noted struct {
	Stream int
	Number uint32
	Text   []byte
}

func (n noted) message() message {
	m := parse(n.Text)
	if m != (message{n.Stream, n.Number}) {
		wrong("%v says that it is %v", n, m)
	}
	return m
}

var note = core.Message[noted]{Type: typed}

// to has something sent to a process, if there is one, and counted.
func (p *process) to(a *actor, do func(to core.Peer, out *direction, dropped *atomic.Uint64) error) {
	if p.mine != nil {
		p.lock.RLock()
		defer p.lock.RUnlock()
		p.refused(do(p.master, &p.mine.up[a.stream], &p.mine.unwanted.up), p.master, p.workerClosed)
		return
	}
	w, r := p.somebody(a.random)
	if r == nil {
		return
	}
	r.lock.RLock()
	defer r.lock.RUnlock()
	p.refused(do(w, &r.down[a.stream], &r.unwanted.down), w, func() bool { return p.gone(w, r) })
}

// workerClosed reports whether this worker may have been asked to end.
func (p *process) workerClosed() bool {
	return p.mine.doomed.Load() != 0 || p.shared.replaced.Load() != 0
}

// refused looks at an error of something that was to be sent.
func (p *process) refused(err error, to core.Peer, closed func() bool) {
	limit := p.group.QueueLimit
	if limit == 0 {
		limit = 1 << 20
	}
	switch {
	case err == nil:
	case errors.Is(err, core.ErrQueueFull) && to.Stats().QueuedMost >= limit:
	case errors.Is(err, core.ErrClosed) && closed():
	case errors.Is(err, context.DeadlineExceeded):
	default:
		wrong("a message to %d is refused: %v", to.PID(), err)
	}
}

func (p *process) send(a *actor, do func(to core.Peer, m message) error) {
	p.to(a, func(to core.Peer, out *direction, _ *atomic.Uint64) error {
		m := message{a.stream, out.sent.Load()}
		err := do(to, m)
		if err == nil {
			out.sent.Add(1)
		}
		if err == nil && planted == "twice" && a.looked {
			_ = do(to, m)
		}
		if planted == "race" {
			unguarded++
		}
		return err
	})
}

func (p *process) sendSmall(a *actor) {
	for range 1 + a.random.IntN(20) {
		p.send(a, func(to core.Peer, m message) error { return to.Send(numbered, m.payload(a.random.IntN(200))) })
	}
}

// sendLarge may send more than the kernel takes at once.
func (p *process) sendLarge(a *actor) {
	for range 1 + a.random.IntN(8) {
		p.send(a, func(to core.Peer, m message) error { return to.Send(numbered, m.payload(a.random.IntN(largest))) })
	}
}

func (p *process) sendWaiting(a *actor) {
	if a.stream == 0 {
		return
	}
	ctx, cancel := context.Background(), func() {}
	if a.random.IntN(2) == 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(a.random.IntN(2000))*time.Microsecond)
	}
	defer cancel()
	for range 1 + a.random.IntN(10) {
		p.send(a, func(to core.Peer, m message) error {
			err := to.SendContext(ctx, numbered, m.payload(a.random.IntN(20000)))
			if errors.Is(err, core.ErrQueueFull) {
				wrong("SendContext does not wait")
			}
			return err
		})
	}
}

func (p *process) sendTyped(a *actor) {
	p.send(a, func(to core.Peer, m message) error {
		return note.Send(to, noted{m.stream, m.number, m.payload(a.random.IntN(5000))})
	})
}

func (p *process) sendUnwanted(a *actor) {
	p.to(a, func(to core.Peer, _ *direction, dropped *atomic.Uint64) error {
		err := to.Send(unwanted, make([]byte, a.random.IntN(100)))
		if err == nil {
			dropped.Add(1)
		}
		return err
	})
}

func (p *process) sendTooLarge(a *actor) {
	p.to(a, func(to core.Peer, _ *direction, _ *atomic.Uint64) error {
		if err := to.Send(numbered, make([]byte, largest+1)); !errors.Is(err, core.ErrTooLarge) {
			wrong("a message that is too large: %v", err)
		}
		return nil
	})
}

// sendToAll cannot know whom it reaches: the workers compare what they have got in all with what was sent.
func (p *process) sendToAll(a *actor) {
	if p.mine != nil {
		return
	}
	p.last[a.stream]++
	err := p.group.Broadcast(broadcast, message{a.stream, p.last[a.stream]}.payload(a.random.IntN(2000)))
	if err == nil {
		return
	}
	for _, one := range err.(interface{ Unwrap() []error }).Unwrap() {
		var failed *core.SendError
		if !errors.As(one, &failed) {
			wrong("a broadcast: %v", one)
		}
		p.refused(one, failed.Worker, func() bool { return false })
	}
}

func (p *process) sendToEnded(a *actor) {
	if p.mine != nil {
		return
	}
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	if len(ended) == 0 {
		return
	}
	w := ended[a.random.IntN(len(ended))]
	if err := w.Send(numbered, nil); err != core.ErrClosed {
		wrong("after the end of %v there is %v", w, err)
	}
	if _, err := sum.Do(context.Background(), w, terms{}); err != core.ErrClosed {
		wrong("after the end of %v a call has %v", w, err)
	}
}

// ---- calls ----

// terms are added, after a while; those that are negative cannot be.
type terms struct {
	A, B int
	Wait time.Duration
}

func (t terms) add(ctx context.Context) (int, error) {
	select {
	case <-time.After(t.Wait):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if t.A < 0 {
		return 0, errors.New("negative")
	}
	return t.A + t.B, nil
}

var sum = core.Call[terms, int]{Type: called}

func request(a *actor) terms {
	return terms{a.random.IntN(1000), a.random.IntN(1000), time.Duration(a.random.IntN(2000)) * time.Microsecond}
}

// callee is somebody to call, and whether that one may not answer any more.
func (p *process) callee(a *actor) (core.Peer, func() bool) {
	if p.mine != nil {
		return p.master, p.workerClosed
	}
	w, r := p.somebody(a.random)
	if r == nil {
		return nil, nil
	}
	return w, func() bool { return p.gone(w, r) }
}

// answered looks at the answer to a call.
func (p *process) answered(r terms, n int, err error, to core.Peer, closed func() bool) {
	var remote *core.RemoteError
	switch {
	case errors.As(err, &remote) && r.A < 0 && remote.Text == "negative":
	case errors.Is(err, core.ErrBusy) && p.group.MaxCalls > 0:
	case err != nil:
		p.refused(err, to, closed)
	case r.A < 0 || n != r.A+r.B:
		wrong("%+v is %d", r, n)
	}
}

func (p *process) callAndWait(a *actor) {
	to, closed := p.callee(a)
	if to == nil || a.stream == 0 {
		return
	}
	r := request(a)
	n, err := sum.Do(context.Background(), to, r)
	p.answered(r, n, err, to, closed)
}

func (p *process) callAndGoOn(a *actor) {
	to, closed := p.callee(a)
	if to == nil {
		return
	}
	r := request(a)
	sum.Go(context.Background(), to, r, func(n int, err error) { p.answered(r, n, err, to, closed) })
}

func (p *process) callAndGiveUp(a *actor) {
	to, closed := p.callee(a)
	if to == nil || a.stream == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(a.random.IntN(2000))*time.Microsecond)
	defer cancel()
	r := request(a)
	n, err := sum.Do(ctx, to, r)
	p.answered(r, n, err, to, closed)
}

func (p *process) callInVain(a *actor) {
	to, closed := p.callee(a)
	if to == nil || a.stream == 0 {
		return
	}
	r := request(a)
	r.A = -1
	n, err := sum.Do(context.Background(), to, r)
	p.answered(r, n, err, to, closed)
	if _, err := (core.Call[int, int]{Type: 99}).Do(context.Background(), to, 1); err != core.ErrNoCall {
		wrong("a call of a type that is none: %v", err)
	}
}

// ---- the group ----

func (p *process) look(a *actor) {
	a.looked = true
	stats := p.group.Stats()
	if p.mine != nil {
		if one := p.master.Stats(); one.MessagesIn < stats.MessagesIn || one.BytesOut < stats.BytesOut {
			wrong("a worker has counted %+v, and then %+v", stats, one)
		}
		return
	}
	running := p.group.Running()
	for i, w := range running {
		if i > 0 && (w.Index() < running[i-1].Index()) && w.Program() == running[i-1].Program() {
			wrong("the workers %v are not in order", running)
		}
	}
	if after := p.group.Stats(); after.Starts < stats.Starts || after.MessagesIn < stats.MessagesIn || after.BytesOut < stats.BytesOut {
		wrong("the group has counted %+v, and then %+v", stats, after)
	}
}

func (p *process) misuse(*actor) {
	g, ctx := p.group, context.Background()
	want := func(what string, got, want error) {
		if !errors.Is(got, want) {
			wrong("%s: %v, and not %v", what, got, want)
		}
	}
	if p.mine != nil {
		if p.workerClosed() {
			return // Run may have returned
		}
		want("Broadcast in a worker", g.Broadcast(broadcast, nil), core.ErrClosed)
		want("Resize in a worker", g.Resize(1), core.ErrClosed)
		want("Restart in a worker", g.Restart(ctx), core.ErrClosed)
		return
	}
	want("Run again", g.Run(ctx), core.ErrRunning)
	want("Resize below 0", g.Resize(-1), core.ErrNegative)
	_, err := g.Listen("tcp", "127.0.0.1:0")
	want("Listen during Run", err, core.ErrRunning)
	_, err = g.File("another", func() (*os.File, error) { return os.Open(os.DevNull) })
	want("File during Run", err, core.ErrRunning)
	defer func() {
		if recover() == nil {
			wrong("a handler was set during Run")
		}
	}()
	g.Handle(numbered, core.Handlers{})
}

func (p *process) resize(a *actor) {
	if p.mine != nil {
		return
	}
	p.sizeLock.Lock()
	defer p.sizeLock.Unlock()
	size := 1 + a.random.IntN(mostWorkers)
	if a.random.IntN(10) == 0 {
		size = 0
	}
	if size < p.size {
		p.replacing()
	}
	p.size, p.least = size, min(p.least, size)
	if err := p.group.Resize(size); err != nil {
		wrong("Resize: %v", err)
	}
}

func (p *process) restart(a *actor) {
	if p.mine != nil || a.stream == 0 {
		return
	}
	p.replacing()
	p.rolled.Store(true)
	ctx, cancel := context.Background(), func() {}
	if a.random.IntN(4) == 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(a.random.IntN(20))*time.Millisecond)
	}
	defer cancel()
	err := p.group.Restart(ctx)
	if err != nil && !(errors.Is(err, core.ErrNotReplaced) && p.shared.deaths.Load() > 0) && (ctx.Err() == nil || err != ctx.Err()) {
		wrong("Restart: %v", err)
	}
}

// doom says that a life is to end, and why.
func (p *process) doom(l *life, why uint32) {
	p.shared.deaths.Add(1)
	l.doomed.Or(why)
}

func (p *process) kill(a *actor) {
	if p.mine != nil {
		return
	}
	if _, r := p.somebody(a.random); r != nil {
		r.lock.RLock()
		defer r.lock.RUnlock()
		p.doom(r.life, killed)
		_ = unix.PidfdSendSignal(r.pidfd, unix.SIGKILL, nil, 0)
	}
}

func (p *process) stopForAWhile(a *actor) {
	if p.mine != nil || a.stream == 0 {
		return
	}
	if _, r := p.somebody(a.random); r != nil {
		r.signal(unix.SIGSTOP)
		time.Sleep(time.Duration(a.random.IntN(20)) * time.Millisecond)
		r.signal(unix.SIGCONT)
	}
}

// signal sends a signal, unless the process has ended.
func (r *record) signal(signal unix.Signal) {
	r.lock.RLock()
	defer r.lock.RUnlock()
	if r.pidfd >= 0 {
		_ = unix.PidfdSendSignal(r.pidfd, signal, nil, 0)
	}
}

// connect asks a worker through the listener, where there are workers all the time.
func (p *process) connect(a *actor) {
	if p.mine != nil || a.stream == 0 {
		return
	}
	c, err := net.DialTimeout("tcp", p.address, patience)
	if err != nil {
		wrong("a connection is refused: %v", err)
	}
	defer c.Close()
	if p.shared.replaced.Load() != 0 || p.shared.deaths.Load() != 0 {
		return // who has accepted it may be gone
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	text, err := io.ReadAll(c)
	if (err != nil || string(text) != "served") && p.shared.replaced.Load() == 0 && p.shared.deaths.Load() == 0 {
		wrong("a connection was answered by %q, %v", text, err)
	}
}

func (p *process) accept(listener net.Listener) {
	for {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = c.Write([]byte("served"))
		_ = c.Close()
	}
}

// ---- the end of a worker, by itself ----

func (p *process) exit(a *actor) {
	if p.mine == nil || a.random.IntN(8) != 0 {
		return
	}
	p.doom(p.mine, exited)
	os.Exit(0)
}

func (p *process) leaveRun(a *actor) {
	if p.mine == nil || a.random.IntN(8) != 0 {
		return
	}
	p.doom(p.mine, left)
	p.leave()
}

func (p *process) sayReady(*actor) {
	if p.mine != nil {
		p.master.Ready()
	}
}
