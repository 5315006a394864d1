//go:build sanitize

package ctest

import (
	"fmt"
	"path/filepath"
	"testing"
)

// TestProgramsUnderAddressSanitizer runs programs, with the workers that they fork and the second copies of the library in these, against
// a library built under the address sanitizer, which looks for leaks as well, and the undefined-behaviour sanitizer.
func TestProgramsUnderAddressSanitizer(t *testing.T) {
	runSanitized(t, "-fsanitize=address,undefined", []string{"conf_*.c", "eras_*.c", "event_*.c", "fork_channel_closed.c", "fork_early_end.c",
		"fork_exchange.c", "fork_exec.c", "fork_exec_library.c", "fork_image.c", "fork_in_handlers.c", "fork_inherit.c", "fork_iterate.c",
		"fork_locks.c", "fork_nested.c", "fork_refused_start.c", "fork_stuck_exec.c", "fork_threads.c", "framework_*.c", "ipc_*.c", "log_*.c",
		"tools_*.c"}, notUnderAddressSanitizer)
}

// notUnderAddressSanitizer are left out.
var notUnderAddressSanitizer = []string{
	// It measures memory; it replaces functions that the sanitizer replaces.
	"ipc_backpressure.c", "ipc_no_garbage.c",
	// A part of it fails on a busy machine, where processes that end take long to look for leaks.
	"framework_stuck_log.c",
	// The sanitizer's allocator (of gcc 12) takes locks that a fork leaves taken in the child when another thread is in it. That is rare, for
	// the Go runtime's threads hardly allocate in C; these have others that do, or fork by themselves again and again.
	"event_fork.c", "event_idle.c", "log_limit.c", "log_threads.c", "tools_boot.c", "tools_daemon.c",
}

// TestProgramsUnderThreadSanitizer runs programs with threads, which do not fork, against a library built under the thread sanitizer. Go's
// cgo tells it what the runtime's calls into C are ordered by; Go code itself it does not see: that is for the race detector.
func TestProgramsUnderThreadSanitizer(t *testing.T) {
	runSanitized(t, "-fsanitize=thread", []string{"event_threads.c", "event_dispatchers.c", "log_threads.c",
		"ipc_threads_send_program.c"}, nil)
}

// runSanitized builds the whole library with the sanitizers and runs the programs against it.
func runSanitized(t *testing.T, sanitizers string, patterns, without []string) {
	dir := t.TempDir()
	err := runMake("BUILD="+dir, "CFLAGS="+sanitizers+" -fno-sanitize-recover=all -fno-omit-frame-pointer", "LDFLAGS="+sanitizers, "lib")
	if err != nil {
		t.Fatal(err)
	}
	lib := filepath.Join(dir, "lib")
	flags := []string{sanitizers, "-fno-sanitize-recover=all", "-I" + include, "-L" + lib, "-lmln", "-Wl,-rpath," + lib}
	eachProgram(t, patterns, without, nil, flags, func(t *testing.T, source, program string) {
		want, err := readDirectives(source)
		if err != nil {
			t.Fatal(err)
		}
		deadline := sanitizedSlowness * want.deadline
		result, output, err := job{Path: program, Env: append(want.env, fmt.Sprintf("CHECK_SLOWNESS=%d", sanitizedSlowness)),
			Deadline: deadline, Grace: deadline}.run(t) // a process that ends looks for leaks first
		if bad := result.verdict(want.exit, deadline); bad != nil && (err == nil || result.Status != "") {
			err = bad
		}
		if err != nil {
			t.Errorf("%v\n--- output of %s:\n%s", err, filepath.Base(source), output)
		}
	})
}

// sanitizedSlowness is by how much a program may be slower than usual, also on a busy machine.
const sanitizedSlowness = 4
