package core

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// A Call is a type of requests, each of which is answered with a reply or an error. Programs declare one for each type and
// set its handler for the master, the workers or both, alike in all of them:
//
//	var resolve = core.Call[string, []string]{Type: 7}
//
// # Messages
//
// Requests and replies are ordinary messages of that type, so that a program in C can be at either end. Their payload
// begins with two numbers of 32 bits in the byte order of the machine: the number of the request, which the reply
// repeats, and what it is: 0 a request, 1 a reply, 2 a failure, with a text in UTF-8 in place of the reply, 3 says that
// no reply is wanted any more, and 4 that there are too many requests. What the codec has made follows.
//
// # The end
//
// A worker that ends, because it was asked to or because its own context has ended, answers first the requests that it is
// handling. Its own requests to the master, and those that the master is handling for it, end with ErrClosed then.
type Call[Req, Reply any] struct {
	// Type is the number of the type, as in Group.Handle.
	Type uint32
	// Codec makes the payloads. Nil means JSON.
	Codec Codec
}

// A RemoteError is the error that the handler of a call has returned in the other process. Only its text comes across.
type RemoteError struct{ Text string }

// Error returns the text, and says where it comes from.
func (e *RemoteError) Error() string { return "core: the other process answers: " + e.Text }

// HandleMaster sets what the master answers to a worker. It is called before Run, like Group.Handle. Each request is handled
// on a goroutine of its own. The context ends when the reply is not wanted any more, for the caller has given up or ended.
func (c Call[Req, Reply]) HandleMaster(g *Group, handler func(ctx context.Context, from *Worker, request Req) (Reply, error)) {
	c.sides(g).master = func(ctx context.Context, from *Worker, body []byte) ([]byte, error) {
		return c.answer(body, func(request Req) (Reply, error) { return handler(ctx, from, request) })
	}
}

// HandleWorker sets what a worker answers to the master; see HandleMaster.
func (c Call[Req, Reply]) HandleWorker(g *Group, handler func(ctx context.Context, from *Master, request Req) (Reply, error)) {
	c.sides(g).worker = func(ctx context.Context, from *Master, body []byte) ([]byte, error) {
		return c.answer(body, func(request Req) (Reply, error) { return handler(ctx, from, request) })
	}
}

// answer decodes a request, has it handled, and encodes the reply.
func (c Call[Req, Reply]) answer(body []byte, handle func(Req) (Reply, error)) ([]byte, error) {
	var request Req
	if err := decode(c.Codec, c.Type, body, &request); err != nil {
		return nil, err
	}
	reply, err := handle(request)
	if err != nil {
		return nil, err
	}
	return encode(c.Codec, c.Type, reply)
}

// sides returns the handlers of this type in a group.
func (c Call[Req, Reply]) sides(g *Group) *callSides {
	s := g.calls[c.Type]
	if s == nil {
		s = new(callSides)
	}
	g.amend(c.Type, func(h *Handlers) {
		h.Master = func(from *Worker, payload []byte) {
			from.link_.calls.receive(from, c.Type, payload, s.master != nil, func(ctx context.Context, body []byte) ([]byte, error) {
				return s.master(ctx, from, body)
			})
		}
		h.Worker = func(from *Master, payload []byte) {
			from.link_.calls.receive(from, c.Type, payload, s.worker != nil, func(ctx context.Context, body []byte) ([]byte, error) {
				return s.worker(ctx, from, body)
			})
		}
		if g.calls == nil {
			g.calls = make(map[uint32]*callSides)
		}
		g.calls[c.Type] = s
	})
	return s
}

// Do sends a request and waits for the reply, until ctx ends. It must not be called from a callback, which would keep the
// reply from arriving; see Go. Handlers of calls may call it.
//
// The error is a RemoteError if the handler returned one, or if its reply was too large; that of ctx; ErrClosed if the other
// process has ended or the group stops; ErrBusy; ErrTooLarge for the request; ErrNoCall; or one of the codec.
func (c Call[Req, Reply]) Do(ctx context.Context, to Peer, request Req) (Reply, error) {
	type result struct {
		reply Reply
		err   error
	}
	results := make(chan result, 1)
	id, err := c.begin(ctx, to, request, to.SendContext, func(reply Reply, err error) { results <- result{reply, err} })
	if err != nil {
		var none Reply
		return none, err
	}
	select {
	case r := <-results:
		return r.reply, r.err
	case <-ctx.Done():
		to.link().calls.giveUp(to, c.Type, id)
		var none Reply
		return none, ctx.Err()
	}
}

// Go sends a request and returns at once. When the reply has come, or an error as Do returns it, done is called, once, like a
// callback: on the goroutine that called Run, or on one of its own where Run has returned. Go may be called from callbacks, and
// from done; ErrQueueFull is possible here, too.
func (c Call[Req, Reply]) Go(ctx context.Context, to Peer, request Req, done func(Reply, error)) {
	l := to.link()
	var none Reply
	send := func(_ context.Context, msgType uint32, payload []byte) error { return to.Send(msgType, payload) }
	var stop func() bool
	id, err := c.begin(ctx, to, request, send, func(reply Reply, err error) {
		if stop != nil {
			stop()
		}
		done(reply, err)
	})
	if err != nil {
		if !l.engine.post(func() { done(none, err) }) {
			go done(none, err)
		}
		return
	}
	// Not before the loop comes to it: the reply may have come meanwhile.
	l.engine.post(func() {
		if l.calls.waits(id) {
			stop = context.AfterFunc(ctx, func() {
				l.engine.post(func() {
					if l.calls.giveUp(to, c.Type, id) {
						done(none, ctx.Err())
					}
				})
			})
		}
	})
}

// begin sends a request. Unless it returns an error, done is called once from the loop, or giveUp is.
func (c Call[Req, Reply]) begin(ctx context.Context, to Peer, request Req,
	send func(context.Context, uint32, []byte) error, done func(Reply, error)) (id uint32, err error) {
	l := to.link()
	if l.group.calls[c.Type] == nil {
		return 0, ErrNoCall
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	body, err := encode(c.Codec, c.Type, request)
	if err != nil {
		return 0, err
	}
	id, err = l.calls.begin(func(kind uint32, body []byte, err error) {
		var reply Reply
		switch {
		case err != nil:
		case kind == callReply:
			err = decode(c.Codec, c.Type, body, &reply)
		case kind == callBusy:
			err = ErrBusy
		default:
			err = &RemoteError{string(body)}
		}
		done(reply, err)
	})
	if err != nil {
		return 0, err
	}
	if err := send(ctx, c.Type, callPayload(id, callRequest, body)); err != nil {
		if l.calls.take(id) != nil {
			return 0, err
		}
		return id, nil // done is called, with ErrClosed
	}
	return id, nil
}

// What the payload of a call is.
const (
	callRequest uint32 = iota
	callReply
	callFailure
	callCancel
	callBusy
)

const callHeader = 8

func callPayload(id, kind uint32, body []byte) []byte {
	payload := make([]byte, 0, callHeader+len(body))
	payload = binary.NativeEndian.AppendUint32(payload, id)
	payload = binary.NativeEndian.AppendUint32(payload, kind)
	return append(payload, body...)
}

// callSides are the handlers of one type of calls.
type callSides struct {
	master func(ctx context.Context, from *Worker, body []byte) ([]byte, error)
	worker func(ctx context.Context, from *Master, body []byte) ([]byte, error)
}

// calls are the requests between this process and another one.
type calls struct {
	mu      sync.Mutex
	last    uint32
	waiting map[uint32]func(kind uint32, body []byte, err error) // for a reply, by number
	serving map[uint32]context.CancelFunc                        // requests of the other process, by its numbers
	bytes   int                                                  // of those requests, and of replies that wait to be sent
	mute    bool                                                 // nothing will come from the other process any more
	closed  bool                                                 // and nothing can be sent there
	idle    func()                                               // is called when there is nothing in serving any more
}

func (c *calls) begin(done func(kind uint32, body []byte, err error)) (uint32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mute {
		return 0, ErrClosed
	}
	if c.waiting == nil {
		c.waiting = make(map[uint32]func(uint32, []byte, error))
	}
	for c.last++; c.waiting[c.last] != nil; c.last++ {
	}
	c.waiting[c.last] = done
	return c.last, nil
}

func (c *calls) waits(id uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting[id] != nil
}

// take returns who waits for a reply, who does so no longer; nil: nobody.
func (c *calls) take(id uint32) func(kind uint32, body []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	done := c.waiting[id]
	delete(c.waiting, id)
	return done
}

// giveUp waits for a reply no longer, and says so to the other process. It reports whether there was none yet.
func (c *calls) giveUp(to Peer, msgType, id uint32) bool {
	if c.take(id) == nil {
		return false
	}
	to.link().queue.force(msgType, callPayload(id, callCancel, nil))
	return true
}

// receive acts upon a message of a call.
func (c *calls) receive(from Peer, msgType uint32, payload []byte, serves bool,
	serve func(ctx context.Context, body []byte) ([]byte, error)) {
	if len(payload) < callHeader {
		c.misunderstood(from, msgType, "it is too short")
		return
	}
	id, kind := binary.NativeEndian.Uint32(payload), binary.NativeEndian.Uint32(payload[4:])
	body := payload[callHeader:]
	switch kind {
	case callRequest:
		if !serves {
			from.link().queue.force(msgType, callPayload(id, callFailure, []byte("there is no handler for this request")))
			return
		}
		c.serve(from, msgType, id, body, serve)
	case callReply, callFailure, callBusy:
		if done := c.take(id); done != nil {
			done(kind, body, nil)
		}
	case callCancel:
		c.mu.Lock()
		cancel := c.serving[id]
		c.mu.Unlock()
		if cancel != nil {
			cancel()
		}
	default:
		c.misunderstood(from, msgType, fmt.Sprintf("it is of kind %d", kind))
	}
}

func (c *calls) misunderstood(from Peer, msgType uint32, why string) {
	from.link().drop("core: a message of a call cannot be understood, and is dropped", "from", from.PID(), "type", msgType,
		"reason", why)
}

// serve has a request handled on a goroutine of its own.
func (c *calls) serve(from Peer, msgType, id uint32, body []byte, serve func(ctx context.Context, body []byte) ([]byte, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	g, size := from.link().group, len(body)
	c.mu.Lock()
	_, twice := c.serving[id]
	if c.closed || twice || len(c.serving) >= g.maxCalls() || c.bytes >= g.maxCallBytes() {
		closed := c.closed
		c.mu.Unlock()
		cancel()
		if !closed {
			from.link().queue.force(msgType, callPayload(id, callBusy, nil))
		}
		return
	}
	if c.serving == nil {
		c.serving = make(map[uint32]context.CancelFunc)
	}
	c.serving[id] = cancel
	c.bytes += size
	c.mu.Unlock()
	body = slices.Clone(body)
	go func() {
		defer cancel()
		reply, err := serve(ctx, body)
		payload := callPayload(id, callReply, reply)
		if err != nil {
			payload = failurePayload(from, id, err)
		}
		if size = c.exchange(size, len(payload), g.maxCallBytes()); size == 0 {
			payload = failurePayload(from, id, errReplyDropped)
		}
		// The place among those that are served is free before the other process can know it.
		release := sync.OnceFunc(func() { c.served(id, size) })
		queue := from.link().queue
		if err := queue.sendContext(ctx, msgType, payload, release); errors.Is(err, ErrTooLarge) {
			_ = queue.sendContext(ctx, msgType, failurePayload(from, id, err), release)
		}
		release()
	}()
}

var errReplyDropped = errors.New("its reply was dropped, because those that were not taken yet hold more memory than " +
	"Group.MaxCallBytes allows; ask for less at a time")

// exchange counts a reply in place of its request, and returns what is counted for it: nothing, where there is no room.
func (c *calls) exchange(request, reply, limit int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes -= request
	if c.bytes >= limit {
		return 0
	}
	c.bytes += reply
	return reply
}

// failurePayload has as much of the text of an error as fits.
func failurePayload(to Peer, id uint32, err error) []byte {
	text := err.Error()
	if room := to.link().queue.maxPayload - callHeader; len(text) > room {
		text = strings.ToValidUTF8(text[:max(room, 0)], "")
	}
	return callPayload(id, callFailure, []byte(text))
}

// served says that a request was answered, or need not be, and that so many bytes are held for it no longer.
func (c *calls) served(id uint32, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes -= size
	delete(c.serving, id)
	if c.idle != nil && len(c.serving) == 0 {
		c.idle()
		c.idle = nil
	}
}

// whenIdle has f called when all requests that are being handled are answered: by any goroutine, with the locks of the calls
// and of their queue held.
func (c *calls) whenIdle(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.serving) == 0 {
		f()
	} else {
		c.idle = f
	}
}

// hangUp ends the requests to the other process: nothing will come from it any more. It is called from the loop.
func (c *calls) hangUp() {
	c.mu.Lock()
	c.mute = true
	waiting := c.waiting
	c.waiting = nil
	c.mu.Unlock()
	for _, done := range waiting {
		done(0, nil, ErrClosed)
	}
}

// close ends what is under way in both directions. It is called from the loop.
func (c *calls) close() {
	c.mu.Lock()
	c.closed = true
	serving := c.serving
	c.serving, c.idle = nil, nil
	c.mu.Unlock()
	for _, cancel := range serving {
		cancel()
	}
	c.hangUp()
}
