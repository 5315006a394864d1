// Command gocore does the work of the floor's messages.c, workers.c and start.c with the Go package melon/core. Options and results
// are those of these programs; workers are always executed.
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

// How long it waits between two starts, as the floor's start.c does.
const (
	settle           = 100 * time.Millisecond
	settleUnmeasured = 20 * time.Millisecond
)

var (
	size        = measure.Number("size", 64)
	count       = measure.Number("count", 10000)
	acknowledge = measure.Number("acknowledge", 0)
	direction   = measure.Number("direction", measure.Down)
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

// answer makes the handler of a worker that sends back what comes: every message, or one of as many as there are workers.
func answer(inTurn bool) func(*core.Master, []byte) {
	received := 0
	return func(from *core.Master, payload []byte) {
		due := received
		if inTurn {
			due = from.Index() + received*workers
		}
		measure.Check(payload, size, uint64(due))
		received++
		measure.Must(from.Send(data, payload))
	}
}

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
	group.Handle(data, core.Handlers{Worker: answer(false), Master: func(_ *core.Worker, payload []byte) {
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
	group.Handle(data, core.Handlers{Worker: answer(true), Master: func(_ *core.Worker, payload []byte) {
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
	group.Handle(data, core.Handlers{Worker: answer(false), Master: func(_ *core.Worker, payload []byte) {
		measure.Check(payload, size, 0)
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
	group.Handle(hello, core.Handlers{Master: func(w *core.Worker, payload []byte) {
		measure.Check(payload, size, 0)
		hellos <- w
	}})
	if core.IsWorker() {
		return
	}
	go func() {
		all := []*core.Worker{<-hellos}
		for len(all) <= count {
			if what == "exec" {
				time.Sleep(settle)
			} else {
				time.Sleep(settleUnmeasured)
			}
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

// stream: in each direction from a goroutine, which waits where the queue is full.
func stream(ctx context.Context, group *core.Group, stop func()) {
	e := end{ctx: ctx, acks: make(chan struct{}, 1)}
	if core.IsWorker() {
		e.sends = direction&measure.Up != 0
		// In a goroutine, as all that is sent while a stream may have filled the queue.
		e.done = func(took time.Duration) { go e.send(done, number(took)) }
	} else {
		e.sends = direction&measure.Down != 0
		var slowest time.Duration
		results := 0
		e.done = func(took time.Duration) {
			slowest = max(slowest, took)
			if results++; direction == measure.Both && results < 2 {
				return
			}
			if e.due == count {
				measure.ReportStream(count, direction, slowest)
				stop()
				return
			}
			slowest, results = 0, 0
			e.begin(count)
		}
	}
	group.Observe = onStart(func(w *core.Worker) {
		e.other = w
		e.begin(count / 10)
	})
	group.Attached = func(m *core.Master) error {
		e.other = m
		return nil
	}
	group.Handle(begin, core.Handlers{Worker: func(_ *core.Master, payload []byte) { e.begin(int(parse(payload))) }})
	group.Handle(data, e.handlers(e.receive))
	group.Handle(ack, e.handlers(func([]byte) { e.acks <- struct{}{} }))
	group.Handle(done, e.handlers(func(payload []byte) { e.done(time.Duration(parse(payload))) }))
}

// An end of streams, in either process.
type end struct {
	ctx   context.Context
	other interface {
		SendContext(context.Context, uint32, []byte) error
		Send(uint32, []byte) error
	}
	sends         bool
	acks          chan struct{}
	due, received int
	start         time.Duration
	done          func(took time.Duration) // called when an end has received everything
}

// handlers makes the same handler for the master and for the worker.
func (e *end) handlers(handle func(payload []byte)) core.Handlers {
	return core.Handlers{
		Master: func(_ *core.Worker, payload []byte) { handle(payload) },
		Worker: func(_ *core.Master, payload []byte) { handle(payload) },
	}
}

func (e *end) send(kind uint32, payload []byte) {
	measure.Must(e.other.SendContext(e.ctx, kind, payload))
}

// begin begins a stream of n messages at both ends.
func (e *end) begin(n int) {
	e.due, e.received = n, 0
	if !core.IsWorker() {
		measure.Must(e.other.Send(begin, number(n)))
	}
	if !e.sends {
		return
	}
	go func() {
		measure.StampTime(message)
		for i := range n {
			measure.Stamp(message, uint64(i))
			e.send(data, message)
			if acknowledge != 0 && (i+1)%acknowledge == 0 {
				<-e.acks
			}
		}
	}()
}

func (e *end) receive(payload []byte) {
	measure.Check(payload, size, uint64(e.received))
	if e.received == 0 {
		e.start = measure.StampedTime(payload)
	}
	e.received++
	if acknowledge != 0 && e.received%acknowledge == 0 {
		measure.Must(e.other.Send(ack, nil))
	}
	if e.received == e.due {
		e.done(measure.Clock() - e.start)
	}
}

func number[T ~int | ~int64](n T) []byte { return binary.NativeEndian.AppendUint64(nil, uint64(n)) }

func parse(payload []byte) uint64 { return binary.NativeEndian.Uint64(payload) }

// onStart has something done with each worker that is started.
func onStart(do func(*core.Worker)) func(core.Event) {
	return func(e core.Event) {
		if e.Kind == core.Started {
			do(e.Worker)
		}
	}
}
