package event

import (
	"flag"
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"time"
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
func limit(t *testing.T) {
	t.Helper()
	name := t.Name()
	timer := time.AfterFunc(30*time.Second, func() {
		debug.SetTraceback("all")
		panic(name + " hangs")
	})
	t.Cleanup(func() { timer.Stop() })
}
