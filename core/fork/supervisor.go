package fork

import (
	"syscall"
	"time"
)

// Policy says how a [Supervisor] treats workers.
type Policy struct {
	// Backoff says how long to wait before a worker that ended unasked is replaced.
	Backoff Backoff
	// Budget ends the group when too many workers fail.
	Budget Budget
	// StartTimeout is how long a worker may take from its start until it is ready; 0 means as long as it likes.
	StartTimeout time.Duration
	// Heartbeat is how long a worker that is ready may give no sign of life; 0 means as long as it likes.
	Heartbeat time.Duration
	// AbortTimeout is how long a worker that hangs may take to end upon SIGABRT, before it is killed.
	AbortTimeout time.Duration
	// DrainTimeout is how long a worker may take to end when it was asked to, before it is sent SIGTERM.
	DrainTimeout time.Duration
	// TermTimeout is how long it may take to end upon SIGTERM, before it is killed.
	TermTimeout time.Duration
}

// Budget is how many failures a group may have in how much time. A failure is the end of a worker that nobody asked to
// end, or a start that did not succeed. One more than Failures within the time Within ends the group. The zero value sets
// no limit.
type Budget struct {
	Failures int
	Within   time.Duration
}

// A Supervisor decides which worker processes are to be started, asked to end and killed, and when. It does nothing
// itself: its owner reports what happens by calling its methods, and carries out what [Supervisor.Next] tells. It knows
// the time, and chance, from what it was made with only, so that a test can run it through years in a moment.
//
// It is used by one goroutine at a time.
type Supervisor struct {
	policy Policy
	now    func() time.Time
	random func() float64

	places  []*Place
	orders  []Order
	living  int // processes that were started and have not ended
	births  uint64
	failed  []time.Time // the last failures, as many as the budget counts
	stopped bool
	done    bool

	rolling   bool
	older     uint64   // those born up to here are replaced
	successor *Process // which is coming up
	retired   *Process // which it, or the one before, has replaced
}

// NewSupervisor returns a supervisor without workers. The function random returns numbers from 0 up to 1.
func NewSupervisor(policy Policy, now func() time.Time, random func() float64) *Supervisor {
	return &Supervisor{policy: policy, now: now, random: random}
}

// A Place is what one worker after the other has: a number, and a history of failures.
type Place struct {
	// Owner is for the owner of the supervisor.
	Owner any

	role      Role
	backoff   Backoff
	current   *Process // nil: the place is given up
	successor *Process // takes over as soon as it is ready
	stale     bool     // nobody who was started since the call of Roll has been ready here
}

// Role is what is particular to the workers of a place.
type Role struct {
	// Once means that nobody takes the place of a worker that has ended.
	Once bool
	// Mute means that the worker does not say when it is ready, and gives no signs of life: it is ready once it was started.
	Mute bool
}

// A Process is one worker: from the decision to start it to its end.
type Process struct {
	// Owner is for the owner of the supervisor.
	Owner any

	place    *Place
	state    state
	unwanted bool // its end was decided here, and is not a failure
	born     uint64
	began    time.Time
	sign     time.Time     // the last sign of life
	died     time.Time     // when it was killed, or seen to have ended, if it could not be reaped then
	pause    time.Duration // before it is looked at again
	deadline time.Time
}

// Place returns the place of the process.
func (p *Process) Place() *Place { return p.place }

// Current reports whether the process has its place: it does not while it is still to take it over from another, and when
// another has done so.
func (p *Process) Current() bool { return p.place.current == p }

type state uint8

const (
	waiting    state = iota // is started at its deadline
	starting                // its owner starts it
	alive                   // is to be ready by its deadline
	ready                   // is to have given a sign of life by its deadline
	silent                  // its channel has ended; at its deadline it is looked at whether it has, too
	ending                  // was asked to end, and is sent SIGTERM at its deadline
	terminated              // was sent SIGTERM, and is killed at its deadline
	aborted                 // was sent SIGABRT, and is killed at its deadline
	killed                  // was sent SIGKILL, and is looked at likewise
	held                    // cannot be reaped, mostly since it has ended and another process traces it; is looked at likewise
	gone
)

// An Order is something for the owner of a supervisor to do.
type Order struct {
	Do      Do
	Process *Process
	Signal  syscall.Signal // of Kill
	After   time.Duration  // of Arm; of Tell, where Event is Restarting: the wait
	Event   Event          // of Tell
	Status  Status         // of Tell, where Event is Exited, RollFailed or BudgetSpent
	Err     error          // of Tell, where Event is StartFailed: as given to Failed
	Lived   time.Duration  // of Tell, where Event is Exited or Restarting
	Asked   bool           // of Tell, where Event is Exited: it was asked to end
}

// Do is what an [Order] asks for.
type Do uint8

const (
	// Start starts the process. Started or Failed is called then, at once or later.
	Start Do = iota + 1
	// Drain tells the process to end: it gets what is queued for it, and the end of its channel.
	Drain
	// Kill sends it a signal. It may have ended meanwhile; see Refused for one that may not be sent a signal.
	Kill
	// Look has Reap called for the process, also if nothing says that it has ended; see Lives and Held.
	Look
	// Arm has Expired called for the process after some time, in place of what was armed for it before.
	Arm
	// Tell is for whoever watches the group.
	Tell
	// Done ends the group: it was stopped, or spent its budget, and its last process has ended.
	Done
)

// Event is what happened to a group.
type Event uint8

const (
	Started     Event = iota + 1 // a process was started
	Ready                        // it is ready
	Exited                       // it has ended
	StartFailed                  // it could not be started
	Restarting                   // another will take the place of one that ended or could not be started, after a wait
	Draining                     // it was asked to end
	Unready                      // it was not ready in time
	Hung                         // it gave no sign of life
	Signalled                    // it was sent SIGTERM or SIGKILL, for it did not end
	Rolled                       // in each place that was there at the call of Roll, a worker that was started since is ready, or was
	RollFailed                   // the rest of them are not replaced: the new one ended, or the group stops
	BudgetSpent                  // there were too many failures, and the group stops
	Held                         // it cannot be reaped, mostly since it has ended and another process traces it
)

// Next returns the next thing to do, in the order of decision; false means that there is nothing.
func (s *Supervisor) Next() (Order, bool) {
	for len(s.orders) > 0 {
		order := s.orders[0]
		if s.orders = s.orders[1:]; len(s.orders) == 0 {
			s.orders = nil
		}
		if order.Do == Start && order.Process.unwanted {
			s.ended(order.Process, Status{}, 0) // not needed any more
			continue
		}
		return order, true
	}
	return Order{}, false
}

// Pending reports whether Next will tell something.
func (s *Supervisor) Pending() bool { return len(s.orders) > 0 }

func (s *Supervisor) order(o Order) { s.orders = append(s.orders, o) }

func (s *Supervisor) tell(event Event, p *Process) {
	s.order(Order{Do: Tell, Event: event, Process: p})
}

// Policy returns what the supervisor was made with.
func (s *Supervisor) Policy() Policy { return s.policy }

// Living returns how many processes were started and have not ended.
func (s *Supervisor) Living() int { return s.living }

// Stopping reports whether the group is on its way to its end.
func (s *Supervisor) Stopping() bool { return s.stopped }

// Rolling reports whether workers are being replaced after a call of Roll.
func (s *Supervisor) Rolling() bool { return s.rolling }

// ---- places ----

// Add makes a place, and has a worker started there.
func (s *Supervisor) Add(role Role) *Process {
	p := s.place(role)
	if s.stopped {
		p.state = gone
	} else {
		s.launch(p)
	}
	return p
}

// Adopt makes a place for a worker that was started already. Once the group is on its way to its end, the worker is asked
// to end, too.
func (s *Supervisor) Adopt(role Role) *Process {
	p := s.place(role)
	p.unwanted = s.stopped
	s.birth(p)
	s.Started(p)
	return p
}

func (s *Supervisor) place(role Role) *Process {
	place := &Place{role: role, backoff: s.policy.Backoff}
	s.places = append(s.places, place)
	place.current = &Process{place: place}
	return place.current
}

// Remove gives up a place. The worker there is asked to end.
func (s *Supervisor) Remove(place *Place) {
	s.forgetPlace(place)
	held := []*Process{place.current, place.successor}
	place.current, place.successor = nil, nil
	for _, p := range held {
		if p == nil {
			continue
		}
		s.dismiss(p)
		if p == s.successor {
			s.successor = nil
			s.roll()
		}
	}
}

func (s *Supervisor) forgetPlace(place *Place) {
	for i := range s.places {
		if s.places[i] == place {
			s.places = append(s.places[:i], s.places[i+1:]...)
			return
		}
	}
}

// Stop ends the group: every worker is asked to end, and nobody takes its place.
func (s *Supervisor) Stop() {
	if s.stopped {
		return
	}
	s.stopped = true
	for _, place := range s.places {
		for _, p := range []*Process{place.current, place.successor} {
			if p != nil {
				s.dismiss(p)
			}
		}
	}
	s.failRoll(nil, Status{})
	s.finish()
}

func (s *Supervisor) finish() {
	if s.stopped && s.living == 0 && !s.done {
		s.done = true
		s.order(Order{Do: Done})
	}
}

// ---- the life of a process ----

// launch has a process started now.
func (s *Supervisor) launch(p *Process) {
	s.birth(p)
	p.deadline = time.Time{} // if it was waiting for that
	s.order(Order{Do: Start, Process: p})
}

func (s *Supervisor) birth(p *Process) {
	s.births++
	s.living++
	p.state, p.born = starting, s.births
}

func (s *Supervisor) arm(p *Process, after time.Duration) {
	p.deadline = s.now().Add(after)
	s.order(Order{Do: Arm, Process: p, After: after})
}

// Started says that a process was started, as ordered. It is to be ready next.
func (s *Supervisor) Started(p *Process) {
	if p.state != starting {
		return
	}
	p.state, p.began = alive, s.now()
	s.tell(Started, p)
	switch {
	case p.unwanted:
		s.End(p)
	case p.place.role.Mute:
		s.Ready(p)
	case s.policy.StartTimeout > 0:
		s.arm(p, s.policy.StartTimeout)
	}
}

// Failed says that a process could not be started.
func (s *Supervisor) Failed(p *Process, err error) {
	if p.state != starting {
		return
	}
	s.order(Order{Do: Tell, Event: StartFailed, Process: p, Err: err})
	s.ended(p, Status{}, 0)
}

// Ready says that a process is ready.
func (s *Supervisor) Ready(p *Process) {
	if p.state != alive {
		return
	}
	p.state, p.deadline = ready, time.Time{}
	s.tell(Ready, p)
	if p.born > s.older {
		p.place.stale = false
	}
	if s.policy.Heartbeat > 0 && !p.place.role.Mute {
		s.Sign(p)
		s.arm(p, s.policy.Heartbeat)
	}
	if p.place.successor == p {
		s.retired = p.place.current
		p.place.current, p.place.successor = p, nil
		s.dismiss(s.retired)
	}
	if p == s.successor {
		s.successor = nil
		s.roll()
	}
}

// Sign says that a process gave a sign of life.
func (s *Supervisor) Sign(p *Process) {
	if s.policy.Heartbeat > 0 {
		p.sign = s.now()
	}
}

// Silent says that the channel of a process has ended, which may live on: it is left alone. Its owner is to learn of its end all the
// same, which is not reported where another process traces one of its threads. One that has a time in which it must give a sign of life
// is made to end when that is over.
func (s *Supervisor) Silent(p *Process) {
	if (p.state == alive || p.state == ready) && p.deadline.IsZero() {
		p.state, p.pause = silent, firstPause
		s.lookLater(p)
	}
}

// End asks a process to end, because it is of no use any more. Another takes its place when it has.
func (s *Supervisor) End(p *Process) {
	if p.state != alive && p.state != ready && p.state != silent {
		return
	}
	p.state = ending
	s.tell(Draining, p)
	s.order(Order{Do: Drain, Process: p})
	s.arm(p, s.policy.DrainTimeout)
}

// dismiss has a process end for good.
func (s *Supervisor) dismiss(p *Process) {
	p.unwanted = true
	switch p.state {
	case waiting:
		p.state = gone
	case starting: // it is asked to end as soon as it can be, or not started at all
	default:
		s.End(p)
	}
}

// abort ends a process that hangs, by a signal that makes it leave a trace.
func (s *Supervisor) abort(p *Process, why Event) {
	p.state = aborted
	s.tell(why, p)
	s.order(Order{Do: Kill, Process: p, Signal: syscall.SIGABRT})
	s.arm(p, s.policy.AbortTimeout)
}

// Expired says that the time that was armed for a process has passed. A sign of life that has arrived and was not reported
// yet is reported first: the owner may have been stopped itself.
func (s *Supervisor) Expired(p *Process) {
	if p.deadline.IsZero() || s.now().Before(p.deadline) {
		return // not armed any more, or armed anew
	}
	p.deadline = time.Time{}
	switch p.state {
	case waiting:
		s.launch(p)
	case alive:
		s.abort(p, Unready)
	case ready:
		if left := s.policy.Heartbeat - s.now().Sub(p.sign); left > 0 {
			s.arm(p, left)
		} else {
			s.abort(p, Hung)
		}
	case ending:
		s.terminate(p)
	case terminated, aborted:
		p.state, p.died, p.pause = killed, s.now(), firstPause
		s.lookLater(p)
		s.signal(p, syscall.SIGKILL)
	case silent, killed, held:
		s.order(Order{Do: Look, Process: p})
	}
}

// Unreachable says that a process could not be told to end, as Drain had ordered. It is sent SIGTERM at once.
func (s *Supervisor) Unreachable(p *Process) {
	if p.state == ending {
		s.terminate(p)
	}
}

func (s *Supervisor) terminate(p *Process) {
	p.state = terminated
	s.signal(p, syscall.SIGTERM)
	s.arm(p, s.policy.TermTimeout)
}

func (s *Supervisor) signal(p *Process, signal syscall.Signal) {
	s.order(Order{Do: Tell, Event: Signalled, Process: p, Signal: signal})
	s.order(Order{Do: Kill, Process: p, Signal: signal})
}

// Refused says that the kernel did not let a signal be sent, as Kill had ordered. It reports whether the process is left to itself,
// since it may not even be killed: Exited is called then, with a status that is Left, so that nobody waits for its end.
func (s *Supervisor) Refused(p *Process) (left bool) { return p.state == killed }

// The pauses between attempts to reap a process whose end is not reported, or that another one traces. They double: a tracer that
// watches, such as strace, lets go at once, and one that does not must not cost anything.
const (
	firstPause   = 10 * time.Millisecond
	longestPause = time.Second
)

// killPatience is how long a process may take to end upon SIGKILL. That depends on how busy the host is, and on nothing that is set.
const killPatience = 4 * time.Second

func (s *Supervisor) lookLater(p *Process) {
	s.arm(p, p.pause)
	p.pause = min(2*p.pause, longestPause)
}

// Lives says that a process runs, as [Reap] has told. It reports whether there is nothing else to do, until it has ended or Look is
// ordered. Otherwise Held is called.
func (s *Supervisor) Lives(p *Process) bool {
	if p.state != silent && (p.state != killed || s.now().Sub(p.died) >= killPatience) {
		return false
	}
	s.lookLater(p)
	return true
}

// Held says that a process has ended, and that [Reap] does not reap it, because another process traces it; or that it does not even end by
// SIGKILL. It reports whether that is to be tried again: when Look is ordered. Otherwise Exited is called, with a status that is Held.
//
// A process that has its place keeps it, so that no more than one for each can be made to stay. Nobody waits for one that was
// to end anyway.
func (s *Supervisor) Held(p *Process) bool {
	switch p.state {
	case alive, ready, silent, ending, terminated, aborted, killed:
		p.state, p.died, p.pause = held, s.now(), firstPause
	case held:
	default:
		return false
	}
	again := p.Current() && !p.unwanted || s.now().Sub(p.died) < s.policy.TermTimeout
	told := p.pause == longestPause
	if again {
		s.lookLater(p)
	}
	if !told && (p.pause == longestPause || !again) {
		s.tell(Held, p)
		if p == s.successor { // which may stay for ever, and will not be ready
			p.place.successor = nil // if it is still to take over
			s.failRoll(p, Status{Held: true})
		}
	}
	return again
}

// Exited says that a process has ended.
func (s *Supervisor) Exited(p *Process, status Status) {
	if p.state < alive || p.state == gone {
		return
	}
	end := s.now()
	if p.state == held {
		end = p.died
	}
	lived := end.Sub(p.began)
	s.order(Order{Do: Tell, Event: Exited, Process: p, Status: status, Lived: lived, Asked: p.unwanted})
	s.ended(p, status, lived)
}

func (s *Supervisor) ended(p *Process, status Status, lived time.Duration) {
	p.state = gone
	s.living--
	place := p.place
	switch {
	case p.unwanted: // as all are when the group stops
	case p == place.successor:
		// The one that it was to replace is in service, or is replaced when it has ended, so nothing is lost by giving up.
		place.successor = nil
		s.failRoll(p, status)
	case p != place.current:
	case place.role.Once:
		place.current = nil
		s.forgetPlace(place)
	case s.spend():
		s.order(Order{Do: Tell, Event: BudgetSpent, Process: p, Status: status})
		s.Stop()
	case place.successor != nil:
		place.current, place.successor = place.successor, nil
	default:
		place.current = &Process{place: place}
		s.wait(place.current, lived)
	}
	if p == s.successor { // the old one had ended before
		s.successor = nil
		s.failRoll(p, status)
	}
	if p == s.retired {
		s.retired = nil
		s.roll()
	}
	s.finish()
}

// wait has a process started after the wait that is due.
func (s *Supervisor) wait(p *Process, lived time.Duration) {
	wait := p.place.backoff.Failed(lived)
	if jitter := p.place.backoff.jitter(); jitter > 0 {
		wait -= time.Duration(float64(wait) * jitter * s.random())
	}
	s.order(Order{Do: Tell, Event: Restarting, Process: p, After: wait, Lived: lived})
	if wait > 0 {
		s.arm(p, wait)
	} else {
		s.launch(p)
	}
}

// spend counts a failure, and reports whether it was one too many.
func (s *Supervisor) spend() bool {
	budget := s.policy.Budget
	if budget.Failures <= 0 {
		return false
	}
	now := s.now()
	s.failed = append(s.failed, now)
	if len(s.failed) <= budget.Failures {
		return false
	}
	first := s.failed[len(s.failed)-1-budget.Failures]
	s.failed = append(s.failed[:0], s.failed[len(s.failed)-budget.Failures:]...)
	return now.Sub(first) <= budget.Within
}

// ---- replacing workers ----

// Roll replaces the worker of every place that is there now, one after the other: the next one is asked to end only when the new one in
// its place is ready. Where one is still to be started, after a failure, that is done at once: whoever replaces workers may have mended
// what they failed of. Where a new one ends before it is ready, the remaining old ones stay in service. A call while workers are being
// replaced has those replaced, too, that were started meanwhile.
func (s *Supervisor) Roll() {
	if s.stopped {
		s.tell(RollFailed, nil)
		return
	}
	s.rolling, s.older = true, s.births
	for _, place := range s.places {
		place.stale = !place.role.Once
	}
	s.roll()
}

// roll replaces the next worker.
func (s *Supervisor) roll() {
	if !s.rolling || s.successor != nil || s.retired != nil {
		return
	}
	for _, place := range s.places {
		if !place.stale {
			continue
		}
		switch current := place.current; {
		case current.state == waiting:
			s.successor = current
			s.launch(current)
		case current.born > s.older && (current.state == starting || current.state == alive):
			s.successor = current // it has taken the place of one that ended meanwhile
		default: // also where the current one is on its way to its end, however long that takes
			place.successor = &Process{place: place}
			s.successor = place.successor
			s.launch(s.successor)
		}
		return
	}
	s.rolling = false
	s.tell(Rolled, nil)
}

func (s *Supervisor) failRoll(p *Process, status Status) {
	if !s.rolling {
		return
	}
	s.rolling, s.successor = false, nil
	s.order(Order{Do: Tell, Event: RollFailed, Process: p, Status: status})
}
