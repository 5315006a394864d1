package ctest

import (
	"flag"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// randomProgram is a program of programs/, or one of testdata/ in Go, that makes random steps: how many by default, of how many kinds, and
// a fault that can be planted in it, which takes two kinds of steps to be seen.
type randomProgram struct {
	name  string
	steps int
	kinds int
	fault string
	inGo  bool
	flags []string // it is built with, in Go
}

var randomPrograms = []*randomProgram{
	&randomCalls, &randomFramework, &randomUtilities, &randomConnections, &randomGroup,
}

var (
	randomCalls       = randomProgram{name: "api_random", steps: 400, kinds: 31, fault: "forget"}
	randomFramework   = randomProgram{name: "framework_random", steps: 60, kinds: 31, fault: "forget"}
	randomUtilities   = randomProgram{name: "utilities_random", steps: 1000, kinds: 22, fault: "keep"}
	randomConnections = randomProgram{name: "connection_random", steps: 1000, kinds: 11, fault: "keep"}
	randomGroup       = randomProgram{name: "randomgroup", steps: 300, kinds: 22, fault: "twice", inGo: true}
	randomGroupRaces  = randomProgram{name: "randomgroup", steps: 150, kinds: 22, fault: "race", inGo: true, flags: []string{"-race"}}
)

// source is the file that has the directives.
func (p *randomProgram) source() string {
	if p.inGo {
		return filepath.Join("testdata", p.name, "main.go")
	}
	return filepath.Join(programs, p.name+".c")
}

func (p *randomProgram) build(path string) error {
	if p.inGo {
		return buildGo(path, p.name, p.flags...)
	}
	build, err := buildOnce()
	if err != nil {
		return err
	}
	lib := filepath.Join(build, "lib")
	return compile(path, []string{p.source()}, "-I"+include, "-L"+lib, "-lmln", "-Wl,-rpath,"+lib)
}

// randomRun is one run of such a program: a seed, how many steps, which kinds of steps are left out, and the fault to plant, if any.
type randomRun struct {
	program *randomProgram
	path    string // of the program, compiled
	seed    uint64
	steps   int
	without uint32
	planted string
}

func (r randomRun) arguments() []string {
	return []string{strconv.FormatUint(r.seed, 10), strconv.Itoa(r.steps), fmt.Sprintf("%#x", r.without), r.planted}
}

func (r randomRun) String() string {
	return strings.TrimSpace(r.program.name + " " + strings.Join(r.arguments(), " "))
}

func (r randomRun) fails(t *testing.T) error {
	t.Helper()
	output, err := runProgram(t, r.program.source(), r.path, r.arguments()...)
	if err != nil {
		return fmt.Errorf("%v: %w\n%s", r, err, output)
	}
	return nil
}

// shrink looks for a run of fewer kinds and with fewer steps that fails as well, for as long as that makes it smaller, and no longer
// than the limit. Of each size it tries several runs with seeds of their own: what was left out has changed what comes after what.
func (r randomRun) shrink(t *testing.T, limit time.Duration) (randomRun, error) {
	const (
		seeds  = 5 // at least
		little = 200 * time.Millisecond
	)
	end := time.Now().Add(limit)
	type size struct {
		steps   int
		without uint32
	}
	var last error
	tried := map[size]bool{}
	try := func(steps int, without uint32) bool {
		smaller := r
		smaller.steps, smaller.without = steps, without
		begin := time.Now()
		for i := 0; (i < seeds || time.Since(begin) < little) && !tried[size{steps, without}] && time.Now().Before(end); i++ {
			if err := smaller.fails(t); err != nil {
				r, last = smaller, err
				return true
			}
			smaller.seed = rand.Uint64()
		}
		tried[size{steps, without}] = true
		return false
	}
	for before := (randomRun{}); r != before; {
		before = r
		for n := r.program.kinds / 2; n > 0; n /= 2 {
			for kind := 0; kind < r.program.kinds; kind += n {
				if some := uint32(1<<n-1) << kind % (1 << r.program.kinds); r.without|some != r.without {
					try(r.steps, r.without|some)
				}
			}
		}
		for n := r.steps / 2; n > 0; n /= 2 {
			for r.steps > n && try(r.steps-n, r.without) {
			}
		}
	}
	return r, last
}

// run compiles the program, and is a run of it as it is by default.
func (p *randomProgram) run(tb testing.TB) randomRun {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), p.name)
	if err := p.build(path); err != nil {
		tb.Fatal(err)
	}
	return randomRun{program: p, path: path, seed: rand.Uint64(), steps: p.steps}
}

// check reports a run that fails, and the smallest one like it that is found in two minutes.
func (r randomRun) check(t *testing.T) {
	t.Helper()
	err := r.fails(t)
	if err == nil {
		return
	}
	t.Error(err)
	if smaller, last := r.shrink(t, 2*time.Minute); last != nil {
		t.Errorf("smaller: %v\n%v", smaller, last)
	}
}

// eachRandomProgram has a subtest for each program.
func eachRandomProgram(t *testing.T, test func(t *testing.T, r randomRun)) {
	t.Parallel()
	for _, p := range randomPrograms {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			test(t, p.run(t))
		})
	}
}

// goOn checks one run after the other, for ten seconds.
func (r randomRun) goOn(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && !t.Failed(); {
		r.seed = rand.Uint64()
		r.check(t)
	}
}

// TestRandomCalls has each program do what the API allows at random.
func TestRandomCalls(t *testing.T) {
	eachRandomProgram(t, func(t *testing.T, r randomRun) { r.goOn(t) })
}

// TestRandomCallsRace has the race detector look at the program in Go, which it does not look at elsewhere: it takes several times as long.
// It has to find a race that is planted.
func TestRandomCallsRace(t *testing.T) {
	t.Parallel()
	r := randomGroupRaces.run(t)
	r.planted = r.program.fault
	if err := r.fails(t); err == nil || !strings.Contains(err.Error(), "WARNING: DATA RACE") {
		t.Errorf("a race is planted, and the error is %v", err)
	}
	r.planted = ""
	r.goOn(t)
}

// TestRandomCallsNoticesWorkers asserts that a worker that dies fails a run by its death, and not by what is missing much later.
func TestRandomCallsNoticesWorkers(t *testing.T) {
	t.Parallel()
	r := randomCalls.run(t)
	r.seed, r.steps, r.planted = 1, 10, "abort"
	err := r.fails(t)
	if err == nil || !strings.Contains(err.Error(), "was ended by signal 6, and should not have") {
		t.Errorf("a worker has aborted, and the error is %v", err)
	}
}

// withFault is a run that finds the fault that can be planted in the program.
func (r randomRun) withFault(t *testing.T) randomRun {
	t.Helper()
	r.planted = r.program.fault
	for tries := 1; r.fails(t) == nil; tries++ {
		if tries == 20 {
			t.Fatalf("%d runs like %v pass", tries, r)
		}
		r.seed = rand.Uint64()
	}
	return r
}

// TestRandomCallsFindFaults asserts that each program finds a fault that takes two kinds of steps.
func TestRandomCallsFindFaults(t *testing.T) {
	eachRandomProgram(t, func(t *testing.T, r randomRun) { r.withFault(t) })
}

// TestRandomCallsShrink plants a fault that takes two kinds of steps, setting a timer and taking it back, and asserts that a run
// with nothing else is found, and that its seed finds the fault again.
func TestRandomCallsShrink(t *testing.T) {
	t.Parallel()
	const most = 12 // steps
	smaller, err := randomCalls.run(t).withFault(t).shrink(t, 2*time.Minute)
	if kinds := randomCalls.kinds - bits.OnesCount32(smaller.without); err == nil || kinds > 2 || smaller.steps > most {
		t.Fatalf("the smallest run found, %v, has %d kinds of steps; 2, and at most %d steps, are expected: %v",
			smaller, kinds, most, err)
	}
	t.Logf("%v", smaller)
	for range 10 {
		if smaller.fails(t) != nil {
			return
		}
	}
	t.Errorf("%v failed once, and not in 10 further runs: %v", smaller, err)
}

// TestRandomCallsKinds asserts that the table knows every kind of step that each program does.
func TestRandomCallsKinds(t *testing.T) {
	eachRandomProgram(t, func(t *testing.T, r randomRun) {
		r.without = 1<<r.program.kinds - 1
		if err := r.fails(t); err != nil {
			t.Errorf("without any kind of step: %v", err)
		}
		r.without = 1 << r.program.kinds
		if r.fails(t) == nil {
			t.Errorf("%s has more than %d kinds of steps", r.program.source(), r.program.kinds)
		}
	})
}

// fuzzRandom goes on for as long as it is told. A process that fuzzes is ended after ten seconds of one input, with what it would have
// said: a smaller run is looked for when the input is tried again.
func fuzzRandom(f *testing.F, p *randomProgram) {
	fuzzes := flag.Lookup("test.fuzzworker").Value.String() == "true"
	r := p.run(f)
	f.Add(uint64(1), uint16(p.steps), uint32(0))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16, without uint32) {
		r := r
		r.seed, r.steps, r.without = seed, int(steps%1000), without%(1<<p.kinds)
		if !fuzzes {
			r.check(t)
		} else if err := r.fails(t); err != nil {
			t.Error(err)
		}
	})
}

func FuzzRandomCalls(f *testing.F)       { fuzzRandom(f, &randomCalls) }
func FuzzRandomFramework(f *testing.F)   { fuzzRandom(f, &randomFramework) }
func FuzzRandomUtilities(f *testing.F)   { fuzzRandom(f, &randomUtilities) }
func FuzzRandomConnections(f *testing.F) { fuzzRandom(f, &randomConnections) }
func FuzzRandomGroup(f *testing.F)       { fuzzRandom(f, &randomGroup) }
