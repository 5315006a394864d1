package core

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"melon/core/event"
	"melon/core/fork"
	"melon/core/ipc"
)

// termTimeout is how long a worker may take to end after SIGTERM.
const termTimeout = time.Second

// A supervisor is the Run of the master.
type supervisor struct {
	engine
	group    *Group
	world    *outside
	slots    []*slot
	stopping bool
}

// A slot is the place of one worker: of the process that has it now, or of none while the next is waited for.
type slot struct {
	index   int
	backoff fork.Backoff
	process *process
	restart event.TimerID
}

// A process is a worker process, from its start to its end.
type process struct {
	*Worker
	supervisor *supervisor
	slot       *slot
	pidfd      int // -1 when it has ended
	channel    *channel
	started    time.Time
	deadline   event.TimerID // of its end; 0: it may live
}

func (g *Group) supervise(ctx context.Context, world *outside) error {
	if ctx.Err() != nil {
		return nil
	}
	s := &supervisor{group: g, world: world}
	if err := s.engine.open(); err != nil {
		return fmt.Errorf("core: %w", err)
	}
	defer s.engine.close()
	defer s.abandon()
	for i := range g.size() {
		s.slots = append(s.slots, &slot{index: i, backoff: g.Backoff})
	}
	for _, slot := range s.slots {
		if err := s.start(slot); err != nil {
			return fmt.Errorf("core: cannot start worker %d: %w", slot.index, err)
		}
	}
	defer context.AfterFunc(ctx, func() { s.post(s.stop) })()
	s.engine.run()
	return nil
}

// start starts a worker in an empty slot.
func (s *supervisor) start(slot *slot) error {
	started, err := s.world.start(slot.index)
	if err != nil {
		return err
	}
	p := &process{supervisor: s, slot: slot, pidfd: started.PIDFD, started: time.Now()}
	if p.channel, err = openChannel(&s.engine, started.Channel, s.group); err == nil {
		err = s.watch(p.pidfd, p.ended)
	}
	if err != nil { // no memory in the kernel for watching it
		_ = s.world.kill(p.pidfd, syscall.SIGKILL)
		s.await(p.pidfd)
		s.loop.Clear(started.Channel)
		_ = unix.Close(started.Channel)
		_ = unix.Close(p.pidfd)
		return err
	}
	p.Worker = &Worker{index: slot.index, pid: started.PID, queue: p.channel.queue}
	p.channel.handle = p.handle
	p.channel.ended = p.silent
	p.channel.written = func(bool) { p.channel.endWriting() }
	slot.process = p
	s.group.enlist(p.Worker)
	if s.group.Started != nil {
		s.group.Started(p.Worker)
	}
	return nil
}

// startAgain starts a worker after another one in the same slot has ended, or could not be started.
func (s *supervisor) startAgain(slot *slot) {
	slot.restart = 0
	if err := s.start(slot); err != nil {
		wait := slot.backoff.Failed(0)
		s.group.logger().Error("core: a worker cannot be started; it will be tried again", "worker", slot.index,
			"error", err, "wait", wait)
		slot.restart = s.after(wait, func() { s.startAgain(slot) })
	}
}

func (p *process) handle(f ipc.Frame) {
	if handler := p.supervisor.group.handlers[f.Type].Master; handler != nil {
		handler(p.Worker, f.Payload)
	}
}

// silent is called when no message will come from a worker any more. What is left for it to do is to end.
func (p *process) silent(err error) {
	s := p.supervisor
	if err != nil {
		s.group.logger().Error("core: what a worker sent cannot be understood; it is cut off", "worker", p.index,
			"pid", p.pid, "error", err)
	}
	s.group.strike(p.Worker)
	p.channel.close()
	p.endWithin(s.group.stopTimeout())
}

// endWithin sees to it that a worker ends, by signals if need be.
func (p *process) endWithin(timeout time.Duration) {
	if p.deadline != 0 || p.pidfd < 0 {
		return
	}
	s := p.supervisor
	p.deadline = s.after(timeout, func() {
		s.group.logger().Warn("core: a worker does not end; it is sent SIGTERM", "worker", p.index, "pid", p.pid,
			"timeout", timeout)
		_ = s.world.kill(p.pidfd, syscall.SIGTERM) // fails for a process that has ended
		p.deadline = s.after(termTimeout, func() {
			s.group.logger().Warn("core: a worker does not end on SIGTERM; it is killed", "worker", p.index, "pid", p.pid)
			_ = s.world.kill(p.pidfd, syscall.SIGKILL)
		})
	})
}

// ended is called when a worker's process has ended.
func (p *process) ended() {
	s := p.supervisor
	status, ended, err := s.world.reap(p.pidfd)
	if !ended && err == nil {
		return
	}
	s.group.strike(p.Worker)
	s.loop.Cancel(p.deadline)
	s.loop.Clear(p.pidfd)
	_ = unix.Close(p.pidfd)
	p.pidfd = -1
	p.channel.lastWords()
	p.channel.close()
	p.slot.process = nil
	lived := time.Since(p.started)
	if s.group.Ended != nil {
		s.group.Ended(p.Worker, status)
	}
	if s.stopping {
		s.finishIfEmpty()
		return
	}
	wait := p.slot.backoff.Failed(lived)
	s.group.logger().Warn("core: a worker ended; another takes its place", "worker", p.index, "pid", p.pid,
		"status", status.String(), "lived", lived, "wait", wait)
	if wait == 0 {
		s.startAgain(p.slot)
	} else {
		p.slot.restart = s.after(wait, func() { s.startAgain(p.slot) })
	}
}

// stop has every worker finish.
func (s *supervisor) stop() {
	s.stopping = true
	for _, slot := range s.slots {
		s.loop.Cancel(slot.restart)
		if p := slot.process; p != nil {
			p.endWithin(s.group.stopTimeout())
			p.channel.finish()
		}
	}
	s.finishIfEmpty()
}

func (s *supervisor) finishIfEmpty() {
	for _, slot := range s.slots {
		if slot.process != nil {
			return
		}
	}
	s.finished = true
}

// abandon leaves nothing behind where Run ends early: by an error at the start, or by a panic in a callback.
func (s *supervisor) abandon() {
	for _, slot := range s.slots {
		if p := slot.process; p != nil && p.pidfd >= 0 {
			_ = s.world.kill(p.pidfd, syscall.SIGKILL)
			s.await(p.pidfd)
			_ = unix.Close(p.pidfd)
			p.channel.close()
		}
	}
}

// await reaps a process that was killed.
func (s *supervisor) await(pidfd int) {
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(termTimeout/time.Millisecond))
		if err != unix.EINTR {
			_, _, _ = s.world.reap(pidfd)
			return
		}
	}
}
