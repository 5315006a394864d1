//go:build memcheck

package ctest

import (
	"os/exec"
	"testing"
)

// TestPlainProgramsUnderMemcheck finds what the sanitizers do not: decisions that depend on memory which nobody wrote. It needs
// valgrind, hence the build tag.
func TestPlainProgramsUnderMemcheck(t *testing.T) {
	valgrind, err := exec.LookPath("valgrind")
	if err != nil {
		t.Fatal(err)
	}
	eachPlainProgram(t, nil, func(t *testing.T, source, program string) {
		check(t, source, valgrind, "--quiet", "--error-exitcode=99", "--leak-check=full", program)
	})
}
