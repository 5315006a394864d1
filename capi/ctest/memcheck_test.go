//go:build memcheck

package ctest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPlainProgramsUnderMemcheck finds what the sanitizers do not: decisions that depend on memory which nobody wrote. It needs
// valgrind, hence the build tag.
func TestPlainProgramsUnderMemcheck(t *testing.T) {
	eachPlainProgram(t, nil, func(t *testing.T, source, program string) {
		memcheck(t, source, program, nil)
	})
}

// TestLibraryUnderMemcheck runs programs against the whole library: nothing of what its C part allocates is lost, in masters and in
// forked workers, in each of which a second copy of the library starts. What is executed runs as it is.
func TestLibraryUnderMemcheck(t *testing.T) {
	libraryUnderMemcheck(t, underMemcheck)
}

// TestEveryProgramUnderMemcheck does the same with all programs, which takes too long for every change.
func TestEveryProgramUnderMemcheck(t *testing.T) {
	libraryUnderMemcheck(t, []string{"*.c", "*.cc"})
}

func libraryUnderMemcheck(t *testing.T, patterns []string) {
	server := servePidfds(t)
	options := []string{"--undef-value-errors=no", "--suppressions=" + absolute("testdata/valgrind.supp")}
	run := func(t *testing.T, source, program string) {
		options := options
		if slices.Contains(executedUnderMemcheck, filepath.Base(source)) {
			options = append(slices.Clone(options), traceExecuted)
		}
		// Valgrind does not know all instructions that the collector uses where the processor has them.
		memcheck(t, source, program, options, "GODEBUG=cpu.all=off", "PIDFD_SERVER="+server,
			fmt.Sprintf("CHECK_SLOWNESS=%d", memcheckSlowness))
	}
	wrappers := filepath.Join(t.TempDir(), "valgrind.o") // for programs in C++, too
	if err := compile(wrappers, []string{absolute("testdata/valgrind.c")}, "-c"); err != nil {
		t.Fatal(err)
	}
	eachProgram(t, patterns, notUnderMemcheck, []string{wrappers}, libraryFlags(t), run)
}

// underMemcheck are some programs of each kind, of those that take least.
var underMemcheck = []string{"conf_*.c", "connection_*.c", "eras_*.c", "event_[bclor]*.c", "fork_e*.c", "fork_in_handlers.c",
	"fork_inherit.c", "framework_again.c", "framework_nested.c", "framework_sigusr2.c", "habits_*.c", "ipc_[cdeht]*.c", "ipc_longjmp.c",
	"ipc_malformed*.c", "ipc_queue_limit.c", "layout.c", "log_[cf]*.c", "tools_time.c", "utilities*.c"}

// executedUnderMemcheck are programs whose parts are processes that they make by executing themselves: these run under valgrind, too.
var executedUnderMemcheck = []string{"fork_exec_library.c", "fork_flush.c", "fork_image.c", "fork_loader.c", "framework_stop.c",
	"framework_supervision.c"}

// notUnderMemcheck are left out.
var notUnderMemcheck = []string{
	// They have faults of their own, which are what valgrind is there to find.
	"fork_crash.c", "ipc_last_words.c",
	// They lower the limit of descriptors: valgrind does not let it be lowered for good, and no descriptor be used that is above it.
	"fork_shortage.c", "tools_limits.c",
	// They measure memory or the processor, or count calls of functions that valgrind replaces as they do.
	"fork_storm.c", "ipc_announced.c", "ipc_backpressure.c", "ipc_no_garbage.c", "soak_group.c",
	// It looks for what a child does not have of its parent's memory, and under valgrind has, see capi/gomemory.c.
	"fork_memory.c",
	// What a thread had in hand is lost in a child that was forked meanwhile, which does not have that thread.
	"fork_locks.c",
	// It tells processes apart by their numbers, which a busy machine gives again within the minutes that it takes.
	"fork_kill_storm.c",
	// What comes first is decided by some milliseconds, in which valgrind does nothing yet.
	"event_mixed_busy.c", "event_timeouts.c",
	// Signals interrupt them without a pause, after which valgrind now and then takes a thread's own stack for foreign memory.
	"event_signals.c", "event_threads.c",
}

const traceExecuted = "--trace-children=yes"

// memcheckReport is in all that valgrind reports: where it was. What else it says is of processes that were killed, and of what it
// does not know.
var memcheckReport = regexp.MustCompile(`(?m)^==\d+== +at 0x`)

// memcheckSlowness is by how much a program may be slower than usual, also on a busy machine.
const memcheckSlowness = 20

// memcheck runs the program that was compiled from source under valgrind, in this environment, and fails the test if it does not end
// as its directives tell, or if valgrind finds fault with it or with one of its children.
func memcheck(t *testing.T, source, program string, options []string, env ...string) {
	valgrind, err := exec.LookPath("valgrind")
	if err != nil {
		t.Fatal(err)
	}
	want, err := readDirectives(source)
	if err != nil {
		t.Fatal(err)
	}
	logs := t.TempDir() // children may have put something else in the place of standard error
	log := filepath.Join(logs, "log")
	if slices.Contains(options, traceExecuted) {
		log = filepath.Join(logs, "%p") // an executed process begins its file anew; a forked one then has a descriptor more
	}
	args := slices.Concat([]string{"--quiet", "--vgdb=no", "--log-file=" + log, "--leak-check=full", "--show-leak-kinds=definite"}, options,
		[]string{program})
	deadline := memcheckSlowness * want.deadline
	result, output, err := job{Path: valgrind, Args: args, Env: append(want.env, env...), Deadline: deadline,
		Grace: deadline}.run(t) // a process that ends looks for leaks first
	if bad := result.verdict(want.exit, deadline); bad != nil && (err == nil || result.Status != "") {
		err = bad
	}
	reports, readError := readAll(logs)
	if err == nil {
		err = readError
	}
	if err == nil && memcheckReport.Match(reports) {
		err = fmt.Errorf("valgrind finds fault with it")
	}
	if err != nil {
		t.Errorf("%v\n--- valgrind:\n%s\n--- output of %s:\n%s", err, reports, filepath.Base(source), output)
	}
}

// readAll returns what is in all files of a folder.
func readAll(dir string) ([]byte, error) {
	entries, err := os.ReadDir(dir)
	var all []byte
	for _, entry := range entries {
		data, readError := os.ReadFile(filepath.Join(dir, entry.Name()))
		all, err = append(all, data...), errors.Join(err, readError)
	}
	return all, err
}

// servePidfds opens pidfds for testdata/valgrind.c, and returns the name that it is asked under.
func servePidfds(t *testing.T) string {
	name := fmt.Sprintf("mln-pidfds-%d", os.Getpid())
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: "@" + name, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.AcceptUnix()
			if err != nil {
				return // closed
			}
			go sendPidfd(conn)
		}
	}()
	return name
}

// sendPidfd answers one question: a pid is answered by an error number, and by a pidfd if that is 0.
func sendPidfd(conn *net.UnixConn) {
	defer conn.Close()
	var pid int32
	if binary.Read(conn, binary.NativeEndian, &pid) != nil {
		return
	}
	pidfd, err := unix.PidfdOpen(int(pid), 0)
	errno, _ := err.(unix.Errno)
	var rights []byte
	if err == nil {
		rights = unix.UnixRights(pidfd)
		defer unix.Close(pidfd)
	}
	_, _, _ = conn.WriteMsgUnix(binary.NativeEndian.AppendUint32(nil, uint32(errno)), rights, nil)
}
