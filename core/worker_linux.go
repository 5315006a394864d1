package core

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"melon/core/ipc"
	"melon/core/spawn"
)

// beats is how many signs of life a worker gives in the time after which it would be taken for hung.
const beats = 4

// A server is the Run of a worker.
type server struct {
	engine
	group    *Group
	master   *Master
	channel  *channel
	beat     time.Duration
	beaten   time.Time // when the last sign of life was given
	stopping bool
	result   error
}

func (g *Group) serve(ctx context.Context, in *spawn.Inheritance) error {
	for _, file := range in.Files { // that the program has not asked for
		_ = unix.Close(file.FD)
	}
	s := &server{group: g, master: &Master{index: in.Index, pid: in.Master, payload: in.Payload}, beat: in.Heartbeat / beats}
	if err := s.engine.open(); err != nil {
		_ = unix.Close(in.Channel)
		return fmt.Errorf("core: this worker cannot begin: %w", err)
	}
	defer s.engine.close()
	c, err := openChannel(&s.engine, in.Channel, g, &s.master.link_)
	if err != nil {
		_ = unix.Close(in.Channel)
		return fmt.Errorf("core: this worker cannot begin: %w", err)
	}
	defer func() {
		c.close()
		s.master.link_.calls.close()
		g.disconnect(&s.master.link_)
	}()
	s.channel = c
	c.handle = s.handle
	c.ended = s.ended
	c.deaf = s.unheard
	c.written = func(lost bool) {
		if lost && s.result == nil {
			s.result = ErrMasterGone
		}
		s.finished = true
	}
	g.enter(&s.engine, nil)
	g.connect(&s.master.link_)
	if g.Attached != nil {
		if err := g.Attached(s.master); err != nil {
			s.finished = true
			return err
		}
	}
	if !g.HoldReady {
		s.master.Ready()
	}
	if s.beat > 0 {
		s.giveSign()
		c.handled = s.stillAlive
	}
	defer context.AfterFunc(ctx, func() { s.post(s.stop) })()
	if err := s.engine.run(); err != nil {
		return err
	}
	return s.result
}

// giveSign gives a sign of life now and then.
func (s *server) giveSign() {
	s.beaten = time.Now()
	s.channel.queue.control(ipc.ControlBeat)
	s.after(s.beat, s.giveSign)
}

// stillAlive gives one where many messages are handled in one go, which keeps timers from being served.
func (s *server) stillAlive() {
	if now := time.Now(); now.Sub(s.beaten) >= s.beat {
		s.beaten = now
		s.channel.queue.control(ipc.ControlBeat)
		s.channel.write()
	}
}

func (s *server) handle(f ipc.Frame) bool {
	handler := s.group.handlers[f.Type].Worker
	if handler != nil {
		handler(s.master, f.Payload)
	}
	return handler != nil
}

// ended acts upon the end of what the master sends: after err, upon its death, or upon its wish to stop.
func (s *server) ended(err error) {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) && s.channel.hungUp(): // it was killed
		s.result = ErrMasterGone
		s.finished = true
	case err != nil:
		s.result = fmt.Errorf("core: this worker is cut off from its master: %w", err)
		s.finished = true
	case s.channel.hungUp():
		s.result = ErrMasterGone
		s.finished = true
	default:
		s.stop()
	}
}

// unheard ends a worker that can tell its master nothing any more. The master starts another.
func (s *server) unheard(err error) {
	s.result = fmt.Errorf("core: nothing can be sent to the master: %w", err)
	s.finished = true
}

// stop has the requests that are being handled answered, sends what is queued and ends Run.
func (s *server) stop() {
	if s.stopping || s.finished {
		return
	}
	s.stopping = true
	s.after(s.group.stopTimeout(), func() { s.finished = true })
	s.channel.stopReading()
	s.channel.write() // goes on waiting for the master to read, if it did
	calls := &s.master.link_.calls
	calls.hangUp()
	calls.whenIdle(func() { s.post(s.channel.finish) })
}
