package core_test

import (
	"testing"

	"melon/core"
	"melon/core/coretest"
)

// TestMessagesAllocateNothing counts what master and worker allocate for raw messages there and back, in steady state.
func TestMessagesAllocateNothing(t *testing.T) {
	const messages = 5000
	for _, at := range []struct{ size, window int }{{0, 1}, {100, 1}, {100, 100}, {4000, 8}} {
		payload := make([]byte, at.size)
		left, open := 0, 0
		done := make(chan bool, 1)
		full := make(chan error, 1)
		send := func(to core.Peer) {
			if err := to.Send(echo, payload); err != nil {
				select {
				case full <- err:
				default:
				}
			}
		}
		test := coretest.Run(t, func(g *core.Group) error {
			g.Workers = 1
			g.Handle(echo, core.Handlers{
				Worker: func(m *core.Master, _ []byte) { send(m) },
				Master: func(w *core.Worker, _ []byte) {
					switch {
					case left > 0:
						left--
						send(w)
					case open > 1:
						open--
					default:
						done <- true
					}
				},
			})
			return nil
		})
		w := test.Worker(0)
		round := func() {
			left, open = messages-at.window, at.window
			for range at.window {
				send(w)
			}
			receive(t, done, "the last echo")
		}
		round() // buffers grow
		// The test's own timer, and now and then something of the runtime's.
		if n := testing.AllocsPerRun(3, round); n > 50 {
			t.Errorf("%d messages of %d bytes, %d at a time, allocate %v times", messages, at.size, at.window, n)
		} else {
			t.Logf("%d messages of %d bytes, %d at a time, allocate %v times", messages, at.size, at.window, n)
		}
		if err := test.Stop(); err != nil || len(full) > 0 {
			t.Errorf("%v, or a queue was full", err)
		}
	}
}
