// C_program is a master in Go whose worker is a program in C, c_examples/exec_worker.c: it reads and writes frames on the
// descriptor that its last argument names, and knows nothing of Go or of any library.
//
//	make examples
//	go run ./go_examples/c_program build/examples/exec_worker
//
// It sends each line of its standard input to the worker, prints the answers, and ends with its input.
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"os"

	"melon/core"
)

// As in c_examples/exec_messages.h.
const (
	hello uint32 = iota + 2001
	shout
	shouted
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: c_program PROGRAM")
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	group := core.Group{Programs: []core.Program{{Path: os.Args[1], Args: []string{"worker of Go"}}}}
	group.Handle(hello, core.Handlers{Master: func(from *core.Worker, name []byte) {
		log.Printf("the %s is there, with pid %d", name, from.PID())
	}})
	answers := make(chan string)
	group.Handle(shouted, core.Handlers{Master: func(from *core.Worker, payload []byte) {
		answers <- string(payload) // at once: somebody waits for it
	}})
	started := make(chan *core.Worker, 1)
	group.Observe = func(e core.Event) {
		if e.Kind == core.Started {
			select {
			case started <- e.Worker:
			default: // another one in its place
			}
		}
	}
	go func() {
		defer stop()
		worker := <-started
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			if err := worker.SendContext(ctx, shout, lines.Bytes()); err != nil {
				log.Print(err)
				return
			}
			fmt.Println(<-answers)
		}
	}()
	if err := group.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
