package core

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"melon/core/fork"
	"melon/core/spawn"
)

// outside is everything that a group does to the world beyond its process, so that tests can put something else in its
// place.
type outside struct {
	inherit func() (in spawn.Inheritance, worker bool, err error)
	start   func(index int) (spawn.Process, error)
	reap    func(pidfd int) (status fork.Status, ended bool, err error)
	kill    func(pidfd int, signal syscall.Signal) error
}

func system() *outside {
	return &outside{
		inherit: spawn.Inherit,
		start:   spawn.Start,
		reap:    fork.Reap,
		kill: func(pidfd int, signal syscall.Signal) error {
			return unix.PidfdSendSignal(pidfd, signal, nil, 0)
		},
	}
}

func (g *Group) run(ctx context.Context) error {
	world := g.outside
	if world == nil {
		world = system()
	}
	in, worker, err := world.inherit()
	switch {
	case errors.Is(err, spawn.ErrInherited):
		return ErrWorker
	case errors.Is(err, spawn.ErrOrphan):
		return ErrMasterGone
	case err != nil:
		return fmt.Errorf("core: this worker cannot begin: %w", err)
	case worker:
		return g.serve(ctx, in)
	}
	return g.supervise(ctx, world)
}
