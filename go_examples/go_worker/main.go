// Go_worker is a worker that any master can execute: one in C, by proc_exec in its configuration, or one in Go, by
// core.Group.Programs. It answers each message of type 1 with its text in upper case.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"melon/core"
)

func main() {
	if !core.IsWorker() {
		log.Fatal("go_worker is started by a master: see its first lines")
	}
	var group core.Group
	group.Handle(1, core.Handlers{Worker: func(master *core.Master, payload []byte) {
		if err := master.Send(1, bytes.ToUpper(payload)); err != nil {
			log.Print(err)
		}
	}})
	err := group.Run(context.Background())
	if err != nil && !errors.Is(err, core.ErrMasterGone) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
