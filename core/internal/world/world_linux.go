// Package world is what a group of processes does to the world beyond its own process, so that tests, also those of users,
// can put something else in its place.
package world

import (
	"io"
	"syscall"

	"melon/core/fork"
	"melon/core/spawn"
)

// A World starts processes and ends them.
type World struct {
	IsWorker func() bool
	Inherit  func() (in spawn.Inheritance, worker bool, err error)
	Start    func(spec spawn.Spec) (spawn.Process, error)
	Reap     func(pidfd int) (status fork.Status, ended bool, err error)
	Kill     func(pidfd int, signal syscall.Signal) error // an error says that the kernel refuses it, and not that the process has ended

	// Refuse, if it is set, is asked before each system call on a channel, "send", "read", "shutdown" or "watch", and the error that
	// it returns is taken for the kernel's, which hardly ever refuses these.
	Refuse func(call string) error

	// Opened is told of each listener and file that a group has handed to the program, if it is set.
	Opened func(c io.Closer)
}

// Real is the one that there is.
func Real() *World {
	return &World{
		IsWorker: spawn.IsWorker,
		Inherit:  spawn.Inherit,
		Start:    spawn.Start,
		Reap:     fork.Reap,
		Kill:     fork.Send,
	}
}

// Attach makes a *core.Group act upon another world. Package core sets it; a group has no public way to do so.
var Attach func(group any, w *World)
