// Package core runs a program as one master and several worker processes that exchange messages.
//
// A program makes a [Group], says what to do with each type of message, and calls [Group.Run] from main. The same binary
// is master and worker: in the process that the user started, Run starts the workers (the same program once more), keeps
// them running and handles their messages; in a worker, Run handles the messages of the master. Nothing is to be done
// about descriptors, environment or signals, and no cgo is involved.
//
// Messages have a type, which is a number of the program's choice, and a payload of bytes ([Group.Handle]), a value that a
// codec makes bytes of ([Message]), or a request that is answered ([Call]). Between two live processes none is lost,
// doubled or reordered. The wire format is that of package [melon/core/ipc], the one that C programs on libmln.so speak.
// Workers inherit the listeners and files that the master opens by [Group.Listen], [Group.ListenPacket] and [Group.File].
//
// Handlers can be tested without processes, with package [melon/core/coretest].
//
// # Goroutines
//
// All callbacks of a group in a process run one after the other on the goroutine that called Run, so they need no locks
// among themselves. While one runs no other message is handled, and what it sends leaves after it has returned: work that
// takes long belongs in a goroutine of its own. The exception are the handlers of a [Call], each of which has its own
// goroutine. All methods of Group, Worker and Master may be called from any goroutine, except where they say otherwise.
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
	// Workers is how many worker processes of this program to keep running. Zero means as many as Go uses processors
	// (runtime.GOMAXPROCS), or none where there are Programs. Resize changes it while the group runs.
	Workers int

	// Programs are other programs to run as workers, too. Nil means none.
	Programs []Program

	// Args are the arguments of the workers of this program, without its name. Nil means those of the master.
	Args []string

	// Payload is called in the master at each start of a worker of this program, on the goroutine that called Run; in the
	// worker, Master.Payload returns what it returned. Nil means that there is none.
	Payload func(index int) []byte

	// MaxPayload is the size of the largest message, in bytes. Sending a larger one fails, and a process that announces
	// one all the same is cut off. Zero means 64 MiB.
	MaxPayload uint32

	// QueueLimit is how many bytes may wait to be sent to one process before Send returns ErrQueueFull and SendContext
	// waits. The message that reaches the limit is still taken. Zero means 1 MiB.
	QueueLimit int

	// MaxCalls is how many requests of one process are handled at the same time; see Call. One more is answered with
	// ErrBusy. Zero means 1024.
	MaxCalls int

	// MaxCallBytes is how much memory the requests of one process, while they are handled, and the replies that it has not taken
	// yet may hold. Beyond it a request is answered with ErrBusy, and a reply is dropped: the other process gets a RemoteError that
	// says so. What reaches the limit is still kept. Zero means 64 MiB.
	MaxCallBytes int

	// HoldReady makes a worker ready only when it has called Master.Ready. Without it a worker is ready as soon as Attached
	// has returned.
	HoldReady bool

	// StartTimeout is how long a worker may take from its start until it is ready. After that it is sent SIGABRT, upon which
	// a Go program prints what its goroutines do, and SIGKILL after KillTimeout; another takes its place. Zero means as long
	// as it likes.
	StartTimeout time.Duration

	// Heartbeat is how long a worker that is ready may give no sign of life, before it is ended like one that is not ready in
	// time. The loop of a worker gives several in that time, but not while a callback runs. Zero means as long as it likes,
	// and that idle workers sleep.
	Heartbeat time.Duration

	// StopTimeout is how long a worker may take to end when it was asked to, or has closed its channel. After that it is sent
	// SIGTERM, and SIGKILL after KillTimeout. A worker also gives up after this time when the master does not take its last
	// messages. Zero means 10 seconds.
	StopTimeout time.Duration

	// KillTimeout is how long a worker may take to end upon SIGTERM or SIGABRT. Zero means 1 second.
	KillTimeout time.Duration

	// Backoff says when a worker that ended is replaced. Its zero value means: at once the first time; from the second
	// time on, for workers that live less than a second, after 100 ms, twice as long each further time, and 30 seconds at
	// most, up to a fifth less by chance.
	Backoff fork.Backoff

	// Budget ends the group, and Run with a BudgetError, when workers fail too often. Its zero value sets no limit.
	Budget fork.Budget

	// Observe is called in the master for each event of the group, on the goroutine that called Run. Started comes before any message of that worker, Exited
	// after the last one. Nil means that nothing is called.
	Observe func(Event)

	// Attached is called in a worker at the start of Run, on the same goroutine, before any message is handled. Where it returns an error, Run
	// returns that, too. Nil means that nothing is called.
	Attached func(m *Master) error

	// Logger is told of each event, too: at level debug of those that belong to every run, such as the start of a worker, at
	// level warn or error of others. Nil means slog.Default(). It is called on a goroutine of its own, for one line after the other. A line
	// that it does not take within a second is waited for no longer; what comes until it has taken it is lost, and how much, the next
	// line says.
	Logger *slog.Logger

	mu       sync.Mutex
	running  bool
	handlers map[uint32]Handlers
	calls    map[uint32]*callSides
	workers  []*Worker // those that can be sent to; never changed in place
	links    []*link   // to processes that live
	lines    lines
	past     GroupStats
	platform
}

// A Program is a program of another file that runs as a worker: a Go program that runs a Group, a C program on libmln.so, or
// one in any language that reads and writes frames (see package [melon/core/ipc]) on the descriptor whose number is its last
// argument. It inherits the standard descriptors and that one.
type Program struct {
	// Path is the file; one without a slash is looked for in the directories of PATH. One that does not begin with a slash
	// is taken from the working directory of the master, whatever Dir is.
	Path string
	// Args are its arguments, without its name and without the last one.
	Args []string
	// Env is its environment, in the form "name=value"; of several settings of a name the last one counts. Nil means that of
	// the master.
	Env []string
	// Dir is its working directory. Empty means that of the master.
	Dir string
	// Once means that it is not started again when it has ended.
	Once bool
	// Reports means that it says when it is ready, and gives signs of life, as Go programs and C programs on libmln.so can.
	// Without it, it is ready when it is started, and Group.StartTimeout and Group.Heartbeat do not concern it.
	Reports bool
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
// master and workers, and panics while Run is running, and for the type 4294967295, which is the engine's own.
func (g *Group) Handle(msgType uint32, handlers Handlers) {
	g.amend(msgType, func(h *Handlers) { *h = handlers })
}

// amend changes the handlers of a message type.
func (g *Group) amend(msgType uint32, change func(h *Handlers)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running {
		panic("core: a handler was set while the group was running; set it before Run")
	}
	if msgType == ipc.Control {
		panic("core: the message type 4294967295 is the engine's own; choose another one")
	}
	if g.handlers == nil {
		g.handlers = make(map[uint32]Handlers)
	}
	h := g.handlers[msgType]
	change(&h)
	g.handlers[msgType] = h
}

// Run runs the group until ctx ends.
//
// In the master it starts the workers and replaces those that end. When ctx ends, each worker gets the messages that are
// queued for it, then the end of its channel, and time to finish (see StopTimeout); messages that workers send meanwhile
// are still handled. Run returns nil when all workers have ended. It returns an error if the workers could not be started in
// the first place, after it has ended those that were, and a BudgetError if they failed too often.
//
// In a worker it handles messages until the master stops the group or ctx ends, answers the requests that it is handling, sends
// what is queued, and returns nil.
// Where the master has died Run handles what the master had sent, and returns ErrMasterGone. A program should end soon
// after Run has returned: a worker's place is taken again when its process has ended.
//
// A program calls Run early in main, before it starts other programs. A worker cannot run a group of its own.
//
// Run does nothing about signals. A terminal sends its interrupt to master and workers alike: a program that is to end in
// order makes ctx with [os/signal.NotifyContext], on both sides, and both stop then. The files that workers inherit are
// closed, as far as they are the group's, when Run returns: a group that is to run again lists them again.
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
		g.running, g.workers, g.links = false, nil, nil
		g.retire()
		g.mu.Unlock()
	}()
	if g.Workers < 0 {
		return fmt.Errorf("core: Group.Workers is %d: %w", g.Workers, ErrNegative)
	}
	return g.run(ctx)
}

// Running returns the workers that can be sent to now, by their index: those that were started, and neither have ended nor
// were asked to. It is empty outside the master's Run.
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
	workers, master := g.workers, g.master
	g.mu.Unlock()
	if master == nil {
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

// Resize changes how many workers of this program are kept running. Those that are too many, with the highest numbers, are
// asked to end. It returns at once; outside the master's Run it returns ErrClosed.
func (g *Group) Resize(workers int) error {
	if workers < 0 {
		return fmt.Errorf("core: Resize to %d: %w", workers, ErrNegative)
	}
	_, err := g.inMaster(func(s *supervisor) { s.resize(workers) })
	return err
}

// Restart replaces all workers, one after the other: each is asked to end only when the new one in its place is ready, so
// that no request is refused meanwhile. A worker that Backoff keeps from being started is started at once. Restart waits until all
// are replaced. Where a new worker ends before it is ready, those that are not replaced yet stay, and Restart returns an error that is
// ErrNotReplaced. It must not be called from a callback.
//
// When ctx ends, Restart returns its error, and the replacement goes on. If the group stops meanwhile, or outside the
// master's Run, it returns ErrClosed.
func (g *Group) Restart(ctx context.Context) error {
	result := make(chan error, 1)
	master, err := g.inMaster(func(s *supervisor) { s.roll(result) })
	if err != nil {
		return err
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-master.ended:
		return ErrClosed
	}
}

// IsWorker reports whether this process is a worker, started by the Run of another process. It may be called at any time, for
// what only one side has to do before Run. In tests with package [melon/core/coretest] it reports false: see [Group.IsWorker].
func IsWorker() bool { return spawn.IsWorker() }

// enlist makes a worker one of those that can be sent to.
func (g *Group) enlist(w *Worker) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.workers = append(slices.Clone(g.workers), w)
	slices.SortFunc(g.workers, func(a, b *Worker) int { return a.rank() - b.rank() })
	g.links = append(g.links, &w.link_)
}

// strike is the opposite of enlist.
func (g *Group) strike(w *Worker) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.workers = slices.DeleteFunc(slices.Clone(g.workers), func(other *Worker) bool { return other == w })
}

func (g *Group) size() int {
	if g.Workers == 0 && len(g.Programs) == 0 {
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

func (g *Group) stopTimeout() time.Duration { return or(g.StopTimeout, 10*time.Second) }

func (g *Group) maxCalls() int { return or(g.MaxCalls, 1024) }

func (g *Group) maxCallBytes() int { return or(g.MaxCallBytes, 64<<20) }

func (g *Group) policy() fork.Policy {
	kill := or(g.KillTimeout, time.Second)
	return fork.Policy{Backoff: g.Backoff, Budget: g.Budget, StartTimeout: g.StartTimeout, Heartbeat: g.Heartbeat,
		AbortTimeout: kill, DrainTimeout: g.stopTimeout(), TermTimeout: kill}
}

// or is n, or what is meant by zero and what makes no sense.
func or[T int | time.Duration](n, otherwise T) T {
	if n <= 0 {
		return otherwise
	}
	return n
}
