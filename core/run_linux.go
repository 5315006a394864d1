package core

import (
	"context"
	"errors"
	"fmt"

	"melon/core/internal/world"
	"melon/core/spawn"
)

// platform is what a group has where it can run.
type platform struct {
	outside   *world.World       // nil: the real one, until it is needed
	files     []spawn.File       // what workers inherit
	inherited *spawn.Inheritance // in a worker, as soon as it was asked for
	loop      *engine            // while Run runs
	master    *supervisor        // while Run runs in the master
}

func init() {
	world.Attach = func(group any, w *world.World) { group.(*Group).outside = w }
}

// IsWorker reports whether Run of this group is, or was, that of a worker. It differs from the function [IsWorker] only in
// tests with package [melon/core/coretest], whose workers are goroutines. It is called by one goroutine at a time before Run.
func (g *Group) IsWorker() bool { return g.inherited != nil || g.world().IsWorker() }

func (g *Group) world() *world.World {
	if g.outside == nil {
		g.outside = world.Real()
	}
	return g.outside
}

// inherit finds out whether this process is a worker, and what it was given.
func (g *Group) inherit() (in *spawn.Inheritance, worker bool, err error) {
	if g.inherited != nil {
		return g.inherited, true, nil
	}
	found, worker, err := g.world().Inherit()
	switch {
	case errors.Is(err, spawn.ErrInherited):
		return nil, true, ErrWorker
	case errors.Is(err, spawn.ErrOrphan):
		return nil, true, ErrMasterGone
	case err != nil:
		return nil, true, fmt.Errorf("core: this worker cannot begin: %w", err)
	case worker:
		g.inherited = &found
		return g.inherited, true, nil
	}
	return nil, false, nil
}

func (g *Group) run(ctx context.Context) error {
	in, worker, err := g.inherit()
	switch {
	case err != nil:
		return err
	case worker && in.Channel < 0:
		return ErrWorker
	case worker:
		g.inherited = &spawn.Inheritance{Channel: -1} // Run is called once in a worker
		return g.serve(ctx, in)
	}
	return g.supervise(ctx)
}

// enter makes the loop, and the supervisor if there is one, known to other goroutines.
func (g *Group) enter(e *engine, s *supervisor) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.loop, g.master, g.past = e, s, GroupStats{}
}

// retire is the opposite of enter. The caller holds the lock.
func (g *Group) retire() {
	if g.loop != nil {
		g.past.Iterations, g.past.HandlerTime = g.loop.totals()
	}
	g.loop, g.master = nil, nil
}

// inMaster has something done by the supervisor, on the goroutine of Run.
func (g *Group) inMaster(do func(s *supervisor)) (*supervisor, error) {
	g.mu.Lock()
	s := g.master
	g.mu.Unlock()
	if s == nil {
		return nil, ErrClosed
	}
	s.post(func() {
		do(s)
		s.drive()
	})
	return s, nil
}
