package ctest

import (
	"fmt"
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
	randomKinds = 17
)

// randomRun is one run of programs/api_random.c: a seed, how many steps, which kinds of steps are left out, and the fault to plant, if any.
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

// shrink looks for a run with fewer steps, of fewer kinds, that fails as well. A run that passes is tried again: the processes of a run
// are not in step with each other. It takes at most so long.
func (r randomRun) shrink(t *testing.T, program string, limit time.Duration) (randomRun, error) {
	end := time.Now().Add(limit)
	var last error
	try := func(smaller randomRun) bool {
		for i := 0; i < 3 && time.Now().Before(end); i++ {
			if err := smaller.fails(t, program); err != nil {
				r, last = smaller, err
				return true
			}
		}
		return false
	}
	for kind := range randomKinds {
		smaller := r
		smaller.without |= 1 << kind
		try(smaller)
	}
	for step := r.steps / 2; step > 0; step /= 2 {
		smaller := r
		smaller.steps -= step
		try(smaller)
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

// checkRandom reports a run that fails, and the smallest one like it that is found in a minute.
func checkRandom(t *testing.T, program string, r randomRun) {
	t.Helper()
	err := r.fails(t, program)
	if err == nil {
		return
	}
	t.Error(err)
	if smaller, last := r.shrink(t, program, time.Minute); last != nil {
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

// FuzzRandomCalls goes on for as long as it is told.
func FuzzRandomCalls(f *testing.F) {
	program := randomProgram(f)
	f.Add(uint64(1), uint16(randomSteps), uint32(0))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16, without uint32) {
		checkRandom(t, program, randomRun{seed: seed, steps: int(steps % 1000), without: without % (1 << randomKinds)})
	})
}
