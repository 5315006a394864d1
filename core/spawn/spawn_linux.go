// Package spawn starts the worker processes of Go programs, and lets a worker find what it was given.
package spawn

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Go program cannot fork: a child would have one thread of a runtime that depends on all of them. A worker is
// therefore the same program started once more. What it needs to know goes through one environment variable,
//
//	MELON_WORKER=index:descriptor:inode:master:files:heartbeat
//
// which the worker replaces by "inherited:" and its own pid as soon as it has read it. Programs that a worker starts
// see a pid that is not theirs and know that the variable does not concern them; the worker itself still knows what it
// is, and cannot become the master of another round of workers by mistake. The descriptor is its channel; so many files
// follow it, the first of which, if there are any, says what the others are (see estate). The heartbeat is in milliseconds, or 0.
//
// The C library sets the same variable, without files, for the programs that it executes, and understands it.
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

// A Spec says what to start.
type Spec struct {
	// Index is the number of the worker.
	Index int
	// Path is the file of the program to start; empty means this program itself.
	Path string
	// Args are its arguments without its name; nil means those of this program, if that is what is started. A program of
	// another file gets one more at the end, the number of its descriptor of the channel.
	Args []string
	// Env is its environment; nil means this process's. Of several settings of a variable the last one counts.
	Env []string
	// Dir is its working directory; empty means this process's.
	Dir string
	// Files, Payload and Heartbeat are handed to the worker's Inherit; Files and Payload only where this program itself is
	// started.
	Files     []File
	Payload   []byte
	Heartbeat time.Duration
}

// A File is an open descriptor that goes from master to worker under a name.
type File struct {
	Name string
	FD   int
}

// An estate is what a worker is given beside its channel. It is passed in a file without a name, as JSON.
type estate struct {
	Names   []string // of the descriptors that follow
	Payload []byte
}

// Start starts a worker. It inherits one end of a socket pair, the files of the spec, and, under its number, what this process was given
// itself by whoever started it, such as standard input, output and error; nothing else that is close-on-exec, as all that Go opens
// is. A program of another file gets the standard descriptors and its channel, and no other, unless the spec has a Heartbeat,
// which is passed in one more.
// Where Start returns no error the new program has been loaded, and [Inherit] in it finds the socket.
//
// For the program itself the very file that this process runs is started, even if another one lies at its path by now:
// master and workers are always of the same build.
func Start(spec Spec) (Process, error) {
	if spec.Path == "" && secure() {
		return Process{}, ErrSecure
	}
	pair, err := Pair()
	if err != nil {
		return Process{}, fmt.Errorf("spawn: cannot make a socket pair: %w", err)
	}
	defer unix.Close(pair[1])
	var p Process
	if err = unix.SetNonblock(pair[0], true); err == nil { // before there is a process that would have to be ended upon a failure
		p, err = start(&spec, pair[1])
	}
	if err != nil {
		_ = unix.Close(pair[0])
		return Process{}, err
	}
	p.Channel = pair[0]
	return p, nil
}

// kernelBuffer is asked for so that a message of a megabyte can leave in one system call. It costs memory only while so much is
// under way; less where the system's limit is lower.
const kernelBuffer = 1 << 20

// Pair makes a channel: two sockets through which no descriptors can be sent, where the kernel is able to refuse them (Linux
// 6.16). Whoever reads would have to close what comes, and closing can take as long as the sender likes: think of a TCP
// socket that lingers.
func Pair() (pair [2]int, err error) {
	if pair, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return pair, err
	}
	for _, fd := range pair {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, kernelBuffer)
	}
	return pair, nil
}

// Guarded reports whether the kernel keeps descriptors from being sent to a socket.
func Guarded(fd int) bool {
	passes, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSRIGHTS)
	return err == nil && passes == 0
}

func start(spec *Spec, channel int) (Process, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(channel, &stat); err != nil {
		return Process{}, fmt.Errorf("spawn: cannot examine a socket: %w", err)
	}
	files := []uintptr{descriptor(0), descriptor(1), descriptor(2)}
	highest, err := highestInherited()
	if err != nil {
		return Process{}, err
	}
	path, args := spec.Path, append([]string{spec.Path}, spec.Args...)
	var given []int // beside the channel
	if path == "" {
		if path, err = executable(); err != nil {
			return Process{}, err
		}
		if args[0] = os.Args[0]; spec.Args == nil {
			args = os.Args
		}
		for fd := len(files); fd <= highest; fd++ {
			files = append(files, descriptor(fd)) // and not replaced by the channel, or by what goes with it
		}
	} else {
		args = append(args, strconv.Itoa(len(files)))
		spec.Files, spec.Payload = nil, nil
	}
	will, err := bequeath(spec)
	if err != nil {
		return Process{}, err
	}
	if will >= 0 {
		defer unix.Close(will)
		given = append(given, will)
	}
	for _, file := range spec.Files {
		given = append(given, file.FD)
	}
	heartbeat := (spec.Heartbeat + time.Millisecond - 1).Milliseconds()
	environment := append(settings(spec.Env), fmt.Sprintf("%s=%d:%d:%d:%d:%d:%d", variable, spec.Index, len(files), stat.Ino,
		os.Getpid(), len(given), heartbeat))
	files = append(files, uintptr(channel))
	for _, fd := range given {
		files = append(files, uintptr(fd))
	}
	for len(files) <= highest { // what this process was given itself is not for a program of another file
		files = append(files, ^uintptr(0))
	}
	pidfd := -1
	pid, err := syscall.ForkExec(path, args, &syscall.ProcAttr{
		Dir:   spec.Dir,
		Env:   environment,
		Files: files,
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

// bequeath writes what a worker is given into a file without a name, and returns its descriptor; -1 where there is nothing.
func bequeath(spec *Spec) (int, error) {
	if len(spec.Files) == 0 && len(spec.Payload) == 0 {
		return -1, nil
	}
	e := estate{Payload: spec.Payload}
	for _, file := range spec.Files {
		e.Names = append(e.Names, file.Name)
	}
	text, err := json.Marshal(&e)
	if err != nil {
		return -1, fmt.Errorf("spawn: cannot describe what a worker is given: %w", err)
	}
	fd, err := unix.MemfdCreate("melon-worker", unix.MFD_CLOEXEC)
	if err != nil { // a sandbox may forbid it
		fd, err = unix.Open(os.TempDir(), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	}
	if err != nil {
		return -1, fmt.Errorf("spawn: cannot make a file, in memory or in %s, for what a worker is given: %w", os.TempDir(), err)
	}
	for at := int64(0); len(text) > 0; {
		n, err := unix.Pwrite(fd, text, at) // the worker reads from the beginning
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			_ = unix.Close(fd)
			return -1, fmt.Errorf("spawn: cannot write down what a worker is given: %w", err)
		}
		text, at = text[n:], at+int64(n)
	}
	return fd, nil
}

// settings returns the environment of a worker, but for what this package adds. Of several settings of a variable the last
// one counts, as with os/exec.
func settings(from []string) []string {
	if from == nil {
		from = os.Environ()
	}
	last := make(map[string]int)
	for i, setting := range from {
		name, _, _ := strings.Cut(setting, "=")
		last[name] = i
	}
	var environment []string
	for i, setting := range from {
		if name, _, _ := strings.Cut(setting, "="); last[name] == i && name != variable {
			environment = append(environment, setting)
		}
	}
	return environment
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

// highestInherited returns the highest descriptor that a new process gets unless it is told otherwise, since it is not close-on-exec; -1
// where there is none, or no /proc to find it by.
func highestInherited() (int, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return -1, fmt.Errorf("spawn: cannot list the descriptors that a worker inherits: %w", err)
	}
	highest := -1
	for _, entry := range entries {
		if fd, _ := strconv.Atoi(entry.Name()); fd > highest && descriptor(fd) == uintptr(fd) {
			highest = fd
		}
	}
	return highest, nil
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

// An Inheritance is what a worker has from its master. All descriptors are close-on-exec.
type Inheritance struct {
	Index     int // the number of the worker
	Master    int // the master's pid
	Channel   int // the worker's end of the socket pair, in non-blocking mode
	Files     []File
	Payload   []byte
	Heartbeat time.Duration
}

// Errors of [Start] and [Inherit].
var (
	// ErrSecure is returned by Start where a worker would have more rights than the account that it belongs to, and so could not
	// believe what it is told by its environment. It would take itself for the master.
	ErrSecure = errors.New("spawn: this program has more rights than whoever started it (it is set-user-ID or set-group-ID, has " +
		"capabilities of its file, or has changed one of its user or group IDs alone), and workers of it could not tell who " +
		"their master is: start it with the rights that it needs, for example by a service manager")
	// ErrOrphan is returned where the master has ended already.
	ErrOrphan = errors.New("spawn: the master that started this worker has ended")
	// ErrInherited is returned by every call but the first.
	ErrInherited = errors.New("spawn: this process is a worker, and its channel is taken already")
	// ErrNoChannel is returned where the variable says that this process is a worker, and its channel is not there.
	ErrNoChannel = errors.New("spawn: the environment variable " + variable + " says that this process is a worker, but its " +
		"channel is missing: do not set the variable, and do not close descriptors or start programs before the worker has begun")
)

// A claim is what the variable says about this process.
type claim struct {
	Inheritance
	files  int
	parent bool  // it names the parent of this process
	socket bool  // it names a socket that this process has
	err    error // why that cannot be found out, if so
	past   bool  // Inherit has been called
}

// read reads the variable. What makes nobody a worker is left alone: the variable may have been set by accident, by an
// attacker, or for another process.
func read() (c claim, worker bool) {
	value := os.Getenv(variable)
	if value == "" || secure() {
		return c, false
	}
	if pid, past := strings.CutPrefix(value, inherited); past {
		c.past = true
		return c, pid == strconv.Itoa(os.Getpid())
	}
	var inode uint64
	var heartbeat int64
	_, err := fmt.Sscanf(value, "%d:%d:%d:%d:%d:%d", &c.Index, &c.Channel, &inode, &c.Master, &c.files, &heartbeat)
	if err != nil {
		return c, false
	}
	c.Heartbeat = time.Duration(heartbeat) * time.Millisecond
	c.parent = c.Master > 0 && c.Master == unix.Getppid()
	var stat unix.Stat_t
	c.err = unix.Fstat(c.Channel, &stat)
	c.socket = c.err == nil && stat.Mode&unix.S_IFMT == unix.S_IFSOCK && stat.Ino == inode
	// One of both is not enough to work, but to know that this process was not started to be a master.
	return c, c.parent || c.socket
}

// secure reports whether this process has more rights than whoever started it, who has set its environment.
func secure() bool {
	const atSecure = 23 // of getauxval(3)
	vector, _ := unix.Auxv()
	for _, entry := range vector {
		if entry[0] == atSecure && entry[1] != 0 {
			return true
		}
	}
	ruid, euid, suid := unix.Getresuid()
	rgid, egid, sgid := unix.Getresgid()
	return ruid != euid || ruid != suid || rgid != egid || rgid != sgid
}

// Inherit finds out whether [Start] started this process, and takes over its channel if so. It works once; worker is
// false in a process that is no worker.
func Inherit() (in Inheritance, worker bool, err error) {
	c, worker := read()
	switch {
	case !worker:
		return Inheritance{}, false, nil
	case c.past:
		return Inheritance{}, true, ErrInherited
	case c.err != nil:
		return Inheritance{}, true, fmt.Errorf("%w: %w", ErrNoChannel, c.err)
	case !c.socket:
		return Inheritance{}, true, ErrNoChannel
	case !c.parent:
		// A program that a worker's main function started too early may have both the variable and the descriptor. Taken for
		// a worker it would mix its bytes into the stream of another.
		return Inheritance{}, true, ErrOrphan
	}
	in = c.Inheritance
	for fd := in.Channel; fd <= in.Channel+c.files; fd++ {
		unix.CloseOnExec(fd)
	}
	if err := unix.SetNonblock(in.Channel, true); err != nil {
		return Inheritance{}, true, fmt.Errorf("spawn: cannot use the channel to the master: %w", err)
	}
	if c.files > 0 {
		if err := in.accept(in.Channel+1, c.files); err != nil {
			return Inheritance{}, true, fmt.Errorf("spawn: cannot read what the master left for this worker: %w", err)
		}
	}
	if err := os.Setenv(variable, inherited+strconv.Itoa(os.Getpid())); err != nil {
		return Inheritance{}, true, fmt.Errorf("spawn: cannot set %s: %w", variable, err)
	}
	return in, true, nil
}

// accept reads the estate from fd, behind which its files are.
func (in *Inheritance) accept(fd, files int) error {
	will := os.NewFile(uintptr(fd), "estate")
	defer will.Close()
	text, err := io.ReadAll(will)
	if err != nil {
		return err
	}
	var e estate
	if err := json.Unmarshal(text, &e); err != nil {
		return err
	}
	if len(e.Names) != files-1 {
		return fmt.Errorf("there are %d names for %d files", len(e.Names), files-1)
	}
	for i, name := range e.Names {
		in.Files = append(in.Files, File{name, fd + 1 + i})
	}
	in.Payload = e.Payload
	return nil
}

// IsWorker reports whether this process was started by [Start], before [Inherit] and after.
func IsWorker() bool {
	_, worker := read()
	return worker
}
