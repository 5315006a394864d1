// Hello sends a greeting to four workers, which send it back.
package main

import (
	"context"
	"fmt"
	"log"

	"melon/core"
)

var hello = core.Message[string]{Type: 1} // a number of the program's choice

func main() {
	ctx, stop := context.WithCancel(context.Background())
	answers := 0
	group := core.Group{Workers: 4}
	group.Observe = func(e core.Event) { // in the master
		if e.Kind == core.Ready {
			hello.Send(e.Worker, "hello")
		}
	}
	hello.HandleWorker(&group, func(master *core.Master, greeting string) { hello.Send(master, greeting) })
	hello.HandleMaster(&group, func(worker *core.Worker, greeting string) {
		fmt.Println(worker, "says", greeting)
		if answers++; answers == 4 {
			stop() // the workers end, and Run returns
		}
	})
	if err := group.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
