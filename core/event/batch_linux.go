package event

import (
	"math/bits"
	"sync/atomic"
)

// A Batch is a row of events that the owner of a loop may take without asking [Loop.Next] for each. It is for owners that are
// not written in Go, whose way into it costs more than taking an event: they find the state of the batch in memory of theirs.
//
// Events are offered, and stay the loop's until they are taken. Whatever changes a registration withdraws those that are left: they are
// looked at anew, as they would be by Next. So an event of a batch, too, is only taken while its registration stands.
type Batch struct {
	// state is how many were taken, and, from bit 32 on, how many may be. One is taken by adding 1 with a compare-and-swap
	// where the former is less than the latter.
	state atomic.Uint64
}

// offer makes n events be there.
func (b *Batch) offer(n int) { b.state.Store(uint64(n) << 32) }

// Take takes the next event of the batch, and returns its number from 0 on. It is false where there is none.
func (b *Batch) Take() (int, bool) {
	for {
		state := b.state.Load()
		taken := state & (1<<32 - 1)
		if taken == state>>32 {
			return 0, false
		}
		if b.state.CompareAndSwap(state, state+1) {
			return int(taken), true
		}
	}
}

// withdraw makes those that were not taken be there no longer, and returns how many were.
func (b *Batch) withdraw() int {
	for {
		state := b.state.Load()
		taken := state & (1<<32 - 1)
		if b.state.CompareAndSwap(state, taken<<32|taken) {
			return int(taken)
		}
	}
}

// UseBatch has [Loop.Offer] put up to most events at once into batch: it calls put with the number of each, the descriptor
// and its target, until that returns false, which is for an event that is to be taken by Next. It must not call the loop.
func (l *Loop[T]) UseBatch(batch *Batch, most int, put func(number, fd int, target T) bool) {
	l.batch, l.batchMost, l.put = batch, most, put
	l.batchSize = most
}

// Offer puts into the batch what Next would return next, as far as that is plain: descriptors that are ready in one direction, which
// stays armed. It returns how many there are.
func (l *Loop[T]) Offer() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.withdraw()
	if l.timerDue() {
		return 0
	}
	n := 0
	for ; n < l.batchSize && l.taken+n < len(l.ready); n++ {
		o := &l.ready[l.taken+n]
		direction := l.pendingOf(o)
		if direction == 0 || direction&(direction-1) != 0 || o.descriptor.oneShot&direction != 0 {
			break
		}
		target := o.descriptor.targets[bits.TrailingZeros8(uint8(direction))]
		if !l.put(n, o.descriptor.fd, target) {
			break
		}
	}
	l.offered = n
	l.batch.offer(n)
	return n
}

// Withdraw takes back what was offered and not taken: Next is to be asked again.
func (l *Loop[T]) Withdraw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.withdraw()
}

// withdraw does what Next would have done for each event that was taken. Nothing has changed since they were offered, or it would
// have been called before.
func (l *Loop[T]) withdraw() {
	if l.offered == 0 {
		return
	}
	taken := l.batch.withdraw()
	for range taken {
		var e Event[T]
		l.serve(&l.ready[l.taken], &e)
		l.pass()
	}
	if taken == l.offered {
		l.batchSize = min(2*l.batchSize, l.batchMost)
	} else {
		l.batchSize = taken + 1 // to offer all of many again after each would take the square of their number
		l.waiting = false
	}
	l.offered = 0
}
