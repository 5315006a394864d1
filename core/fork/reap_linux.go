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
// process, or not any more: ended, with one that is not. It runs: not ended; see [Supervisor.Lives].
//
// An error is [unix.EBADF] where pidfd is none. Any other says why the child is not reaped: it has ended, and a process that traces it has
// not let go yet, or the kernel refuses each way of asking. The pidfd may stay readable then, so whoever went on watching it would spin: it
// is left alone, and [Supervisor.Held] says when to ask again.
//
// A child is also not reaped, and its pidfd does not become readable, before somebody has waited for each of its threads that is traced. It
// can have its parent trace them, so those that this process traces are waited for here.
func Reap(pidfd int) (status Status, ended bool, err error) {
	if status, ended, err = reapOnce(pidfd); ended || err != nil {
		return status, ended, err
	}
	held := releaseThreads(pidOf(pidfd)) || readable(pidfd)
	if status, ended, err = reapOnce(pidfd); !ended && err == nil && held {
		err = errTraced
	}
	return status, ended, err
}

var errTraced = errors.New("it has ended, and another process traces it")

// reapOnce is Reap, of a child whose threads nobody traces.
func reapOnce(pidfd int) (status Status, ended bool, err error) {
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

// releaseThreads waits for the threads of a process, other than the first, that have ended and that this process traces. It reports whether
// the process has ended but for being reaped, as far as can be seen.
func releaseThreads(pid int) (ended bool) {
	for released := true; released; {
		released = false
		tids, all := threads(pid)
		for _, tid := range tids {
			if !strings.HasPrefix(entryIn("/proc/"+tid+"/status", "State"), "Z") {
				return false
			}
			// The first thread has the status of the process. __WCLONE means no ordinary child, if one should have come to have the number.
			number, _ := strconv.Atoi(tid)
			if number == pid {
				continue
			}
			if n, err := unix.Wait4(number, nil, unix.WNOHANG|unix.WCLONE, nil); err == nil && n == number {
				released = true
			}
		}
		ended = all
	}
	return ended
}

// threads returns the numbers of the threads of a process, the first one first, and whether these are all: of a process that has very many
// only some are looked at, which must not take long. There are none where /proc is of another pid namespace.
func threads(pid int) (tids []string, all bool) {
	if procLevel() != 0 {
		return nil, false
	}
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/task", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, false
	}
	defer unix.Close(fd)
	entries := make([]byte, 16<<10)
	n, _ := unix.ReadDirent(fd, entries)
	_, _, tids = unix.ParseDirent(entries[:max(n, 0)], -1, nil)
	n, err = unix.ReadDirent(fd, entries)
	return tids, n == 0 && err == nil && len(tids) > 0
}

// readable reports whether the kernel says that the process behind pidfd has ended.
func readable(pidfd int) bool {
	poll := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, _ := unix.Poll(poll, 0)
	return n > 0
}

// WhyHeld says why a process is not reaped, after what [Reap] has returned last.
func WhyHeld(pid int, err error) error {
	switch err {
	case nil:
		return errors.New("it was sent SIGKILL, and has not ended")
	case errTraced:
		by := "another process"
		if tracer := Tracer(pid); tracer != 0 {
			by = "process " + strconv.Itoa(tracer)
		}
		return errors.New("it has ended, and " + by + " traces it; end that process")
	}
	return &refusal{"the kernel does not let it be waited for", err}
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

// Tracer returns the pid of the process that traces a thread of another one; 0 if there is none, or if it cannot be found out.
func Tracer(pid int) int {
	tids, _ := threads(pid)
	for _, tid := range tids {
		if thread := numbersIn("/proc/"+tid+"/status", "TracerPid")[0]; thread != 0 {
			return numbersIn("/proc/"+strconv.Itoa(thread)+"/status", "Tgid")[0]
		}
	}
	return 0
}

// procLevel returns by how many levels the pid namespace of this process is below that of /proc, which is another one in some containers:
// there, a process has a number in each, from that of /proc inward, and the first is none that a call here could be given.
func procLevel() int { return len(numbersIn("/proc/self/status", "NSpid")) - 1 }

// numbersIn returns the numbers that a file of /proc has under a name, as entryIn does; 0 if it has none.
func numbersIn(path, name string) []int {
	var numbers []int
	for field := range strings.SplitSeq(entryIn(path, name), "\t") {
		number, _ := strconv.Atoi(field)
		numbers = append(numbers, number)
	}
	return numbers
}

// entryIn returns what a file of /proc has under a name, in a line near its beginning but not the first.
func entryIn(path, name string) string {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	text := make([]byte, 4096)
	n, _ := unix.Read(fd, text)
	_, after, _ := strings.Cut(string(text[:max(n, 0)]), "\n"+name+":\t")
	line, _, _ := strings.Cut(after, "\n")
	return line
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
