// Go_worker is a worker that any master can execute: one in C, by proc_exec in its configuration or mln_fork_spawn, or one in Go,
// by core.Group.Programs. It says the same as c_examples/exec_worker.c:
//
//	go build -o go_worker ./go_examples/go_worker
//	build/examples/exec_master ./go_worker
//
// It greets its master with the name in its first argument, and answers each text with its capitals.
package main

import (
	"bytes"
	"context"
	"errors"
	"log"
	"os"

	"melon/core"
)

// As in c_examples/exec_messages.h.
const (
	hello uint32 = iota + 2001
	shout
	shouted
	finish
)

func main() {
	log.SetFlags(0)
	if !core.IsWorker() || len(os.Args) < 2 {
		log.Fatal("usage: go_worker NAME (started by a master: see its first lines)")
	}
	ctx, stop := context.WithCancel(context.Background())
	group := core.Group{Attached: func(master *core.Master) error { return master.Send(hello, []byte(os.Args[1])) }}
	group.Handle(shout, core.Handlers{Worker: func(master *core.Master, text []byte) {
		if err := master.Send(shouted, bytes.ToUpper(text)); err != nil {
			log.Print(err)
		}
	}})
	group.Handle(finish, core.Handlers{Worker: func(*core.Master, []byte) { stop() }})
	if err := group.Run(ctx); err != nil && !errors.Is(err, core.ErrMasterGone) {
		log.Fatal(err)
	}
}
