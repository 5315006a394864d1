//go:build linux && amd64

package ctest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// phase is a part of the life of the groups in programs/fault_group.c and testdata/faultgroup.
type phase int

const (
	start phase = iota + 1
	fork
	spawn
	restart
	traffic
	reload
	stop
)

var phaseNames = []string{"none", "start", "fork", "spawn", "restart", "traffic", "reload", "stop"}

func (p phase) String() string { return phaseNames[p] }

// A refusal is a system call, by its name in testdata/fault.c, and an error that the kernel may have it fail with. "malloc" is an
// allocation of the library, by its C part or by cgo; see testdata/fault_malloc.c.
type refusal struct {
	call  string
	errno syscall.Errno
	// in names the phases in which the first such call is refused by a plain go test, and in which there must be one. For all phases
	// and all calls, or others, see TestRefusedCalls.
	in []phase
	// fatal are the words of the C library, its loader and the runtime of Go when they cannot go on without this call, by design and
	// not to be helped from here. A process, also the master, may end with them.
	fatal string
	// kept is how many mappings stay because it is this call that would have unmapped them.
	kept int
	// stubborn has the executed program neither end when it is asked to nor upon SIGTERM, since this call is made only then.
	stubborn bool
	// silent tells that the error needs no line of its own: it means no more than that the other end is gone, or that the same is done by
	// another call.
	silent bool
}

// What a process says that cannot get memory, or a thread.
const (
	noThreadGo = `runtime: failed to create new OS thread`
	// In words that lines of other processes may come between; and its garbage collector does not look whether it got memory.
	noMemoryGo = `out of memory|cannot allocate memory|cannot reserve arena virtual address space|` +
		`failed to reserve page summary memory|(?s)SIGSEGV: segmentation violation.*runtime\.\(\*spanQueue\)`
	noThread   = `runtime/cgo: pthread_create failed: |runtime/cgo: out of memory in thread_start`
	noMallocGo = `runtime/cgo: malloc failed: `
	noMapping  = `fatal error: (runtime: |pageAlloc: )?(out of memory|cannot allocate memory|cannot reserve arena virtual address space)|` +
		`fatal error: failed to reserve page summary memory|` +
		`error while loading shared libraries: .*(cannot allocate|cannot map|failed to map|Cannot allocate)`
)

// refusalsInC are those for a program on the library.
var refusalsInC = []refusal{
	{call: "fork", errno: syscall.EAGAIN, in: []phase{start, fork, spawn, restart}},
	{call: "fork", errno: syscall.ENOMEM},
	{call: "execve", errno: syscall.ENOMEM, in: []phase{spawn, restart}},
	{call: "execve", errno: syscall.EACCES},
	{call: "execve", errno: syscall.EPERM},
	{call: "socketpair", errno: syscall.EMFILE, in: []phase{start, spawn, restart}},
	{call: "socketpair", errno: syscall.ENFILE},
	{call: "socketpair", errno: syscall.ENOBUFS},
	{call: "socketpair", errno: syscall.ENOMEM},
	{call: "setsockopt", errno: syscall.ENOBUFS, in: []phase{start, restart}},
	{call: "setsockopt", errno: syscall.EPERM},
	{call: "shutdown", errno: syscall.ENOBUFS, in: []phase{stop}},
	{call: "pipe2", errno: syscall.EMFILE, in: []phase{spawn}},
	{call: "pipe2", errno: syscall.ENFILE},
	{call: "memfd_create", errno: syscall.EMFILE, in: []phase{start}},
	{call: "memfd_create", errno: syscall.ENFILE},
	{call: "memfd_create", errno: syscall.ENOMEM},
	{call: "memfd_create", errno: syscall.EPERM, in: []phase{start}},
	{call: "memfd_create", errno: syscall.EACCES},
	{call: "sendfile", errno: syscall.EIO, in: []phase{start}},
	{call: "sendfile", errno: syscall.EINTR},
	{call: "pwrite", errno: syscall.ENOSPC, in: []phase{start}},
	{call: "pwrite", errno: syscall.EINTR},
	{call: "openat", errno: syscall.EMFILE, in: []phase{reload}},
	{call: "openat", errno: syscall.ENFILE},
	{call: "openat", errno: syscall.EINTR, in: []phase{reload}},
	{call: "openat", errno: syscall.ENOMEM},
	{call: "openat", errno: syscall.EACCES},
	{call: "mkdir", errno: syscall.EACCES, in: []phase{reload}},
	{call: "mkdir", errno: syscall.ENOSPC},
	{call: "unlink", errno: syscall.EACCES, in: []phase{reload}},
	{call: "ftruncate", errno: syscall.EINTR, in: []phase{start}},
	{call: "ftruncate", errno: syscall.ENOSPC, in: []phase{start, reload}},
	{call: "access", errno: syscall.EACCES, in: []phase{spawn}},
	{call: "fstat", errno: syscall.ENOMEM},
	{call: "fstat", errno: syscall.EACCES},
	{call: "fcntl", errno: syscall.EPERM, in: []phase{restart}},
	{call: "fcntl", errno: syscall.EMFILE},
	{call: "fcntl", errno: syscall.ENOLCK, in: []phase{reload}},
	{call: "ioctl", errno: syscall.EINVAL, in: []phase{restart}},
	{call: "dup", errno: syscall.EBUSY, in: []phase{reload}},
	{call: "dup", errno: syscall.EMFILE},
	{call: "dup", errno: syscall.EINTR},
	{call: "close_range", errno: syscall.ENOSYS, in: []phase{spawn}},
	{call: "close_range", errno: syscall.ENOMEM},
	{call: "epoll_create", errno: syscall.EMFILE, in: []phase{start, spawn, restart}},
	{call: "epoll_create", errno: syscall.ENFILE},
	{call: "epoll_create", errno: syscall.ENOMEM},
	{call: "epoll_ctl", errno: syscall.ENOMEM, in: []phase{start, fork, spawn, restart, traffic}},
	{call: "epoll_ctl", errno: syscall.ENOSPC},
	{call: "epoll_ctl", errno: syscall.EPERM},
	{call: "epoll_ctl", errno: syscall.EINTR, in: []phase{traffic}},
	{call: "epoll_wait", errno: syscall.EINTR, in: []phase{start, traffic, stop}},
	{call: "eventfd", errno: syscall.EMFILE, in: []phase{start, restart}},
	{call: "eventfd", errno: syscall.ENFILE},
	{call: "eventfd", errno: syscall.ENOMEM},
	{call: "timerfd_create", errno: syscall.EMFILE, in: []phase{start}},
	{call: "timerfd_create", errno: syscall.ENOMEM},
	{call: "poll", errno: syscall.EINTR, in: []phase{spawn}},
	{call: "poll", errno: syscall.ENOMEM},
	{call: "poll", errno: syscall.EAGAIN},
	{call: "read", errno: syscall.EINTR, in: []phase{reload}},
	{call: "read", errno: syscall.EIO},
	{call: "read", errno: syscall.EAGAIN},
	{call: "read", errno: syscall.ENOMEM},
	{call: "pread", errno: syscall.EIO, in: []phase{start}},
	{call: "pread", errno: syscall.EINTR},
	{call: "recv", errno: syscall.EINTR, in: []phase{start, traffic}},
	{call: "recv", errno: syscall.EAGAIN, in: []phase{traffic}},
	{call: "recv", errno: syscall.ENOMEM, in: []phase{start, traffic}},
	{call: "recv", errno: syscall.ENOBUFS},
	{call: "recv", errno: syscall.ECONNRESET, in: []phase{traffic, stop}, silent: true},
	{call: "recv", errno: syscall.EPERM, in: []phase{traffic}},
	{call: "send", errno: syscall.EINTR, in: []phase{traffic}},
	{call: "send", errno: syscall.EAGAIN, in: []phase{start, traffic}},
	{call: "send", errno: syscall.ENOBUFS, in: []phase{traffic}},
	{call: "send", errno: syscall.ENOMEM},
	{call: "send", errno: syscall.EPIPE, in: []phase{traffic, stop}},
	{call: "send", errno: syscall.ECONNRESET},
	{call: "send", errno: syscall.EPERM, in: []phase{traffic}},
	{call: "send", errno: syscall.EIO},
	{call: "write", errno: syscall.EINTR},
	{call: "write", errno: syscall.EAGAIN},
	{call: "write", errno: syscall.ENOSPC, in: []phase{restart}},
	{call: "write", errno: syscall.EPIPE},
	{call: "pidfd_open", errno: syscall.EMFILE, in: []phase{start, fork, spawn, restart}},
	{call: "pidfd_open", errno: syscall.ENFILE},
	{call: "pidfd_open", errno: syscall.ENOMEM},
	{call: "pidfd_open", errno: syscall.ENOSYS},
	{call: "pidfd_send_signal", errno: syscall.EPERM, in: []phase{stop}, stubborn: true},
	{call: "pidfd_send_signal", errno: syscall.ENOSYS, stubborn: true, silent: true},
	{call: "pidfd_send_signal", errno: syscall.ENOMEM, stubborn: true},
	{call: "waitid", errno: syscall.EINTR, in: []phase{restart, stop}},
	{call: "waitid", errno: syscall.EINVAL, in: []phase{restart}},
	{call: "waitid", errno: syscall.ENOSYS},
	{call: "timerfd_settime", errno: syscall.EINVAL, in: []phase{restart}},
	{call: "timerfd_settime", errno: syscall.ENOMEM},
	{call: "sigtimedwait", errno: syscall.EINTR, in: []phase{start}},
	{call: "prlimit", errno: syscall.EPERM, in: []phase{start, spawn}},
	{call: "brk", errno: syscall.ENOMEM, in: []phase{spawn}},
	{call: "munmap", errno: syscall.ENOMEM, in: []phase{start}, kept: 1},
	{call: "mprotect", errno: syscall.ENOMEM, in: []phase{start}, fatal: noThread + "|" + noMapping},
	{call: "madvise", errno: syscall.ENOMEM, in: []phase{start}},
	{call: "mmap", errno: syscall.ENOMEM, in: []phase{fork}, fatal: noMapping + "|" + noThread + "|" + noMallocGo},
	{call: "malloc", errno: syscall.ENOMEM, in: []phase{fork, spawn, restart, traffic, reload}, fatal: noThread + "|" + noMallocGo},
	{call: "thread", errno: syscall.EAGAIN, in: []phase{start}, fatal: noThread},
}

// What the runtime of Go says that cannot watch descriptors, or look at those that every program has.
const (
	noNetpoll  = `runtime: (epollcreate|eventfd|epollctl) failed`
	noStandard = `runtime: unexpected error while checking standard file descriptor`
)

// refusalsInGo are those for a program on package core. There is no phase fork: Go programs do not.
var refusalsInGo = []refusal{
	{call: "fork", errno: syscall.EAGAIN, in: []phase{start, spawn, restart, reload}},
	{call: "fork", errno: syscall.ENOMEM},
	{call: "execve", errno: syscall.ENOMEM, in: []phase{spawn, reload}},
	{call: "execve", errno: syscall.EACCES},
	{call: "execve", errno: syscall.EPERM},
	{call: "socketpair", errno: syscall.EMFILE, in: []phase{start, spawn, restart, reload}},
	{call: "socketpair", errno: syscall.ENFILE},
	{call: "socketpair", errno: syscall.ENOBUFS},
	{call: "socketpair", errno: syscall.ENOMEM},
	{call: "setsockopt", errno: syscall.ENOBUFS, in: []phase{start, spawn}},
	{call: "setsockopt", errno: syscall.EPERM},
	{call: "getsockopt", errno: syscall.ENOBUFS, in: []phase{start, spawn, restart}},
	{call: "getsockopt", errno: syscall.EPERM},
	{call: "socket", errno: syscall.EMFILE, in: []phase{start}},
	{call: "socket", errno: syscall.ENFILE},
	{call: "socket", errno: syscall.ENOBUFS},
	{call: "bind", errno: syscall.EADDRINUSE, in: []phase{start}},
	{call: "listen", errno: syscall.EADDRINUSE, in: []phase{start}},
	{call: "shutdown", errno: syscall.ENOBUFS, in: []phase{reload, stop}},
	{call: "shutdown", errno: syscall.EIO, in: []phase{stop}},
	{call: "pipe2", errno: syscall.EMFILE, in: []phase{spawn}},
	{call: "pipe2", errno: syscall.ENFILE},
	{call: "memfd_create", errno: syscall.EMFILE, in: []phase{start, spawn, restart, reload}},
	{call: "memfd_create", errno: syscall.ENFILE},
	{call: "memfd_create", errno: syscall.ENOMEM},
	{call: "memfd_create", errno: syscall.EPERM, in: []phase{start}},
	{call: "memfd_create", errno: syscall.EACCES},
	{call: "pwrite", errno: syscall.EINTR, in: []phase{reload}},
	{call: "pwrite", errno: syscall.ENOSPC, in: []phase{start, spawn, restart, reload}},
	{call: "openat", errno: syscall.EMFILE, in: []phase{spawn}},
	{call: "openat", errno: syscall.ENFILE},
	{call: "openat", errno: syscall.EINTR},
	{call: "openat", errno: syscall.ENOMEM},
	{call: "openat", errno: syscall.EACCES},
	{call: "readlink", errno: syscall.EACCES, in: []phase{spawn}},
	{call: "access", errno: syscall.EACCES, in: []phase{start, restart, reload}},
	{call: "fstat", errno: syscall.ENOMEM, in: []phase{spawn}},
	{call: "fstat", errno: syscall.EACCES},
	{call: "fcntl", errno: syscall.EPERM, in: []phase{start, restart}, fatal: noStandard},
	{call: "fcntl", errno: syscall.EMFILE, in: []phase{start}, fatal: noStandard},
	{call: "dup", errno: syscall.EBUSY, in: []phase{spawn, reload}},
	{call: "dup", errno: syscall.EMFILE},
	{call: "epoll_create", errno: syscall.EMFILE, in: []phase{start, restart}, fatal: noNetpoll},
	{call: "epoll_create", errno: syscall.ENFILE, fatal: noNetpoll},
	{call: "epoll_create", errno: syscall.ENOMEM, fatal: noNetpoll},
	{call: "epoll_ctl", errno: syscall.ENOMEM, in: []phase{start, spawn, restart, reload, stop}, fatal: noNetpoll},
	{call: "epoll_ctl", errno: syscall.ENOSPC, fatal: noNetpoll},
	{call: "epoll_ctl", errno: syscall.EPERM, in: []phase{reload}, fatal: noNetpoll},
	{call: "epoll_wait", errno: syscall.EINTR, in: []phase{start, traffic, stop}},
	{call: "eventfd", errno: syscall.EMFILE, in: []phase{restart}, fatal: noNetpoll},
	{call: "eventfd", errno: syscall.ENFILE, fatal: noNetpoll},
	{call: "eventfd", errno: syscall.ENOMEM, fatal: noNetpoll},
	{call: "timerfd_create", errno: syscall.EMFILE, in: []phase{start}},
	{call: "timerfd_create", errno: syscall.ENOMEM},
	{call: "timerfd_settime", errno: syscall.EINVAL, in: []phase{reload}},
	{call: "timerfd_settime", errno: syscall.ENOMEM},
	{call: "prlimit", errno: syscall.EPERM, in: []phase{start, spawn}},
	{call: "poll", errno: syscall.EINTR, in: []phase{reload, stop}},
	{call: "poll", errno: syscall.ENOMEM, in: []phase{reload, stop}},
	{call: "poll", errno: syscall.EAGAIN},
	{call: "read", errno: syscall.EINTR, in: []phase{start, spawn}},
	{call: "recv", errno: syscall.EINTR, in: []phase{start, traffic}},
	{call: "recv", errno: syscall.EAGAIN, in: []phase{traffic}},
	{call: "recv", errno: syscall.ENOMEM, in: []phase{start, traffic, stop}},
	{call: "recv", errno: syscall.ENOBUFS},
	{call: "recv", errno: syscall.EIO, in: []phase{traffic}},
	{call: "recv", errno: syscall.ECONNRESET, in: []phase{traffic}, silent: true},
	{call: "recv", errno: syscall.EPERM},
	{call: "send", errno: syscall.EINTR, in: []phase{traffic}},
	{call: "send", errno: syscall.EAGAIN, in: []phase{start, traffic}},
	{call: "send", errno: syscall.ENOBUFS, in: []phase{start, traffic, reload, stop}},
	{call: "send", errno: syscall.ENOMEM},
	{call: "send", errno: syscall.EPIPE, in: []phase{traffic, stop}},
	{call: "send", errno: syscall.ECONNRESET},
	{call: "send", errno: syscall.EIO, in: []phase{traffic}},
	{call: "send", errno: syscall.EPERM},
	{call: "write", errno: syscall.EINTR, in: []phase{spawn, traffic}},
	{call: "pidfd_send_signal", errno: syscall.EPERM, in: []phase{reload, stop}, stubborn: true},
	{call: "pidfd_send_signal", errno: syscall.ENOSYS, stubborn: true, silent: true},
	{call: "pidfd_send_signal", errno: syscall.ENOMEM, stubborn: true},
	{call: "waitid", errno: syscall.EINTR, in: []phase{restart, stop}},
	{call: "madvise", errno: syscall.ENOMEM},
	{call: "mmap", errno: syscall.ENOMEM, in: []phase{restart}, fatal: noMemoryGo},
	{call: "thread", errno: syscall.EAGAIN, in: []phase{start}, fatal: noThreadGo},
}

// TestRefusedCalls has the kernel refuse one system call after another to a group of processes, the first of a phase of its life,
// then the second, and so on until a run passes in which there was no such call. The group is programs/fault_group.c, which says
// what must hold, or its twin in Go, testdata/faultgroup.
//
// A plain go test refuses the first call in some phases. MLN_FAULTS=all refuses every one, a time such as MLN_FAULTS=2m any that chance
// chooses, and MLN_FAULTS=C/send/EPIPE/traffic/7 or MLN_FAULTS=Go/send/EPIPE/traffic/7 this one alone.
func TestRefusedCalls(t *testing.T) {
	mode := os.Getenv("MLN_FAULTS")
	if mode != "" && testing.Short() {
		t.Fatal("MLN_FAULTS asks for what takes long, and -short does not")
	}
	dir := t.TempDir()
	injector := filepath.Join(dir, "fault")
	if err := compile(injector, []string{filepath.Join("testdata", "fault.c")}); err != nil {
		t.Fatal(err)
	}
	groups := []*faults{faultsInC(t, dir, injector), faultsInGo(t, dir, injector)}
	for _, f := range groups {
		f.beside = mode == "all"
	}
	switch limit, err := time.ParseDuration(mode); {
	case mode == "", mode == "all":
		for _, f := range groups {
			for _, refused := range f.refusals {
				t.Run(f.name+"/"+refused.call+"/"+errnoName(refused.errno), func(t *testing.T) {
					t.Parallel()
					if mode == "" {
						f.first(t, refused)
					} else {
						f.every(t, refused)
					}
				})
			}
		}
	case err == nil:
		random(t, groups, limit)
	default:
		one(t, groups, mode)
	}
}

// faults runs a group with one call refused.
type faults struct {
	name            string // of its language
	injector, group string // programs
	refusals        []refusal
	beside          bool               // as many run at a time as the test has rows at a time: they wait most of the time
	repeats         bool               // the group can go through a phase again and again
	line            *regexp.Regexp     // of the log: all of it, whether it is in the file, the line, what it says
	usual           map[manner]summary // of runs without a fault
}

// A manner is what runs differ in apart from the call that is refused: whether that is fault_malloc.c's, whether the executed program
// is stubborn, and which phase is gone through again and again, with the call refused each time; none for most.
type manner struct {
	malloc, stubborn bool
	repeated         phase
}

// manner is how a group is run that has this refused in that phase. One error of each call is enough to see what is lost each time.
func (f *faults) manner(refused refusal, in phase) manner {
	m := manner{malloc: refused.call == "malloc", stubborn: refused.stubborn}
	first := slices.IndexFunc(f.refusals, func(other refusal) bool { return other.call == refused.call })
	if f.repeats && f.refusals[first].errno == refused.errno && !m.stubborn && fork <= in && in <= restart {
		m.repeated = in
	}
	return m
}

func faultsInC(t *testing.T, dir, injector string) *faults {
	f := &faults{name: "C", injector: injector, group: filepath.Join(dir, "group_in_c"), refusals: refusalsInC, repeats: true, usual: map[manner]summary{},
		line: regexp.MustCompile(`(?m)^(log: )?(\d\d/\d\d/\d{4} \d\d:\d\d:\d\d UTC (?:REPORT|WARN|ERROR): .*PID:\d+ (.*))$`)}
	if err := compile(f.injector+".so", []string{filepath.Join("testdata", "fault_malloc.c")}, "-shared", "-fPIC"); err != nil {
		t.Fatal(err)
	}
	if err := compile(f.group, []string{filepath.Join(programs, "fault_group.c")}, libraryFlags(t)...); err != nil {
		t.Fatal(err)
	}
	f.measure(t)
	return f
}

func faultsInGo(t *testing.T, dir, injector string) *faults {
	f := &faults{name: "Go", injector: injector, group: filepath.Join(dir, "group_in_go"), refusals: refusalsInGo, usual: map[manner]summary{},
		line: regexp.MustCompile(`(?m)^()(time=\S+ level=(?:WARN|ERROR) (.*))$`)}
	if err := buildGo(f.group, "faultgroup"); err != nil {
		t.Fatal(err)
	}
	f.measure(t)
	return f
}

// measure runs the group without a fault, in every manner that there is.
func (f *faults) measure(t *testing.T) {
	for _, refused := range f.refusals {
		for in := start; in <= stop; in++ {
			m := f.manner(refused, in)
			if _, known := f.usual[m]; known {
				continue
			}
			run := f.refuse(t, refused, in, 0)
			if run.err != nil {
				t.FailNow()
			}
			f.usual[m] = run.summary
		}
	}
}

// refuse has the call of that number fail, 0 being none, and fails the test if the group does not do as it must.
func (f *faults) refuse(t *testing.T, refused refusal, in phase, number int) *faultRun {
	m := f.manner(refused, in)
	run := &faultRun{refusal: refused, phase: in, repeated: m.repeated, number: number, usual: f.usual[m]}
	run.do(t, f)
	if run.err != nil {
		t.Errorf("when %s number %d fails with %s in %v (MLN_FAULTS=%s/%s/%s/%v/%d): %v\n%s", refused.call, number,
			errnoName(refused.errno), in, f.name, refused.call, errnoName(refused.errno), in, number, run.err, run.output)
	}
	return run
}

func (f *faults) first(t *testing.T, refused refusal) {
	for _, in := range refused.in {
		if run := f.refuse(t, refused, in, 1); run.calls == 0 && run.err == nil {
			t.Errorf("there is no %s in %v, so that nothing is tested there", refused.call, in)
		}
	}
}

func (f *faults) every(t *testing.T, refused refusal) {
	var runs, calls atomic.Int64
	t.Cleanup(func() { // when all phases are done
		if calls.Load() == 0 {
			t.Errorf("there is no %s at all, so that nothing is tested", refused.call)
		}
		t.Logf("%d runs, %d calls", runs.Load(), calls.Load())
	})
	for in := start; in <= stop; in++ {
		t.Run(in.String(), func(t *testing.T) {
			t.Parallel()
			for number := 1; ; number++ {
				run := f.refuse(t, refused, in, number)
				runs.Add(1)
				if run.calls < number {
					calls.Add(int64(run.calls))
					break
				}
			}
		})
	}
}

// random refuses calls for so long, every one of a kind and phase as likely as the others.
func random(t *testing.T, groups []*faults, limit time.Duration) {
	type kind struct {
		group *faults
		call  string
		in    phase
	}
	calls := map[kind]int{} // how many there were
	var lock sync.Mutex
	runs, end := 0, time.Now().Add(limit)
	var group sync.WaitGroup
	for range cap(slots) {
		group.Go(func() {
			for time.Now().Before(end) {
				f, in := groups[rand.IntN(len(groups))], start+phase(rand.IntN(int(stop)))
				refused := f.refusals[rand.IntN(len(f.refusals))]
				lock.Lock()
				n, known := calls[kind{f, refused.call, in}]
				lock.Unlock()
				number := 1
				if known && n == 0 {
					continue
				} else if known {
					number = 1 + rand.IntN(n)
				}
				run := f.refuse(t, refused, in, number)
				lock.Lock()
				calls[kind{f, refused.call, in}] = max(n, run.calls)
				runs++
				lock.Unlock()
			}
		})
	}
	group.Wait()
	t.Logf("%d runs", runs)
}

// one refuses the call that is told in words.
func one(t *testing.T, groups []*faults, words string) {
	part := strings.Split(words, "/")
	if len(part) == 5 {
		number, err := strconv.Atoi(part[4])
		in := slices.Index(phaseNames, part[3])
		for _, f := range groups {
			for _, refused := range f.refusals {
				if err == nil && in > 0 && f.name == part[0] && refused.call == part[1] && errnoName(refused.errno) == part[2] {
					run := f.refuse(t, refused, phase(in), number)
					t.Logf("%d calls\n%s", run.calls, run.output)
					return
				}
			}
		}
	}
	t.Fatalf("MLN_FAULTS is %q, but it must be \"all\", a time as in 2m, or a refusal as in C/send/EPIPE/traffic/7", words)
}

func errnoName(errno syscall.Errno) string {
	for name, value := range map[string]syscall.Errno{"EMFILE": syscall.EMFILE, "ENFILE": syscall.ENFILE, "ENOMEM": syscall.ENOMEM,
		"EAGAIN": syscall.EAGAIN, "EINTR": syscall.EINTR, "EPIPE": syscall.EPIPE, "ECONNRESET": syscall.ECONNRESET,
		"EPERM": syscall.EPERM, "ENOBUFS": syscall.ENOBUFS, "EACCES": syscall.EACCES, "ENOSPC": syscall.ENOSPC,
		"ENOSYS": syscall.ENOSYS, "EIO": syscall.EIO, "EINVAL": syscall.EINVAL, "EBUSY": syscall.EBUSY,
		"EADDRINUSE": syscall.EADDRINUSE, "ENOLCK": syscall.ENOLCK} {
		if value == errno {
			return name
		}
	}
	panic(errno)
}

// A summary is what the group tells of itself at its end.
type summary struct {
	refused, ended, reloads int // what had to be tried again: by the program, workers, reloads
	unanswered              int // messages of the last words
	descriptors             int // of the master, at the end
	mappings, ofFiles       int // likewise; the second are some of the first
	inWorker, inProgram     int // descriptors of the workers
	rises                   int // how often there was more memory mapped than the time before; see risesMost
}

// A faultRun is one run of the group.
type faultRun struct {
	refusal
	phase    phase
	repeated phase   // the phase, if it is gone through again and again
	number   int     // of the call that is refused; 0: none
	usual    summary // of a run without a fault; zero in that one itself
	summary
	calls    int // how many there were
	refusals int // of them
	output   string
	err      error
}

const (
	faultDeadline = 40 * time.Second
	// mappingsMore is how many mappings more than usual the master may have: a thread or two of the runtime of Go, of which each has
	// four, and the allocators of the C library and of Go, which move.
	mappingsMore = 16
	// risesMost is how often the memory that the master has mapped may grow in the dozen times that a phase is gone through. What is lost
	// each time, be it a page, has it grow each time, and hides neither behind the threads of the runtime nor beside what was lost before.
	risesMost = 5
	// exitRuntime and exitAborted are how the runtime of Go ends a process that cannot go on, exitLoader how the dynamic loader does.
	exitRuntime, exitAborted, exitLoader = 2, 128 + 6, 127
)

var (
	callsLine   = regexp.MustCompile(`(?m)^fault: (\d+) calls, (\d+) refused$`)
	summaryLine = regexp.MustCompile(`(?m)^refused=.*$`)
	wrongLine   = regexp.MustCompile(`(?m)^wrong: .*$`) // of a process that found what must not be
)

func (r *faultRun) do(t *testing.T, f *faults) {
	j := job{Path: f.injector, Deadline: faultDeadline, Beside: f.beside,
		Args: []string{r.call, errnoName(r.errno), strconv.Itoa(int(r.phase)), strconv.Itoa(r.number), f.group}}
	if r.call == "malloc" {
		j = job{Path: f.group, Deadline: faultDeadline, Beside: f.beside,
			Env: []string{"LD_PRELOAD=" + f.injector + ".so", fmt.Sprintf("FAULT_MALLOC=%d:%d", r.phase, r.number)}}
	}
	if r.stubborn {
		j.Args = append(j.Args, "stubborn")
	}
	if r.repeated != 0 {
		j.Args = append(j.Args, strconv.Itoa(int(r.repeated)))
	}
	result, output, files := j.run(t)
	r.output = output
	if files != nil && result.Status == "" {
		r.err = files
		return
	}
	if line := callsLine.FindStringSubmatch(r.output); line != nil {
		r.calls, _ = strconv.Atoi(line[1])
		r.refusals, _ = strconv.Atoi(line[2])
	}
	fatal := r.fatal != "" && regexp.MustCompile(r.fatal).MatchString(r.output)
	lines := r.causes(f.line)
	said := fatal || len(lines) > 0 || regexp.MustCompile("(?m)^told: .*"+r.cause()).MatchString(r.output)
	switch {
	case result.TimedOut:
		r.err = fmt.Errorf("the group hangs")
	case wrongLine.MatchString(r.output):
		r.err = errors.New(wrongLine.FindString(r.output))
	case len(result.Survivors) > 0:
		r.err = result.verdict(result.Exit, faultDeadline)
	case len(lines) > max(r.refusals, 1):
		r.err = fmt.Errorf("the log tells the cause %d times:\n\t%s", len(lines), strings.Join(lines, "\n\t"))
	case result.Exit == groupRefused && r.phase == start && r.number > 0:
		if r.errno == syscall.EINTR {
			r.err = fmt.Errorf("the group does not start, though an interrupted call is just to be made again")
		} else if !said {
			r.err = fmt.Errorf("the group does not start, and the log does not say %q", r.errno.Error())
		}
	case result.Exit == 0:
		r.err = r.judge(said)
		if r.err == nil {
			r.err = files
		}
	case fatal && slices.Contains([]int{exitRuntime, exitAborted, exitLoader}, endOf(result)):
		r.calls = max(r.calls, r.number) // it was not there to count them
	default:
		r.err = result.verdict(0, faultDeadline)
	}
}

// endOf is the exit status of the group, or 128 and the signal that ended it.
func endOf(result outcome) int {
	if strings.HasPrefix(result.Status, "signal: aborted") {
		return exitAborted
	}
	return result.Exit
}

// cause matches what tells the error.
func (r *faultRun) cause() string {
	if r.errno == syscall.ENOMEM {
		return "(?i:cannot allocate memory|no memory|out of memory)"
	}
	return "(?i:" + regexp.QuoteMeta(r.errno.Error()) + ")"
}

// causes are the lines of the log, in the file and on standard error, that tell the cause; those on both are told once.
func (r *faultRun) causes(logLine *regexp.Regexp) []string {
	cause := regexp.MustCompile(r.cause())
	var found []string
	inFile := map[string]bool{}
	for _, ofFile := range []bool{true, false} {
		for _, line := range logLine.FindAllStringSubmatch(r.output, -1) {
			if (line[1] != "") == ofFile && cause.MatchString(line[3]) && !(inFile[line[2]] && !ofFile) {
				inFile[line[2]] = inFile[line[2]] || ofFile
				found = append(found, line[2])
			}
		}
	}
	return found
}

// judge looks at a run that has come to a good end, and of which the log has said the cause or not.
func (r *faultRun) judge(said bool) error {
	s := &r.summary
	_, err := fmt.Sscanf(summaryLine.FindString(r.output),
		"refused=%d ended=%d reloads=%d unanswered=%d descriptors=%d mappings=%d of-files=%d in-worker=%d in-program=%d rises=%d",
		&s.refused, &s.ended, &s.reloads, &s.unanswered, &s.descriptors, &s.mappings, &s.ofFiles, &s.inWorker, &s.inProgram, &s.rises)
	again := s.refused + s.ended + s.reloads + s.unanswered
	switch {
	case err != nil:
		return fmt.Errorf("the group has not told how it went: %w", err)
	case again > 0 && r.errno == syscall.EINTR:
		return fmt.Errorf("an interrupted call was not just made again: %+v", *s)
	case !said && !r.silent && (!r.stubborn || r.number > 0 && r.calls >= r.number) && strings.Contains(r.output, "does not end"):
		return fmt.Errorf("a worker was made to end, and the log does not say %q", r.errno.Error())
	case again > 0 && (r.number == 0 || !said && !r.silent):
		return fmt.Errorf("something was tried again, and the log does not say %q: %+v", r.errno.Error(), *s)
	case s.rises > risesMost && r.kept == 0:
		return fmt.Errorf("more memory is mapped each time: %+v, usually %+v", *s, r.usual)
	case r.number == 0:
		return nil
	case s.descriptors > r.usual.descriptors, s.inWorker > r.usual.inWorker, s.inProgram > r.usual.inProgram:
		return fmt.Errorf("more descriptors are open than without a fault: %+v, usually %+v", *s, r.usual)
	case s.mappings > r.usual.mappings+mappingsMore, s.ofFiles > r.usual.ofFiles+r.kept*max(r.refusals, 1):
		return fmt.Errorf("there are more mappings than without a fault: %+v, usually %+v", *s, r.usual)
	}
	return nil
}
