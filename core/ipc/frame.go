// Package ipc has the wire format of messages between a master and its workers.
//
// A frame is
//
//	u32 length    4 + size of the payload: the type is counted, the length field is not
//	u32 type
//	payload
//
// in native byte order, without padding, alike in both directions, on a stream socket.
package ipc

import (
	"encoding/binary"
	"errors"
	"strconv"
)

const (
	// HeaderSize is the size of what precedes the payload of a frame, in bytes.
	HeaderSize = 8
	// DefaultMaxPayload is the largest payload that an [Inbox] accepts unless told otherwise: 64 MiB.
	DefaultMaxPayload = 64 << 20

	typeSize = 4
)

// Control is the type of messages by which a worker tells its master how it is. They have a payload of one byte, and need
// no answer: a master that does not know them drops them like any message without a handler.
const Control uint32 = 1<<32 - 1

// Payloads of [Control].
const (
	ControlReady byte = 1 // the worker is ready
	ControlBeat  byte = 2 // a sign of life; any other message is one, too
)

// ErrFrame is what a malformed or oversized frame is: the stream cannot be trusted any more.
var ErrFrame = errors.New("ipc: malformed frame")

// A frameError says what is wrong with a frame.
type frameError string

func (e frameError) Error() string { return ErrFrame.Error() + ": " + string(e) }
func (e frameError) Unwrap() error { return ErrFrame }

func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// A Frame is one message. Payload belongs to the inbox that it came from.
type Frame struct {
	Type    uint32
	Payload []byte
}

// AppendFrame appends the frame of a message to dst. The payload must be smaller than 4 GiB - 4.
func AppendFrame(dst []byte, msgType uint32, payload []byte) []byte {
	dst = binary.NativeEndian.AppendUint32(dst, uint32(typeSize+len(payload)))
	dst = binary.NativeEndian.AppendUint32(dst, msgType)
	return append(dst, payload...)
}

const (
	// usual is the size of a receive buffer: what a reader of many small frames takes from the kernel at once. A message of 64 KiB
	// fits.
	usual = 64<<10 + HeaderSize
	// large is the size from which a buffer is given back as soon as it is empty.
	large = 2 << 20
	// A buffer that grew for a large frame is given back when it was emptied so often without another one.
	patience = 16
	// A read asks for at least this much, unless the frame at hand needs less.
	leastRead = 16 << 10
)

// An Inbox takes the bytes of a stream as they come and gives back the frames. Frames are decoded in place.
//
// The owner reads into [Inbox.Space], says how much came with [Inbox.Added] and takes frames with [Inbox.Next] until
// there is none. The zero value is ready for use.
type Inbox struct {
	// MaxPayload is the largest payload to accept, in bytes; 0 means DefaultMaxPayload.
	MaxPayload uint32

	// Discard, if not nil, is called with memory of more than 2 MiB that is not needed any more: whoever knows how can give it
	// back to the system at once, instead of when the garbage collector has found it.
	Discard func([]byte)

	buffer     []byte
	start, end int // of what was received and not yet taken
	biggest    int // frame that was taken since the buffer was last empty
	modest     int // how often it was emptied since it last held a large one
	held       bool
}

// Space returns where the next bytes of the stream go: never empty. It grows with what has arrived, never with what a
// frame announces, so that a peer costs no more memory than it sends. Payloads that Next returned before are gone,
// unless the inbox was told to [Inbox.Hold] them.
func (in *Inbox) Space() []byte {
	if in.start == in.end {
		switch {
		case in.biggest > usual:
			in.modest = 0
		case in.biggest > 0:
			in.modest++
		}
		if !in.held && (len(in.buffer) > large || len(in.buffer) > usual && in.modest >= patience) {
			in.discard()
			in.buffer, in.modest = nil, 0
		}
		in.biggest = 0
		if !in.held {
			in.start, in.end = 0, 0
		}
	}
	free := len(in.buffer) - in.end
	if free >= leastRead || free > 0 && free >= in.missing() {
		return in.space()
	}
	size, received := max(len(in.buffer), usual), in.end-in.start
	if in.held && received <= usual-leastRead {
		size = usual
	}
	if received == size || received > size-leastRead && in.missing() > size-received {
		size *= 2
		if size > large && in.missing() > 0 { // what the frame at hand needs is known: half as much again would be for nothing
			size = min(size, received+in.missing())
		}
	}
	if in.held || size != len(in.buffer) {
		fresh := make([]byte, size)
		in.end = copy(fresh, in.buffer[in.start:in.end])
		in.discard()
		in.buffer, in.held = fresh, false
	} else {
		in.end = copy(in.buffer, in.buffer[in.start:in.end])
	}
	in.start = 0
	return in.space()
}

// space limits a read to what small frames need, or to the rest of a large frame: what follows a large frame would have
// to be moved to make room for the next.
func (in *Inbox) space() []byte {
	most, missing := usual, in.missing()
	if missing > 0 && in.end-in.start+missing > usual {
		most = missing
	}
	return in.buffer[in.end:min(len(in.buffer), in.end+most)]
}

// missing is how many bytes the frame at hand still needs, none or less when it is complete; 1 when its length is not known yet.
func (in *Inbox) missing() int {
	if in.end-in.start < 4 {
		return 1
	}
	return 4 + int(binary.NativeEndian.Uint32(in.buffer[in.start:])) - (in.end - in.start)
}

// Hold keeps the payloads that Next has returned valid for as long as the memory that it returns is referred to: the
// inbox goes on in new memory.
func (in *Inbox) Hold() []byte {
	in.held = len(in.buffer) > 0
	return in.buffer
}

// Close ends the use of the inbox, whose memory goes unless it is held.
func (in *Inbox) Close() {
	in.discard()
	in.buffer, in.start, in.end = nil, 0, 0
}

func (in *Inbox) discard() {
	if !in.held && len(in.buffer) > large && in.Discard != nil {
		in.Discard(in.buffer)
	}
}

// Memory returns the memory that payloads lie in until Space moves on to another.
func (in *Inbox) Memory() []byte { return in.buffer }

// Added says that n bytes were read into Space.
func (in *Inbox) Added(n int) { in.end += n }

// Buffered returns how many bytes have arrived that Next has not taken.
func (in *Inbox) Buffered() int { return in.end - in.start }

// Bytes returns those bytes, which stay the inbox's.
func (in *Inbox) Bytes() []byte { return in.buffer[in.start:in.end] }

// Next takes the next complete frame; false when there is none yet. Its payload is aligned to 8 bytes and valid until
// the next call of Space. After an error, which wraps [ErrFrame], the stream is of no further use.
func (in *Inbox) Next() (Frame, bool, error) {
	received := in.end - in.start
	if received < 4 {
		return Frame{}, false, nil
	}
	header := in.buffer[in.start:in.end]
	length := binary.NativeEndian.Uint32(header)
	if length < typeSize {
		return Frame{}, false, frameError("its length is " + number(length) + ", the least is 4")
	}
	limit := in.MaxPayload
	if limit == 0 {
		limit = DefaultMaxPayload
	}
	if length-typeSize > limit {
		return Frame{}, false, frameError("it announces a payload of " + number(length-typeSize) + " bytes, the limit is " +
			number(limit))
	}
	total := 4 + int(length)
	if received < total {
		return Frame{}, false, nil
	}
	frame := Frame{Type: binary.NativeEndian.Uint32(header[4:])}
	// Handlers cast payloads to structures. The header, which is done with, leaves room to move an odd one down.
	from := in.start + HeaderSize
	to := from &^ 7
	frame.Payload = in.buffer[to : to+total-HeaderSize : to+total-HeaderSize]
	if from != to {
		copy(frame.Payload, in.buffer[from:in.start+total])
	}
	in.start += total
	in.biggest = max(in.biggest, total)
	return frame, true, nil
}
