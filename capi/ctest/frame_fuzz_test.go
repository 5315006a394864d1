package ctest

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Types of messages that drivers/frames.c handles: some change what is going on while what came with them waits.
const (
	framePlain = 2000 + iota
	frameBreaks
	frameMoves
	frameNests
	frameUnnests
	frameStirs
	frameUnknown = 3000
	frameControl = math.MaxUint32 // the program's own, where workers need not say how they are
)

// decodeFrames is what drivers/frames.c is to print of a stream: its messages, and why it is closed, if it has no good end.
func decodeFrames(stream []byte, limit uint32) (printed, closed string) {
	dropped := 0
	for len(stream) >= 4 {
		length := binary.NativeEndian.Uint32(stream)
		if length < 4 {
			return printed, fmt.Sprintf("ipc: malformed frame: its length is %d, the least is 4\n", length)
		}
		if length-4 > limit {
			return printed, fmt.Sprintf("ipc: malformed frame: it announces a payload of %d bytes, the limit is %d\n", length-4, limit)
		}
		if uint64(len(stream)) < 4+uint64(length) {
			break
		}
		frame := stream[4 : 4+length]
		stream = stream[4+length:]
		if t := binary.NativeEndian.Uint32(frame); t >= framePlain && t <= frameStirs || t == frameControl {
			sum := fnv.New64a()
			sum.Write(frame[4:])
			printed += fmt.Sprintf("%d %d %016x %d\n", t, len(frame)-4, sum.Sum64(), dropped)
		} else {
			dropped += 4 + len(frame)
		}
	}
	if len(stream) > 0 {
		return printed, fmt.Sprintf("it ends inside of a message, of which %d bytes have come\n", len(stream))
	}
	return printed, ""
}

// A frameProgram says what a peer writes, and how: first how its stream ends, then steps, each of a byte and what belongs to it.
type frameProgram []byte

func (p *frameProgram) next() byte {
	if len(*p) == 0 {
		return 0
	}
	b := (*p)[0]
	*p = (*p)[1:]
	return b
}

// What a step adds to the stream, as its lowest bits say, a frame of one of the first types or one of these; and how that is written.
const (
	stepOther  = iota + 1 + frameUnnests - framePlain // a frame of another type
	stepBytes                                         // any bytes
	stepLength                                        // any length, and a type

	stepKinds  = 8
	stepGoesOn = 2 << 3 // without waiting until all is read
	stepJoins  = 3 << 3 // it is written with what follows
	stepHow    = 3 << 3
	stepCut    = 4 << 5 // in two, so far from its beginning
	stepCutEnd = 6 << 5 // so far from its end
)

// frameSizes are sizes of payloads that a byte from sizesFrom on stands for; a smaller one is the size, and those behind them are around
// the limit. The largest message that is received without the engine has 4096 bytes with its header.
var frameSizes = []int{4080, 4087, 4088, 4089, 4095, 4096, 4097, 8180, 8184, 65527, 65528, 65529, 100000, 300}

const sizesFrom = 200

// request is what drivers/frames.c takes, and the stream in one piece.
func (p frameProgram) request(limit uint32) (request, stream []byte) {
	request = []byte{p.next() % 2}
	var piece []byte
	frame := func(t uint32) []byte {
		n := int(p.next())
		switch {
		case n >= sizesFrom+len(frameSizes):
			n = min(int(limit), 1<<17) + n - 250
		case n >= sizesFrom:
			n = frameSizes[n-sizesFrom]
		}
		frame := binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, uint32(4+n)), t)
		for i := range n {
			frame = append(frame, byte(len(stream)+i*7+i>>8))
		}
		return frame
	}
	write := func(waits byte) {
		request = append(append(binary.NativeEndian.AppendUint32(request, uint32(len(piece))), waits), piece...)
		piece = nil
	}
	add := func(bytes []byte) { stream, piece = append(stream, bytes...), append(piece, bytes...) }
	for len(p) > 0 && len(stream) < 1<<20 {
		step := p.next()
		var bytes []byte
		switch kind := step % stepKinds; kind {
		case stepOther:
			types := []uint32{frameUnknown, frameControl, frameStirs, 0, 2, math.MaxUint32 - 1, framePlain - 1, frameStirs + 1}
			bytes = frame(types[p.next()%byte(len(types))])
		case stepBytes:
			n := min(int(p.next()%16), len(p))
			bytes, p = p[:n], p[n:]
		case stepLength:
			bytes = binary.NativeEndian.AppendUint32([]byte{p.next(), p.next(), p.next(), p.next()}, framePlain)
		default:
			bytes = frame(framePlain + uint32(kind))
		}
		if step >= stepCut {
			at := min(int(p.next()), len(bytes))
			if step >= stepCutEnd {
				at = len(bytes) - at
			}
			add(bytes[:at])
			write(1)
			bytes = bytes[at:]
		}
		add(bytes)
		switch step & stepHow {
		case stepJoins:
		case stepGoesOn:
			write(0)
		default:
			write(1)
		}
	}
	write(0)
	return request, stream
}

// FuzzFrames has a worker write any bytes, cut anywhere, to a master in C, and compares what the master's handlers get, and how the
// channel ends, with a decoder of some lines.
func FuzzFrames(f *testing.F) {
	const (
		plain   = 0 // from framePlain on
		breaks  = frameBreaks - framePlain
		moves   = frameMoves - framePlain
		nests   = frameNests - framePlain
		unnests = frameUnnests - framePlain
		stirs   = 2 // of the types of stepOther
	)
	add := func(program ...byte) {
		f.Add(program, false)
		f.Add(program, true)
	}
	add()
	add(1)
	for b := byte(0); b < byte(len(frameSizes)); b++ { // one by one; each size with a small one before it
		add(0, plain, 9, plain, 0, plain, 9, plain, sizesFrom+b, plain, 9, plain|stepJoins, sizesFrom+b, plain, 7, plain, 9)
	}
	for over := byte(0); over < 6; over++ { // around the limit
		add(1, plain, 9, plain, 9, plain, 250-2+over, plain, 9)
		add(0, plain, 9, plain, 9, plain|stepJoins, 9, plain, 250-2+over, plain, 9)
	}
	for at := byte(0); at <= 8+20; at++ { // cut in two, after one that came whole; and the same for several at once; the end
		add(0, plain, 9, plain, 5, plain|stepCut, 20, at, plain, 9, plain, 9, plain|stepCutEnd|stepJoins, 20, at, plain, 9, plain, 3, plain, 4)
		add(at%2, plain, 9, plain, 5, stepBytes, at%16, 9+4, 0, 0, 0, 208, 7, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)
	}
	for length := byte(0); length < 8; length++ { // malformed, or what follows is
		add(1, plain, 9, plain, 9, stepLength, length, 0, 0, 0, plain, 9, plain, 9)
		add(0, plain, 9, plain, 9, plain|stepJoins, 9, stepLength|stepGoesOn, length, 0, 0, 0, plain, 9, plain, 9)
		add(length%2, plain, 9, plain, 9, stepLength, 255-length, 255, 255, 255-length%2, plain, 9)
	}
	for other := byte(0); other < 8; other++ {
		add(0, plain, 9, stepOther, other, 9, stepOther, other, 0, plain, 9, stepOther|stepJoins, other, 9, plain, 9, stepOther, other, 201)
	}
	for _, does := range []byte{breaks, moves, nests, unnests} {
		add(0, plain, 9, does, 9, plain, 5, does, 0, plain|stepJoins, 5, does|stepJoins, 20, plain, 6, plain, 7, unnests, 1, plain, 3)
		add(1, plain, 9, does|stepGoesOn, 9, plain|stepGoesOn, 5, does|stepCut, 30, 15, plain|stepCut|stepJoins, 5, 3, does, 203, plain, 6, plain, 6)
		add(0, plain, 9, plain, 9, does, 9, does, 9, does|stepCut, 9, 8, does, 9, unnests, 0, unnests, 0, unnests|stepJoins, 0, does, 1)
	}
	for _, first := range [][]byte{{4}, {8, 21, 0, 0, 0, 208, 7, 0, 0}, {3, 17, 0, 0}} { // a piece that the engine reads, and then a whole frame
		add(slices.Concat([]byte{0, plain, 9, plain, 9, stepOther, stirs, 9, stepBytes}, first, []byte{plain, 9, plain, 9, plain, 9})...)
	}
	add(0, plain, 9, stepBytes|stepGoesOn, 2, 17, 0) // the process ends, perhaps before that is read
	add(slices.Repeat([]byte{plain | stepGoesOn, 100}, 600)...)

	peer := filepath.Join(f.TempDir(), "peer")
	if err := compile(peer, []string{"drivers/frames_peer.c"}, "-I"+include); err != nil {
		f.Fatal(err)
	}
	limits := map[bool]uint32{false: 64 << 20, true: 2000} // more and less than is received without the engine
	drivers := map[bool]*driver{}
	for small, limit := range limits {
		drivers[small] = startDriver(f, f.TempDir(), "frames.c", peer, fmt.Sprint(limit))
	}
	f.Fuzz(func(t *testing.T, program []byte, small bool) {
		request, stream := frameProgram(program).request(limits[small])
		want, closed := decodeFrames(stream, limits[small])
		var printed, said string
		for line := range strings.Lines(drivers[small].ask(t, request)) {
			if frameLine.MatchString(line) {
				printed += line
			} else if _, cause, _ := strings.Cut(line, " is closed: "); !ordinaryLine.MatchString(line) {
				said += cmp.Or(cause, line)
			}
		}
		if printed != want {
			t.Errorf("the handlers got\n%s\nand are to get\n%s", printed, want)
		}
		if said != closed {
			t.Errorf("the log says %q, want %q", said, closed)
		}
	})
}

// What drivers/frames.c prints of a message, and what the log says of any peer.
var (
	frameLine    = regexp.MustCompile(`^\d+ \d+ [0-9a-f]{16} \d+\n$`)
	ordinaryLine = regexp.MustCompile(`^Start process '|exited with status 0\n$`)
)
