package ctest

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What programs/api_random.c takes by default, and the number of the kinds of its steps.
const (
	randomSteps = 400
	randomKinds = 30
)

// randomRun is one run of programs/api_random.c: a seed, how many steps, which kinds of steps are left out, and the fault to plant,
// if any.
type randomRun struct {
	seed    uint64
	steps   int
	without uint32
	planted string
}

func (r randomRun) arguments() []string {
	return []string{strconv.FormatUint(r.seed, 10), strconv.Itoa(r.steps), fmt.Sprintf("%#x", r.without), r.planted}
}

func (r randomRun) String() string {
	return strings.TrimSpace("api_random " + strings.Join(r.arguments(), " "))
}

func (r randomRun) fails(t *testing.T, program string) error {
	t.Helper()
	output, err := runProgram(t, filepath.Join(programs, "api_random.c"), program, r.arguments()...)
	if err != nil {
		return fmt.Errorf("%v: %w\n%s", r, err, output)
	}
	return nil
}

// shrink looks for a run of fewer kinds and with fewer steps that fails as well, for as long as that makes it smaller, and no longer
// than the limit. Of each size it tries several runs with seeds of their own: what was left out has changed what comes after what.
func (r randomRun) shrink(t *testing.T, program string, limit time.Duration) (randomRun, error) {
	const seeds = 5
	end := time.Now().Add(limit)
	type size struct {
		steps   int
		without uint32
	}
	var last error
	tried := map[size]bool{}
	try := func(steps int, without uint32) bool {
		smaller := randomRun{r.seed, steps, without, r.planted}
		for i := 0; i < seeds && !tried[size{steps, without}] && time.Now().Before(end); i++ {
			if err := smaller.fails(t, program); err != nil {
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
		for n := randomKinds / 2; n > 0; n /= 2 {
			for kind := 0; kind < randomKinds; kind += n {
				if some := uint32(1<<n-1) << kind % (1 << randomKinds); r.without|some != r.without {
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

func randomProgram(tb testing.TB) string {
	build, err := buildOnce()
	if err != nil {
		tb.Fatal(err)
	}
	lib := filepath.Join(build, "lib")
	path := filepath.Join(tb.TempDir(), "api_random")
	err = compile(path, []string{filepath.Join(programs, "api_random.c")}, "-I"+include, "-L"+lib, "-lmln", "-Wl,-rpath,"+lib)
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// checkRandom reports a run that fails, and the smallest one like it that is found in two minutes.
func checkRandom(t *testing.T, program string, r randomRun) {
	t.Helper()
	err := r.fails(t, program)
	if err == nil {
		return
	}
	t.Error(err)
	if smaller, last := r.shrink(t, program, 2*time.Minute); last != nil {
		t.Errorf("smaller: %v\n%v", smaller, last)
	}
}

// TestRandomCalls has masters and workers do what the API allows at random, for ten seconds.
func TestRandomCalls(t *testing.T) {
	t.Parallel()
	program := randomProgram(t)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && !t.Failed(); {
		checkRandom(t, program, randomRun{seed: rand.Uint64(), steps: randomSteps})
	}
}

// TestRandomCallsNoticesWorkers asserts that a worker that dies fails a run by its death, and not by what is missing much later.
func TestRandomCallsNoticesWorkers(t *testing.T) {
	t.Parallel()
	err := randomRun{seed: 1, steps: 10, planted: "abort"}.fails(t, randomProgram(t))
	if err == nil || !strings.Contains(err.Error(), "was ended by signal 6, and should not have") {
		t.Errorf("a worker has aborted, and the error is %v", err)
	}
}

// TestRandomCallsShrink plants a fault that takes two kinds of steps, setting a timer and taking it back, and asserts that a run
// with nothing else is found, and that its seed finds the fault again.
func TestRandomCallsShrink(t *testing.T) {
	t.Parallel()
	program := randomProgram(t)
	const most = 12 // steps
	r := randomRun{seed: rand.Uint64(), steps: randomSteps, planted: "forget"}
	for tries := 1; r.fails(t, program) == nil; tries++ {
		if tries == 20 {
			t.Fatalf("%d runs like %v pass", tries, r)
		}
		r.seed = rand.Uint64()
	}
	smaller, err := r.shrink(t, program, 2*time.Minute)
	if kinds := randomKinds - bits.OnesCount32(smaller.without); err == nil || kinds > 2 || smaller.steps > most {
		t.Fatalf("the smallest run found, %v, has %d kinds of steps; 2, and at most %d steps, are expected: %v",
			smaller, kinds, most, err)
	}
	t.Logf("%v", smaller)
	for range 10 {
		if smaller.fails(t, program) != nil {
			return
		}
	}
	t.Errorf("%v failed once, and not in 10 further runs", smaller)
}

// TestRandomCallsKinds asserts that the test knows every kind of step that the program does.
func TestRandomCallsKinds(t *testing.T) {
	t.Parallel()
	program := randomProgram(t)
	if err := (randomRun{without: 1<<randomKinds - 1}).fails(t, program); err != nil {
		t.Errorf("without any kind of step: %v", err)
	}
	if (randomRun{without: 1 << randomKinds}).fails(t, program) == nil {
		t.Errorf("api_random.c has more than %d kinds of steps", randomKinds)
	}
}

// FuzzRandomCalls goes on for as long as it is told.
func FuzzRandomCalls(f *testing.F) {
	program := randomProgram(f)
	f.Add(uint64(1), uint16(randomSteps), uint32(0))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16, without uint32) {
		checkRandom(t, program, randomRun{seed: seed, steps: int(steps % 1000), without: without % (1 << randomKinds)})
	})
}
