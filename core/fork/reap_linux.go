package fork

import (
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
		case errno != 0:
			return Status{}, false, errno
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

// Tracer returns the pid of the process that traces another one; 0 if there is none, or if it cannot be found out.
func Tracer(pid int) int {
	if thread := statusField(pid, "TracerPid"); thread != 0 {
		return statusField(thread, "Tgid")
	}
	return 0
}

// statusField returns a number of /proc/PID/status, one of those near its beginning.
func statusField(pid int, name string) int {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/status", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	text := make([]byte, 4096)
	n, _ := unix.Read(fd, text)
	_, after, _ := strings.Cut(string(text[:max(n, 0)]), "\n"+name+":\t")
	line, _, _ := strings.Cut(after, "\n")
	number, _ := strconv.Atoi(line)
	return number
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
