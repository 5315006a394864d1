package core_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"melon/core"
	"melon/core/fork"
)

func init() {
	programs["traced"] = tracedWorker
	programs["tracer"] = tracer
	programs["traced by master"] = tracedByMaster
}

// tracedByMaster makes its master the tracer of one of its threads, and works.
func tracedByMaster() error {
	traced := make(chan error)
	var begin func()
	begin = func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			go begin()
		} else if _, _, errno := unix.RawSyscall(unix.SYS_PTRACE, unix.PTRACE_TRACEME, 0, 0); errno != 0 {
			traced <- errno
		} else {
			traced <- nil
		}
		select {}
	}
	go begin()
	if err := <-traced; err != nil {
		return err
	}
	return echoWorker().Run(context.Background())
}

// tracedWorker has a child of its own trace it, and ends with status 3.
func tracedWorker() error {
	g := echoWorker()
	g.Handle(misbehave, core.Handlers{Worker: func(*core.Master, []byte) {
		_ = unix.Prctl(unix.PR_SET_PTRACER, unix.PR_SET_PTRACER_ANY, 0, 0, 0)
		child := exec.Command("/proc/self/exe", strconv.Itoa(os.Getpid()))
		child.Env = append(os.Environ(), roleVariable+"=tracer")
		if err := child.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		for give := time.Now().Add(deadline); fork.Tracer(os.Getpid()) == 0 && time.Now().Before(give); {
			time.Sleep(time.Millisecond)
		}
		_ = unix.Tgkill(os.Getpid(), os.Getpid(), unix.SIGURG) // as the runtime does
		os.Exit(3)
	}})
	return g.Run(context.Background())
}

// tracer traces a process until a file is gone. It passes signals on, as what a signal is sent to stops otherwise until its tracer lets go:
// the runtime sends some to its threads at any time.
func tracer() error {
	runtime.LockOSThread()
	pid, _ := strconv.Atoi(os.Args[len(os.Args)-1])
	if err := unix.PtraceSeize(pid); err != nil {
		return err
	}
	for give := time.Now().Add(2 * deadline); present(os.Getenv("CORE_TEST_FILE")) && time.Now().Before(give); {
		// Not Wait4, which would reap the process as well.
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WSTOPPED|unix.WNOHANG|unix.WALL, nil)
		if signal := (*[7]int32)(unsafe.Pointer(&info))[6]; err == nil && info.Signo != 0 {
			_ = unix.PtraceCont(pid, int(signal))
		} else {
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// traced runs a group whose worker is traced when it ends, until it is told that it cannot be reaped.
func traced(t *testing.T) (g *core.Group, events <-chan core.Event, stop func() error, release func()) {
	t.Helper()
	role(t, "traced")
	file := filepath.Join(t.TempDir(), "traced")
	t.Setenv("CORE_TEST_FILE", file)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	g = &core.Group{Workers: 1}
	workers, events, stop := begin(t, g)
	release = func() { _ = os.Remove(file) }
	t.Cleanup(release)
	if err := workers[0].Send(misbehave, nil); err != nil {
		t.Fatal(err)
	}
	return g, events, stop, release
}

func TestAWorkerThatCannotBeReapedCostsNothing(t *testing.T) {
	g, events, _, release := traced(t)
	held := await(t, events, core.Held)
	if held.Err == nil || !strings.Contains(held.Err.Error(), "traces it") || strings.Contains(held.Err.Error(), "process 0") {
		t.Errorf("the reason is %v", held.Err)
	}
	if n := g.Stats().Iterations; n > 100 {
		t.Errorf("the loop of the master has run %d times", n)
	}
	release()
	if e := await(t, events, core.Exited); e.Worker != held.Worker || e.Status != (fork.Status{Known: true, Code: 3}) {
		t.Errorf("%v %v", e.Worker, e.Status)
	}
	await(t, events, core.Ready)
}

// The end of a process is not reported before its tracer has waited for each of its threads, and any process can make its parent the
// tracer.
func TestAWorkerThatIsTracedByItsMasterIsReplacedAndEnds(t *testing.T) {
	role(t, "traced by master")
	g := &core.Group{Workers: 1, StopTimeout: 100 * time.Millisecond}
	workers, events, stop := begin(t, g)
	if err := unix.Kill(workers[0].PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := await(t, events, core.Exited); e.Worker != workers[0] || e.Status != (fork.Status{Known: true, Signal: unix.SIGKILL}) {
		t.Errorf("%v %v", e.Worker, e.Status)
	}
	next := await(t, events, core.Ready).Worker
	if err := stop(); err != nil {
		t.Error(err)
	}
	if e := await(t, events, core.Exited); e.Worker != next || e.Status != (fork.Status{Known: true}) {
		t.Errorf("%v %v", e.Worker, e.Status)
	}
}

func TestAStopDoesNotWaitForAWorkerThatCannotBeReaped(t *testing.T) {
	_, events, stop, release := traced(t)
	held := await(t, events, core.Held)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if e := await(t, events, core.Exited); e.Worker != held.Worker || e.Status != (fork.Status{Held: true}) {
		t.Errorf("%v %v", e.Worker, e.Status)
	}
	release()
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(held.Worker.PID(), &status, 0, nil); err != nil || status.ExitStatus() != 3 {
		t.Errorf("what was left of the worker: %v, %v", status, err)
	}
}
