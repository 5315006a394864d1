//go:build sanitize

package ctest

import (
	"fmt"
	"path/filepath"
	"testing"
)

// TestProgramsUnderAddressSanitizer runs programs against a library built under the address sanitizer, which looks for leaks as well.
// Its allocator (libsanitizer of gcc 12) takes locks that a fork leaves taken in the child when another thread of the process, one of
// the Go runtime's, is in it. So workers are executed, few at a time, because they take long to end; and of the programs that fork by
// themselves those are left out whose children need an engine, which they cannot always load, or come from a process with threads
// that allocate (log_threads.c), or are too many for the program's time (tools_boot.c), or which meet their deadline where they take
// too long to end (framework_stuck_log.c).
func TestProgramsUnderAddressSanitizer(t *testing.T) {
	runSanitized(t, "-fsanitize=address,undefined", []string{"event_*.c", "conf_*.c", "log_*.c", "tools_*.c", "ipc_boundaries.c",
		"ipc_close_in_handler.c", "ipc_last_words_of_peer.c", "fork_channel_closed.c", "fork_exec_library.c"}, notUnderAddressSanitizer)
}

// TestWorkersUnderAddressSanitizer runs programs that fork, with their workers and the second copies of the library in these, likewise.
// By hand: once in a while one of them hangs in the sanitizer, for the reason above. It runs to its deadline then, and fails.
func TestWorkersUnderAddressSanitizer(t *testing.T) {
	runSanitized(t, "-fsanitize=address,undefined", []string{"eras_*.c", "fork_early_end.c", "fork_exchange.c", "fork_exec.c", "fork_image.c",
		"fork_in_handlers.c", "fork_inherit.c", "fork_iterate.c", "fork_locks.c", "fork_nested.c", "fork_refused_start.c", "fork_stuck_exec.c",
		"fork_threads.c", "framework_*.c", "ipc_*.c"}, notUnderAddressSanitizer)
}

// notUnderAddressSanitizer are left out.
var notUnderAddressSanitizer = []string{
	"event_alternate_stack.c", "event_fork.c", "event_idle.c", "framework_stuck_log.c", "log_custom_fork.c", "log_limit.c", "log_links.c",
	"log_threads.c", "tools_boot.c", "tools_daemon.c",
	// It measures memory; it replaces functions that the sanitizer replaces.
	"ipc_backpressure.c", "ipc_no_garbage.c",
}

// TestProgramsUnderUndefinedBehaviorSanitizer runs the programs of messages and processes against a library built under the
// undefined-behaviour sanitizer, the second copies of the library in their workers included.
func TestProgramsUnderUndefinedBehaviorSanitizer(t *testing.T) {
	runSanitized(t, "-fsanitize=undefined", []string{"ipc_*.c", "framework_*.c", "fork_exchange.c", "fork_nested.c", "fork_in_handlers.c",
		"fork_exec.c", "fork_iterate.c", "log_links.c"}, nil)
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
