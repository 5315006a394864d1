package core

import (
	"sync/atomic"
	"time"
)

// Stats counts what has gone between this process and another one.
type Stats struct {
	MessagesIn, MessagesOut uint64 // handled or dropped; queued. Those of the engine itself are not counted
	BytesIn, BytesOut       uint64 // frames with their headers; BytesOut is what the kernel has taken
	Unhandled               uint64 // messages that came and had no handler, or that its codec could not decode
	Queued                  int    // bytes that wait to be sent
	QueuedMost              int    // the most that ever waited
}

func (s *Stats) add(o Stats) {
	s.MessagesIn += o.MessagesIn
	s.MessagesOut += o.MessagesOut
	s.BytesIn += o.BytesIn
	s.BytesOut += o.BytesOut
	s.Unhandled += o.Unhandled
	s.Queued += o.Queued
	s.QueuedMost = max(s.QueuedMost, o.QueuedMost)
}

// GroupStats counts what a group has done since Run began, in this process.
type GroupStats struct {
	Stats                     // of all workers, also those that have ended; QueuedMost is the largest of them
	Workers     int           // that can be sent to
	Starts      uint64        // workers that were started
	Restarts    uint64        // those of them that took the place of one that had ended unasked
	Iterations  uint64        // how often the loop had something to do
	HandlerTime time.Duration // spent in the handlers of messages
}

// Stats returns what the group has done. In a worker it counts the messages to and from the master.
func (g *Group) Stats() GroupStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	stats := g.past
	stats.Workers = len(g.workers)
	for _, l := range g.links {
		stats.add(l.stats())
	}
	if g.loop != nil {
		stats.Iterations, stats.HandlerTime = g.loop.totals()
	}
	return stats
}

// connect begins the counting for a link.
func (g *Group) connect(l *link) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.links = append(g.links, l)
}

// disconnect keeps what was counted.
func (g *Group) disconnect(l *link) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.links {
		if g.links[i] == l {
			g.links = append(g.links[:i], g.links[i+1:]...)
			stats := l.stats()
			stats.Queued = 0
			g.past.add(stats)
			return
		}
	}
}

// count counts something else.
func (g *Group) count(change func(past *GroupStats)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(&g.past)
}

// counters count what comes from a process.
type counters struct {
	messages, bytes, unhandled atomic.Uint64
}

func (l *link) stats() Stats {
	s := Stats{MessagesIn: l.in.messages.Load(), BytesIn: l.in.bytes.Load(), Unhandled: l.in.unhandled.Load()}
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	s.MessagesOut, s.BytesOut, s.QueuedMost = l.queue.messages, l.queue.bytes, l.queue.most
	s.Queued = l.queue.out.Queued()
	return s
}
