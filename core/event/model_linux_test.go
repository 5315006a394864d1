package event

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// The model says what a loop must report from what was asked of it and from the state of its descriptors, without any
// notion of epoll. Time is left out: a deadline is either now, which is due at the next wait, or in an hour.
type model struct {
	t       *testing.T
	random  *rand.Rand
	loop    *Loop[string]
	streams []*stream
	timers  []modelTimer // in the order in which they were set
	gone    []TimerID    // reported or cancelled
	names   int
	trace   []string
}

// A stream is a descriptor, its peer, what is registered for it, and what the current round has seen of it.
type stream struct {
	fd, peer int
	unread   bool // there is data for fd
	full     bool // fd takes no more
	hungUp   bool // peer is closed

	known      bool
	armed      Direction
	oneShot    Direction
	targets    [directions]string
	due        bool // has a deadline now
	later      bool // has one in an hour
	onTimeout  string
	hasTimeout bool

	ready   Direction // what the kernel said at the start of the round
	noticed bool      // it said anything: the stream was active
	served  Direction
	touched bool // changed by a handler of this round
	waits   bool // its deadline passes in this round
	heard   bool // and somebody listened at the start of the round
}

type modelTimer struct {
	id   TimerID
	name string
	due  bool
	old  bool // set before this round
}

func (m *model) name() string {
	m.names++
	return fmt.Sprint(m.names)
}

func (m *model) note(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf(format, args...))
}

func (m *model) fatalf(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s\nafter:\n%s", fmt.Sprintf(format, args...), strings.Join(m.trace[max(0, len(m.trace)-60):], "\n"))
}

// conditions is what the kernel knows of s, whether asked or not.
func (s *stream) conditions() Direction {
	var d Direction
	if s.unread || s.hungUp {
		d |= Read
	}
	if !s.full || s.hungUp {
		d |= Write
	}
	return d
}

// act does something at random to the loop or to a stream. What it does to streams shows in the next round only.
func (m *model) act() {
	s := m.streams[m.random.IntN(len(m.streams))]
	switch n := m.random.IntN(20); {
	case n < 8:
		m.set(s)
	case n < 9:
		m.note("clear %d", s.fd)
		if m.loop.Clear(s.fd) != s.known {
			m.fatalf("Clear(%d) does not say that it was registered: %t", s.fd, s.known)
		}
		m.forget(s)
	case n < 11:
		name := m.name()
		s.onTimeout, s.hasTimeout = name, s.known
		m.note("on timeout %d %s", s.fd, name)
		if m.loop.OnTimeout(s.fd, name) != s.known {
			m.fatalf("OnTimeout(%d) does not say that it is registered: %t", s.fd, s.known)
		}
	case n < 13:
		timer := modelTimer{name: m.name(), due: m.random.IntN(3) > 0}
		delay := time.Hour
		if timer.due {
			delay = 0
		}
		m.note("timer %s in %v", timer.name, delay)
		timer.id = m.loop.After(delay, timer.name)
		m.timers = append(m.timers, timer)
	case n < 15:
		m.cancel()
	case n < 16 && !s.hungUp:
		m.note("data for %d", s.fd)
		drain(m.t, s.fd)
		write(m.t, s.peer)
		s.unread = true
	case n < 17:
		m.note("read %d", s.fd)
		drain(m.t, s.fd)
		s.unread = false
	case n < 18 && !s.hungUp:
		m.note("fill %d", s.fd)
		fill(m.t, s.fd)
		s.full = true
	case n < 19 && !s.hungUp:
		m.note("room for %d", s.fd)
		drain(m.t, s.peer)
		s.full = false
	default:
		m.replace(s)
	}
}

func (m *model) set(s *stream) {
	r := Registration[string]{
		Directions: Direction(m.random.IntN(8)),
		OneShot:    m.random.IntN(2) == 0,
		Append:     m.random.IntN(2) == 0,
		Timeout:    []time.Duration{NoTimeout, KeepTimeout, 0, time.Hour}[m.random.IntN(4)],
		Target:     m.name(),
	}
	if m.random.IntN(6) == 0 {
		r.Target = foreign
	}
	m.note("set %d %s %+v", s.fd, letters(r.Directions), r)
	if err := m.loop.Set(s.fd, r); err != nil {
		m.fatalf("%v", err)
	}
	s.known, s.touched = true, true
	if !r.Append {
		s.armed, s.oneShot = 0, 0
	}
	for i := range s.targets {
		d := Direction(1 << i)
		if r.Directions&d == 0 {
			continue
		}
		s.armed |= d
		s.oneShot &^= d
		if r.OneShot {
			s.oneShot |= d
		}
		s.targets[i] = r.Target
	}
	if r.Timeout != KeepTimeout {
		s.due, s.later, s.waits = r.Timeout == 0, r.Timeout > 0, false
	}
}

func (m *model) forget(s *stream) {
	*s = stream{fd: s.fd, peer: s.peer, unread: s.unread, full: s.full, hungUp: s.hungUp, touched: true}
}

func (m *model) cancel() {
	if n := len(m.gone); n > 0 {
		if id := m.gone[m.random.IntN(n)]; m.loop.Cancel(id) {
			m.fatalf("timer %#x can be cancelled although it is gone", id)
		}
	}
	if n := len(m.timers); n > 0 {
		i := m.random.IntN(n)
		m.note("cancel %s", m.timers[i].name)
		if !m.loop.Cancel(m.timers[i].id) {
			m.fatalf("timer %s cannot be cancelled", m.timers[i].name)
		}
		m.dropTimer(i)
	}
}

func (m *model) dropTimer(i int) {
	m.gone = append(m.gone, m.timers[i].id)
	m.timers = append(m.timers[:i], m.timers[i+1:]...)
}

// replace hangs up, or makes the number mean a new stream if that was done before.
func (m *model) replace(s *stream) {
	if !s.hungUp {
		m.note("hang up %d", s.fd)
		drain(m.t, s.peer) // else it is an error, too
		shut(m.t, s.peer)
		s.hungUp = true
		return
	}
	m.note("reuse %d", s.fd)
	m.loop.Clear(s.fd)
	m.forget(s)
	fresh, peer := pair(m.t)
	reuse(m.t, s.fd, fresh)
	s.peer, s.unread, s.full, s.hungUp = peer, false, false, false
}

// begin takes down what the kernel will say at the next wait.
func (m *model) begin() {
	for i := range m.timers {
		m.timers[i].old = true
	}
	for _, s := range m.streams {
		s.ready = s.conditions() & s.armed
		s.noticed = s.ready != 0 || s.hungUp && s.armed != 0
		if s.noticed {
			s.due, s.later = false, false
		}
		s.waits, s.heard = s.due, s.hasTimeout
		s.served, s.touched = 0, false
	}
}

// check takes one event.
func (m *model) check(e Event[string]) {
	m.note("  %s of %d", show(e), e.FD)
	switch e.Kind {
	case Expired:
		for i, timer := range m.timers {
			if !timer.due {
				continue
			}
			if !timer.old || timer.name != e.Target {
				m.fatalf("timer %s expired, want %s (set before this round: %t)", e.Target, timer.name, timer.old)
			}
			m.dropTimer(i)
			return
		}
		m.fatalf("timer %s expired, which is unknown", e.Target)
	case Timeout:
		s := m.stream(e.FD)
		if !s.waits || !s.hasTimeout || s.onTimeout != e.Target {
			m.fatalf("timeout of %d with %s, want one: %t, with %s", e.FD, e.Target, s.waits && s.hasTimeout, s.onTimeout)
		}
		s.due, s.waits = false, false
	case Ready:
		s := m.stream(e.FD)
		d := e.Direction
		hangUp := s.hungUp && s.noticed && s.served == 0 && s.ready&s.armed == 0 && d == s.armed&-s.armed
		if !s.known || !s.noticed || s.armed&d == 0 || s.ready&d == 0 && !hangUp {
			m.fatalf("%s of %d, which is armed for %q and ready for %q", letters(d), e.FD, letters(s.armed), letters(s.ready))
		}
		if d&(d-1) != 0 {
			m.fatalf("%s of %d at once", letters(d), e.FD)
		}
		for _, timer := range m.timers {
			if timer.due && timer.old {
				m.fatalf("%s of %d before timer %s", letters(d), e.FD, timer.name)
			}
		}
		if d <= s.served {
			m.fatalf("%s of %d after %q", letters(d), e.FD, letters(s.served))
		}
		for i, target := range s.targets {
			if d == 1<<i && target != e.Target {
				m.fatalf("%s of %d has target %s, want %s", letters(d), e.FD, e.Target, target)
			}
		}
		if s.served == 0 { // activity ends a deadline, also one that was set in this round
			s.due, s.later, s.waits = false, false, false
		}
		s.served |= d
		if s.oneShot&d != 0 {
			s.armed &^= d
			s.oneShot &^= d
		}
	}
}

func (m *model) stream(fd int) *stream {
	for _, s := range m.streams {
		if s.fd == fd {
			return s
		}
	}
	m.fatalf("an event of descriptor %d, which is unknown", fd)
	return nil
}

// end checks that nothing was left out. armed is what was armed at the start of the round.
func (m *model) end() {
	for _, timer := range m.timers {
		if timer.due && timer.old {
			m.fatalf("timer %s did not expire", timer.name)
		}
	}
	for _, s := range m.streams {
		if s.waits && s.heard {
			m.fatalf("the timeout of %d did not come", s.fd)
		}
		if s.waits { // it passed unheard
			s.due, s.waits = false, false
		}
		if s.touched {
			continue // its handlers may have come too late for this round
		}
		if missing := s.ready &^ s.served; missing != 0 {
			m.fatalf("%d is ready for %q, of which %q was not reported", s.fd, letters(s.ready), letters(missing))
		}
		if s.noticed && s.served == 0 {
			m.fatalf("the hang-up of %d went to nobody", s.fd)
		}
	}
}

// Random registrations, timers and traffic, before a wait and from handlers: what comes is what the model says.
func TestRandomHistories(t *testing.T) {
	random := newRandom(t)
	for n := range 60 {
		if !t.Run(fmt.Sprint(n), func(t *testing.T) {
			limit(t)
			m := &model{t: t, random: random, loop: newLoop(t)}
			for range 1 + random.IntN(12) {
				fd, peer := pair(t)
				m.streams = append(m.streams, &stream{fd: fd, peer: peer})
			}
			for range 100 {
				if random.IntN(2) == 0 {
					m.loop.pretendToWait() // the kernel learns at once, not before the next wait
				}
				for range random.IntN(6) {
					m.act()
				}
				m.note("round")
				m.begin()
				round(m.loop, func(e Event[string]) {
					m.check(e)
					if random.IntN(2) == 0 {
						m.note("  offers %d", m.loop.Offer())
					}
					for random.IntN(3) == 0 {
						m.act()
					}
				})
				m.end()
			}
		}) {
			return
		}
	}
}
