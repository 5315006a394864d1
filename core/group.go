// Package core runs a program as one master and several worker processes that exchange messages.
//
// A program makes a [Group], says what to do with each type of message, and calls [Group.Run] from main. The same binary
// is master and worker: in the process that the user started, Run starts the workers (the same program once more), keeps
// them running and handles their messages; in a worker, Run handles the messages of the master. Nothing is to be done
// about descriptors, environment or signals, and no cgo is involved.
//
// Messages have a type, which is a number of the program's choice, and a payload of bytes. Between two live processes
// none is lost, doubled or reordered. The wire format is that of package [melon/core/ipc], the one that C programs on
// libmln.so speak.
//
// # Goroutines
//
// All callbacks of a group in a process run one after the other on the goroutine that called Run, so they need no locks
// among themselves. While one runs no other message is handled, and what it sends leaves after it has returned: work that
// takes long belongs in a goroutine of its own. Send, SendContext and Broadcast may be called from any goroutine.
//
// # Panics
//
// A panic in a callback is not recovered. In a worker it ends the worker, with a trace on standard error, and the master
// starts another. In the master it ends the program, and the workers with it.
package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"melon/core/fork"
	"melon/core/ipc"
	"melon/core/spawn"
)

// A Group is a master and its workers. Its fields are set before [Group.Run] and left alone from then on, and so are its
// handlers. The zero value with some handlers is ready for use. A Group must not be copied after its first use.
//
// A program has one group. It reaches Run in the same way in the master and in the workers, with the same handlers and
// options.
type Group struct {
	// Workers is how many worker processes to keep running. Zero means as many as Go uses processors
	// (runtime.GOMAXPROCS).
	Workers int

	// MaxPayload is the size of the largest message, in bytes. Sending a larger one fails, and a process that announces
	// one all the same is cut off. Zero means 64 MiB.
	MaxPayload uint32

	// QueueLimit is how many bytes may wait to be sent to one process before Send returns ErrQueueFull and SendContext
	// waits. The message that reaches the limit is still taken. Zero means 1 MiB.
	QueueLimit int

	// StopTimeout is how long a worker may take to end when the group stops or when it has closed its channel. After that
	// it is sent SIGTERM, and SIGKILL one second later. A worker also gives up after this time when the master does not
	// take its last messages. Zero means 10 seconds.
	StopTimeout time.Duration

	// Backoff says when a worker that ended is replaced. Its zero value means: at once the first time; from the second
	// time on, for workers that live less than a second, after 100 ms, twice as long each further time, and 30 seconds at
	// most.
	Backoff fork.Backoff

	// Started is called in the master for each worker that was started, before any message of it is handled. The worker's
	// program may still be on its way to Run; messages sent to it wait. Nil means that nothing is called.
	Started func(w *Worker)

	// Ended is called in the master when a worker has ended, after its last message has been handled and before another
	// takes its place. Nil means that nothing is called.
	Ended func(w *Worker, status fork.Status)

	// Attached is called in a worker at the start of Run, before any message is handled. Nil means that nothing is called.
	Attached func(m *Master)

	// Logger is told of workers that end unexpectedly, fail to start or have to be killed. Nil means slog.Default().
	Logger *slog.Logger

	mu       sync.Mutex
	running  bool
	handlers map[uint32]Handlers
	workers  []*Worker // those that can be sent to; never changed in place
	outside  *outside  // nil: the real thing
}

// Handlers are the two sides of a message type. A message for which its receiver has no handler is dropped.
//
// The payload belongs to the engine and is valid until the handler returns; a handler that needs it longer copies it.
type Handlers struct {
	// Master handles a message that a worker sent. It runs in the master, on the goroutine that called Run.
	Master func(from *Worker, payload []byte)
	// Worker handles a message that the master sent. It runs in a worker, on the goroutine that called Run.
	Worker func(from *Master, payload []byte)
}

// Handle sets the handlers of a message type, in place of those that it had. It is called before [Group.Run], alike in
// master and workers, and panics while Run is running.
func (g *Group) Handle(msgType uint32, handlers Handlers) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running {
		panic("core: Handle was called while the group was running; call it before Run")
	}
	if g.handlers == nil {
		g.handlers = make(map[uint32]Handlers)
	}
	g.handlers[msgType] = handlers
}

// Run runs the group until ctx ends.
//
// In the master it starts the workers and replaces those that end. When ctx ends, each worker gets the messages that are
// queued for it, then the end of its channel, and time to finish (see StopTimeout); messages that workers send meanwhile
// are still handled. Run returns nil when all workers have ended, and an error if the workers could not be started in the
// first place, after it has ended those that were.
//
// In a worker it handles messages until the master stops the group or ctx ends, sends what is queued, and returns nil.
// Where the master has died Run handles what the master had sent, and returns ErrMasterGone. A program should end soon
// after Run has returned: a worker's place is taken again when its process has ended.
//
// A program calls Run early in main, before it starts other programs. A worker cannot run a group of its own.
func (g *Group) Run(ctx context.Context) error {
	g.mu.Lock()
	if g.running {
		g.mu.Unlock()
		return ErrRunning
	}
	g.running = true
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.running, g.workers = false, nil
		g.mu.Unlock()
	}()
	if g.Workers < 0 {
		return fmt.Errorf("core: Group.Workers is %d: %w", g.Workers, errNegative)
	}
	return g.run(ctx)
}

// Running returns the workers that can be sent to now, by their index. It is empty outside the master's Run.
func (g *Group) Running() []*Worker {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.workers)
}

// Broadcast sends a message to every worker that is running. It does not wait: a worker whose queue is full does not get
// the message, and the error, made by errors.Join, has one [SendError] for each such worker. Outside the master's Run
// there is nobody to send to, and it returns ErrClosed.
func (g *Group) Broadcast(msgType uint32, payload []byte) error {
	g.mu.Lock()
	workers, running := g.workers, g.running
	g.mu.Unlock()
	if !running || len(workers) == 0 && IsWorker() {
		return ErrClosed
	}
	var failed []error
	for _, w := range workers {
		// One that ended in the meantime is no longer among those running.
		if err := w.Send(msgType, payload); err != nil && !errors.Is(err, ErrClosed) {
			failed = append(failed, &SendError{w, err})
		}
	}
	return errors.Join(failed...)
}

// IsWorker reports whether this process is a worker, started by the Run of another process of this program. It may be
// called at any time, for what only one side has to do before Run.
func IsWorker() bool { return spawn.IsWorker() }

// enlist makes a worker one of those that can be sent to.
func (g *Group) enlist(w *Worker) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.workers = append(slices.Clone(g.workers), w)
	slices.SortFunc(g.workers, func(a, b *Worker) int { return a.index - b.index })
}

// strike is the opposite of enlist.
func (g *Group) strike(w *Worker) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.workers = slices.DeleteFunc(slices.Clone(g.workers), func(other *Worker) bool { return other == w })
}

func (g *Group) size() int {
	if g.Workers == 0 {
		return runtime.GOMAXPROCS(0)
	}
	return g.Workers
}

func (g *Group) maxPayload() uint32 {
	if g.MaxPayload == 0 {
		return ipc.DefaultMaxPayload
	}
	return min(g.MaxPayload, math.MaxUint32-4) // the length field counts the type as well
}

func (g *Group) stopTimeout() time.Duration {
	if g.StopTimeout <= 0 {
		return 10 * time.Second
	}
	return g.StopTimeout
}

func (g *Group) logger() *slog.Logger {
	if g.Logger == nil {
		return slog.Default()
	}
	return g.Logger
}
