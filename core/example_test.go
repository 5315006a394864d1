package core_test

import (
	"context"
	"fmt"
	"os"

	"melon/core"
)

// The program's message types.
const (
	task uint32 = iota + 1
	result
)

// program is the main function of a program whose workers square numbers. It runs alike in the master and in each
// worker, which are processes of the same binary.
func program() error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	open := 3

	group := core.Group{
		Workers: 3,
		Observe: func(e core.Event) { // in the master
			if e.Kind == core.Started {
				_ = e.Worker.Send(task, []byte{byte(e.Index + 2)})
			}
		},
	}
	group.Handle(task, core.Handlers{Worker: func(master *core.Master, payload []byte) {
		_ = master.Send(result, []byte{payload[0], payload[0] * payload[0]})
	}})
	group.Handle(result, core.Handlers{Master: func(from *core.Worker, payload []byte) {
		fmt.Printf("worker %d: %d squared is %d\n", from.Index(), payload[0], payload[1])
		if open--; open == 0 {
			stop() // the master's Run ends its workers and returns
		}
	}})
	return group.Run(ctx)
}

func Example() {
	// In a program of its own this is the body of main. Here, TestMain calls program in the workers.
	if err := program(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Unordered output:
	// worker 0: 2 squared is 4
	// worker 1: 3 squared is 9
	// worker 2: 4 squared is 16
}
