//go:build memcheck

package ctest

import (
	"encoding/binary"
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
	server := servePidfds(t)
	options := []string{"--undef-value-errors=no", "--suppressions=" + absolute("testdata/valgrind.supp")}
	run := func(t *testing.T, source, program string) {
		// Valgrind does not know all instructions that the collector uses where the processor has them, and takes the stack for
		// foreign memory where a signal handler has put a call upon it, as the runtime does to interrupt a goroutine.
		memcheck(t, source, program, options, "GODEBUG=cpu.all=off,asyncpreemptoff=1", "PIDFD_SERVER="+server)
	}
	eachProgram(t, underMemcheck, notUnderMemcheck, []string{absolute("testdata/valgrind.c")}, libraryFlags(t), run)
}

// underMemcheck are the programs with processes that use the library without having been executed, of those that take no more than ten
// seconds and are not after what valgrind has for itself: descriptors, limits, handlers of faults. All of a family are in, but for
// notUnderMemcheck, where most of it can be.
var underMemcheck = []string{"conf_*.c", "connection_*.c", "eras_*.c", "event_*.c", "fork_early_end.c", "fork_exchange.c", "fork_inherit.c",
	"framework_nested.c", "framework_sigusr2.c", "habits_*.c", "ipc_*.c", "layout.c", "log_*.c", "tools_time.c", "utilities*.c"}

var notUnderMemcheck = []string{
	// They measure what costs more under valgrind, or wait for a time that is too short there.
	"event_dispositions.c", "event_idle.c", "event_mixed_busy.c", "event_signal_plain.c", "habits_seed_plain.c", "habits_today_plain.c",
	"ipc_backpressure.c", "ipc_cut_off.c", "ipc_last_words.c", "ipc_no_garbage.c", "ipc_public_receive_end.c", "ipc_send_before_watch.c",
	"ipc_slow_reader.c",
	// Their workers are killed by Go, with a system call that not every valgrind knows.
	"ipc_control.c", "ipc_deaf_peer.c", "ipc_malformed.c",
	// Signals interrupt them without a pause, after which valgrind now and then takes a thread's own stack for foreign memory.
	"event_signals.c", "event_threads.c",
	// They are done by the program once more, which runs as it is.
	"ipc_message_max.c",
	// They take longer.
	"ipc_announced.c", "ipc_large.c", "ipc_last_words_of_master.c", "ipc_nested_dispatch.c", "ipc_property.c", "log_links.c", "log_threads.c",
}

// memcheckReport is in all that valgrind reports: where it was. What else it says is of processes that were killed, and of what it
// does not know.
var memcheckReport = regexp.MustCompile(`(?m)^==\d+== +at 0x`)

// memcheckSlowness is how much longer than usual a program may take.
const memcheckSlowness = 4

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
	log := filepath.Join(t.TempDir(), "log") // children may have put something else in the place of standard error
	args := slices.Concat([]string{"--quiet", "--vgdb=no", "--log-file=" + log, "--leak-check=full", "--show-leak-kinds=definite"}, options,
		[]string{program})
	deadline := memcheckSlowness * want.deadline
	result, output, err := job{Path: valgrind, Args: args, Env: append(want.env, env...), Deadline: deadline,
		Grace: deadline}.run(t) // a process that ends looks for leaks first
	if bad := result.verdict(want.exit, deadline); bad != nil && (err == nil || result.Status != "") {
		err = bad
	}
	reports, logError := os.ReadFile(log)
	if err == nil {
		err = logError
	}
	if err == nil && memcheckReport.Match(reports) {
		err = fmt.Errorf("valgrind finds fault with it")
	}
	if err != nil {
		t.Errorf("%v\n--- valgrind:\n%s\n--- output of %s:\n%s", err, reports, filepath.Base(source), output)
	}
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
