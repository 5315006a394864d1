//go:build sanitize

package ctest

import (
	"path/filepath"
	"testing"
)

// TestProgramsUnderAddressSanitizer runs the programs that do not fork against a library built under the address sanitizer. Its
// allocator (libsanitizer of gcc 12) takes locks that a fork leaves taken in the child when another thread of the process, one of
// the Go runtime's, is in it; so forks are left to the other test.
func TestProgramsUnderAddressSanitizer(t *testing.T) {
	runSanitized(t, "-fsanitize=address,undefined", []string{"event_*.c", "conf_*.c", "log_*.c"},
		[]string{"event_fork.c", "event_idle.c", "event_signal_plain.c", "event_signals.c", "conf_tree.c", "log_files.c",
			"log_links.c", "log_threads.c"})
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
	runSanitized(t, "-fsanitize=thread", []string{"event_threads.c", "event_dispatchers.c", "log_threads.c"}, nil)
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
	eachProgram(t, patterns, without, nil, flags, func(t *testing.T, source, program string) { check(t, source, program) })
}
