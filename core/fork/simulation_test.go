package fork

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"
)

var (
	histories = flag.Int("histories", 100_000, "how many random histories TestSimulation runs")
	seedFlag  = flag.Uint64("seed", 0, "the seed of the one history to run, as printed by a failure; 0: the usual ones")
)

// TestSimulation runs a supervisor through random histories of crashes, hangs, slow starts, failed starts, replacements,
// changes of size and stops, in a world whose time is a number, and checks after each step what must always hold. A failure
// prints its seed, and -seed repeats that history alone, step by step.
func TestSimulation(t *testing.T) {
	if *seedFlag != 0 {
		w := newWorld(*seedFlag)
		w.log = t.Logf
		if err := w.run(); err != nil {
			t.Fatal(err)
		}
		return
	}
	var all tally
	for seed := range uint64(*histories) {
		w := newWorld(seed + 1)
		if err := w.run(); err != nil {
			t.Fatalf("seed %d: %v\nto see the whole history: go test -run TestSimulation -v ./core/fork -seed %d",
				seed+1, err, seed+1)
		}
		all.add(&w.tally)
	}
	t.Logf("%d histories: %+v", *histories, all)
	// A history in which nothing happens proves nothing.
	for name, n := range map[string]int{"starts": all.Starts, "failed starts": all.FailedStarts, "exits": all.Exits,
		"kills": all.Kills, "hangs": all.Hangs, "late starts": all.Unready, "rolls": all.Rolls, "failed rolls": all.FailedRolls,
		"spent budgets": all.Spent, "removals": all.Removals,
		"processes that were released late": all.Released, "processes that were given up": all.GivenUp,
		"ends that nothing reports": all.Unreported, "channels of processes that live on": all.Silent, "late ends upon SIGKILL": all.Slow,
		"processes that could not be told to end": all.Untold, "signals that were refused": all.Refused,
		"starts that a replacement does not put off": all.Early} {
		if n < *histories/100 {
			t.Errorf("there were %d %s in %d histories", n, name, *histories)
		}
	}
}

type tally struct {
	Starts, FailedStarts, Exits, Kills, Hangs, Unready, Rolls, FailedRolls, Spent, Removals, Released, GivenUp, Untold, Refused, Early int

	Unreported, Silent, Slow int
}

func (t *tally) add(o *tally) {
	t.Starts += o.Starts
	t.FailedStarts += o.FailedStarts
	t.Exits += o.Exits
	t.Kills += o.Kills
	t.Hangs += o.Hangs
	t.Unready += o.Unready
	t.Rolls += o.Rolls
	t.FailedRolls += o.FailedRolls
	t.Spent += o.Spent
	t.Removals += o.Removals
	t.Released += o.Released
	t.GivenUp += o.GivenUp
	t.Untold += o.Untold
	t.Refused += o.Refused
	t.Early += o.Early
	t.Unreported += o.Unreported
	t.Silent += o.Silent
	t.Slow += o.Slow
}

// A world is what a supervisor acts upon, with all that a group may meet.
type world struct {
	tally
	*rand.Rand
	policy Policy
	s      *Supervisor
	time   time.Time
	log    func(format string, args ...any)
	error  error

	names     int
	processes []*simulated // that live, or are being started
	armed     []alarm
	places    map[*Place]*simulatedPlace
	failures  []time.Time
	wanted    int // places that are not given up
	stopped   time.Time
	spent     bool
	done      bool
	rolling   bool
	before    int // how many processes there had been when workers were to be replaced
}

// simulated is what a process really does, and what the world knows of it.
type simulated struct {
	*Process
	name     int
	running  bool // was started
	isReady  bool
	told     bool // was asked to end
	exited   bool
	readyAt  time.Time // far: never
	exitsAt  time.Time
	status   Status
	hangs    time.Time // gives no sign of life from then on
	obedient bool      // ends when asked to
	polite   bool      // ends upon SIGTERM
	dies     bool      // ends upon SIGABRT
	surplus  bool      // was replaced while it was being started
	asked    bool      // to end, by the time it did
	held     bool      // has ended, and was not reaped
	free     time.Time // when it can be
	hidden   bool      // nothing reports that it ends
	silent   bool      // its channel has ended
	silentAt time.Time // far: when it has ended itself, if then
	killed   time.Time // when it was sent SIGKILL
	seen     time.Time // when the supervisor was told that it cannot be reaped
	slow     time.Duration
	began    time.Time
}

type simulatedPlace struct {
	*Place
	role     Role
	backoff  Backoff
	removed  bool
	notUntil time.Time // the back-off
	stale    bool      // no process that was begun since workers were to be replaced has been ready
}

const far = 1000 * time.Hour

func newWorld(seed uint64) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 0)), time: time.Unix(1000, 0),
		places: make(map[*Place]*simulatedPlace), log: func(string, ...any) {}}
	w.policy = Policy{AbortTimeout: w.upTo(time.Second), DrainTimeout: w.upTo(10 * time.Second), TermTimeout: w.upTo(time.Second),
		Backoff: Backoff{Least: w.upTo(time.Second), Most: w.upTo(time.Minute), Stable: w.upTo(5 * time.Second), Jitter: w.Float64() - 0.2}}
	if w.one(2) {
		w.policy.StartTimeout = w.upTo(5 * time.Second)
	}
	if w.one(2) {
		w.policy.Heartbeat = w.upTo(5 * time.Second)
	}
	if w.one(3) {
		w.policy.Budget = Budget{1 + w.IntN(5), w.upTo(20 * time.Second)}
	}
	w.s = NewSupervisor(w.policy, func() time.Time { return w.time }, w.Float64)
	return w
}

func (w *world) one(in int) bool { return w.IntN(in) == 0 }

func (w *world) upTo(d time.Duration) time.Duration { return 1 + time.Duration(w.Int64N(int64(d))) }

func (w *world) fail(format string, args ...any) {
	if w.error == nil {
		w.error = fmt.Errorf("after %v: "+format, append([]any{w.time.Sub(time.Unix(1000, 0))}, args...)...)
	}
}

func (w *world) run() error {
	for range w.IntN(4) {
		w.addPlace()
	}
	w.obey()
	for steps := 20 + w.IntN(60); steps > 0 && w.error == nil && !w.done; steps-- {
		switch n := w.IntN(100); {
		case n < 2:
			w.stop()
		case n < 5:
			w.roll()
		case n < 8 && w.wanted < 5:
			w.addPlace()
		case n < 10:
			w.removePlace()
		default:
			w.passTime()
		}
		w.obey()
		w.check()
	}
	w.stop()
	w.obey()
	for range 100000 {
		if w.error != nil || w.done {
			break
		}
		w.passTime()
		w.obey()
		w.check()
	}
	if w.error == nil && !w.done {
		w.fail("the group does not end")
	}
	for _, p := range w.processes {
		w.fail("process %d is left behind", p.name)
	}
	return w.error
}

// ---- what the user does ----

func (w *world) addPlace() {
	role := Role{Once: w.one(5), Mute: w.one(5)}
	var p *Process
	if w.one(3) {
		if !w.stopped.IsZero() {
			w.stopped = w.time // it is asked to end only now
		}
		p = w.s.Adopt(role)
		w.enter(p, role)
		w.begin(w.create(p))
	} else {
		p = w.s.Add(role)
		w.enter(p, role)
	}
	w.log("%v add a place", w.time.Unix())
}

func (w *world) enter(p *Process, role Role) {
	w.places[p.Place()] = &simulatedPlace{Place: p.Place(), role: role, backoff: w.policy.Backoff}
	w.wanted++
}

func (w *world) removePlace() {
	for _, place := range w.s.places {
		if w.one(2) {
			w.log("%v remove a place", w.time.Unix())
			w.places[place].removed = true
			w.wanted--
			w.Removals++
			w.s.Remove(place)
			return
		}
	}
}

func (w *world) stop() {
	if w.stopped.IsZero() {
		w.log("%v stop", w.time.Unix())
		w.stopped = w.time
		w.s.Stop()
	}
}

func (w *world) roll() {
	w.log("%v roll", w.time.Unix())
	w.Rolls++
	w.rolling, w.before = w.stopped.IsZero(), w.names
	for _, place := range w.s.places {
		known := w.places[place]
		known.stale = !known.role.Once
	}
	w.s.Roll()
}

// ---- what the world does ----

// passTime goes to the next moment at which something happens.
func (w *world) passTime() {
	next := w.time.Add(w.upTo(time.Minute))
	earlier := func(at time.Time) {
		if at.Before(next) {
			next = at
		}
	}
	for _, a := range w.armed {
		earlier(a.at)
	}
	for _, p := range w.processes {
		if p.held {
			continue
		}
		if p.running {
			earlier(p.exitsAt)
			if !p.silent {
				earlier(p.silentAt)
				if !p.isReady {
					earlier(p.readyAt)
				}
			}
		} else {
			earlier(p.began.Add(p.slow))
		}
	}
	w.time = next
	for _, p := range w.processes[:len(w.processes):len(w.processes)] {
		w.live(p)
	}
	for _, p := range w.due() {
		w.s.Expired(p)
	}
	if len(w.processes) > 0 && w.one(20) {
		w.s.Expired(w.processes[w.IntN(len(w.processes))].Process) // by mistake: nothing must come of it
	}
}

// due returns those whose time has come, in any order.
func (w *world) due() (due []*Process) {
	var later []alarm
	for _, a := range w.armed {
		if a.at.After(w.time) {
			later = append(later, a)
		} else {
			due = append(due, a.process)
		}
	}
	w.armed = later
	w.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
	return due
}

// An alarm is what Arm asks for.
type alarm struct {
	process *Process
	at      time.Time
}

// alarmOf returns when an alarm rings for a process; zero: none is set.
func (w *world) alarmOf(p *Process) time.Time {
	for _, a := range w.armed {
		if a.process == p {
			return a.at
		}
	}
	return time.Time{}
}

func (w *world) disarm(p *Process) {
	w.armed = slices.DeleteFunc(w.armed, func(a alarm) bool { return a.process == p })
}

// live has a process do what it does at this time.
func (w *world) live(p *simulated) {
	switch {
	case p.held:
	case !p.running && !p.began.Add(p.slow).After(w.time):
		w.startNow(p)
	case p.running && !p.exitsAt.After(w.time):
		w.exit(p)
	case p.silent: // nothing comes from it
	case p.running:
		if w.time.Before(p.hangs) {
			w.s.Sign(p.Process)
		}
		if !p.isReady && !p.readyAt.After(w.time) {
			p.isReady = true
			w.log("%v process %d is ready", w.time.Unix(), p.name)
			w.s.Ready(p.Process)
		}
		if !p.silentAt.After(w.time) {
			w.Silent++
			w.endChannel(p)
		}
	}
}

func (w *world) endChannel(p *simulated) {
	p.silent = true
	w.log("%v the channel of process %d ends", w.time.Unix(), p.name)
	w.s.Silent(p.Process)
}

func (w *world) create(p *Process) *simulated {
	w.names++
	if w.names > 5000 {
		w.fail("more than 5000 processes in one history")
	}
	sim := &simulated{Process: p, name: w.names, began: w.time}
	w.processes = append(w.processes, sim)
	p.Owner = sim
	return sim
}

// begin rolls the dice for what a process will do.
func (w *world) begin(p *simulated) {
	w.Starts++
	never := w.time.Add(far)
	p.running, p.began = true, w.time
	p.exitsAt, p.readyAt, p.hangs, p.silentAt = never, never, never, never
	p.status = Status{Known: true, Code: w.IntN(3)}
	if w.one(2) {
		p.exitsAt = w.time.Add(w.upTo(20 * time.Second))
	}
	if w.one(6) {
		p.exitsAt = w.time
	}
	if !w.one(6) {
		p.readyAt = w.time.Add(w.upTo(3 * time.Second))
	}
	if w.one(4) {
		p.hangs = w.time.Add(w.upTo(10 * time.Second))
	}
	if w.one(10) {
		p.silentAt = w.time.Add(w.upTo(10 * time.Second))
	}
	p.hidden = w.one(10)
	if w.places[p.place].role.Mute {
		p.isReady = true
	}
	p.obedient, p.polite, p.dies = !w.one(4), !w.one(2), !w.one(2)
}

func (w *world) startNow(p *simulated) {
	if w.one(6) {
		w.FailedStarts++
		w.log("%v process %d cannot be started", w.time.Unix(), p.name)
		w.forget(p)
		w.countFailure(p, 0)
		w.s.Failed(p.Process, errNone)
		return
	}
	w.log("%v process %d runs", w.time.Unix(), p.name)
	w.begin(p)
	p.surplus = p.unwanted
	w.s.Started(p.Process)
}

var errNone = errors.New("no processes left")

func (w *world) exit(p *simulated) {
	w.Exits++
	w.log("%v process %d ends", w.time.Unix(), p.name)
	p.exitsAt = w.time
	switch w.IntN(20) {
	case 0:
		p.free = w.time.Add(w.upTo(20 * time.Second))
	case 1:
		p.free = w.time.Add(far)
	}
	p.held = p.hidden || w.time.Before(p.free)
	if !p.silent && !w.one(10) { // else a child of it has the channel
		w.endChannel(p)
	}
	if p.hidden {
		w.Unreported++
		return
	}
	w.reap(p)
}

// reap is what the owner of a supervisor does when a process has ended, and when it is told to look.
func (w *world) reap(p *simulated) {
	lives := w.time.Before(p.exitsAt)
	if lives && w.s.Lives(p.Process) {
		return
	}
	if lives || w.time.Before(p.free) {
		if p.seen.IsZero() {
			p.seen = w.time
		}
		p.hidden = true // from now on
		if w.s.Held(p.Process) {
			return
		}
		w.GivenUp++
		if lives && w.time.Sub(p.killed) < killPatience {
			w.fail("process %d is given up %v after it was killed", p.name, w.time.Sub(p.killed))
		}
		if !p.unwanted && p.Current() {
			w.fail("process %d, which has its place, is given up", p.name)
		}
		p.status = Status{Held: true}
	} else if p.held {
		w.Released++
	}
	w.bury(p)
}

// bury is what the owner of a supervisor does when a process was reaped, or is given up or left to itself.
func (w *world) bury(p *simulated) {
	w.forget(p)
	end := p.seen
	if end.IsZero() {
		end = w.time
	}
	w.countFailure(p, end.Sub(p.began))
	p.asked = p.unwanted
	w.s.Exited(p.Process, p.status)
	w.s.Exited(p.Process, p.status) // by mistake
}

func (w *world) forget(p *simulated) {
	for i := range w.processes {
		if w.processes[i] == p {
			w.processes = append(w.processes[:i:i], w.processes[i+1:]...)
			break
		}
	}
	w.disarm(p.Process)
}

// countFailure keeps the world's own books of what the policy says about failures.
func (w *world) countFailure(p *simulated, lived time.Duration) {
	place := w.places[p.place]
	if p.unwanted || !w.stopped.IsZero() || place.role.Once || !p.Current() {
		return
	}
	w.failures = append(w.failures, w.time)
	if budget := w.policy.Budget; budget.Failures > 0 && len(w.failures) > budget.Failures &&
		w.time.Sub(w.failures[len(w.failures)-1-budget.Failures]) <= budget.Within {
		w.spent = true
		return
	}
	if p.place.successor != nil {
		return
	}
	wait := place.backoff.Failed(lived)
	place.notUntil = w.time.Add(wait - time.Duration(float64(wait)*place.backoff.jitter()))
}

func (w *world) obey() {
	for {
		o, ok := w.s.Next()
		if !ok {
			return
		}
		sim, _ := (*simulated)(nil), 0
		if o.Process != nil {
			sim, _ = o.Process.Owner.(*simulated)
		}
		switch o.Do {
		case Start:
			w.orderedStart(o.Process)
		case Drain:
			w.orderedDrain(sim)
		case Kill:
			w.orderedKill(sim, o.Signal)
		case Look:
			if sim.exited || !sim.held && !sim.silent && sim.state != killed && sim.state != held {
				w.fail("process %d is to be reaped", sim.name)
			}
			w.reap(sim)
		case Arm:
			w.disarm(o.Process)
			w.armed = append(w.armed, alarm{o.Process, w.time.Add(o.After)})
		case Tell:
			w.heard(o, sim)
		case Done:
			if w.done {
				w.fail("the group ended twice")
			}
			w.done = true
		}
	}
}

func (w *world) orderedStart(p *Process) {
	place := w.places[p.Place()]
	switch {
	case !w.stopped.IsZero():
		w.fail("a process is started after the stop")
	case place.removed:
		w.fail("a process is started in a place that was given up")
	case w.time.Before(place.notUntil) && w.rolling && place.stale:
		w.Early++
	case w.time.Before(place.notUntil):
		w.fail("a process is started %v before its back-off is over", place.notUntil.Sub(w.time))
	}
	w.disarm(p)
	sim := w.create(p)
	w.log("%v start process %d", w.time.Unix(), sim.name)
	if w.one(3) {
		sim.slow = w.upTo(2 * time.Second)
	} else {
		w.startNow(sim)
	}
}

func (w *world) orderedDrain(p *simulated) {
	w.log("%v ask process %d to end", w.time.Unix(), p.name)
	switch place := w.places[p.place]; {
	case p.exited || !p.running:
		w.fail("process %d, which does not run, is asked to end", p.name)
	case p.told:
		w.fail("process %d is asked to end twice", p.name)
	case w.stopped.IsZero() && !place.removed && !p.surplus:
		// It is replaced: whoever has its place must be ready.
		if next, _ := place.current.Owner.(*simulated); next == nil || next == p || !next.isReady {
			w.fail("process %d is asked to end before another is ready", p.name)
		}
	}
	p.told = true
	if w.one(20) {
		w.Untold++
		w.s.Unreachable(p.Process)
	} else if p.obedient {
		w.exitBy(p, w.upTo(w.policy.DrainTimeout*3/2))
	}
}

func (w *world) exitBy(p *simulated, after time.Duration) {
	if at := w.time.Add(after); at.Before(p.exitsAt) {
		p.exitsAt = at
	}
}

func (w *world) orderedKill(p *simulated, signal syscall.Signal) {
	w.log("%v send process %d signal %d", w.time.Unix(), p.name, signal)
	w.Kills++
	if signal == syscall.SIGKILL {
		p.killed = w.time
	}
	if w.one(20) {
		w.Refused++
		if left := w.s.Refused(p.Process); left != (signal == syscall.SIGKILL) {
			w.fail("process %d, which signal %d cannot be sent, is left to itself: %t", p.name, signal, left)
		} else if left {
			p.status = Status{Left: true}
			p.exitsAt = w.time
			w.bury(p)
		}
		return
	}
	if !p.held && (signal == syscall.SIGKILL || signal == syscall.SIGTERM && p.polite || signal == syscall.SIGABRT && p.dies) {
		p.status = Status{Known: true, Signal: signal}
		switch {
		case signal != syscall.SIGKILL || !w.one(10):
			w.exitBy(p, 0)
		case w.one(2):
			w.Slow++
			p.exitsAt = w.time.Add(w.upTo(10 * time.Second))
		default: // the kernel does not come to it
			w.Slow++
			p.exitsAt = w.time.Add(far)
		}
	}
	if signal != syscall.SIGABRT && !p.told && w.alarmOf(p.Process).IsZero() && p.state != killed {
		w.fail("process %d is sent signal %d out of the blue", p.name, signal)
	}
}

func (w *world) heard(o Order, p *simulated) {
	w.log("%v told: event %d", w.time.Unix(), o.Event)
	switch o.Event {
	case Exited:
		switch {
		case p.exited:
			w.fail("the end of process %d is told twice", p.name)
		case o.Status != p.status:
			w.fail("process %d ended with %v, and %v is told", p.name, p.status, o.Status)
		case o.Asked != p.asked:
			w.fail("process %d: asked to end %t, told %t", p.name, p.asked, o.Asked)
		}
		p.exited = true
	case StartFailed:
		if o.Err != errNone {
			w.fail("the cause %v is told", o.Err)
		}
		p.exited = true
	case Ready:
		if p.name > w.before {
			w.places[p.place].stale = false
		}
	case Hung:
		w.Hangs++
		if w.policy.Heartbeat == 0 || !p.held && !p.silent && w.time.Before(p.hangs) || !p.isReady || w.places[p.place].role.Mute {
			w.fail("process %d is healthy, and taken for hung", p.name)
		}
	case Unready:
		w.Unready++
		if p.isReady || w.policy.StartTimeout == 0 || w.time.Sub(p.began) < w.policy.StartTimeout {
			w.fail("process %d is taken for not ready in time", p.name)
		}
	case BudgetSpent:
		w.Spent++
		if !w.spent {
			w.fail("the budget is not spent")
		}
		if w.stopped.IsZero() {
			w.stopped = w.time
		}
	case Rolled:
		if !w.rolling {
			w.fail("nobody asked for workers to be replaced")
		}
		w.rolling = false
		for _, p := range w.processes {
			if p.Current() && p.name <= w.before && !w.places[p.place].role.Once {
				w.fail("process %d was not replaced", p.name)
			}
		}
		for _, place := range w.places {
			if place.stale && !place.removed {
				w.fail("workers were replaced, but for a place where no new one has been ready")
			}
		}
	case RollFailed:
		w.FailedRolls++
		if o.Process != nil && o.Process.unwanted {
			w.fail("nobody failed, but replacing workers did")
		}
		w.rolling = false
	}
}

// check checks what must hold between any two events.
func (w *world) check() {
	unasked := 0
	for _, p := range w.processes {
		if !p.told && !p.unwanted && p.state != held && p.state != aborted && p.state != killed && p.state != terminated {
			unasked++
		}
		// Whoever is overdue must be on its way to its end.
		at := w.alarmOf(p.Process)
		overdue := at.IsZero() && (p.told || p.state == silent || p.state == aborted || p.state == killed)
		if overdue || !at.IsZero() && at.Before(w.time) {
			w.fail("process %d is forgotten in state %d", p.name, p.state)
		}
		if (p.state == silent || p.state == killed) && at.Sub(w.time) > longestPause {
			w.fail("process %d is not looked at for %v", p.name, at.Sub(w.time))
		}
		if limit := w.policy.StartTimeout; p.state == silent && !w.places[p.place].role.Mute {
			if p.isReady {
				limit = w.policy.Heartbeat
			}
			if limit > 0 {
				w.fail("process %d need not give a sign of life any more", p.name)
			}
		}
		if !p.seen.IsZero() && p.Process == w.s.successor && w.time.Sub(p.seen) > w.policy.TermTimeout+longestPause {
			w.fail("process %d has ended, and workers are to be replaced when it is ready", p.name)
		}
	}
	extra := 0
	if w.s.Rolling() {
		extra = 1
	}
	if unasked > w.wanted+extra {
		w.fail("%d processes for %d places", unasked, w.wanted)
	}
	if w.s.Living() != len(w.processes) {
		w.fail("%d processes live, and the supervisor counts %d", len(w.processes), w.s.Living())
	}
	if w.spent && !w.s.Stopping() {
		w.fail("the budget is spent, and the group goes on")
	}
	if w.rolling != w.s.Rolling() {
		w.fail("being replaced: %t, told: %t", w.s.Rolling(), w.rolling)
	}
	if w.rolling && !slices.ContainsFunc(w.processes, func(p *simulated) bool { return p.Process == w.s.successor || p.Process == w.s.retired }) {
		w.fail("workers are being replaced, and nothing more will come of it")
	}
	if !w.stopped.IsZero() {
		longest := w.policy.DrainTimeout + w.policy.TermTimeout + w.policy.AbortTimeout + 2*time.Second + // of a slow start
			killPatience + longestPause + w.policy.TermTimeout + longestPause // of one that cannot be reaped
		if !w.done && w.time.Sub(w.stopped) > longest {
			w.fail("the group was stopped %v ago and has not ended", w.time.Sub(w.stopped))
		}
		return
	}
	for _, place := range w.s.places {
		p := place.current
		if p == nil || p.state == gone {
			w.fail("a place is empty, and nobody will take it")
		} else if p.state == waiting && w.alarmOf(p).IsZero() {
			w.fail("a place waits for nothing")
		}
		if known := w.places[place]; known.removed {
			w.fail("a place that was given up is kept")
		}
	}
	w.wanted = len(w.s.places)
}
