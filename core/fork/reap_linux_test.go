package fork

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The test program is its own child: this variable says what to do as one.
const roleVariable = "MELON_FORK_TEST_ROLE"

func TestMain(m *testing.M) {
	role, argument, _ := strings.Cut(os.Getenv(roleVariable), " ")
	if role != "" {
		// Whatever goes wrong in the parent, a child does not outlive the test, nor start what outlives it.
		time.AfterFunc(20*time.Second, func() { os.Exit(1) })
	}
	switch role {
	case "":
		os.Exit(m.Run())
	case "exit":
		code, _ := strconv.Atoi(argument)
		os.Exit(code)
	case "wait": // for the end of the parent, which holds the other end of standard input
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	case "trace":
		pid, _ := strconv.Atoi(argument)
		runtime.LockOSThread()
		if err := unix.PtraceSeize(pid); err != nil {
			fmt.Println("tracing:", err)
			os.Exit(1)
		}
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	case "traced":
		go haveMyselfTraced(argument == "thread")
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	case "ignore":
		os.Exit(ignoreChildren())
	case "refused":
		os.Exit(reapRefused())
	case "tracer":
		pid, _ := strconv.Atoi(argument)
		if tracer := Tracer(pid); tracer != 0 {
			fmt.Printf("process %d traces one that is not in this namespace\n", tracer)
			os.Exit(1)
		}
		os.Exit(0)
	}
	fmt.Println("unknown role:", role)
	os.Exit(1)
}

// haveMyselfTraced has the parent of this process trace a thread, and ends that, or the whole process with status 7.
func haveMyselfTraced(alone bool) {
	runtime.LockOSThread() // which ends with the goroutine, but for the first one
	if unix.Gettid() == unix.Getpid() {
		go haveMyselfTraced(alone)
		select {}
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_PTRACE, unix.PTRACE_TRACEME, 0, 0); errno != 0 {
		fmt.Println("being traced:", errno)
		os.Exit(1)
	}
	if !alone {
		os.Exit(7)
	}
}

// limit is the deadline of a test. One that hangs ends the test program with the stacks of all goroutines.
func limit(t *testing.T) {
	t.Helper()
	name := t.Name()
	timer := time.AfterFunc(30*time.Second, func() {
		debug.SetTraceback("all")
		panic(name + " hangs")
	})
	t.Cleanup(func() { timer.Stop() })
}

// spawn starts this program, or another one, as a child that nobody but Reap waits for.
func spawn(role string, input *os.File, argv ...string) (pid, pidfd int, err error) {
	if len(argv) == 0 {
		argv = []string{"/proc/self/exe"}
	}
	// Of two settings of one variable the first counts: the role of this process must not stay.
	environment := slices.DeleteFunc(os.Environ(), func(setting string) bool {
		return strings.HasPrefix(setting, roleVariable+"=")
	})
	pid, err = syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Env:   append(environment, roleVariable+"="+role),
		Files: []uintptr{input.Fd(), 1, 2},
		Sys:   &syscall.SysProcAttr{PidFD: &pidfd},
	})
	return pid, pidfd, err
}

// child is spawn for the length of a test.
func child(t *testing.T, role string, argv ...string) (pid, pidfd int) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	pid, pidfd, err = spawn(role, r, argv...)
	_ = r.Close()
	if err != nil {
		_ = w.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
		_ = unix.Waitid(unix.P_PIDFD, pidfd, nil, unix.WEXITED, nil)
		_ = w.Close()
		_ = unix.Close(pidfd)
	})
	return pid, pidfd
}

// ended waits until the process has ended, and leaves it to be reaped.
func ended(pidfd int) error {
	poll := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		switch _, err := unix.Poll(poll, -1); err {
		case nil:
			return nil
		case unix.EINTR:
		default:
			return err
		}
	}
}

func reap(t *testing.T, pidfd int) Status {
	t.Helper()
	if err := ended(pidfd); err != nil {
		t.Fatal(err)
	}
	status, ended, err := Reap(pidfd)
	if !ended || err != nil {
		t.Fatalf("Reap: %+v, %t, %v; want that it has ended", status, ended, err)
	}
	return status
}

func TestReapExited(t *testing.T) {
	for _, code := range []int{0, 1, 3, 127, 255} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			limit(t)
			_, pidfd := child(t, fmt.Sprint("exit ", code))
			if got, want := reap(t, pidfd), (Status{Known: true, Code: code}); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

func TestReapKilled(t *testing.T) {
	for _, signal := range []unix.Signal{unix.SIGKILL, unix.SIGTERM, unix.SIGALRM} {
		t.Run(unix.SignalName(signal), func(t *testing.T) {
			limit(t)
			_, pidfd := child(t, "", "/bin/sh", "-c", fmt.Sprintf("kill -%d $$", signal))
			if got, want := reap(t, pidfd), (Status{Known: true, Signal: syscall.Signal(signal)}); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

// Whether a core was dumped depends on the system; Reap says what the kernel does.
func TestReapDumped(t *testing.T) {
	limit(t)
	for _, size := range []string{"0", "unlimited"} {
		_, pidfd := child(t, "", "/bin/sh", "-c", "cd \"$0\" && ulimit -S -c "+size+"; kill -QUIT $$", t.TempDir())
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_PIDFD, pidfd, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			t.Fatal(err)
		}
		const dumped = 3 // CLD_DUMPED of waitid(2)
		if got, want := reap(t, pidfd), (Status{Known: true, Signal: syscall.SIGQUIT, Core: info.Code == dumped}); got != want {
			t.Errorf("core size %s: %+v, want %+v", size, got, want)
		}
	}
}

func TestReapRunning(t *testing.T) {
	limit(t)
	pid, pidfd := child(t, "wait")
	for range 3 {
		if status, ended, err := Reap(pidfd); ended || err != nil || status != (Status{}) {
			t.Fatalf("a running child: %+v, %t, %v", status, ended, err)
		}
	}
	// A child that is stopped has not ended either.
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PIDFD, pidfd, nil, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if status, ended, err := Reap(pidfd); ended || err != nil {
		t.Fatalf("a stopped child: %+v, %t, %v", status, ended, err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := reap(t, pidfd); got.Signal != syscall.SIGKILL {
		t.Errorf("%+v, want SIGKILL", got)
	}
}

// trace has another process trace a child.
func trace(t *testing.T, pid int) (tracer, tracerfd int) {
	t.Helper()
	tracer, tracerfd = child(t, fmt.Sprint("trace ", pid))
	for Tracer(pid) != tracer {
		if _, ended, err := Reap(tracerfd); ended || err != nil {
			t.Fatalf("the tracer has ended: %t, %v", ended, err)
		}
		time.Sleep(time.Millisecond)
	}
	return tracer, tracerfd
}

// A child that another process traces has ended, and stays until that one lets go.
func TestReapTraced(t *testing.T) {
	limit(t)
	pid, pidfd := child(t, "wait")
	tracer, tracerfd := trace(t, pid)
	if err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := ended(pidfd); err != nil {
		t.Fatal(err)
	}
	if status, ended, err := Reap(pidfd); ended || err != errTraced || Tracer(pid) != tracer {
		t.Errorf("a child that is traced: %+v, %t, %v, and its tracer is %d, want %d", status, ended, err, Tracer(pid), tracer)
	}
	if err := unix.PidfdSendSignal(tracerfd, unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	reap(t, tracerfd)
	if got := reap(t, pidfd); got.Signal != syscall.SIGKILL {
		t.Errorf("%+v, want SIGKILL", got)
	}
}

// A child whose threads another process traces has ended, and nothing reports that.
func TestReapWithTracedThread(t *testing.T) {
	limit(t)
	pid, pidfd := child(t, "wait")
	var tids []string
	for ; len(tids) < 2; tids, _ = threads(pid) { // until the runtime has made some
		time.Sleep(time.Millisecond)
	}
	tracer, _ := child(t, "trace "+tids[1])
	for Tracer(pid) != tracer {
		time.Sleep(time.Millisecond)
	}
	if status, ended, err := Reap(pidfd); ended || err != nil {
		t.Errorf("a running child, of which a thread is traced: %+v, %t, %v", status, ended, err)
	}
	if err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	for {
		status, ended, err := Reap(pidfd)
		if err == errTraced && !readable(pidfd) {
			break
		}
		if ended || err != nil {
			t.Fatalf("a child of which a thread is traced: %+v, %t, %v", status, ended, err)
		}
		time.Sleep(time.Millisecond)
	}
	if got := WhyHeld(pid, errTraced).Error(); !strings.Contains(got, fmt.Sprintf("process %d traces it", tracer)) {
		t.Errorf("the reason is %q", got)
	}
}

// A child that this process traces as a whole is reaped like any other: nothing takes its status before.
func TestReapOfAChildThatThisProcessTraces(t *testing.T) {
	limit(t)
	runtime.LockOSThread() // which is the tracer
	defer runtime.UnlockOSThread()
	pid, pidfd := child(t, "wait")
	if err := unix.PtraceSeize(pid); err != nil {
		t.Fatal(err)
	}
	if err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := ended(pidfd); err != nil {
		t.Fatal(err)
	}
	if !releaseThreads(pid) {
		t.Error("it is not seen to have ended")
	}
	if got := reap(t, pidfd); got != (Status{Known: true, Signal: unix.SIGKILL}) {
		t.Errorf("%+v, want SIGKILL", got)
	}
}

// A child can make its parent the tracer of its threads. Reap waits for them.
func TestReapOfWhatThisProcessTraces(t *testing.T) {
	limit(t)
	await := func(pidfd int, want Status) {
		for {
			status, ended, err := Reap(pidfd)
			if ended && status != want || err != nil {
				t.Fatalf("%+v, %t, %v; want %+v", status, ended, err, want)
			}
			if ended {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	_, pidfd := child(t, "traced process")
	await(pidfd, Status{Known: true, Code: 7})

	pid, pidfd := child(t, "traced thread")
	for zombie := ""; zombie == ""; time.Sleep(time.Millisecond) {
		tids, _ := threads(pid)
		for _, tid := range tids {
			if strings.HasPrefix(entryIn("/proc/"+tid+"/status", "State"), "Z") {
				zombie = tid
			}
		}
	}
	if status, ended, err := Reap(pidfd); ended || err != nil {
		t.Errorf("a running child, of which a thread has ended: %+v, %t, %v", status, ended, err)
	}
	if err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	await(pidfd, Status{Known: true, Signal: unix.SIGKILL})
}

// Reap releases the child: there is no zombie, and a second call finds none.
func TestReapReleases(t *testing.T) {
	limit(t)
	pid, pidfd := child(t, "exit 3")
	reap(t, pidfd)
	if err := unix.Kill(pid, 0); err != unix.ESRCH {
		t.Errorf("signal 0 to the child: %v, want that it is gone", err)
	}
	if status, ended, err := Reap(pidfd); !ended || status.Known || err != nil {
		t.Errorf("a second time: %+v, %t, %v; want ended, unknown", status, ended, err)
	}
}

func TestReapTouchesOneChildOnly(t *testing.T) {
	limit(t)
	_, other := child(t, "exit 4")
	_, pidfd := child(t, "exit 5")
	if err := ended(other); err != nil {
		t.Fatal(err)
	}
	if got := reap(t, pidfd); got.Code != 5 {
		t.Errorf("%+v, want status 5", got)
	}
	if got := reap(t, other); got.Code != 4 || !got.Known {
		t.Errorf("%+v, want status 4", got)
	}
}

// Somebody else may reap the child, such as a SIGCHLD handler of the program.
func TestReapAfterSomebodyElse(t *testing.T) {
	limit(t)
	pid, pidfd := child(t, "exit 3")
	var status unix.WaitStatus
	for {
		if _, err := unix.Wait4(pid, &status, 0, nil); err == nil {
			break
		} else if err != unix.EINTR {
			t.Fatal(err)
		}
	}
	if got := reap(t, pidfd); got.Known {
		t.Errorf("%+v, want an unknown status", got)
	}
}

func TestReapOfWhatIsNoProcess(t *testing.T) {
	limit(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(null.Fd())
	if status, ended, err := Reap(fd); ended || err == nil {
		t.Errorf("/dev/null: %+v, %t, %v; want an error", status, ended, err)
	}
	_ = null.Close()
	for _, fd := range []int{fd, -1} {
		if status, ended, err := Reap(fd); ended || err == nil {
			t.Errorf("descriptor %d: %+v, %t, %v; want an error", fd, status, ended, err)
		}
	}
	if _, _, err := Reap(fd); !errors.Is(err, os.ErrInvalid) && !errors.Is(err, unix.EBADF) {
		t.Errorf("a closed descriptor: %v", err)
	}
}

// Where SIGCHLD is ignored the kernel keeps no record: a child that runs is seen to run and one that ended to have ended.
// The disposition belongs to the whole process, so this happens in one of its own.
func TestReapWithIgnoredSIGCHLD(t *testing.T) {
	limit(t)
	_, pidfd := child(t, "ignore")
	if got, want := reap(t, pidfd), (Status{Known: true}); got != want {
		t.Errorf("the helper process %v; what it prints says why", got)
	}
}

func ignoreChildren() int {
	fail := func(format string, args ...any) int {
		fmt.Printf("with SIGCHLD ignored: "+format+"\n", args...)
		return 1
	}
	signal.Ignore(unix.SIGCHLD)
	r, w, err := os.Pipe()
	if err != nil {
		return fail("%v", err)
	}
	_, pidfd, err := spawn("wait", r)
	if err != nil {
		return fail("%v", err)
	}
	if status, ended, err := Reap(pidfd); ended || err != nil {
		return fail("a running child: %+v, %t, %v", status, ended, err)
	}
	_ = w.Close()
	if err := ended(pidfd); err != nil {
		return fail("%v", err)
	}
	if status, ended, err := Reap(pidfd); !ended || status.Known || err != nil {
		return fail("a child that ended: %+v, %t, %v", status, ended, err)
	}
	return 0
}

// Where the kernel refuses to wait by a pidfd, children are reaped all the same, and where it does not know how to send a signal by one,
// they are sent signals. The filter cannot be taken off again, so this happens in a process of its own.
func TestWhereCallsOfPidfdsAreRefused(t *testing.T) {
	limit(t)
	_, pidfd := child(t, "refused")
	if got, want := reap(t, pidfd), (Status{Known: true}); got != want {
		t.Errorf("the helper process %v; what it prints says why", got)
	}
}

// Where /proc is of another pid namespace than this process its numbers are not those of this process's children, or of who traces them.
func TestWhereProcIsOfAnotherNamespace(t *testing.T) {
	limit(t)
	pid, _ := child(t, "wait")
	trace(t, pid)
	for _, c := range []struct{ name, role string }{
		{"calls are refused", "refused"},
		{"another process is traced there", fmt.Sprint("tracer ", pid)},
	} {
		t.Run(c.name, func(t *testing.T) {
			helper := exec.Command("/proc/self/exe")
			helper.Env = append(os.Environ(), roleVariable+"="+c.role)
			helper.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
			switch output, err := helper.CombinedOutput(); {
			case errors.Is(err, unix.EPERM):
				t.Skip("this account may not make a pid namespace")
			case err != nil:
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}

// A program may have its children begin a pid namespace, in which they have other numbers than here.
func TestNumberOfAChildInANamespaceOfItsOwn(t *testing.T) {
	limit(t)
	pidfd := -1
	sleeper := exec.Command("/proc/self/exe")
	sleeper.Env = append(os.Environ(), roleVariable+"=wait")
	sleeper.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID, PidFD: &pidfd}
	input, err := sleeper.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sleeper.Start(); errors.Is(err, unix.EPERM) {
		t.Skip("this account may not make a pid namespace")
	} else if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	if got := pidOf(pidfd); got != sleeper.Process.Pid {
		t.Errorf("it has the number %d, want %d", got, sleeper.Process.Pid)
	}
	_ = input.Close()
	if err := sleeper.Wait(); err != nil {
		t.Error(err)
	}
	if got := pidOf(pidfd); got >= 0 {
		t.Errorf("it has the number %d after its end", got)
	}
}

func reapRefused() int {
	fail := func(format string, args ...any) int {
		fmt.Printf("with calls refused: "+format+"\n", args...)
		return 1
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_WAITID},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EINVAL)},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_PIDFD_SEND_SIGNAL},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread() // the filter is this thread's
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fail("%v", err)
	}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return fail("%v", err)
	}
	for _, c := range []struct {
		role string
		want Status
	}{
		{"exit 7", Status{Known: true, Code: 7}},
		{"wait", Status{Known: true, Signal: unix.SIGKILL}},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			return fail("%v", err)
		}
		_, pidfd, err := spawn(c.role, r)
		if err != nil {
			return fail("%v", err)
		}
		if c.want.Signal != 0 {
			if status, ended, err := Reap(pidfd); ended || err != nil {
				return fail("a running child: %+v, %t, %v", status, ended, err)
			}
			if err := Send(pidfd, unix.SIGKILL); err != nil {
				return fail("killing a running child: %v", err)
			}
		}
		if err := ended(pidfd); err != nil {
			return fail("%v", err)
		}
		if status, ended, err := Reap(pidfd); status != c.want || !ended || err != nil {
			return fail("a child that ended: %+v, %t, %v; want %+v", status, ended, err, c.want)
		}
		if err := Send(pidfd, unix.SIGKILL); err != nil {
			return fail("killing a child that was reaped: %v", err)
		}
		_, _, _ = r.Close(), w.Close(), unix.Close(pidfd)
	}
	return 0
}
