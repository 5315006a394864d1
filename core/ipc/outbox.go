package ipc

const (
	// DefaultOutboxLimit is how many bytes may wait in an [Outbox] before it refuses more, unless told otherwise: 1 MiB.
	DefaultOutboxLimit = 1 << 20

	// Frames up to this size share a buffer; a larger one has a buffer of its own, of exactly its size.
	shared = 16 << 10
	// One system call is offered at most this many buffers, well below the kernel's limit of 1024.
	mostBuffers = 64
)

// An Outbox is the other end of an [Inbox]: a bounded queue of frames on their way into a stream. Small frames lie side
// by side, so that one system call writes many of them.
//
// The owner adds messages with [Outbox.Add], writes what [Outbox.Pending] returns and says with [Outbox.Sent] how much
// of it the stream took. The methods must not be called at the same time, but the memory that Pending returned may be
// written to the stream while messages are added. The zero value is ready for use.
type Outbox struct {
	// Limit is the high-water mark in bytes: when this much is queued, Add refuses. The message that reaches the mark is
	// still taken whole, so that one larger than the limit can be sent at all. 0 means DefaultOutboxLimit.
	Limit int

	buffers [][]byte
	sent    int // bytes of the first buffer that the stream has taken
	queued  int
	spare   []byte // an empty shared buffer, so that steady traffic allocates none
	large   []byte // an empty buffer of a large frame, for the next one
	modest  int    // how many shared buffers were sent since that one
}

// Add queues a copy of a message, or reports false when the queue is full. The payload must be smaller than 4 GiB - 4.
func (o *Outbox) Add(msgType uint32, payload []byte) bool {
	if o.queued >= o.limit() {
		return false
	}
	size := HeaderSize + len(payload)
	last := len(o.buffers) - 1
	switch {
	case last >= 0 && cap(o.buffers[last])-len(o.buffers[last]) >= size:
	case size > shared && cap(o.large) >= size:
		o.buffers, o.large = append(o.buffers, o.large), nil
		last++
	case size > shared:
		o.buffers = append(o.buffers, make([]byte, 0, size))
		last++
	default:
		if o.spare == nil {
			o.spare = make([]byte, 0, usual)
		}
		o.buffers, o.spare = append(o.buffers, o.spare), nil
		last++
	}
	o.buffers[last] = AppendFrame(o.buffers[last], msgType, payload)
	o.queued += size
	return true
}

func (o *Outbox) limit() int {
	if o.Limit <= 0 {
		return DefaultOutboxLimit
	}
	return o.Limit
}

// Queued returns how many bytes wait, headers included.
func (o *Outbox) Queued() int { return o.queued }

// Excess returns how many bytes more than the limit wait; less than 0 where there is room.
func (o *Outbox) Excess() int { return o.queued - o.limit() }

// HasRoom reports whether the queue has drained to half of its limit: the time to tell those whom Add refused. The
// distance to the limit keeps them from being told, and refused, for each message.
func (o *Outbox) HasRoom() bool { return o.queued <= o.limit()/2 }

// Pending appends to dst what is to be written next, in order, for one vectored write. It stays valid until Sent has
// been told of it.
func (o *Outbox) Pending(dst [][]byte) [][]byte {
	skip := o.sent
	for _, buffer := range o.buffers[:min(len(o.buffers), mostBuffers)] {
		dst = append(dst, buffer[skip:])
		skip = 0
	}
	return dst
}

// Sent says that the stream has taken the next n bytes of what Pending returned.
func (o *Outbox) Sent(n int) {
	o.queued -= n
	o.sent += n
	done := 0
	for done < len(o.buffers) && o.sent >= len(o.buffers[done]) {
		o.sent -= len(o.buffers[done])
		o.keep(o.buffers[done][:0])
		done++
	}
	rest := copy(o.buffers, o.buffers[done:])
	clear(o.buffers[rest:])
	o.buffers = o.buffers[:rest]
}

// keep keeps a buffer that was sent, for what comes next: clearing new memory takes longer than filling it.
func (o *Outbox) keep(buffer []byte) {
	switch {
	case cap(buffer) == usual:
		o.spare = buffer
		if o.modest++; o.modest >= patience {
			o.large = nil
		}
	case cap(buffer) <= large && cap(buffer) >= cap(o.large):
		o.large, o.modest = buffer, 0
	}
}

// Discard forgets what is queued, and the memory that it lay in.
func (o *Outbox) Discard() { *o = Outbox{Limit: o.Limit} }
