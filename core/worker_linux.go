package core

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"melon/core/ipc"
	"melon/core/spawn"
)

// A server is the Run of a worker.
type server struct {
	engine
	group    *Group
	master   *Master
	channel  *channel
	stopping bool
	result   error
}

func (g *Group) serve(ctx context.Context, in spawn.Inheritance) error {
	s := &server{group: g}
	if err := s.engine.open(); err != nil {
		_ = unix.Close(in.Channel)
		return fmt.Errorf("core: this worker cannot begin: %w", err)
	}
	defer s.engine.close()
	c, err := openChannel(&s.engine, in.Channel, g)
	if err != nil {
		_ = unix.Close(in.Channel)
		return fmt.Errorf("core: this worker cannot begin: %w", err)
	}
	defer c.close()
	s.channel = c
	s.master = &Master{index: in.Index, pid: in.Master, queue: c.queue}
	c.handle = s.handle
	c.ended = s.ended
	c.written = func(lost bool) {
		if lost {
			s.result = ErrMasterGone
		}
		s.finished = true
	}
	if g.Attached != nil {
		g.Attached(s.master)
	}
	defer context.AfterFunc(ctx, func() { s.post(s.stop) })()
	s.engine.run()
	return s.result
}

func (s *server) handle(f ipc.Frame) {
	if handler := s.group.handlers[f.Type].Worker; handler != nil {
		handler(s.master, f.Payload)
	}
}

// ended acts upon the end of what the master sends: after err, upon its death, or upon its wish to stop.
func (s *server) ended(err error) {
	switch {
	case err != nil:
		s.result = fmt.Errorf("core: what the master sent cannot be understood: %w", err)
		s.finished = true
	case s.channel.hungUp():
		s.result = ErrMasterGone
		s.finished = true
	default:
		s.stop()
	}
}

// stop sends what is queued and ends Run.
func (s *server) stop() {
	if s.stopping || s.finished {
		return
	}
	s.stopping = true
	s.after(s.group.stopTimeout(), func() { s.finished = true })
	s.channel.stopReading()
	s.channel.finish()
}
