// Exchange is both a master, "exchange PROGRAM ARGUMENT...", and a worker that any master can execute. See exchange.h, which says
// in C what is said here.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"melon/core"
)

const (
	addOne uint32 = 1
	count  uint32 = 3

	workers = 2
	counts  = 100

	queueLimit = 16 << 20 // more than there is to say
	heartbeat  = time.Second
)

var sum = core.Call[terms, int]{Type: 2}

type terms struct{ A, B int }

var sizes = []int{0, 1, 1000, 65536, 3 << 20}

func main() {
	run := work
	if !core.IsWorker() {
		run = lead
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func work() error {
	g := core.Group{QueueLimit: queueLimit}
	g.Handle(addOne, core.Handlers{Worker: func(m *core.Master, payload []byte) {
		for i := range payload {
			payload[i]++
		}
		fail(m.Send(addOne, payload))
	}})
	sum.HandleWorker(&g, func(_ context.Context, _ *core.Master, t terms) (int, error) { return t.A + t.B, nil })
	var counted uint32
	g.Handle(count, core.Handlers{Worker: func(m *core.Master, payload []byte) {
		counted++
		fail(m.Send(count, binary.NativeEndian.AppendUint32(nil, counted)))
	}})
	err := g.Run(context.Background())
	if errors.Is(err, core.ErrMasterGone) {
		return nil
	}
	return err
}

func lead() error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	program := core.Program{Path: os.Args[1], Args: os.Args[2:], Reports: true}
	g := core.Group{Programs: []core.Program{program, program}, QueueLimit: queueLimit, Heartbeat: heartbeat}
	answers := 0
	answered := func() {
		if answers++; answers == workers*(len(sizes)+1+counts) {
			time.AfterFunc(5*heartbeat/2, stop) // idle workers have to give signs of life meanwhile
		}
	}
	content := make([]byte, sizes[len(sizes)-1])
	larger := make([]byte, len(content))
	for i := range content {
		content[i], larger[i] = byte(i*7), byte(i*7)+1
	}
	g.Observe = func(e core.Event) {
		switch {
		case e.Kind == core.Ready:
			for _, size := range sizes {
				fail(e.Worker.Send(addOne, content[:size]))
			}
			sum.Go(ctx, e.Worker, terms{40, 2}, func(reply int, err error) {
				fail(err)
				if reply != 42 {
					log.Fatalf("the sum is %d", reply)
				}
				answered()
			})
			for range counts {
				fail(e.Worker.Send(count, nil))
			}
		case e.Kind == core.Exited && !e.Asked:
			log.Fatal(e.Worker, " ", e.Status)
		case e.Kind == core.Exited && e.Status.Code != 0:
			log.Fatal(e.Worker, " was asked to end and ", e.Status)
		}
	}
	next := make(map[*core.Worker]int)
	g.Handle(addOne, core.Handlers{Master: func(from *core.Worker, payload []byte) {
		if size := sizes[next[from]]; !bytes.Equal(payload, larger[:size]) {
			log.Fatalf("the answer to %d bytes has %d, or others", size, len(payload))
		}
		next[from]++
		answered()
	}})
	sum.HandleWorker(&g, nil)
	g.Handle(count, core.Handlers{Master: func(from *core.Worker, payload []byte) {
		if n := binary.NativeEndian.Uint32(payload); n < 1 || n > counts {
			log.Fatalf("%d were counted", n)
		}
		answered()
	}})
	if err := g.Run(ctx); err != nil {
		return err
	}
	fmt.Println("all answers were right")
	return nil
}

func fail(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
