package coretest_test

import (
	"context"
	"strings"
	"testing"

	"melon/core"
	"melon/core/coretest"
)

// In the program: a call, and the function that describes the group. Its main function calls describe, and Run.

var shout = core.Call[string, string]{Type: 7}

func describe(g *core.Group) error {
	g.Workers = 2
	shout.HandleWorker(g, func(_ context.Context, _ *core.Master, text string) (string, error) {
		return strings.ToUpper(text) + "!", nil
	})
	return nil
}

// In a file of the program's tests, with the name TestShout:

func testShout(t *testing.T) {
	test := coretest.Run(t, describe)
	worker := test.Worker(0)
	if got, err := shout.Do(t.Context(), worker, "hello"); got != "HELLO!" || err != nil {
		t.Errorf("the worker answers %q, %v", got, err)
	}
	test.Crash(0)
	test.Await(core.Restarting)
	if got, err := shout.Do(t.Context(), test.Worker(0), "again"); got != "AGAIN!" || err != nil {
		t.Errorf("the worker in its place answers %q, %v", got, err)
	}
}

// The test of a program needs no process: each worker is a goroutine.
func Example() {
	_ = testShout
}

func TestShout(t *testing.T) { testShout(t) }
