package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"melon/core/fork"
	"melon/core/ipc"
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

	// ErrNegative is returned where a number of workers is negative.
	ErrNegative = errors.New("the number of workers must not be negative")
	// ErrListedTwice is returned in the master for a listener or a file that it has opened for the group already.
	ErrListedTwice = errors.New("core: this is open already; use what the first call returned")
	// ErrNotListed is returned in a worker for a listener or a file that the master has not opened before Run.
	ErrNotListed = errors.New("core: the master has not opened this before Run; call the same in master and workers")
	// ErrNotReplaced is what Restart returns when a new worker was not ready in time, or ended before it was.
	ErrNotReplaced = errors.New("core: the workers were not replaced")
	// ErrBusy is returned by a Call when the other process is handling as many requests as Group.MaxCalls or MaxCallBytes allows.
	ErrBusy = errors.New("core: the other process handles too many requests already; try again later")
	// ErrNoCall is returned by a Call for whose type this process has no handlers.
	ErrNoCall = errors.New("core: this type is not that of a call; set a handler of the call before Run, in master and workers alike")
)

// A BudgetError is what Run returns when workers failed more often than Group.Budget allows.
type BudgetError struct {
	Budget  fork.Budget
	Index   int         // the number of the worker that failed last
	Program *Program    // what it is in Group.Programs; nil for a worker of this program
	Status  fork.Status // how it ended
	Err     error       // why it could not be started; nil if it was
}

// Error says it in one sentence.
func (e *BudgetError) Error() string {
	last := e.Status.String()
	if e.Err != nil {
		last = "could not be started: " + e.Err.Error()
	}
	return fmt.Sprintf("core: workers failed more than %d times in %v; the last one, %s, %s", e.Budget.Failures, e.Budget.Within,
		name(e.Index, e.Program), last)
}

// Unwrap returns why the last one could not be started; nil if it was.
func (e *BudgetError) Unwrap() error { return e.Err }

// name is how a worker is called in messages.
func name(index int, program *Program) string {
	if program != nil {
		return fmt.Sprintf("program %d (%s)", index, program.Path)
	}
	return fmt.Sprintf("worker %d", index)
}

// A Peer is a process that messages are sent to: a [Worker], or the [Master].
type Peer interface {
	// Index returns the number of the worker in its group, from 0.
	Index() int
	// PID returns the process ID of the other process.
	PID() int
	// Send queues a message; see Worker.Send.
	Send(msgType uint32, payload []byte) error
	// SendContext waits while the queue is full; see Worker.SendContext.
	SendContext(ctx context.Context, msgType uint32, payload []byte) error
	// Stats returns what has gone to that process and has come from it.
	Stats() Stats

	link() *link
}

// A link is what there is to know of another process.
type link struct {
	group  *Group
	engine *engine
	queue  *queue
	calls  calls
	in     counters
}

// drop counts a message that is dropped, and says why: the first time, the second, the fourth and so on. A process that
// sends nothing else is not to fill the log.
func (l *link) drop(text string, args ...any) {
	if n := l.in.unhandled.Add(1); n&(n-1) == 0 {
		l.group.log(slog.LevelWarn, text, append(args, "unhandled", n)...)
	}
}

// A Worker is a worker process, seen from the master. A process that takes the place of one that ended is another Worker.
type Worker struct {
	index   int
	pid     int
	program *Program
	link_   link
}

// Index returns the number of the worker, from 0: among the workers of this program, or in Group.Programs. Its replacement
// has the same.
func (w *Worker) Index() int { return w.index }

// Program returns what it is in Group.Programs; nil for a worker of this program.
func (w *Worker) Program() *Program { return w.program }

// Stats returns what has gone to the worker and has come from it.
func (w *Worker) Stats() Stats { return w.link_.stats() }

func (w *Worker) link() *link { return &w.link_ }

// rank orders workers: those of this program by their index, then the others.
func (w *Worker) rank() int {
	if w.program != nil {
		return w.index + 1<<30
	}
	return w.index
}

// PID returns the process ID of the worker.
func (w *Worker) PID() int { return w.pid }

// Send queues a message for the worker, copying the payload, and returns at once. It may be called from any goroutine.
// The error is ErrQueueFull, ErrClosed or ErrTooLarge, and the message was not queued then. Messages that are queued for
// a worker that dies are lost with it.
func (w *Worker) Send(msgType uint32, payload []byte) error {
	return w.link_.queue.send(msgType, payload)
}

// SendContext is like Send, but waits while the queue is full, until ctx ends. It must not be called from a callback:
// while one runs no queue drains, and so it would wait for as long as ctx lets it.
func (w *Worker) SendContext(ctx context.Context, msgType uint32, payload []byte) error {
	return w.link_.queue.sendContext(ctx, msgType, payload, nil)
}

// String returns the index and the process ID.
func (w *Worker) String() string {
	if w.program != nil {
		return fmt.Sprintf("program %d (%s, pid %d)", w.index, w.program.Path, w.pid)
	}
	return fmt.Sprintf("worker %d (pid %d)", w.index, w.pid)
}

// A Master is the master process, seen from a worker.
type Master struct {
	index   int
	pid     int
	payload []byte
	link_   link
}

// Index returns the number of this worker in its group, from 0.
func (m *Master) Index() int { return m.index }

// PID returns the process ID of the master.
func (m *Master) PID() int { return m.pid }

// Payload returns what Group.Payload returned in the master when this worker was started; nil if there is none.
func (m *Master) Payload() []byte { return m.payload }

// Ready tells the master that this worker is ready to work; see Group.HoldReady. Calls after the first do nothing more.
func (m *Master) Ready() { m.link_.queue.control(ipc.ControlReady) }

// Stats returns what has gone to the master and has come from it.
func (m *Master) Stats() Stats { return m.link_.stats() }

func (m *Master) link() *link { return &m.link_ }

// Send queues a message for the master, copying the payload, and returns at once. It may be called from any goroutine.
// The error is ErrQueueFull, ErrClosed or ErrTooLarge, and the message was not queued then.
func (m *Master) Send(msgType uint32, payload []byte) error {
	return m.link_.queue.send(msgType, payload)
}

// SendContext is like Send, but waits while the queue is full, until ctx ends. It must not be called from a callback:
// while one runs no queue drains, and so it would wait for as long as ctx lets it.
func (m *Master) SendContext(ctx context.Context, msgType uint32, payload []byte) error {
	return m.link_.queue.sendContext(ctx, msgType, payload, nil)
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
