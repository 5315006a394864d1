//go:build linux

package ctest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestHosts runs a group of processes, and some other programs, on machines that are not like others: the group works there, or the
// parent says why it does not.
func TestHosts(t *testing.T) {
	dir := t.TempDir()
	host, group := filepath.Join(dir, "host"), filepath.Join(dir, "group")
	if err := compile(host, []string{filepath.Join("testdata", "host.c")}); err != nil {
		t.Fatal(err)
	}
	if err := compile(group, []string{filepath.Join(programs, "fault_group.c")}, libraryFlags(t)...); err != nil {
		t.Fatal(err)
	}
	const unusable = "cannot fork a worker: it needs a copy of libmln.so of its own: neither a memory file nor a temporary file can hold one"
	for _, c := range []struct {
		name string
		lack []string
		exit int
		says string
	}{
		{"without memory files", []string{"memfd"}, 0, ""},
		{"without memory files in the kernel", []string{"old-memfd"}, 0, ""},
		{"without seals", []string{"seals"}, 0, ""},
		{"without executable temporary files", []string{"exec"}, 0, ""},
		{"without either", []string{"exec", "memfd"}, groupRefused, unusable},
		{"without either in the kernel", []string{"exec", "old-memfd"}, groupRefused, unusable},
		{"without seals or executable temporary files", []string{"exec", "seals"}, groupRefused, unusable},
		{"without a network", []string{"network"}, 0, ""},
		{"without room for the library in a file", []string{"room"}, groupRefused, unusable + " that may be executed and opened through /proc: " +
			"File too large (see ulimit -f)"},
		{"without proc", []string{"proc"}, groupRefused, unusable},
		{"with the proc of another pid namespace", []string{"own-proc"}, 0, ""},
		{"with other files in the place of proc", []string{"true-proc"}, groupRefused, unusable},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const deadline, notPermitted = time.Minute, 77
			result, output, err := job{Path: host, Args: append(c.lack, "--", group), Deadline: deadline,
				Env: []string{"KEEP=" + dir + ":" + libraryDirectory(t)}}.run(t)
			if result.Exit == notPermitted {
				skip(t, "namespaces", "this account may not make such a machine: "+output)
			}
			if bad := result.verdict(c.exit, deadline); bad != nil && (err == nil || result.Status != "") {
				err = bad
			}
			if err != nil {
				t.Errorf("%v\n%s", err, output)
			}
			if !strings.Contains(output, c.says) {
				t.Errorf("the output does not say %q:\n%s", c.says, output)
			}
		})
	}
}

// groupRefused is the exit status of programs/fault_group.c when there can be no group.
const groupRefused = 3

// skip skips a test for want of something, or fails it where MLN_MAY_SKIP is in the environment and does not name that: nobody sees the
// skipped tests of a run that passes.
func skip(t *testing.T, want, why string) {
	t.Helper()
	if may, limited := os.LookupEnv("MLN_MAY_SKIP"); limited && !slices.Contains(strings.Fields(may), want) {
		t.Fatalf("not to be skipped: %s", why)
	}
	t.Skip(why)
}

// TestAnotherAllocator runs programs that fork and exchange messages with jemalloc in the place of the C library's malloc.
func TestAnotherAllocator(t *testing.T) {
	found, _ := filepath.Glob("/usr/lib/*/libjemalloc.so.2")
	if len(found) == 0 {
		skip(t, "jemalloc", "there is no libjemalloc.so.2 (Debian: libjemalloc2)")
	}
	for _, program := range []string{"fault_group.c", "fork_exchange.c", "fork_threads.c", "fork_exec_library.c", "ipc_large.c", "soak_group.c"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "program")
			if err := compile(path, []string{filepath.Join(programs, program)}, libraryFlags(t)...); err != nil {
				t.Fatal(err)
			}
			const deadline = 2 * time.Minute
			result, output, err := job{Path: path, Deadline: deadline, Env: []string{"LD_PRELOAD=" + found[0]}}.run(t)
			if bad := result.verdict(0, deadline); bad != nil && (err == nil || result.Status != "") {
				err = bad
			}
			if err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}
