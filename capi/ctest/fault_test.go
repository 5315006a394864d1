//go:build linux && amd64

package ctest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// phase is a part of the life of the group in programs/fault_group.c.
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

func (p phase) String() string {
	return []string{"none", "start", "fork", "spawn", "restart", "traffic", "reload", "stop"}[p]
}

// A refusal is a system call, by its name in testdata/fault.c, and an error that the kernel may have it fail with. "malloc" is an
// allocation of the library, by its C part or by cgo; see testdata/fault_malloc.c.
type refusal struct {
	call  string
	errno syscall.Errno
	// in names the phases in which the first such call is refused by a plain go test. All phases and all calls: MLN_FAULTS=all.
	in []phase
	// fatal tells that the C library or the runtime of Go cannot go on without this call, by design and not to be helped from
	// here, and by what it says a process that ends so can be told from one that crashed.
	fatal string
	// runtime is how many descriptors the runtime of Go may leave open when this call fails while it starts: it opens two files of
	// the control group, and keeps the first if it does not get the second.
	runtime int
	// silent tells that the error means no more than that the other end is gone, which needs no line of its own.
	silent bool
}

var refusals = []refusal{
	{call: "fork", errno: syscall.EAGAIN, in: []phase{start, fork, spawn, restart}},
	{call: "fork", errno: syscall.ENOMEM},
	{call: "execve", errno: syscall.ENOMEM, in: []phase{spawn, restart}},
	{call: "execve", errno: syscall.EACCES},
	{call: "socketpair", errno: syscall.EMFILE, in: []phase{start, spawn, restart}},
	{call: "socketpair", errno: syscall.ENOBUFS},
	{call: "pipe2", errno: syscall.EMFILE, in: []phase{spawn}},
	{call: "memfd_create", errno: syscall.EMFILE, in: []phase{start}},
	{call: "memfd_create", errno: syscall.EPERM, in: []phase{restart}},
	{call: "sendfile", errno: syscall.EIO, in: []phase{start}},
	{call: "openat", errno: syscall.EMFILE, in: []phase{reload}, runtime: 1},
	{call: "openat", errno: syscall.ENFILE, runtime: 1},
	{call: "fstat", errno: syscall.ENOMEM},
	{call: "fcntl", errno: syscall.EPERM, in: []phase{restart}},
	{call: "epoll_create", errno: syscall.EMFILE, in: []phase{start, fork, restart}},
	{call: "epoll_create", errno: syscall.ENOMEM},
	{call: "epoll_ctl", errno: syscall.ENOMEM, in: []phase{start, fork, spawn, restart, traffic}},
	{call: "epoll_ctl", errno: syscall.ENOSPC},
	{call: "epoll_wait", errno: syscall.EINTR, in: []phase{start, traffic, stop}},
	{call: "eventfd", errno: syscall.EMFILE, in: []phase{start, restart}},
	{call: "timerfd_create", errno: syscall.EMFILE, in: []phase{start}},
	{call: "poll", errno: syscall.EINTR, in: []phase{spawn}},
	{call: "read", errno: syscall.EINTR, in: []phase{reload}},
	{call: "read", errno: syscall.EIO},
	{call: "recv", errno: syscall.EINTR, in: []phase{start, traffic}},
	{call: "recv", errno: syscall.EAGAIN, in: []phase{traffic}},
	{call: "recv", errno: syscall.ENOMEM, in: []phase{start, traffic}},
	{call: "recv", errno: syscall.ENOBUFS},
	{call: "recv", errno: syscall.ECONNRESET, in: []phase{traffic}, silent: true},
	{call: "send", errno: syscall.EINTR, in: []phase{traffic}},
	{call: "send", errno: syscall.EAGAIN, in: []phase{start, traffic}},
	{call: "send", errno: syscall.ENOBUFS, in: []phase{traffic}},
	{call: "send", errno: syscall.ENOMEM},
	{call: "send", errno: syscall.EPIPE, in: []phase{traffic}},
	{call: "send", errno: syscall.ECONNRESET},
	{call: "write", errno: syscall.EINTR},
	{call: "write", errno: syscall.EAGAIN},
	{call: "write", errno: syscall.ENOSPC, in: []phase{restart}},
	{call: "pidfd_open", errno: syscall.EMFILE, in: []phase{start, fork, spawn, restart}},
	{call: "pidfd_open", errno: syscall.ENOSYS},
	{call: "waitid", errno: syscall.EINTR, in: []phase{restart, stop}},
	{call: "mprotect", errno: syscall.ENOMEM},
	{call: "madvise", errno: syscall.ENOMEM},
	{call: "mmap", errno: syscall.ENOMEM, in: []phase{fork}, fatal: `fatal error: |runtime: |error while loading shared libraries`},
	{call: "malloc", errno: syscall.ENOMEM, in: []phase{fork, spawn, restart, traffic, reload},
		fatal: `runtime/cgo: out of memory in thread_start|runtime: C malloc failed|pthread_create failed`},
	{call: "thread", errno: syscall.EAGAIN, in: []phase{start}, fatal: `runtime/cgo: pthread_create failed`},
}

// TestRefusedCalls has the kernel refuse one system call after another to a group of processes, the first of a phase of its life,
// then the second, and so on until a run passes in which there was no such call. See programs/fault_group.c for what must hold.
func TestRefusedCalls(t *testing.T) {
	all := os.Getenv("MLN_FAULTS") == "all"
	if all && testing.Short() {
		t.Fatal("MLN_FAULTS=all takes long, and -short does not")
	}
	dir := t.TempDir()
	injector, group := filepath.Join(dir, "fault"), filepath.Join(dir, "group")
	if err := compile(injector, []string{filepath.Join("testdata", "fault.c")}); err != nil {
		t.Fatal(err)
	}
	if err := compile(injector+".so", []string{filepath.Join("testdata", "fault_malloc.c")}, "-shared", "-fPIC"); err != nil {
		t.Fatal(err)
	}
	if err := compile(group, []string{filepath.Join(programs, "fault_group.c")}, libraryFlags(t)...); err != nil {
		t.Fatal(err)
	}
	untouched := (&faultRun{refusal: refusals[0], phase: start}).do(t, injector, group)
	if untouched.err != nil {
		t.Fatalf("without a fault: %v\n%s", untouched.err, untouched.output)
	}
	for _, refused := range refusals {
		for phase := start; phase <= stop; phase++ {
			if !all && !slices.Contains(refused.in, phase) {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s/%v", refused.call, errnoName(refused.errno), phase), func(t *testing.T) {
				t.Parallel()
				runs := 0
				for number := 1; ; number = following(number) {
					run := &faultRun{refusal: refused, phase: phase, number: number, descriptors: untouched.descriptors}
					run.do(t, injector, group)
					runs++
					if run.err != nil {
						t.Errorf("when %s number %d fails: %v\n%s", refused.call, number, run.err, run.output)
					}
					if !all || run.calls < number {
						break
					}
				}
				t.Logf("%d runs", runs)
			})
		}
	}
}

// following is the number of the call to be refused after this one: every one of the first, and some of many.
func following(number int) int {
	if number < 16 {
		return number + 1
	}
	return number + number/3
}

func errnoName(errno syscall.Errno) string {
	for name, value := range map[string]syscall.Errno{"EMFILE": syscall.EMFILE, "ENFILE": syscall.ENFILE, "ENOMEM": syscall.ENOMEM,
		"EAGAIN": syscall.EAGAIN, "EINTR": syscall.EINTR, "EPIPE": syscall.EPIPE, "ECONNRESET": syscall.ECONNRESET,
		"EPERM": syscall.EPERM, "ENOBUFS": syscall.ENOBUFS, "EACCES": syscall.EACCES, "ENOSPC": syscall.ENOSPC,
		"ENOSYS": syscall.ENOSYS, "EIO": syscall.EIO} {
		if value == errno {
			return name
		}
	}
	panic(errno)
}

// A faultRun is one run of the group.
type faultRun struct {
	refusal
	phase       phase
	number      int // of the call that is refused; 0: none
	descriptors int // that an untouched run has at its end; 0: any number
	calls       int // how many there were
	output      string
	err         error
}

const faultDeadline = 40 * time.Second

var (
	callsLine   = regexp.MustCompile(`(?m)^fault: (\d+) calls$`)
	summaryLine = regexp.MustCompile(`(?m)^refused=(\d+) ended=(\d+) reloads=(\d+) descriptors=(\d+)$`)
)

func (r *faultRun) do(t *testing.T, injector, group string) *faultRun {
	j := job{Path: injector, Deadline: faultDeadline,
		Args: []string{r.call, errnoName(r.errno), strconv.Itoa(int(r.phase)), strconv.Itoa(r.number), group}}
	if r.call == "malloc" {
		j = job{Path: group, Deadline: faultDeadline,
			Env: []string{"LD_PRELOAD=" + injector + ".so", fmt.Sprintf("FAULT_MALLOC=%d:%d", r.phase, r.number)}}
	}
	var result outcome
	var files error
	result, r.output, files = j.run(t)
	if files != nil && result.Status == "" {
		r.err = files
		return r
	}
	if line := callsLine.FindStringSubmatch(r.output); line != nil {
		r.calls, _ = strconv.Atoi(line[1])
	}
	unhelped := r.fatal != "" && regexp.MustCompile(r.fatal).MatchString(r.output)
	said := unhelped || strings.Contains(strings.ToLower(r.output), r.errno.Error()) ||
		r.errno == syscall.ENOMEM && regexp.MustCompile(`no memory|out of memory`).MatchString(r.output)
	switch {
	case result.TimedOut:
		r.err = fmt.Errorf("the group hangs")
	case result.Exit == groupRefused && r.phase == start && r.number > 0:
		if !said {
			r.err = fmt.Errorf("the group does not start, and nobody says %q", r.errno.Error())
		}
	case result.Exit == 0:
		r.err = r.judge(said)
		if r.err == nil {
			r.err = files
		}
	case unhelped:
	default:
		r.err = result.verdict(0, faultDeadline)
	}
	return r
}

// judge looks at a run that has come to a good end.
func (r *faultRun) judge(said bool) error {
	line := summaryLine.FindStringSubmatch(r.output)
	if line == nil {
		return fmt.Errorf("the group has not told how it went")
	}
	var n [4]int
	for i := range n {
		n[i], _ = strconv.Atoi(line[i+1])
	}
	if n[0]+n[1]+n[2]-1 > 0 && !said && !r.silent {
		return fmt.Errorf("something was tried again, and nobody says %q", r.errno.Error())
	}
	if r.descriptors > 0 && n[3] > r.descriptors+r.runtime {
		return fmt.Errorf("%d descriptors are open at the end, %d without a fault", n[3], r.descriptors)
	}
	r.descriptors = n[3]
	return nil
}
