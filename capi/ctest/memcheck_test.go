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

// TestLibraryUnderMemcheck runs programs that do not fork against the whole library: nothing of what its C part allocates is lost. What
// the compiler of Go makes of memory that nobody wrote is not looked at, and valgrind cannot follow a second runtime into a child.
func TestLibraryUnderMemcheck(t *testing.T) {
	valgrind, err := exec.LookPath("valgrind")
	if err != nil {
		t.Fatal(err)
	}
	without := []string{"event_fork.c", "event_idle.c", "event_signal_plain.c", "event_many_fds.c", "event_dispositions.c",
		"conf_paths.c"} // Go reads strings of C by 16 bytes, up to the end of the page
	run := func(t *testing.T, source, program string) {
		// Valgrind does not know all instructions that the collector uses where the processor has them, and takes the stack for
		// foreign memory where a signal handler has put a call upon it, as the runtime does to interrupt a goroutine.
		check(t, source, "/usr/bin/env", "GODEBUG=cpu.all=off,asyncpreemptoff=1", valgrind, "--quiet", "--error-exitcode=99", "--undef-value-errors=no",
			"--leak-check=full", "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite", program)
	}
	eachProgram(t, []string{"event_*.c", "connection_*.c", "conf_*.c"}, without, nil, libraryFlags(t), run)
}
