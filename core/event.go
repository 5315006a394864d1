package core

import (
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"melon/core/fork"
)

// An Event is something that happened to a group, as its master sees it. Which fields have a meaning depends on the kind.
type Event struct {
	Kind    EventKind
	Worker  *Worker        // whom it happened to; nil where there is no process: for StartFailed, Restarting and Rolled, and others after a StartFailed
	Index   int            // the worker's number, also where there is no Worker; 0 for Rolled
	Program *Program       // what the worker is in Group.Programs; nil for a worker of this program
	Status  fork.Status    // of Exited, RollFailed and BudgetSpent: how the worker ended
	Asked   bool           // of Exited: the worker had been asked to end, and has
	Lived   time.Duration  // of Exited: from its start to its end
	Wait    time.Duration  // of Restarting: until the next start; 0: at once
	Signal  syscall.Signal // of Signalled
	Err     error          // of StartFailed, and of BudgetSpent and RollFailed after it, and of Held: why; of Draining: why nothing can be sent to the worker, if that is so; else nil
}

// EventKind tells events apart.
type EventKind uint8

const (
	// Started: a worker process was started. Messages can be sent to it, and wait until it handles them.
	Started = EventKind(fork.Started)
	// Ready: the worker said that it is ready; see Group.HoldReady.
	Ready = EventKind(fork.Ready)
	// Exited: the worker has ended, and its last message has been handled. One whose Status is Left lives on, since nobody may kill it,
	// and is no concern of the group any more.
	Exited = EventKind(fork.Exited)
	// StartFailed: a worker could not be started.
	StartFailed = EventKind(fork.StartFailed)
	// Restarting: another worker will take the place of one that ended, or that could not be started, after a wait.
	Restarting = EventKind(fork.Restarting)
	// Draining: the worker was asked to end. It still gets what is queued for it, unless Err says that it cannot, and what it sends is
	// handled.
	Draining = EventKind(fork.Draining)
	// Unready: the worker was not ready within Group.StartTimeout. It is sent SIGABRT.
	Unready = EventKind(fork.Unready)
	// Hung: the worker gave no sign of life for Group.Heartbeat. It is sent SIGABRT.
	Hung = EventKind(fork.Hung)
	// Signalled: the worker did not end, and was sent SIGTERM, or SIGKILL where that did not help.
	Signalled = EventKind(fork.Signalled)
	// Rolled: Group.Restart has replaced all workers.
	Rolled = EventKind(fork.Rolled)
	// RollFailed: Group.Restart gave up, and the workers that it had not replaced stay.
	RollFailed = EventKind(fork.RollFailed)
	// BudgetSpent: workers failed more often than Group.Budget allows. The group ends.
	BudgetSpent = EventKind(fork.BudgetSpent)
	// Held: the worker cannot be reaped, mostly since it has ended and another process traces it. Nobody takes its place until
	// it can be, and the group does not wait for it when it stops.
	Held = EventKind(fork.Held)
)

// String returns a few words, such as "worker started".
func (k EventKind) String() string {
	switch k {
	case Started:
		return "worker started"
	case Ready:
		return "worker is ready"
	case Exited:
		return "worker ended"
	case StartFailed:
		return "worker cannot be started"
	case Restarting:
		return "another worker will take its place"
	case Draining:
		return "worker was asked to end"
	case Unready:
		return "worker is not ready in time, and is sent SIGABRT"
	case Hung:
		return "worker gives no sign of life, and is sent SIGABRT"
	case Signalled:
		return "worker does not end, and is sent a signal"
	case Rolled:
		return "workers replaced"
	case RollFailed:
		return "workers not replaced"
	case BudgetSpent:
		return "workers failed too often, and the group ends"
	case Held:
		return "worker cannot be reaped"
	}
	return fmt.Sprintf("event %d", uint8(k))
}

// level is Debug for what belongs to every run of a group.
func (e *Event) level() slog.Level {
	switch e.Kind {
	case Started, Ready, Draining, Rolled:
		return slog.LevelDebug
	case Exited:
		if e.Asked {
			return slog.LevelDebug
		}
		return slog.LevelWarn
	case Restarting, Signalled:
		return slog.LevelWarn
	}
	return slog.LevelError
}

// report logs the event, and tells whoever observes the group.
func (g *Group) report(e Event) {
	var args []any
	add := func(meaningful bool, attr slog.Attr) {
		if meaningful {
			args = append(args, attr)
		}
	}
	add(e.Kind != Rolled && (e.Kind != RollFailed || e.Worker != nil || e.Err != nil), slog.Int("worker", e.Index))
	if e.Program != nil {
		args = append(args, slog.String("program", e.Program.Path))
	}
	if e.Worker != nil {
		args = append(args, slog.Int("pid", e.Worker.pid))
	}
	switch final := e.Kind == BudgetSpent || e.Kind == RollFailed; {
	case e.Kind == Exited, final && e.Worker != nil:
		args = append(args, slog.String("status", e.Status.String()))
	case final && e.Err != nil: // StartFailed has told why
		args = append(args, slog.String("status", "could not be started"))
	default:
		add(e.Err != nil, slog.Any("error", e.Err))
	}
	add(e.Kind == Exited, slog.Duration("lived", e.Lived))
	add(e.Kind == Restarting, slog.Duration("wait", e.Wait))
	add(e.Kind == Signalled, slog.String("signal", e.Signal.String()))
	g.log(e.level(), "core: "+e.Kind.String(), args...)
	if g.Observe != nil {
		g.Observe(e)
	}
}
