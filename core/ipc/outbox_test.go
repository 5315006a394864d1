package ipc

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestOutboxKeepsOrderAndBytes drives an outbox and an inbox against each other with a stream that takes what it likes.
func TestOutboxKeepsOrderAndBytes(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		out := Outbox{Limit: 1 << random.IntN(20)}
		var in Inbox
		var added, taken uint32
		payload := func(n uint32) []byte {
			r := rand.New(rand.NewPCG(seed, uint64(n)+2))
			size := r.IntN(200)
			if r.IntN(8) == 0 {
				size = r.IntN(100 << 10)
			}
			return bytes.Repeat([]byte{byte(n)}, size)
		}
		for taken < 400 {
			for range random.IntN(20) {
				full := out.Queued() >= out.Limit
				message := payload(added)
				if out.Add(added, message) == full {
					t.Fatalf("seed %d: with %d of %d bytes queued, Add returned %t", seed, out.Queued(), out.Limit, !full)
				}
				clear(message) // Add copies
				if full {
					break
				}
				added++
			}
			var stream []byte
			for _, buffer := range out.Pending(nil) {
				stream = append(stream, buffer...)
			}
			stream = stream[:random.IntN(len(stream)+1)]
			if random.IntN(4) == 0 { // messages may be added during a write
				if message := payload(added); out.Add(added, message) {
					added++
				}
			}
			out.Sent(len(stream))
			for len(stream) > 0 {
				n := copy(in.Space(), stream)
				in.Added(n)
				stream = stream[n:]
				for {
					frame, ok, err := in.Next()
					if err != nil {
						t.Fatalf("seed %d: %v", seed, err)
					}
					if !ok {
						break
					}
					if frame.Type != taken || !bytes.Equal(frame.Payload, payload(taken)) {
						t.Fatalf("seed %d: message %d came as type %d with %d bytes", seed, taken, frame.Type, len(frame.Payload))
					}
					taken++
				}
			}
		}
	}
}

func TestOutboxSharesBuffers(t *testing.T) {
	var out Outbox
	for range 100 {
		out.Add(1, make([]byte, 100))
	}
	if n := len(out.Pending(nil)); n != 1 {
		t.Errorf("100 small messages lie in %d buffers, want 1: one system call with one buffer", n)
	}
	out.Sent(out.Queued())
	if n := out.Queued(); n != 0 {
		t.Errorf("%d bytes are left", n)
	}
	message := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		out.Add(1, message)
		out.Sent(out.Queued())
	}); n != 0 {
		t.Errorf("a small message costs %v allocations, want 0", n)
	}
}

func TestOutboxRefusesPastItsLimit(t *testing.T) {
	out := Outbox{Limit: 1000}
	if !out.Add(1, make([]byte, 5000)) {
		t.Fatal("an empty outbox refuses a message larger than its limit")
	}
	if out.Add(1, nil) {
		t.Fatal("an outbox past its limit takes another message")
	}
	if out.HasRoom() {
		t.Error("an outbox past its limit says that it has room")
	}
	out.Sent(5000 - 492)
	if !out.HasRoom() || !out.Add(1, nil) {
		t.Error("an outbox that has drained to half of its limit takes no message")
	}
	out.Discard()
	if out.Queued() != 0 || len(out.Pending(nil)) != 0 || out.Limit != 1000 {
		t.Errorf("after Discard: %d bytes queued, limit %d", out.Queued(), out.Limit)
	}
}

// Large messages that follow each other take no new memory, also with small ones in between; when no more of them come the
// memory is given back.
func TestOutboxKeepsTheBufferOfALargeMessage(t *testing.T) {
	var out Outbox
	payload := make([]byte, 1<<20)
	vector := make([][]byte, 0, mostBuffers)
	send := func(size int) *byte {
		if !out.Add(1, payload[:size]) {
			t.Fatal("an empty outbox refused a message")
		}
		vector = out.Pending(vector[:0])
		start := &vector[0][0]
		out.Sent(out.Queued())
		return start
	}
	first := send(1 << 20)
	for range 3 {
		send(100)
		if send(1<<20) != first {
			t.Fatal("a large message is in other memory than the one before")
		}
	}
	for range patience {
		send(100)
	}
	if out.large != nil {
		t.Errorf("%d bytes are kept though nothing large has come for a while", cap(out.large))
	}
}
