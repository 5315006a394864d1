// Package spawn starts the worker processes of Go programs, and lets a worker find what it was given.
package spawn

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Go program cannot fork: a child would have one thread of a runtime that depends on all of them. A worker is
// therefore the same program started once more. What it needs to know goes through one environment variable,
//
//	MELON_WORKER=index:descriptor:inode:master
//
// which the worker replaces by "inherited:" and its own pid as soon as it has read it. Programs that a worker starts
// see a pid that is not theirs and know that the variable does not concern them; the worker itself still knows what it
// is, and cannot become the master of another round of workers by mistake.
const (
	variable  = "MELON_WORKER"
	inherited = "inherited:"
)

// A Process is a worker that was started, as the master sees it. The descriptors belong to the caller.
type Process struct {
	PID int
	// PIDFD becomes readable when the process ends; see melon/core/fork.Reap.
	PIDFD int
	// Channel is the master's end of a socket pair (AF_UNIX, SOCK_STREAM), in non-blocking mode.
	Channel int
}

// Start starts this program once more, with the same arguments and environment, as the worker with the given number.
// The worker inherits one end of a socket pair and what this process was given itself by whoever started it, such as
// standard input, output and error; nothing that is close-on-exec, as all that Go opens is.
// Where Start returns no error the new program has been loaded, and [Inherit] in it finds the socket.
//
// The very file that this process runs is started, even if another one lies at its path by now: master and workers are
// always of the same build.
func Start(index int) (Process, error) {
	path, err := executable()
	if err != nil {
		return Process{}, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Process{}, fmt.Errorf("spawn: cannot make a socket pair: %w", err)
	}
	defer unix.Close(pair[1])
	p, err := start(path, index, pair[1])
	if err == nil {
		err = unix.SetNonblock(pair[0], true)
	}
	if err != nil {
		_ = unix.Close(pair[0])
		return Process{}, err
	}
	p.Channel = pair[0]
	return p, nil
}

func start(path string, index, channel int) (Process, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(channel, &stat); err != nil {
		return Process{}, fmt.Errorf("spawn: cannot examine a socket: %w", err)
	}
	files := []uintptr{descriptor(0), descriptor(1), descriptor(2)}
	for fd := 3; descriptor(fd) == uintptr(fd); fd++ {
		files = append(files, uintptr(fd)) // and not replaced by the channel
	}
	var environment []string
	for _, setting := range os.Environ() {
		if !strings.HasPrefix(setting, variable+"=") {
			environment = append(environment, setting)
		}
	}
	environment = append(environment, fmt.Sprintf("%s=%d:%d:%d:%d", variable, index, len(files), stat.Ino, os.Getpid()))
	pidfd := -1
	pid, err := syscall.ForkExec(path, os.Args, &syscall.ProcAttr{
		Env:   environment,
		Files: append(files, uintptr(channel)),
		Sys:   &syscall.SysProcAttr{PidFD: &pidfd},
	})
	if err != nil {
		return Process{}, fmt.Errorf("spawn: cannot start %s: %w", path, err)
	}
	if pidfd < 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		_, _ = syscall.Wait4(pid, nil, 0, nil)
		return Process{}, fmt.Errorf("spawn: this kernel cannot watch processes by descriptor; Linux 5.4 or newer is needed: %w",
			errors.ErrUnsupported)
	}
	return Process{PID: pid, PIDFD: pidfd}, nil
}

// descriptor returns what a worker gets under a number that is not the channel's: the same as this process, unless that
// is close-on-exec. A program that closed a standard descriptor may have one of its own under that number by now: the
// worker gets nothing in its place, and Go's start-up code opens /dev/null there.
func descriptor(fd int) uintptr {
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC != 0 {
		return ^uintptr(0)
	}
	return uintptr(fd)
}

// executable returns a path of the file that this process runs. The plain path is preferred as long as it leads there,
// since a process that was started as /proc/self/exe is called "exe" in ps and top.
func executable() (string, error) {
	const self = "/proc/self/exe"
	running, err := os.Stat(self)
	if err != nil {
		return "", fmt.Errorf("spawn: cannot find the file of this program; is /proc mounted? %w", err)
	}
	if path, err := os.Executable(); err == nil {
		if there, err := os.Stat(path); err == nil && os.SameFile(running, there) {
			return path, nil
		}
	}
	return self, nil
}

// An Inheritance is what a worker has from its master.
type Inheritance struct {
	Index   int // the number of the worker
	Master  int // the master's pid
	Channel int // the worker's end of the socket pair, close-on-exec and in non-blocking mode
}

// Errors of [Inherit].
var (
	// ErrOrphan is returned where the master has ended already.
	ErrOrphan = errors.New("spawn: the master that started this worker has ended")
	// ErrInherited is returned by every call but the first.
	ErrInherited = errors.New("spawn: this process is a worker, and its channel is taken already")
	// ErrNoChannel is returned where the variable says that this process is a worker, and its channel is not there.
	ErrNoChannel = errors.New("spawn: the environment variable " + variable + " says that this process is a worker, but its " +
		"channel is missing: do not set the variable, and do not close descriptors or start programs before the worker has begun")
)

// Inherit finds out whether [Start] started this process, and takes over its channel if so. It works once; worker is
// false in a process that is no worker.
func Inherit() (in Inheritance, worker bool, err error) {
	if !IsWorker() {
		return Inheritance{}, false, nil
	}
	value := os.Getenv(variable)
	if strings.HasPrefix(value, inherited) {
		return Inheritance{}, true, ErrInherited
	}
	var inode uint64
	if _, err := fmt.Sscanf(value, "%d:%d:%d:%d", &in.Index, &in.Channel, &inode, &in.Master); err != nil {
		return Inheritance{}, true, ErrNoChannel
	}
	var stat unix.Stat_t
	if err := unix.Fstat(in.Channel, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFSOCK || stat.Ino != inode {
		return Inheritance{}, true, ErrNoChannel
	}
	// A program that a worker's main function started too early may have both the variable and the descriptor. Taken for
	// a worker it would mix its bytes into the stream of another.
	if unix.Getppid() != in.Master {
		return Inheritance{}, true, ErrOrphan
	}
	unix.CloseOnExec(in.Channel)
	if err := unix.SetNonblock(in.Channel, true); err != nil {
		return Inheritance{}, true, fmt.Errorf("spawn: cannot use the channel to the master: %w", err)
	}
	if err := os.Setenv(variable, inherited+strconv.Itoa(os.Getpid())); err != nil {
		return Inheritance{}, true, fmt.Errorf("spawn: cannot set %s: %w", variable, err)
	}
	return in, true, nil
}

// IsWorker reports whether this process was started by [Start], before [Inherit] and after.
func IsWorker() bool {
	value, set := os.LookupEnv(variable)
	if pid, done := strings.CutPrefix(value, inherited); done {
		return pid == strconv.Itoa(os.Getpid())
	}
	return set
}
