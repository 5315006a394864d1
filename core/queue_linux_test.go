package core

import (
	"context"
	"encoding/binary"
	"log/slog"
	"math"
	"runtime"
	"testing"
	"time"
)

// calling makes a worker as the master sees it, whose messages go to a writer on another goroutine.
func calling(g *Group, w writer) *Worker {
	from := new(Worker)
	from.link_.group = g
	from.link_.queue = newQueue(g, func() { go func() { _, _, _ = from.link_.queue.write(w) }() })
	return from
}

// TestTheRequestIsDoneWithWhenItsReplyLeaves fails if a caller that has its reply can be told that the handler is still at it.
func TestTheRequestIsDoneWithWhenItsReplyLeaves(t *testing.T) {
	late, left := 0, make(chan bool, 1)
	from := calling(new(Group), nil)
	from.link_.queue.wake = func() {}
	w := func(buffers [][]byte) (n int, err error) {
		from.link_.calls.mu.Lock()
		late += len(from.link_.calls.serving)
		from.link_.calls.mu.Unlock()
		for _, buffer := range buffers {
			n += len(buffer)
		}
		left <- true
		return n, nil
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() { // writes at the first opportunity
		defer close(ended)
		for {
			select {
			case <-end:
				return
			default:
				_, _, _ = from.link_.queue.write(w)
				if runtime.GOMAXPROCS(0) == 1 {
					runtime.Gosched()
				}
			}
		}
	}()
	for id, begin := uint32(0), time.Now(); id < 5000 && time.Since(begin) < 5*time.Second; id++ {
		from.link_.calls.serve(from, 1, id, nil, func(context.Context, []byte) ([]byte, error) { return nil, nil })
		select {
		case <-left:
		case <-time.After(20 * time.Second):
			t.Fatal("a reply does not leave")
		}
	}
	close(end)
	<-ended
	if late > 0 {
		t.Errorf("%d replies left while their request was still being handled", late)
	}
}

// TestRefusalsAreBounded fails if a process that asks and does not listen costs memory, or fills the log.
func TestRefusalsAreBounded(t *testing.T) {
	var lines int
	g := Group{QueueLimit: 100, Logger: slog.New(countingHandler{&lines})}
	from := calling(&g, func([][]byte) (int, error) { return 0, nil })
	request := binary.NativeEndian.AppendUint32(nil, 5)
	request = binary.NativeEndian.AppendUint32(request, callRequest)
	for range 200000 {
		from.link_.calls.receive(from, 1, request, false, nil)
		from.link_.calls.receive(from, 1, request[:3], false, nil)
	}
	if n := from.link_.queue.out.Queued(); n < mostBeyond || n > mostBeyond+1000 {
		t.Errorf("%d bytes are queued, want %d and a little", n, mostBeyond)
	}
	if lines < 2 || lines > 20 {
		t.Errorf("%d lines were logged", lines)
	}
}

type countingHandler struct{ lines *int }

func (h countingHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (h countingHandler) Handle(context.Context, slog.Record) error { *h.lines++; return nil }
func (h countingHandler) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h countingHandler) WithGroup(string) slog.Handler             { return h }

// TestRefusalsAreNotLostInAFullQueue fails if a caller waits without end for an answer that had no room.
func TestRefusalsAreNotLostInAFullQueue(t *testing.T) {
	g := Group{QueueLimit: 100}
	from := calling(&g, func([][]byte) (int, error) { return 0, nil })
	for from.Send(1, make([]byte, 50)) == nil {
	}
	before := from.Stats().MessagesOut
	request := binary.NativeEndian.AppendUint32(nil, 5)
	request = binary.NativeEndian.AppendUint32(request, callRequest)
	from.link_.calls.receive(from, 1, request, false, nil)
	g.MaxCalls = 1
	block := make(chan struct{})
	serve := func(context.Context, []byte) ([]byte, error) { <-block; return nil, nil }
	from.link_.calls.receive(from, 1, request, true, serve)
	from.link_.calls.receive(from, 1, request, true, serve) // with a number that is in use
	request[0]++
	from.link_.calls.receive(from, 1, request, true, serve) // one too many
	close(block)
	if n := from.Stats().MessagesOut - before; n != 3 {
		t.Errorf("%d refusals were queued, want 3", n)
	}
	if from.link_.queue.out.Limit == math.MaxInt {
		t.Error("the queue has no limit any more")
	}
	from.link_.calls.close()
	from.link_.queue.close() // the goroutine of the handler waits for room
}
