// C_program is a master in Go whose worker is a program of any language that reads and writes frames on the descriptor that
// its last argument names, such as c_examples/exec_worker.c, or runs on libmln.so.
//
//	go run ./go_examples/c_program ./exec_worker
//
// It sends each line of its standard input as a message of type 1, prints the answers, and ends with its input.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log"
	"os"

	"melon/core"
)

func main() {
	msgType := flag.Uint("type", 1, "type of the messages")
	flag.Parse()
	if flag.NArg() == 0 {
		log.Fatal("usage: c_program [-type N] PROGRAM [ARGUMENT...]")
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	group := core.Group{Programs: []core.Program{{Path: flag.Arg(0), Args: flag.Args()[1:]}}}
	answers := make(chan string)
	group.Handle(uint32(*msgType), core.Handlers{Master: func(from *core.Worker, payload []byte) {
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
			if err := worker.SendContext(ctx, uint32(*msgType), lines.Bytes()); err != nil {
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
