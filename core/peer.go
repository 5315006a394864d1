package core

import (
	"context"
	"errors"
	"fmt"
)

// Errors that a program may test for with errors.Is.
var (
	// ErrQueueFull is returned by Send when the receiver does not keep up; see Group.QueueLimit. The message was not sent.
	ErrQueueFull = errors.New("core: the queue of messages to this process is full; send less, or wait with SendContext")
	// ErrClosed is returned when there is nobody to send to: the process has ended, or the group is stopping.
	ErrClosed = errors.New("core: the channel to this process is closed")
	// ErrTooLarge is returned for a message that is larger than Group.MaxPayload.
	ErrTooLarge = errors.New("core: the message is larger than Group.MaxPayload allows")
	// ErrMasterGone is returned by Run in a worker whose master has died. The program should exit.
	ErrMasterGone = errors.New("core: the master of this worker has ended")
	// ErrRunning is returned by Run while another call of Run is running.
	ErrRunning = errors.New("core: the group is running already")
	// ErrWorker is returned by a second call of Run in a worker.
	ErrWorker = errors.New("core: this process is a worker whose Run was called before; it cannot run a group of its own")

	errNegative = errors.New("the number of workers must not be negative")
)

// A Worker is a worker process, seen from the master. A process that takes the place of one that ended is another Worker.
type Worker struct {
	index int
	pid   int
	queue *queue
}

// Index returns the number of the worker in its group, from 0. Its replacement has the same.
func (w *Worker) Index() int { return w.index }

// PID returns the process ID of the worker.
func (w *Worker) PID() int { return w.pid }

// Send queues a message for the worker, copying the payload, and returns at once. It may be called from any goroutine.
// The error is ErrQueueFull, ErrClosed or ErrTooLarge, and the message was not queued then. Messages that are queued for
// a worker that dies are lost with it.
func (w *Worker) Send(msgType uint32, payload []byte) error { return w.queue.send(msgType, payload) }

// SendContext is like Send, but waits while the queue is full, until ctx ends. It must not be called from a callback:
// while one runs no queue drains, and so it would wait for as long as ctx lets it.
func (w *Worker) SendContext(ctx context.Context, msgType uint32, payload []byte) error {
	return w.queue.sendContext(ctx, msgType, payload)
}

// String returns the index and the process ID.
func (w *Worker) String() string { return fmt.Sprintf("worker %d (pid %d)", w.index, w.pid) }

// A Master is the master process, seen from a worker.
type Master struct {
	index int
	pid   int
	queue *queue
}

// Index returns the number of this worker in its group, from 0.
func (m *Master) Index() int { return m.index }

// PID returns the process ID of the master.
func (m *Master) PID() int { return m.pid }

// Send queues a message for the master, copying the payload, and returns at once. It may be called from any goroutine.
// The error is ErrQueueFull, ErrClosed or ErrTooLarge, and the message was not queued then.
func (m *Master) Send(msgType uint32, payload []byte) error { return m.queue.send(msgType, payload) }

// SendContext is like Send, but waits while the queue is full, until ctx ends. It must not be called from a callback:
// while one runs no queue drains, and so it would wait for as long as ctx lets it.
func (m *Master) SendContext(ctx context.Context, msgType uint32, payload []byte) error {
	return m.queue.sendContext(ctx, msgType, payload)
}

// A SendError says to which worker a message could not be sent, and why.
type SendError struct {
	Worker *Worker
	Err    error
}

// Error says it in one sentence.
func (e *SendError) Error() string { return fmt.Sprintf("to %v: %v", e.Worker, e.Err) }

// Unwrap returns the cause.
func (e *SendError) Unwrap() error { return e.Err }
