//go:build !linux

package event

import "time"

// Loop is one reactor; see the Linux implementation. Elsewhere it cannot be made.
type Loop[T any] struct{}

// New returns [ErrUnsupported] on this system.
func New[T any]() (*Loop[T], error) { return nil, ErrUnsupported }

// Close does nothing: there is no loop on this system.
func (l *Loop[T]) Close() {}

// Has reports false: there is no loop on this system.
func (l *Loop[T]) Has(int) bool { return false }

// Set returns [ErrUnsupported] on this system.
func (l *Loop[T]) Set(int, Registration[T]) error { return ErrUnsupported }

// OnTimeout reports false: there is no loop on this system.
func (l *Loop[T]) OnTimeout(int, T) bool { return false }

// Clear reports false: there is no loop on this system.
func (l *Loop[T]) Clear(int) bool { return false }

// After sets nothing: there is no loop on this system.
func (l *Loop[T]) After(time.Duration, T) TimerID { return 0 }

// Cancel reports false: there is no loop on this system.
func (l *Loop[T]) Cancel(TimerID) bool { return false }

// Wake does nothing: there is no loop on this system.
func (l *Loop[T]) Wake() {}

// Next reports Idle: there is no loop on this system.
func (l *Loop[T]) Next(*Event[T], Wait) Outcome { return Idle }

// Err returns [ErrUnsupported] on this system.
func (l *Loop[T]) Err() error { return ErrUnsupported }

// Run returns [ErrUnsupported] on this system.
func (l *Loop[T]) Run(func(Event[T])) error { return ErrUnsupported }

// Break does nothing: there is no loop on this system.
func (l *Loop[T]) Break() {}
