package fork

import (
	"errors"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Reap asks whether the child behind pidfd has ended, without waiting, and releases it if so. Only that child is
// touched: others that the program has are its own affair, and no SIGCHLD handler is needed.
//
// There are three answers without an error. The child was reaped: ended, with a status that is Known. It is no child of this
// process, or not any more: ended, with one that is not. Not ended: it runs, or its pidfd is readable all the same, since a
// process that traces it has not let go yet. The pidfd stays readable then, so whoever went on watching it would spin: it is
// left alone, and [Supervisor.Held] says when to ask again.
//
// An error is [unix.EBADF] where pidfd is none, and otherwise what the kernel says to each way of asking. Then, too, Held says when to
// ask again.
func Reap(pidfd int) (status Status, ended bool, err error) {
	var info siginfo
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_WAITID, unix.P_PIDFD, uintptr(pidfd), uintptr(unsafe.Pointer(&info)),
			unix.WEXITED|unix.WNOHANG, 0, 0)
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.ECHILD:
			// Somebody else reaped it, or SIGCHLD is ignored.
			return Status{}, true, nil
		case errno == unix.EBADF:
			return Status{}, false, errno
		case errno != 0:
			return reapByNumber(pidfd, errno)
		}
		break
	}
	if info.pid == 0 {
		return Status{}, false, nil
	}
	status.Known = true
	switch info.code {
	case cldExited:
		status.Code = int(info.status)
	default:
		status.Signal = syscall.Signal(info.status)
		status.Core = info.code == cldDumped
	}
	return status, true, nil
}

// reapByNumber is for kernels, and filters of system calls, that do not let a child be waited for by its pidfd.
func reapByNumber(pidfd int, refusal unix.Errno) (status Status, ended bool, err error) {
	pid := pidOf(pidfd)
	if pid <= 0 {
		return Status{}, false, refusal
	}
	var wait unix.WaitStatus
	for {
		n, err := unix.Wait4(pid, &wait, unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ECHILD:
			return Status{}, true, nil
		case err != nil:
			return Status{}, false, refusal
		case n == 0:
			return Status{}, false, nil
		case wait.Signaled():
			return Status{Known: true, Signal: wait.Signal(), Core: wait.CoreDump()}, true, nil
		}
		return Status{Known: true, Code: wait.ExitStatus()}, true, nil
	}
}

// WhyHeld says why [Reap] does not reap a process that has ended, after what it has returned last.
func WhyHeld(pid int, err error) error {
	if err != nil {
		return &refusal{"the kernel does not let it be waited for", err}
	}
	if tracer := Tracer(pid); tracer != 0 {
		return errors.New("process " + strconv.Itoa(tracer) + " traces it; end that process")
	}
	return errors.New("another process traces it; end that process")
}

// A refusal is what the kernel does not let be done, and why. Package fmt, which comes with package os, is kept out of the C library.
type refusal struct {
	what string
	err  error
}

func (r *refusal) Error() string { return r.what + ": " + r.err.Error() }

func (r *refusal) Unwrap() error { return r.err }

// Send sends a signal to the child behind pidfd. Where the kernel, or a filter of system calls, does not know how to, it is sent by the
// child's number, which nobody else has for as long as the child was not reaped.
//
// That the child has ended is no error, and neither is [unix.EBADF], which is what stands for the pidfd of a process that was gone before
// it could be opened. An error names the signal, and what the kernel says that does not let it be sent; see [Supervisor.Refused].
func Send(pidfd int, signal syscall.Signal) error {
	err := unix.PidfdSendSignal(pidfd, signal, nil, 0)
	if err == unix.ENOSYS {
		if pid := pidOf(pidfd); pid > 0 {
			err = unix.Kill(pid, signal)
		} else if pid < 0 {
			return nil
		}
	}
	switch err {
	case nil, unix.ESRCH, unix.EBADF:
		return nil
	}
	return &refusal{"signal " + SignalName(signal), err}
}

// pidOf returns the number of the process behind pidfd: a negative one if there is none any more, 0 if it cannot be found out.
func pidOf(pidfd int) int {
	info := "/proc/self/fdinfo/" + strconv.Itoa(pidfd)
	numbers := numbersIn(info, "NSpid")
	if numbers[0] == 0 { // before Linux 5.5
		numbers = numbersIn(info, "Pid")
	}
	if level := procLevel(); level < len(numbers) {
		return numbers[level]
	}
	return min(numbers[0], 0)
}

// Tracer returns the pid of the process that traces another one; 0 if there is none, or if it cannot be found out.
func Tracer(pid int) int {
	if procLevel() != 0 {
		return 0
	}
	if thread := numbersIn("/proc/"+strconv.Itoa(pid)+"/status", "TracerPid")[0]; thread != 0 {
		return numbersIn("/proc/"+strconv.Itoa(thread)+"/status", "Tgid")[0]
	}
	return 0
}

// procLevel returns by how many levels the pid namespace of this process is below that of /proc, which is another one in some containers:
// there, a process has a number in each, from that of /proc inward, and the first is none that a call here could be given.
func procLevel() int { return len(numbersIn("/proc/self/status", "NSpid")) - 1 }

// numbersIn returns the numbers that a file of /proc has under a name, in a line near its beginning but not the first; 0 if it has none.
func numbersIn(path, name string) []int {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return []int{0}
	}
	defer unix.Close(fd)
	text := make([]byte, 4096)
	n, _ := unix.Read(fd, text)
	_, after, _ := strings.Cut(string(text[:max(n, 0)]), "\n"+name+":\t")
	line, _, _ := strings.Cut(after, "\n")
	var numbers []int
	for field := range strings.SplitSeq(line, "\t") {
		number, _ := strconv.Atoi(field)
		numbers = append(numbers, number)
	}
	return numbers
}

const (
	cldExited = 1
	cldDumped = 3
)

// siginfo is the kernel's siginfo_t as waitid fills it on 64-bit systems; see sigaction(2).
type siginfo struct {
	signo, errno, code int32
	_                  int32
	pid                int32
	uid                uint32
	status             int32
	_                  [100]byte
}
