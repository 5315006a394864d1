package ipc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"
)

var seed = flag.Uint64("seed", 0, "seed of the randomised tests; 0: another one each time")

// newRandom returns a source of random numbers and makes a failing test say how to get the same ones again.
func newRandom(t *testing.T) *rand.Rand {
	t.Helper()
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("to repeat: go test -run '^%s$' -seed %d", t.Name(), s)
		}
	})
	return rand.New(rand.NewPCG(s, 0))
}

// limit is the deadline of a test. One that hangs ends the test program with the stacks of all goroutines.
func limit(t *testing.T) { within(t, 30*time.Second) }

// within is limit for a time of one's own. A fuzz test needs it: the fuzzer by itself takes an input that hangs for one that passes;
// when its worker ends, it reports the input.
func within(t *testing.T, limit time.Duration) {
	t.Helper()
	name := t.Name()
	timer := time.AfterFunc(limit, func() {
		debug.SetTraceback("all")
		panic(name + " hangs")
	})
	t.Cleanup(func() { timer.Stop() })
}

func u32(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// decode is the wire format in its simplest form: all that can be said of a whole stream.
func decode(stream []byte, maxPayload uint32) (frames []Frame, malformed bool) {
	for len(stream) >= 4 {
		length := binary.NativeEndian.Uint32(stream)
		if length < 4 || length-4 > maxPayload {
			return frames, true
		}
		if uint64(len(stream)) < 4+uint64(length) {
			break
		}
		frames = append(frames, Frame{binary.NativeEndian.Uint32(stream[4:]), stream[8 : 4+length]})
		stream = stream[4+length:]
	}
	return frames, false
}

// A reader feeds an inbox and compares what comes out of it.
type reader struct {
	t       *testing.T
	in      Inbox
	arrived int
	frames  []Frame // copies
	held    []Frame // as they came, which Hold keeps valid; the same as frames from heldFrom on
	memory  [][]byte
}

// feed hands over bytes, at most at a time as many as the inbox has room for, and takes the frames.
func (r *reader) feed(b []byte, hold func() bool) error {
	r.t.Helper()
	for len(b) > 0 {
		if hold != nil && len(r.frames) > 0 && hold() {
			r.memory = append(r.memory, r.in.Hold())
		} else {
			r.held = r.held[:0]
		}
		space := r.in.Space()
		if len(space) == 0 {
			r.t.Fatal("there is no space")
		}
		n := copy(space, b)
		r.in.Added(n)
		r.arrived += n
		b = b[n:]
		if size := len(r.in.Memory()); size > 2*r.arrived+usual {
			r.t.Fatalf("the inbox takes %d bytes of memory after %d have arrived", size, r.arrived)
		}
		if err := r.take(); err != nil {
			return err
		}
		r.checkHeld()
	}
	return nil
}

func (r *reader) take() error {
	r.t.Helper()
	for {
		before := r.in.Buffered()
		frame, ok, err := r.in.Next()
		if err != nil || !ok {
			if frame.Payload != nil || r.in.Buffered() != before {
				r.t.Fatal("what is no frame changes something")
			}
			return err
		}
		if at := uintptr(unsafe.Pointer(unsafe.SliceData(frame.Payload))); at%8 != 0 {
			r.t.Fatalf("payload of %d bytes at %#x, not aligned to 8 bytes", len(frame.Payload), at)
		}
		if len(frame.Payload) != cap(frame.Payload) {
			r.t.Fatal("append to a payload would overwrite what follows it")
		}
		if used := before - r.in.Buffered(); used != HeaderSize+len(frame.Payload) {
			r.t.Fatalf("a frame with %d bytes of payload takes %d", len(frame.Payload), used)
		}
		r.held = append(r.held, frame)
		r.frames = append(r.frames, Frame{frame.Type, bytes.Clone(frame.Payload)})
	}
}

// checkHeld verifies that all payloads that came since the last Space that was not preceded by Hold are still valid.
func (r *reader) checkHeld() {
	r.t.Helper()
	copies := r.frames[len(r.frames)-len(r.held):]
	for i, frame := range r.held {
		if frame.Type != copies[i].Type || !bytes.Equal(frame.Payload, copies[i].Payload) {
			r.t.Fatal("a payload that is held was overwritten")
		}
	}
}

func same(a, b []Frame) bool {
	return slices.EqualFunc(a, b, func(a, b Frame) bool { return a.Type == b.Type && bytes.Equal(a.Payload, b.Payload) })
}

func TestAppendFrame(t *testing.T) {
	limit(t)
	tests := []struct {
		msgType uint32
		payload string
	}{
		{0, ""}, {1, "a"}, {math.MaxUint32, "payload"}, {1024, strings.Repeat("x", 100000)},
	}
	var stream, want []byte
	for _, test := range tests {
		want = slices.Concat(want, u32(uint32(4+len(test.payload))), u32(test.msgType), []byte(test.payload))
		stream = AppendFrame(stream, test.msgType, []byte(test.payload))
		if !bytes.Equal(stream, want) {
			t.Errorf("the frame of type %d with %d bytes is wrong", test.msgType, len(test.payload))
		}
	}
	if got := AppendFrame(nil, 7, nil); len(got) != HeaderSize {
		t.Errorf("a frame without payload has %d bytes, want %d", len(got), HeaderSize)
	}
}

func TestNext(t *testing.T) {
	tests := []struct {
		name   string
		max    uint32
		stream []byte
		frames int
		err    []string // what the error says; nil: none
	}{
		{"nothing", 0, nil, 0, nil},
		{"part of a length", 0, []byte{4, 0, 0}, 0, nil},
		{"length alone", 0, u32(4), 0, nil},
		{"no payload", 0, AppendFrame(nil, 1, nil), 1, nil},
		{"all but the last byte", 0, AppendFrame(nil, 1, []byte("abc"))[:10], 0, nil},
		{"two frames and a part", 0, AppendFrame(AppendFrame(AppendFrame(nil, 1, nil), 2, []byte("b")), 3, nil)[:20], 2, nil},

		{"length 0", 0, u32(0), 0, []string{"length is 0"}},
		{"length 1", 0, u32(1), 0, []string{"length is 1"}},
		{"length 2", 0, u32(2), 0, []string{"length is 2"}},
		{"length 3", 0, u32(3), 0, []string{"length is 3"}},
		{"length 3, and more bytes", 0, slices.Concat(u32(3), make([]byte, 100)), 0, []string{"length is 3", "least is 4"}},
		{"largest length", 0, u32(math.MaxUint32), 0, []string{"4294967291", "67108864"}},
		{"length that is negative when signed", 0, u32(1 << 31), 0, []string{"2147483644", "67108864"}},
		{"default limit", 0, u32(4 + DefaultMaxPayload), 0, nil},
		{"above the default limit", 0, u32(5 + DefaultMaxPayload), 0, []string{"67108865", "67108864"}},
		{"limit", 3, AppendFrame(nil, 1, []byte("abc")), 1, nil},
		{"above the limit", 3, AppendFrame(nil, 1, []byte("abcd")), 0, []string{"payload of 4 bytes", "limit is 3"}},
		{"no limit", math.MaxUint32, u32(math.MaxUint32), 0, nil},
		{"good, then bad", 0, slices.Concat(AppendFrame(nil, 1, []byte("good")), u32(2)), 1, []string{"length is 2"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			limit(t)
			r := reader{t: t, in: Inbox{MaxPayload: test.max}}
			err := r.feed(test.stream, nil)
			if len(r.frames) != test.frames {
				t.Errorf("%d frames, want %d", len(r.frames), test.frames)
			}
			if (err != nil) != (test.err != nil) {
				t.Fatalf("error %v, want one: %t", err, test.err != nil)
			}
			if err == nil {
				return
			}
			if !errors.Is(err, ErrFrame) {
				t.Errorf("%v does not wrap ErrFrame", err)
			}
			for _, part := range test.err {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if _, ok, again := r.in.Next(); ok || again == nil || again.Error() != err.Error() {
				t.Errorf("asked again: %v, want the same error", again)
			}
		})
	}
}

// A short stream cut at every pair of boundaries, with every shift of the alignment.
func TestEveryBoundary(t *testing.T) {
	limit(t)
	for shift := range 8 {
		var stream []byte
		for i, size := range []int{shift, 0, 1, 7, 8, 13} {
			stream = AppendFrame(stream, uint32(i), bytes.Repeat([]byte{byte('a' + i)}, size))
		}
		want, _ := decode(stream, math.MaxUint32)
		memory := make([]byte, usual) // one for all, which saves clearing it
		for i := range len(stream) + 1 {
			for j := i; j <= len(stream); j++ {
				r := reader{t: t, in: Inbox{buffer: memory}}
				for _, part := range [][]byte{stream[:i], stream[i:j], stream[j:]} {
					if err := r.feed(part, nil); err != nil {
						t.Fatalf("cut at %d and %d: %v", i, j, err)
					}
				}
				if !same(r.frames, want) || r.in.Buffered() != 0 {
					t.Fatalf("cut at %d and %d: the frames differ", i, j)
				}
			}
		}
	}
}

// Frames of all sizes in pieces of all sizes come out as they went in, held or not.
func TestRandomStreams(t *testing.T) {
	limit(t)
	random := newRandom(t)
	size := func() int {
		switch random.IntN(10) {
		case 0:
			return random.IntN(1 << 19)
		case 1, 2:
			return usual - 64 + random.IntN(128) // around the size of the buffer
		case 3:
			return random.IntN(usual)
		}
		return random.IntN(200)
	}
	noise := make([]byte, 0, 1<<21)
	for len(noise) < cap(noise) {
		noise = binary.NativeEndian.AppendUint64(noise, random.Uint64())
	}
	for n := range 20 {
		var stream []byte
		for i := range 1 + random.IntN(40) {
			from := random.IntN(len(noise) / 2)
			stream = AppendFrame(stream, uint32(i), noise[from:from+size()])
		}
		want, _ := decode(stream, math.MaxUint32)
		var hold func() bool
		if n%2 == 0 {
			hold = func() bool { return random.IntN(4) > 0 }
		}
		r := reader{t: t}
		for rest := stream; len(rest) > 0; {
			piece := min(len(rest), 1+size())
			if err := r.feed(rest[:piece], hold); err != nil {
				t.Fatal(err)
			}
			rest = rest[piece:]
		}
		if !same(r.frames, want) || r.in.Buffered() != 0 {
			t.Fatalf("stream %d: %d frames, want %d, or they differ", n, len(r.frames), len(want))
		}
	}
}

// The largest length costs nothing until the bytes come.
func TestAnnouncedLengthCostsNothing(t *testing.T) {
	limit(t)
	r := reader{t: t, in: Inbox{MaxPayload: math.MaxUint32}}
	if err := r.feed(slices.Concat(u32(math.MaxUint32), u32(1)), nil); err != nil {
		t.Fatal(err)
	}
	r.in.Space()
	if size := len(r.in.Memory()); size > usual {
		t.Errorf("the inbox takes %d bytes for a frame of which 8 have arrived", size)
	}

	// The same near the end of the buffer: what was taken before it leaves room at the start.
	r = reader{t: t, in: Inbox{MaxPayload: math.MaxUint32}}
	if err := r.feed(slices.Concat(AppendFrame(nil, 1, make([]byte, usual-leastRead)), u32(1<<30), u32(1)), nil); err != nil {
		t.Fatal(err)
	}
	r.in.Space()
	if size := len(r.in.Memory()); size > usual {
		t.Errorf("the inbox takes %d bytes for a frame of which 8 have arrived", size)
	}
	for range 100 { // and then what they cost, which feed checks
		if err := r.feed(make([]byte, 10000), nil); err != nil {
			t.Fatal(err)
		}
	}
}

// A buffer that grew for a large frame is given back when nothing large has come for a while.
func TestMemoryIsGivenBack(t *testing.T) {
	for _, size := range []int{usual, 1 << 20, 3 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			limit(t)
			r := reader{t: t}
			if err := r.feed(AppendFrame(nil, 1, make([]byte, size)), nil); err != nil {
				t.Fatal(err)
			}
			for range patience {
				if err := r.feed(AppendFrame(nil, 2, []byte("small")), nil); err != nil {
					t.Fatal(err)
				}
			}
			r.in.Space()
			if got := len(r.in.Memory()); got > usual {
				t.Errorf("%d bytes are kept after a frame of %d", got, size)
			}
			if len(r.frames) != 1+patience {
				t.Errorf("%d frames, want %d", len(r.frames), 1+patience)
			}
		})
	}
}

// A large frame now and then among small ones, and reads that bring nothing, do not cost a new buffer each time.
func TestLargeFramesNowAndThenShareABuffer(t *testing.T) {
	limit(t)
	var in Inbox
	var memory *byte
	for i := range 10 {
		for _, size := range []int{1 << 20, 5, 100} {
			for rest := AppendFrame(nil, 1, make([]byte, size)); len(rest) > 0; {
				n := copy(in.Space(), rest)
				in.Added(n)
				rest = rest[n:]
				_, ok, err := in.Next()
				if err != nil || ok != (len(rest) == 0) {
					t.Fatalf("a frame came: %t, %v; %d bytes of it have not", ok, err, len(rest))
				}
			}
			in.Space()
			in.Space()
		}
		if at := unsafe.SliceData(in.Memory()); i == 0 {
			memory = at
		} else if at != memory {
			t.Fatalf("round %d is in other memory than the first", i)
		}
	}
}

// A read for a large frame ends with the frame, so that the next one does not have to be moved to make room.
func TestLargeFramesAreReadToTheirEnd(t *testing.T) {
	limit(t)
	var in Inbox
	stream := slices.Concat(AppendFrame(nil, 1, make([]byte, 1<<20)), AppendFrame(nil, 2, make([]byte, 1<<20)))
	for len(stream) > 0 {
		n := copy(in.Space(), stream)
		in.Added(n)
		stream = stream[n:]
		if _, ok, err := in.Next(); err != nil || ok && in.Buffered() != 0 {
			t.Fatalf("after a frame %d bytes of the next one were there, %v", in.Buffered(), err)
		}
	}
}

// Large frames that follow each other share a buffer, also after one that was held.
func TestMemoryIsKeptWhileItIsUsed(t *testing.T) {
	limit(t)
	r := reader{t: t}
	stream := AppendFrame(nil, 1, make([]byte, 100<<10))
	for n, hold := range []bool{false, false, true, false} {
		if err := r.feed(stream, func() bool { h := hold; hold = false; return h }); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			continue
		}
		memory := unsafe.SliceData(r.in.Memory())
		for range 10 {
			if err := r.feed(stream, nil); err != nil {
				t.Fatal(err)
			}
		}
		if unsafe.SliceData(r.in.Memory()) != memory {
			t.Errorf("pass %d: ten frames in a row moved to another buffer", n)
		}
	}
}

// A held buffer that is far larger than usual stays with who holds it.
func TestHoldOfLargeFrame(t *testing.T) {
	limit(t)
	for _, size := range []int{100 << 10, large} {
		r := reader{t: t}
		payload := bytes.Repeat([]byte("x"), size)
		for range 2 {
			for _, p := range [][]byte{payload, []byte("small"), nil, []byte("small")} {
				if err := r.feed(AppendFrame(nil, 1, p), func() bool { return true }); err != nil {
					t.Fatal(err)
				}
			}
		}
		if len(r.held) != 8 || len(r.frames) != 8 {
			t.Errorf("%d frames, %d of them held; want 8", len(r.frames), len(r.held))
		}
	}
}

// What Hold returned stays as it is, whatever comes afterwards; without it the same memory is used again.
func TestHold(t *testing.T) {
	limit(t)
	var in Inbox
	receive := func(s string) Frame {
		t.Helper()
		for rest := AppendFrame(nil, 1, []byte(s)); ; {
			n := copy(in.Space(), rest)
			in.Added(n)
			rest = rest[n:]
			frame, ok, err := in.Next()
			if err != nil || ok != (len(rest) == 0) {
				t.Fatalf("a frame came: %t, %v; %d bytes of it have not", ok, err, len(rest))
			}
			if ok {
				return frame
			}
		}
	}
	if in.Hold() != nil || in.Memory() != nil {
		t.Error("an inbox that has received nothing has memory")
	}
	first := receive("first")
	held := in.Hold()
	at := uintptr(unsafe.Pointer(unsafe.SliceData(first.Payload)))
	from := uintptr(unsafe.Pointer(unsafe.SliceData(held)))
	if at < from || at+uintptr(len(first.Payload)) > from+uintptr(len(held)) {
		t.Error("the payload does not lie in the memory that Hold returns")
	}
	second := receive("second")
	for range 3 * usual / 100 {
		in.Hold()
		receive(strings.Repeat("x", 100))
	}
	if string(first.Payload) != "first" || string(second.Payload) != "second" {
		t.Errorf("held payloads are %q and %q now", first.Payload, second.Payload)
	}
}

func TestSpaceIsNeverEmpty(t *testing.T) {
	limit(t)
	random := newRandom(t)
	var in Inbox
	// Sizes that leave the end of the buffer at, before and behind a boundary.
	for range 2000 {
		frame := AppendFrame(nil, 1, make([]byte, random.IntN(3*leastRead)))
		for len(frame) > 0 {
			space := in.Space()
			if len(space) == 0 {
				t.Fatal("there is no space")
			}
			n := copy(space, frame)
			in.Added(n)
			frame = frame[n:]
			if _, _, err := in.Next(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Whoever has received more than a message puts all of it there before taking any.
func TestThereIsSpaceBehindACompleteFrame(t *testing.T) {
	limit(t)
	for _, size := range []int{0, usual - 2*HeaderSize, usual, 100_000, large, 3 * large} {
		var in Inbox
		stream := AppendFrame(AppendFrame(nil, 1, make([]byte, size)), 2, make([]byte, 10_000))
		for rest := stream; len(rest) > 0; {
			n := copy(in.Space(), rest)
			if n == 0 {
				t.Fatalf("there is no space behind a message of %d bytes", size)
			}
			in.Added(n)
			rest = rest[n:]
		}
		for _, want := range []int{size, 10_000} {
			if frame, ok, err := in.Next(); !ok || err != nil || len(frame.Payload) != want {
				t.Errorf("Next() gives %d bytes, %t, %v, and %d bytes are expected", len(frame.Payload), ok, err, want)
			}
		}
	}
}

// Receiving allocates nothing once there is a buffer.
func TestDecodingDoesNotAllocate(t *testing.T) {
	limit(t)
	stream := smallFrames()
	var in Inbox
	if allocations := testing.AllocsPerRun(100, func() { receiveAll(t, &in, stream) }); allocations != 0 {
		t.Errorf("%v allocations for %d frames, want none", allocations, len(stream)/(HeaderSize+64))
	}
}

func smallFrames() []byte {
	var stream []byte
	for i := range 1000 {
		stream = AppendFrame(stream, uint32(i), make([]byte, 64))
	}
	return stream
}

func receiveAll(t testing.TB, in *Inbox, stream []byte) {
	count := 0
	for rest := stream; len(rest) > 0; {
		n := copy(in.Space(), rest)
		in.Added(n)
		rest = rest[n:]
		for {
			_, ok, err := in.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			count++
		}
	}
	if want := len(stream) / (HeaderSize + 64); count != want {
		t.Fatalf("%d frames, want %d", count, want)
	}
}

// Decoding frames of 64 bytes; a pass takes a thousand of them.
func BenchmarkInbox(b *testing.B) {
	stream := smallFrames()
	var in Inbox
	receiveAll(b, &in, stream)
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		receiveAll(b, &in, stream)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/frame")
}

func BenchmarkAppendFrame(b *testing.B) {
	payload := make([]byte, 64)
	var dst []byte
	b.SetBytes(HeaderSize + 64)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendFrame(dst[:0], 1, payload)
	}
}

// A frame that comes in many small pieces: what has arrived is not looked at again with each. That takes
// milliseconds, and minutes otherwise.
func TestLargeFrameTakesTimeInProportion(t *testing.T) {
	const size, piece = 4 << 20, 64
	var in Inbox
	stream := AppendFrame(nil, 1, make([]byte, size))
	start := time.Now()
	for at := 0; at < len(stream); at += piece {
		if at > 0 {
			if _, ok, err := in.Next(); ok || err != nil {
				t.Fatalf("after %d bytes: a frame %t, error %v", at, ok, err)
			}
		}
		in.Added(copy(in.Space(), stream[at:min(at+piece, len(stream))]))
		if took := time.Since(start); took > 10*time.Second {
			t.Fatalf("%d bytes have taken %v", at, took)
		}
	}
	if frame, ok, err := in.Next(); !ok || err != nil || len(frame.Payload) != size {
		t.Fatalf("a frame %t, of %d bytes, error %v", ok, len(frame.Payload), err)
	}
}

// Any bytes in any pieces: the inbox says what the reference decoder says of the whole.
func FuzzInbox(f *testing.F) {
	f.Add([]byte{}, []byte{}, uint32(0))
	f.Add(AppendFrame(nil, 1, []byte("abc")), []byte{1, 0, 3}, uint32(0))
	f.Add(AppendFrame(AppendFrame(nil, 1, nil), 2, make([]byte, 300)), []byte{255, 7, 130}, uint32(1000))
	f.Add(slices.Concat(AppendFrame(nil, 1, []byte("good")), u32(3)), []byte{9}, uint32(10))
	f.Add(u32(math.MaxUint32), []byte{}, uint32(math.MaxUint32))
	f.Add(bytes.Repeat(AppendFrame(nil, 9, []byte("12345")), 50), []byte{13, 128, 2, 255}, uint32(5))
	f.Fuzz(func(t *testing.T, stream, cuts []byte, maxPayload uint32) {
		within(t, 3*time.Second)
		effective := maxPayload
		if effective == 0 {
			effective = DefaultMaxPayload
		}
		want, malformed := decode(stream, effective)
		r := reader{t: t, in: Inbox{MaxPayload: maxPayload}}
		var err error
		for rest, n := stream, 0; len(rest) > 0 && err == nil; n++ {
			piece, hold := len(rest), false
			if n < len(cuts) {
				piece, hold = min(len(rest), 1+int(cuts[n]&127)), cuts[n] > 127
			}
			err = r.feed(rest[:piece], func() bool { return hold })
			rest = rest[piece:]
		}
		if (err != nil) != malformed || err != nil && !errors.Is(err, ErrFrame) {
			t.Fatalf("error %v, want one: %t", err, malformed)
		}
		if !same(r.frames, want) {
			t.Fatalf("%d frames, want %d, or they differ", len(r.frames), len(want))
		}
	})
}
