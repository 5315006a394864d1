package core

import (
	"context"
	"math"
	"sync"

	"melon/core/ipc"
)

// A queue is what goroutines put messages into and the goroutine of Run writes to a channel.
type queue struct {
	maxPayload int
	wake       func() // asks the goroutine of Run to call write soon

	mu     sync.Mutex
	out    ipc.Outbox
	shut   bool          // takes no more messages
	asked  bool          // wake was called and write was not, or will be called anyway
	room   chan struct{} // closed when there is room again; nil: nobody waits
	vector [][]byte      // scratch of write

	messages, bytes uint64 // that were queued, and that the kernel took
	most            int    // bytes that were ever queued
	isReady         bool   // ControlReady was sent
}

func newQueue(g *Group, wake func()) *queue {
	return &queue{maxPayload: int(g.maxPayload()), wake: wake, out: ipc.Outbox{Limit: g.QueueLimit}}
}

func (q *queue) send(msgType uint32, payload []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.add(msgType, payload)
}

func (q *queue) add(msgType uint32, payload []byte) error {
	switch {
	case len(payload) > q.maxPayload:
		return ErrTooLarge
	case q.shut:
		return ErrClosed
	case !q.out.Add(msgType, payload):
		return ErrQueueFull
	}
	q.messages++
	q.added()
	return nil
}

// added has what was queued written.
func (q *queue) added() {
	q.most = max(q.most, q.out.Queued())
	if !q.asked {
		q.asked = true
		q.wake()
	}
}

// mostBeyond is how many bytes may be forced into a full queue.
const mostBeyond = 1 << 20

// force sends a small message, also if the queue is full: one that the other process may wait for without end. A process
// that goes on asking and does not listen hears nothing more: what it costs is bounded.
func (q *queue) force(msgType uint32, payload []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shut || len(payload) > q.maxPayload || q.out.Excess() > mostBeyond {
		return
	}
	q.messages++
	q.addBeyond(msgType, payload)
}

// addBeyond adds a message whatever is queued.
func (q *queue) addBeyond(msgType uint32, payload []byte) {
	limit := q.out.Limit
	q.out.Limit = math.MaxInt
	q.out.Add(msgType, payload)
	q.out.Limit = limit
	q.added()
}

// control sends a control message, whatever is queued. What moves is a sign of life itself, and makes a beat superfluous.
func (q *queue) control(kind byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shut || kind == ipc.ControlBeat && q.out.Queued() > 0 || kind == ipc.ControlReady && q.isReady {
		return
	}
	q.isReady = q.isReady || kind == ipc.ControlReady
	q.addBeyond(ipc.Control, []byte{kind})
}

// sendContext waits while the queue is full. queued, which may be nil, is called when the message was queued, before any of
// it is sent.
func (q *queue) sendContext(ctx context.Context, msgType uint32, payload []byte, queued func()) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		q.mu.Lock()
		err := q.add(msgType, payload)
		if err != ErrQueueFull {
			if err == nil && queued != nil {
				queued()
			}
			q.mu.Unlock()
			return err
		}
		if q.room == nil {
			q.room = make(chan struct{})
		}
		room := q.room
		q.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-room:
		}
	}
}

// A writer writes what it can of some buffers without waiting, and says how much that was. Fewer bytes than there are,
// without an error, mean that it can take no more for now.
type writer func(buffers [][]byte) (int, error)

// most calls of the writer in one go, so that goroutines that send without end do not keep Run from reading.
const mostWrites = 16

// write writes what is queued. It reports what is left: nothing, something to be written when the writer can take more
// (blocked), or just more.
func (q *queue) write(w writer) (empty, blocked bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for range mostWrites {
		if q.out.Queued() == 0 {
			q.asked = false
			return true, false, nil
		}
		q.vector = q.out.Pending(q.vector[:0])
		size := 0
		for _, buffer := range q.vector {
			size += len(buffer)
		}
		q.mu.Unlock()
		n, err := w(q.vector)
		q.mu.Lock()
		clear(q.vector)
		q.out.Sent(n)
		q.bytes += uint64(n)
		if q.room != nil && q.out.HasRoom() {
			close(q.room)
			q.room = nil
		}
		if err != nil || n < size {
			return false, true, err
		}
	}
	if q.out.Queued() == 0 {
		q.asked = false
		return true, false, nil
	}
	q.wake()
	return false, false, nil
}

// close makes the queue take no more messages. What is queued can still be written.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.shut = true
	if q.room != nil {
		close(q.room) // whoever waits finds the queue shut
		q.room = nil
	}
}

// discard forgets what is queued, after close.
func (q *queue) discard() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.out.Discard()
}
