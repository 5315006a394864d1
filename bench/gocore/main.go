// Command gocore does the work of the floor's messages.c, workers.c and start.c with the Go package melon/core. Options and results
// are those of these programs; streams go to the worker only, and workers are always executed.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"strconv"
	"syscall"
	"time"

	"melon/bench/measure"
	"melon/core"
)

const (
	data uint32 = iota + 1
	ack
	begin
	done
	hello
)

// settle is how long it waits between two starts.
const settle = 100 * time.Millisecond

var (
	size        = measure.Number("size", 64)
	count       = measure.Number("count", 10000)
	acknowledge = measure.Number("acknowledge", 0)
	workers     = measure.Number("workers", 1)
	what        = measure.Text("do", "")
	message     = make([]byte, size)
	samples     measure.Samples
)

func main() {
	measure.Begin()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	group := core.Group{Workers: workers, MaxPayload: 16 << 20}
	switch what {
	case "ping", "broadcast":
		rounds(&group, stop)
	case "sleepers":
		sleepers(&group, stop)
	case "stay":
		stay(&group)
	case "exec", "kill":
		start(&group, stop)
	default:
		stream(ctx, &group, stop)
	}
	if err := group.Run(ctx); err != nil && !errors.Is(err, core.ErrMasterGone) {
		measure.Fail("%v", err)
	}
	if core.IsWorker() {
		return
	}
	if len(samples) > 0 {
		samples.Report()
	}
}

// answer sends back what comes.
func answer(from *core.Master, payload []byte) { measure.Must(from.Send(data, payload)) }

// rounds: a message to each worker, an answer from each.
func rounds(group *core.Group, stop func()) {
	var all []*core.Worker
	var start time.Duration
	number, due, warm := uint64(0), 0, uint64(count/10)
	next := func() {
		start = measure.Now()
		measure.Stamp(message, number)
		due = len(all)
		for _, w := range all {
			measure.Must(w.Send(data, message))
		}
	}
	group.Observe = onStart(func(w *core.Worker) {
		if all = append(all, w); len(all) == workers {
			next()
		}
	})
	group.Handle(data, core.Handlers{Worker: answer, Master: func(_ *core.Worker, payload []byte) {
		measure.Check(payload, size, number)
		if due--; due > 0 {
			return
		}
		if number >= warm {
			samples = append(samples, measure.Now()-start)
		}
		if number++; number == uint64(count)+warm {
			stop()
			return
		}
		next()
	}})
}

// sleepers: a message to a worker that has been idle for a second, from a goroutine of its own.
func sleepers(group *core.Group, stop func()) {
	var all []*core.Worker
	answers := make(chan time.Duration, 1)
	number := uint64(0)
	group.Observe = onStart(func(w *core.Worker) {
		if all = append(all, w); len(all) < workers {
			return
		}
		go func() {
			for i := range count + workers {
				time.Sleep(time.Second / time.Duration(workers))
				start := measure.Now()
				measure.Stamp(message, uint64(i))
				measure.Must(all[i%workers].Send(data, message))
				if end := <-answers; i >= workers {
					samples = append(samples, end-start)
				}
			}
			stop()
		}()
	})
	group.Handle(data, core.Handlers{Worker: answer, Master: func(_ *core.Worker, payload []byte) {
		measure.Check(payload, size, number)
		number++
		answers <- measure.Now()
	}})
}

// stay: a message to each worker, an answer from each, and nothing more.
func stay(group *core.Group) {
	processes := map[string]float64{"master": float64(syscall.Getpid())}
	group.Observe = onStart(func(w *core.Worker) {
		processes["worker"+strconv.Itoa(w.Index())] = float64(w.PID())
		measure.Must(w.Send(data, message))
	})
	due := workers
	if measure.Number("timers", 0) != 0 {
		time.AfterFunc(time.Hour, func() {})
	}
	group.Handle(data, core.Handlers{Worker: answer, Master: func(*core.Worker, []byte) {
		if due--; due == 0 {
			measure.Report(processes)
		}
	}})
}

// start: from the start of a worker, or from the end of one before it, to its first message.
func start(group *core.Group, stop func()) {
	group.Workers = 1
	group.Attached = func(m *core.Master) error { return m.Send(hello, message) }
	hellos := make(chan *core.Worker)
	group.Handle(hello, core.Handlers{Master: func(w *core.Worker, _ []byte) { hellos <- w }})
	if core.IsWorker() {
		return
	}
	go func() {
		all := []*core.Worker{<-hellos}
		for len(all) <= count {
			time.Sleep(settle)
			begin := measure.Now()
			measure.Must(group.Resize(len(all) + 1))
			all = append(all, <-hellos)
			if what == "exec" {
				samples = append(samples, measure.Now()-begin)
			}
		}
		for _, w := range all[:count] {
			if what != "kill" {
				break
			}
			time.Sleep(settle)
			begin := measure.Now()
			measure.Must(syscall.Kill(w.PID(), syscall.SIGKILL))
			<-hellos
			samples = append(samples, measure.Now()-begin)
		}
		stop()
	}()
}

// stream: from a goroutine, which waits where the queue is full.
func stream(ctx context.Context, group *core.Group, stop func()) {
	acks, ends := make(chan struct{}, 1), make(chan struct{}, 1)
	send := func(w *core.Worker, n int) time.Duration {
		var size8 [8]byte
		binary.NativeEndian.PutUint64(size8[:], uint64(n))
		measure.Must(w.SendContext(ctx, begin, size8[:]))
		start := measure.Now()
		for i := range n {
			measure.Stamp(message, uint64(i))
			measure.Must(w.SendContext(ctx, data, message))
			if acknowledge != 0 && (i+1)%acknowledge == 0 {
				<-acks
			}
		}
		<-ends
		return measure.Now() - start
	}
	group.Observe = onStart(func(w *core.Worker) {
		go func() {
			send(w, count/10)
			measure.ReportStream(count, send(w, count))
			stop()
		}()
	})
	var due, received uint64
	group.Handle(begin, core.Handlers{Worker: func(_ *core.Master, payload []byte) {
		due, received = binary.NativeEndian.Uint64(payload), 0
	}})
	group.Handle(data, core.Handlers{Worker: func(from *core.Master, payload []byte) {
		measure.Check(payload, size, received)
		received++
		if acknowledge != 0 && received%uint64(acknowledge) == 0 {
			measure.Must(from.Send(ack, nil))
		}
		if received == due {
			measure.Must(from.Send(done, nil))
		}
	}})
	group.Handle(ack, core.Handlers{Master: func(*core.Worker, []byte) { acks <- struct{}{} }})
	group.Handle(done, core.Handlers{Master: func(*core.Worker, []byte) { ends <- struct{}{} }})
}

// onStart has something done with each worker that is started.
func onStart(do func(*core.Worker)) func(core.Event) {
	return func(e core.Event) {
		if e.Kind == core.Started {
			do(e.Worker)
		}
	}
}
