package core

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"melon/core/event"
	"melon/core/fork"
	"melon/core/internal/world"
	"melon/core/ipc"
	"melon/core/spawn"
)

// A supervisor is the Run of the master. What is to be done with workers is decided by its machine; it does it.
type supervisor struct {
	engine
	group   *Group
	world   *world.World
	machine *fork.Supervisor
	places  []*fork.Place // of the workers of this program, by their number

	processes []*process     // that live
	rolls     []chan<- error // of those who wait for workers to be replaced
	begun     bool           // the first workers were started
	result    error
	ended     chan struct{} // closed when Run returns
	driving   bool
}

// A seat is what a place is to its owner.
type seat struct {
	index   int
	program *Program
	taken   bool  // by a worker that ended, or could not be started, before
	err     error // why the last start failed, if it did
}

// A process is a worker process, from its start to its end.
type process struct {
	*Worker
	supervisor *supervisor
	life       *fork.Process
	pidfd      int
	channel    *channel
	timer      event.TimerID // the last one that was armed
	lost       error         // why nothing can be sent to it, if that is so
	reaped     bool
	refusal    error // why it is not reaped
}

func (g *Group) supervise(ctx context.Context) error {
	defer g.closeFiles()
	if ctx.Err() != nil {
		return nil
	}
	s := &supervisor{group: g, world: g.world(), ended: make(chan struct{})}
	if err := s.engine.open(); err != nil {
		return fmt.Errorf("core: %w", err)
	}
	defer s.engine.close()
	defer close(s.ended)
	defer s.abandon()
	s.machine = fork.NewSupervisor(g.policy(), time.Now, rand.Float64)
	g.enter(&s.engine, s)
	s.resize(g.size())
	for i := range g.Programs {
		program := &g.Programs[i]
		p := s.machine.Add(fork.Role{Once: program.Once, Mute: !program.Reports})
		p.Place().Owner = &seat{index: i, program: program}
	}
	s.drive()
	s.begun = true
	defer context.AfterFunc(ctx, func() { s.post(s.stop) })()
	if err := s.engine.run(); err != nil {
		return err
	}
	return s.result
}

func (s *supervisor) stop() {
	s.machine.Stop()
	s.drive()
}

// resize changes the number of workers of this program.
func (s *supervisor) resize(n int) {
	if s.machine.Stopping() {
		return
	}
	for len(s.places) > n {
		last := len(s.places) - 1
		s.machine.Remove(s.places[last])
		s.places = s.places[:last]
	}
	for len(s.places) < n {
		p := s.machine.Add(fork.Role{})
		p.Place().Owner = &seat{index: len(s.places)}
		s.places = append(s.places, p.Place())
	}
}

// roll replaces all workers, and tells the result.
func (s *supervisor) roll(result chan<- error) {
	s.rolls = append(s.rolls, result)
	s.machine.Roll()
}

func (s *supervisor) rolled(err error) {
	for _, result := range s.rolls {
		result <- err
	}
	s.rolls = nil
}

// drive does what the machine orders. It is called after each call of the machine that may make it order something.
func (s *supervisor) drive() {
	if s.driving {
		return // the orders are taken further up the stack
	}
	s.driving = true
	defer func() { s.driving = false }()
	for order, ok := s.machine.Next(); ok; order, ok = s.machine.Next() {
		var p *process
		if order.Process != nil {
			p, _ = order.Process.Owner.(*process)
		}
		switch order.Do {
		case fork.Start:
			s.start(order.Process)
		case fork.Drain:
			p.channel.finish()
		case fork.Kill:
			p.signal(order.Signal)
		case fork.Look:
			if !p.reaped { // and its last words are still to come
				p.exited()
			}
		case fork.Arm:
			s.arm(order.Process, order.After)
		case fork.Tell:
			s.tell(&order, p)
		case fork.Done:
			s.finished = true
		}
	}
}

// arm has a time reported to the machine, and no other that was armed before for the same process.
func (s *supervisor) arm(life *fork.Process, after time.Duration) {
	timer := s.after(after, func() {
		if p, _ := life.Owner.(*process); p != nil && p.channel.pending() {
			// This process may have been stopped itself: what came meanwhile came in time.
			p.channel.read()
			s.machine.Sign(life)
		}
		s.machine.Expired(life)
		s.drive()
	})
	if p, _ := life.Owner.(*process); p != nil {
		s.loop.Cancel(p.timer)
		p.timer = timer
	}
}

// start starts a worker.
func (s *supervisor) start(life *fork.Process) {
	p, err := s.launch(life)
	if err == nil {
		life.Owner = p
		s.processes = append(s.processes, p)
		s.group.enlist(p.Worker)
		s.machine.Started(life)
		return
	}
	if !s.begun && s.result == nil {
		seat := life.Place().Owner.(*seat)
		s.result = fmt.Errorf("core: cannot start %s: %w", name(seat.index, seat.program), err)
		s.machine.Stop()
	}
	s.machine.Failed(life, err)
}

func (s *supervisor) launch(life *fork.Process) (*process, error) {
	seat := life.Place().Owner.(*seat)
	spec, err := s.specOf(seat)
	if err != nil {
		return nil, err
	}
	started, err := s.world.Start(spec)
	if err != nil {
		return nil, err
	}
	w := &Worker{index: seat.index, pid: started.PID, program: seat.program}
	p := &process{Worker: w, supervisor: s, life: life, pidfd: started.PIDFD}
	if p.channel, err = openChannel(&s.engine, started.Channel, s.group, &w.link_); err == nil {
		err = s.watch(p.pidfd, p.exited)
	}
	if err != nil { // no memory in the kernel for watching it
		p.endNow()
		s.loop.Clear(started.Channel)
		_ = unix.Close(started.Channel)
		_ = unix.Close(p.pidfd)
		return nil, err
	}
	p.channel.handle = p.handle
	p.channel.ended = p.silent
	p.channel.deaf = p.deaf
	p.channel.written = func(bool) { p.askToEnd() }
	if s.group.Heartbeat > 0 {
		p.channel.arrived = func() { s.machine.Sign(life) }
	}
	return p, nil
}

func (s *supervisor) specOf(seat *seat) (spawn.Spec, error) {
	g := s.group
	if seat.program == nil {
		spec := spawn.Spec{Index: seat.index, Args: g.Args, Files: g.files, Heartbeat: g.Heartbeat}
		if g.Payload != nil {
			spec.Payload = g.Payload(seat.index)
		}
		return spec, nil
	}
	path, err := exec.LookPath(seat.program.Path)
	if err == nil && seat.program.Dir != "" {
		path, err = filepath.Abs(path) // the new process changes its directory before it looks for the file
	}
	if err != nil {
		return spawn.Spec{}, err
	}
	spec := spawn.Spec{Index: seat.index, Path: path, Args: seat.program.Args, Env: seat.program.Env, Dir: seat.program.Dir}
	if seat.program.Reports {
		spec.Heartbeat = g.Heartbeat
	}
	return spec, nil
}

// tell reports an event of the group, and acts upon it.
func (s *supervisor) tell(o *fork.Order, p *process) {
	e := Event{Kind: EventKind(o.Event), Status: o.Status, Asked: o.Asked, Lived: o.Lived, Wait: o.After, Signal: o.Signal, Err: o.Err}
	var place *seat
	if o.Process != nil {
		place = o.Process.Place().Owner.(*seat)
		e.Index, e.Program = place.index, place.program
	}
	if p != nil {
		e.Worker = p.Worker
	}
	switch o.Event {
	case fork.Draining:
		if p.channel.closed {
			return // nobody asked it: it has closed its channel, most likely since it is dying
		}
		s.group.strike(p.Worker)
		e.Err = p.lost
	case fork.Held:
		e.Err = fork.WhyHeld(p.pid, p.refusal)
	case fork.StartFailed:
		place.err = o.Err
	case fork.Started:
		place.err = nil
		s.group.count(func(past *GroupStats) {
			past.Starts++
			if place.taken {
				past.Restarts++
				place.taken = false
			}
		})
	case fork.Restarting:
		place.taken = true
	case fork.Exited:
		s.bury(p)
	case fork.BudgetSpent:
		e.Err = place.err
		s.result = &BudgetError{s.group.Budget, e.Index, e.Program, o.Status, e.Err}
	case fork.Rolled:
		s.rolled(nil)
	case fork.RollFailed:
		if p == nil && place != nil {
			e.Err = place.err
		}
		s.rolled(s.notReplaced(&e))
	}
	s.group.report(e)
}

func (s *supervisor) notReplaced(e *Event) error {
	switch {
	case e.Err != nil:
		return fmt.Errorf("%w: a new one could not be started: %w", ErrNotReplaced, e.Err)
	case e.Worker != nil:
		return fmt.Errorf("%w: the new %v %v before it was ready", ErrNotReplaced, e.Worker, e.Status)
	}
	return ErrClosed // the group stops
}

func (p *process) handle(f ipc.Frame) bool {
	if f.Type == ipc.Control {
		if len(f.Payload) == 1 && f.Payload[0] == ipc.ControlReady {
			p.supervisor.machine.Ready(p.life)
			p.supervisor.drive()
		}
		return true
	}
	handler := p.supervisor.group.handlers[f.Type].Master
	if handler != nil {
		handler(p.Worker, f.Payload)
	}
	return handler != nil
}

// silent is called when no message will come from a worker any more. What is left for it to do is to end.
func (p *process) silent(err error) {
	s := p.supervisor
	if err != nil {
		p.complain("core: a worker is cut off", err)
	}
	p.close()
	s.machine.End(p.life)
	s.drive()
}

// deaf is called when a worker can be told nothing any more, and may live on. It is asked to end, and made to: nobody would ever see an
// end of that.
func (p *process) deaf(err error) {
	s := p.supervisor
	p.complain("core: nothing can be sent to a worker; it is to end", err)
	p.lost = err
	s.machine.End(p.life)
	s.drive()
}

// askToEnd is called when everything was sent that a worker that is to end should get.
func (p *process) askToEnd() {
	if p.channel.closed {
		return
	}
	s := p.supervisor
	switch err := p.channel.endWriting(); {
	case err == nil:
	case scarce(err), err == unix.EINTR:
		s.after(event.RetryAfter, p.askToEnd)
	default:
		p.complain("core: a worker cannot be asked to end", err)
		s.machine.Unreachable(p.life)
		s.drive()
	}
}

// signal sends the worker a signal. One that may not even be killed is left to itself.
func (p *process) signal(signal syscall.Signal) {
	s := p.supervisor
	switch err := s.world.Kill(p.pidfd, signal); {
	case err == nil:
	case s.machine.Refused(p.life):
		p.complain(leftToItself, err)
		s.loop.Clear(p.pidfd)
		p.gone(fork.Status{Left: true})
	default:
		p.complain("core: a worker cannot be sent a signal", err)
	}
}

const leftToItself = "core: a worker cannot be killed, and is left to itself"

// complain logs what is wrong with a worker.
func (p *process) complain(what string, err error) {
	p.supervisor.group.log(slog.LevelError, what, "worker", p.index, "pid", p.pid, "error", err)
}

// close ends the channel.
func (p *process) close() {
	p.supervisor.group.strike(p.Worker)
	p.channel.close()
	p.link_.calls.close()
}

// exited is called when a worker's process has ended, or may have.
func (p *process) exited() {
	s := p.supervisor
	status, ended, err := s.world.Reap(p.pidfd)
	if !ended && err == nil && s.machine.Lives(p.life) {
		s.drive()
		return
	}
	s.group.strike(p.Worker)
	s.loop.Clear(p.pidfd)
	if !ended && err != unix.EBADF {
		p.refusal = err
		if s.machine.Held(p.life) {
			s.drive()
			return
		}
		status.Held = true
	}
	p.reaped = true
	p.gone(status)
}

// gone is called when a worker's process was reaped, or is given up or left to itself.
func (p *process) gone(status fork.Status) {
	s := p.supervisor
	if !p.channel.lastWords() {
		s.after(event.RetryAfter, func() { p.gone(status) })
		return
	}
	s.machine.Exited(p.life, status)
	s.drive()
}

// bury leaves nothing of a process that has ended.
func (s *supervisor) bury(p *process) {
	s.loop.Cancel(p.timer) // or it would hold the buffers of the channel until it expires
	for i := range s.processes {
		if s.processes[i] == p {
			s.processes = append(s.processes[:i], s.processes[i+1:]...)
			break
		}
	}
	_ = unix.Close(p.pidfd)
	p.pidfd = -1
	p.close()
	s.group.disconnect(&p.link_)
}

// abandon leaves nothing behind where Run ends early: by a panic in a callback, or because the loop cannot go on.
func (s *supervisor) abandon() {
	for len(s.processes) > 0 {
		p := s.processes[0]
		p.endNow()
		s.bury(p)
	}
	s.rolled(ErrClosed)
}

// endNow kills a worker and reaps it. One that another process traces can be reaped when that lets go, mostly at once; nobody waits for
// one that may not be killed.
func (p *process) endNow() {
	patience := time.Second
	if err := p.supervisor.world.Kill(p.pidfd, syscall.SIGKILL); err != nil {
		p.complain(leftToItself, err)
		patience = 0
	}
	for give := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}, int(patience.Milliseconds()))
		if _, ended, _ := p.supervisor.world.Reap(p.pidfd); ended || time.Now().After(give) {
			return
		}
	}
}
