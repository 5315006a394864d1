// Package event is the reactor: it watches descriptors and deadlines and says, one at a time, what has happened.
//
// A [Loop] calls nobody. Its owner asks [Loop.Next] for the next event and acts on it, so nothing of this package is on
// the stack while a handler runs. A Go program does that through [Loop.Run]; the C library does it from a loop written
// in C, whose handlers may fork, longjmp or throw.
//
// Registrations are level-triggered. Each descriptor has three directions (read, write, error), each with a target of
// its own, and the mask that the kernel holds is computed from what is armed, never the other way round: a one-shot
// direction that fires leaves the others armed.
package event

import (
	"errors"
	"strconv"
	"time"
)

// Direction is a set of the directions in which a descriptor can become ready.
type Direction uint8

// The directions, in the order in which they are served when several are ready at once.
const (
	Read       Direction = 1 << iota // readable, end of file included
	Write                            // writable
	Error                            // an error condition
	directions = 3
)

// Kind says what an [Event] is.
type Kind uint8

// The kinds of event.
const (
	Ready   Kind = iota + 1 // a descriptor is ready in one direction
	Timeout                 // the deadline of a descriptor passed before anything happened on it
	Expired                 // a timer expired; it is gone
)

// Event is one thing that happened, as [Loop.Next] reports it.
type Event[T any] struct {
	Kind      Kind
	FD        int       // the descriptor, for Ready and Timeout
	Direction Direction // exactly one direction, for Ready
	Target    T         // what was registered for it
}

// Outcome is how a call of [Loop.Next] ended.
type Outcome uint8

// The outcomes of Next.
const (
	Took        Outcome = iota + 1 // an event was taken
	Idle                           // nothing is pending
	Interrupted                    // the wait ended early, by a signal or by Wake
	Failed                         // the kernel reports nothing any more, and will not: see Loop.Err
)

// Wait says what Next does when nothing is pending.
type Wait uint8

// The ways to wait.
const (
	// NoWait has a look at the kernel and returns Idle.
	NoWait Wait = iota
	// Outside returns Idle where it would wait: the owner waits on the epoll instance itself, without holding the Go
	// runtime up, and hands over what came by Collect. For owners that are not written in Go.
	Outside
	// Park waits through the Go runtime, as long as it takes. For Go programs.
	Park

	// Once, added to Outside, makes Next return Interrupted after a wait, whatever came, also where that was but a look.
	Once Wait = 1 << 7
)

// Timeout values of a [Registration] with a special meaning.
const (
	NoTimeout   time.Duration = -1 // no deadline; one that was set is removed
	KeepTimeout time.Duration = -2 // the deadline stays as it is
)

// Registration is what a caller asks for a descriptor with [Loop.Set].
type Registration[T any] struct {
	// Directions to arm; none is allowed and only records the descriptor.
	Directions Direction
	// OneShot disarms each of Directions when it is reported.
	OneShot bool
	// Append keeps the directions that earlier calls armed. Without it they are dropped.
	Append bool
	// Timeout is the deadline of the descriptor from now on, or NoTimeout (any negative value), or KeepTimeout.
	Timeout time.Duration
	// Target comes back in the events of Directions.
	Target T
	// Pollable says that the kernel can watch the descriptor, as it can a socket. That it refuses to is an error then; otherwise
	// the descriptor is taken for one that never blocks.
	Pollable bool
}

// TimerID names a timer. The zero value names none, and an ID is not used twice within four billion timers.
type TimerID uint64

// ErrUnsupported is returned by [New] where there is no epoll.
var ErrUnsupported = errors.New("event: this system has no epoll; the event loop works on Linux only")

// ErrClosed is returned by calls on a loop after Close.
var ErrClosed = errors.New("event: the loop is closed")

// DescriptorError is why a descriptor cannot be registered.
type DescriptorError struct {
	FD  int
	Err error // usually a system call's
}

// Error says which descriptor it is about, and why.
func (e *DescriptorError) Error() string {
	return "event: descriptor " + strconv.Itoa(e.FD) + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *DescriptorError) Unwrap() error { return e.Err }

// OpenError is why a loop cannot be made.
type OpenError struct {
	Err error // a system call's
}

// Error says what failed, and why.
func (e *OpenError) Error() string { return "event: cannot make a loop: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *OpenError) Unwrap() error { return e.Err }

// WaitError is why a loop cannot go on.
type WaitError struct {
	Err error // a system call's
}

// Error says what failed, why, and what is the only known cause.
func (e *WaitError) Error() string {
	return "event: the loop cannot go on: the kernel refuses to wait for events: " + e.Err.Error() +
		"; the program must not close descriptors that it has not opened"
}

// Unwrap returns the cause.
func (e *WaitError) Unwrap() error { return e.Err }
