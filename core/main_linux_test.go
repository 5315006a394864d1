package core_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"melon/core"
)

// roleVariable names the program, of those in programs, that the test binary is to be instead of running tests. Tests
// set it for the workers that they start.
const roleVariable = "CORE_TEST_PROGRAM"

// TestMain makes the test binary the program that a test wants, since workers are the same binary as their master.
func TestMain(m *testing.M) {
	name := os.Getenv(roleVariable)
	switch {
	case name != "":
		run, found := programs[name]
		if !found {
			fmt.Fprintf(os.Stderr, "%s is %q, which is none of the programs\n", roleVariable, name)
			os.Exit(2)
		}
		exit(run())
	case core.IsWorker(): // of the example
		exit(program())
	}
	os.Exit(m.Run())
}

func exit(err error) {
	switch {
	case errors.Is(err, core.ErrMasterGone):
		os.Exit(127)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
