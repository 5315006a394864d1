//go:build !linux

package coretest

import (
	"testing"
	"time"

	"melon/core"
	"melon/core/event"
)

// Patience is how long a [Test] waits for anything, before it fails the test.
const Patience = 30 * time.Second

// A Test is a group that runs in a test. It needs Linux.
type Test struct{}

// Run fails the test: groups run on Linux only.
func Run(tb testing.TB, _ func(g *core.Group) error) *Test {
	tb.Helper()
	tb.Fatalf("coretest: %v", event.ErrUnsupported)
	return nil
}

// Group is for Linux.
func (t *Test) Group() *core.Group { return nil }

// Stop is for Linux.
func (t *Test) Stop() error { return event.ErrUnsupported }

// Wait is for Linux.
func (t *Test) Wait() error { return event.ErrUnsupported }

// Events is for Linux.
func (t *Test) Events() []core.Event { return nil }

// Await is for Linux.
func (t *Test) Await(core.EventKind) core.Event { return core.Event{} }

// AwaitReady is for Linux.
func (t *Test) AwaitReady(int) {}

// Worker is for Linux.
func (t *Test) Worker(int) *core.Worker { return nil }

// Crash is for Linux.
func (t *Test) Crash(int) {}
