package main

import "fmt"

// The implementations, by the names that the tables use.
const (
	floor    = "floor"
	cAPI     = "C API"
	goAPI    = "Go API"
	libuv    = "libuv"
	libevent = "libevent"
	nng      = "nng"
	zeroMQ   = "ZeroMQ"
	goNet    = "Go net"
)

// A scenario is one piece of work that several implementations do.
type scenario struct {
	id       string
	program  string // its name in the folders of the programs
	options  []string
	count    amount // how often the work is done in one run; 0: the program decides
	lasts    amount // how many milliseconds it is to take instead, whatever that means for the count; 0: any time
	times    amount // how often each program runs; 0: as often as most
	by       []string
	together bool                                                         // at the same time, since none takes anything from the others
	observer func(*options, string, []string) (map[string]float64, error) // nil: the program reports its results
}

// An amount depends on the mode.
type amount struct{ full, quick int }

func (a amount) in(o *options) int {
	if o.quick {
		return a.quick
	}
	return a.full
}

// repetitions is how often the programs of most scenarios run.
var repetitions = amount{7, 3}

// A row of the table: one result of a scenario, relative to that of the first implementation.
type row struct {
	title    string
	scenario string
	metric   string
	unit     unit
	goals    []goal
}

// A goal is what an implementation is to reach.
type goal struct {
	of     string // implementation
	what   goalKind
	limit  float64
	than   string // for ratios: the implementation, or "" for the first one
	before string // scenario of `than`, if another one
}

type goalKind int

const (
	atMost     goalKind = iota // times the other's
	atLeast                    // times the other's
	valueMost                  // the value itself, in each repetition
	beyondMost                 // more than the other's value
)

func mostly(limit float64) goal              { return goal{of: cAPI, what: atMost, limit: limit} }
func least(limit float64) goal               { return goal{of: cAPI, what: atLeast, limit: limit} }
func neverMore(limit float64) goal           { return goal{of: cAPI, what: valueMost, limit: limit} }
func (g goal) to(other string) goal          { g.than = other; return g }
func (g goal) by(implementation string) goal { g.of = implementation; return g }

var (
	everybody = []string{floor, cAPI, goAPI, libuv, libevent, nng, zeroMQ, goNet}
	ourselves = []string{floor, cAPI, goAPI}
	inC       = []string{floor, cAPI}
)

// text makes options.
func text(format string, arguments ...any) string { return fmt.Sprintf(format, arguments...) }

var scenarios = func() []scenario {
	var all []scenario
	for _, size := range []int{64, 1024, 65536} {
		by := everybody
		if size > 1024 {
			by = ourselves // for the curve
		}
		all = append(all, scenario{id: text("ping %d", size), program: "messages", options: []string{"do=ping", text("size=%d", size)},
			count: amount{10000, 2000}, by: by})
	}
	stream := func(id string, by []string, options ...string) {
		all = append(all, scenario{id: id, program: "messages", options: append(options, "do=stream"), lasts: amount{300, 60}, by: by})
	}
	stream("stream 64", everybody, "size=64")
	stream("stream 64 up", everybody, "size=64", "direction=2")
	stream("stream 64 both", everybody, "size=64", "direction=3")
	stream("stream 64 ack 1000", everybody, "size=64", "acknowledge=1000")
	stream("stream 64 ack 100", everybody, "size=64", "acknowledge=100")
	stream("stream 1024", everybody, "size=1024")
	stream("stream 1024 up", everybody, "size=1024", "direction=2")
	stream("stream 1024 both", everybody, "size=1024", "direction=3")
	stream("stream 640", ourselves, "size=640")
	stream("stream 6400", ourselves, "size=6400")
	stream("stream 64000", ourselves, "size=64000")
	stream("stream 640000", ourselves, "size=640000")
	stream("bulk", everybody, "size=1048576")
	// Which processors the workers happen to be on decides for a whole run of a few, so there are many short ones.
	broadcasts := map[int]amount{4: {21, 9}, 16: {21, 7}, 64: {9, 2}}
	for _, n := range []int{4, 16, 64} {
		all = append(all, scenario{id: text("broadcast %d", n), program: "workers", options: []string{"do=broadcast", text("workers=%d", n)},
			count: amount{4000 / n, 2000 / n}, times: broadcasts[n], by: ourselves})
	}
	all = append(all,
		scenario{id: "sleepers", program: "workers", options: []string{"do=sleepers", "workers=20"}, count: amount{100, 30},
			times: amount{5, 1}, by: ourselves},
		scenario{id: "fork", program: "start", options: []string{"do=fork"}, count: amount{16, 3}, by: inC},
		scenario{id: "fork asked", program: "start", options: []string{"do=fork", "asked=1"}, count: amount{16, 3}, by: inC},
		scenario{id: "fork 100", program: "start", options: []string{"do=fork", "live=90"}, count: amount{16, 3}, times: amount{5, 1}, by: inC},
		scenario{id: "exec", program: "start", options: []string{"do=exec"}, count: amount{16, 3}, by: ourselves},
		scenario{id: "kill", program: "start", options: []string{"do=kill"}, count: amount{16, 3}, by: ourselves},
		scenario{id: "idle", program: "workers", options: []string{"do=stay", "workers=4"}, by: ourselves, times: amount{3, 1}, together: true, observer: observeIdle},
		scenario{id: "idle timers", program: "workers", options: []string{"do=stay", "workers=4", "timers=1"}, by: ourselves, times: amount{3, 1}, together: true, observer: observeIdle},
		scenario{id: "memory 8", program: "workers", options: []string{"do=stay", "workers=8"}, by: ourselves, times: amount{3, 1}, observer: observeMemory},
		scenario{id: "memory 64", program: "workers", options: []string{"do=stay", "workers=64"}, by: ourselves, times: amount{3, 1}, observer: observeMemory},
	)
	for _, n := range []int{1000, 10000} {
		all = append(all, scenario{id: text("descriptors %d", n), program: "descriptors", count: amount{1000, 300},
			options: []string{text("descriptors=%d", n)}, by: []string{floor, cAPI, libuv}})
	}
	for _, n := range []int{10000, 100000} {
		all = append(all, scenario{id: text("timers %d", n), program: "timers", options: []string{text("timers=%d", n)}, count: amount{4, 1},
			by: []string{libuv, cAPI}})
	}
	return all
}()

var rows = func() []row {
	var all []row
	add := func(title, scenario, metric string, u unit, goals ...goal) {
		all = append(all, row{title, scenario, metric, u, goals})
	}
	for _, size := range []int{64, 1024} {
		add(text("round trip %s, median", bytesText(size)), text("ping %d", size), "p50", nanoseconds, mostly(1.08), mostly(1.25).by(goAPI))
		add(text("round trip %s, 99th percentile", bytesText(size)), text("ping %d", size), "p99", nanoseconds, mostly(1.2))
	}
	add("stream 64 B to the worker", "stream 64", "rate", perSecond, least(0.5), least(20).to(nng), least(20).to(zeroMQ))
	add("stream 64 B to the master", "stream 64 up", "rate", perSecond, least(0.5))
	add("stream 64 B both ways", "stream 64 both", "rate", perSecond, least(0.5))
	add("stream 64 B, acknowledged every 1000", "stream 64 ack 1000", "rate", perSecond, least(0.8))
	add("stream 64 B, acknowledged every 100", "stream 64 ack 100", "rate", perSecond, least(0.8))
	add("stream 1 KiB to the worker", "stream 1024", "rate", perSecond, least(0.8))
	add("stream 1 KiB to the master", "stream 1024 up", "rate", perSecond, least(0.8))
	add("stream 1 KiB both ways", "stream 1024 both", "rate", perSecond, least(0.8))
	add("messages of 1 MiB", "bulk", "rate", perSecond, least(0.9))
	for _, n := range []int{4, 16, 64} {
		var goals []goal
		if n < 64 {
			goals = []goal{mostly(1 / 0.85)} // 0.85 times as many rounds
		}
		add(text("broadcast to %d workers and answers", n), text("broadcast %d", n), "p50", nanoseconds, goals...)
	}
	add("to a peer idle for a second and back, median", "sleepers", "p50", nanoseconds, mostly(1.15))
	add("to a peer idle for a second and back, 99th percentile", "sleepers", "p99", nanoseconds, mostly(1.5))
	for _, state := range []struct{ title, scenario string }{{"idle", "idle"}, {"idle with timers pending", "idle timers"}} {
		for _, who := range []string{"master", "workers"} {
			add(text("%s: wake-ups a second, %s", state.title, who), state.scenario, who+" wakeups", plain, neverMore(0))
			// The kernel counts nanoseconds, and none for a process that does not run.
			add(text("%s: CPU a second, %s", state.title, who), state.scenario, who+" cpu", milliseconds, neverMore(0))
		}
	}
	add("fork to first message", "fork", "p50", nanoseconds, mostly(3), goal{of: cAPI, what: atMost, limit: 1, than: cAPI, before: "exec"})
	add("fork to first answer", "fork asked", "p50", nanoseconds)
	add("fork and exec to first message", "exec", "p50", nanoseconds)
	add("kill -9 to the successor's first message", "kill", "p50", nanoseconds, mostly(3),
		goal{of: cAPI, what: atMost, limit: 1, than: cAPI, before: "exec"})
	add("memory of a worker, of 8", "memory 8", "pss", kibibytes)
	add("memory of a worker, of 64", "memory 64", "pss", kibibytes, goal{of: cAPI, what: beyondMost, limit: 1536})
	add("10,000 descriptors, 100 active: an event", "descriptors 10000", "event", nanoseconds, mostly(1.3).to(libuv))
	add("100,000 timers, half cancelled: a timer", "timers 100000", "timer", nanoseconds, mostly(1.3).to(libuv))
	return all
}()

// A curve says how a cost grows with something.
type curve struct {
	title   string
	metric  string
	unit    unit
	by      []string
	points  []point
	inverse bool    // the metric is a rate: its inverse is the cost
	all     bool    // the metric is a cost for one of so many: theirs together is the cost
	most    float64 // growth for each tenfold that is the goal of ours, between any two neighbours
}

type point struct {
	n        float64
	scenario string
}

// cost returns what is said of a point where its metric has this value.
func (c *curve) cost(p point, value float64) float64 {
	switch {
	case c.inverse:
		return 1e9 / value
	case c.all:
		return value * p.n
	}
	return value
}

// What is as good as linear, and as constant, where figures vary by a few percent.
const (
	linear   = 12.5
	constant = 1.5
)

var curves = []curve{
	{title: "round trip, by size", metric: "p50", unit: nanoseconds, by: ourselves, most: linear,
		points: []point{{64, "ping 64"}, {1024, "ping 1024"}, {65536, "ping 65536"}}},
	{title: "a message of a stream, by its size", metric: "rate", inverse: true, unit: nanoseconds, by: ourselves, most: linear,
		points: []point{{64, "stream 64"}, {640, "stream 640"}, {6400, "stream 6400"}, {64000, "stream 64000"}, {640000, "stream 640000"}}},
	{title: "broadcast: a round, by workers", metric: "p50", unit: nanoseconds, by: ourselves, most: linear,
		points: []point{{4, "broadcast 4"}, {16, "broadcast 16"}, {64, "broadcast 64"}}},
	{title: "fork to first message, by workers that are there, about", metric: "p50", unit: nanoseconds, by: inC, most: linear,
		points: []point{{10, "fork"}, {100, "fork 100"}}},
	{title: "memory of all workers, by their number", metric: "pss", all: true, unit: kibibytes, by: ourselves, most: linear,
		points: []point{{8, "memory 8"}, {64, "memory 64"}}},
	{title: "an event of 100 active, by descriptors", metric: "event", unit: nanoseconds, by: []string{floor, cAPI, libuv}, most: constant,
		points: []point{{1000, "descriptors 1000"}, {10000, "descriptors 10000"}}},
	{title: "all timers, by their number", metric: "timer", all: true, unit: nanoseconds, by: []string{libuv, cAPI}, most: linear,
		points: []point{{10000, "timers 10000"}, {100000, "timers 100000"}}},
}

func bytesText(n int) string {
	if n >= 1024 {
		return text("%d KiB", n/1024)
	}
	return text("%d B", n)
}
