package fork

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Reap asks whether the child behind pidfd has ended, without waiting, and releases it if so. Only that child is
// touched: others that the program has are its own affair, and no SIGCHLD handler is needed.
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
