package core_test

import (
	"context"
	"fmt"
	"os"

	"melon/core"
)

// A type of messages: values of type int, under a number of the program's choice.
var (
	task   = core.Message[int]{Type: 1}
	result = core.Message[int]{Type: 2}
)

// program is the main function of a program whose workers square numbers. It runs alike in the master and in each
// worker, which are processes of the same binary.
func program() error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	group, results := core.Group{Workers: 3}, 0
	group.Observe = func(e core.Event) { // in the master
		if e.Kind == core.Ready {
			_ = task.Send(e.Worker, e.Index+2)
		}
	}
	task.HandleWorker(&group, func(master *core.Master, n int) { _ = result.Send(master, n*n) })
	result.HandleMaster(&group, func(from *core.Worker, square int) {
		fmt.Printf("worker %d: the square of %d is %d\n", from.Index(), from.Index()+2, square)
		if results++; results == 3 {
			stop() // the workers end, and Run returns
		}
	})
	return group.Run(ctx)
}

func Example() {
	// In a program of its own this is the body of main. Here, TestMain calls program in the workers.
	if err := program(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Unordered output:
	// worker 0: the square of 2 is 4
	// worker 1: the square of 3 is 9
	// worker 2: the square of 4 is 16
}

// A call is answered. Its handlers run on goroutines of their own, and may take their time.
func ExampleCall() {
	lookUp := core.Call[string, []string]{Type: 3}
	var group core.Group
	lookUp.HandleWorker(&group, func(ctx context.Context, master *core.Master, name string) ([]string, error) {
		return []string{"192.0.2.1"}, nil
	})
	group.Observe = func(e core.Event) { // callbacks do not wait: they use Go, and goroutines use Do
		if e.Kind == core.Ready {
			lookUp.Go(context.Background(), e.Worker, "a.example", func(addresses []string, err error) {
				fmt.Println(addresses, err)
			})
		}
	}
}

// Workers share the listener that the master opens.
func ExampleGroup_Listen() {
	var group core.Group
	listener, err := group.Listen("tcp", "127.0.0.1:0") // in master and workers
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listener.Close()
	group.Attached = func(*core.Master) error { // in a worker
		go func() {
			for {
				connection, err := listener.Accept()
				if err != nil {
					return
				}
				_ = connection.Close()
			}
		}()
		return nil
	}
}
