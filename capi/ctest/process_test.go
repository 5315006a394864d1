package ctest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A program is run by a supervisor, a process made from this test binary for that one program. The supervisor is a child subreaper
// (prctl(2)): whatever the program starts and leaves behind, daemons with a session of their own too, becomes its child, and no
// two programs' leftovers can be mistaken for each other's.

// jobVariable holds, in a supervisor's environment, its job.
const jobVariable = "CTEST_JOB"

// job is one run of a program.
type job struct {
	Path     string
	Args     []string
	Env      []string // the whole environment
	Dir      string
	Output   string // file for standard output and error
	Outcome  string // file for the outcome, in JSON
	Deadline time.Duration
	Input    string        // for standard input, which is the null device if this is empty
	Grace    time.Duration // from the program's end to that of the processes it started; survivorGrace if this is 0
	Beside   bool          `json:"-"` // runs beside all others, without one of the slots: for jobs with much time, for any machine

	// Meanwhile, if it is set, is called while the program runs; output returns what the program has printed so far. If it returns an
	// error, which it should when its context is cancelled because the program has ended, the program is killed.
	Meanwhile func(ctx context.Context, output func() string) error `json:"-"`
}

// outcome is what came of a job.
type outcome struct {
	Status    string // as in "exit status 1"
	Exit      int    // the status, or -1 when a signal ended the program
	TimedOut  bool
	Survivors []string // processes that outlived the program: pid and command line
}

// Times that a program and its processes are given to end, after which they are killed.
const (
	abortGrace    = 2 * time.Second // from SIGABRT to SIGKILL
	survivorGrace = 2 * time.Second // from the program's end to that of the processes it started
)

// supervise does the job in the environment, and is all that a supervisor process does.
func supervise() int {
	var j job
	if err := json.Unmarshal([]byte(os.Getenv(jobVariable)), &j); err != nil {
		fmt.Fprintln(os.Stderr, "supervise:", err)
		return 2
	}
	result, err := j.supervised()
	if err == nil {
		var data []byte
		if data, err = json.Marshal(result); err == nil {
			err = os.WriteFile(j.Outcome, data, 0o600)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "supervise:", err)
		return 2
	}
	return 0
}

func (j job) supervised() (outcome, error) {
	var result outcome
	if err := becomeSubreaper(); err != nil {
		return result, err
	}
	closeOnExec()
	noCoreFile()
	// When the test process dies (see start), or on Ctrl-C, the program must not stay.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)

	output, err := os.OpenFile(j.Output, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return result, err
	}
	defer output.Close()
	cmd := exec.Command(j.Path, j.Args...)
	cmd.Env, cmd.Dir = j.Env, j.Dir
	cmd.Stdout, cmd.Stderr = output, output
	if j.Input != "" {
		cmd.Stdin = strings.NewReader(j.Input)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return result, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	group := -cmd.Process.Pid
	select {
	case <-ended:
	case <-stop:
		killDescendants()
		return result, fmt.Errorf("interrupted")
	case <-time.After(j.Deadline):
		result.TimedOut = true
		syscall.Kill(group, syscall.SIGABRT)
		select {
		case <-ended:
		case <-time.After(abortGrace):
			syscall.Kill(group, syscall.SIGKILL)
			<-ended
		}
	}
	result.Status = cmd.ProcessState.String()
	result.Exit = cmd.ProcessState.ExitCode()

	for end := time.Now().Add(cmp.Or(j.Grace, survivorGrace)); !result.TimedOut && living() && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	result.Survivors = killDescendants()
	return result, nil
}

// living reaps the children that ended and reports whether others are left.
func living() bool {
	for {
		switch pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); {
		case err == syscall.EINTR, pid > 0:
		case err != nil: // ECHILD
			return false
		default:
			return true
		}
	}
}

// killDescendants kills every process below this one, each by its pid, until none is left, and describes those it found.
func killDescendants() []string {
	var found []string
	seen := map[int]bool{}
	for living() {
		for _, pid := range descendants(os.Getpid()) {
			if !seen[pid] {
				seen[pid] = true
				found = append(found, describe(pid))
			}
			syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(time.Millisecond)
	}
	return found
}

// descendants lists the processes below pid, which are all its own: a subreaper inherits every orphan of its descendants.
func descendants(pid int) []int {
	var all []int
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		data, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, field := range strings.Fields(string(data)) {
			if child, err := strconv.Atoi(field); err == nil {
				all = append(append(all, child), descendants(child)...)
			}
		}
	}
	return all
}

func describe(pid int) string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return fmt.Sprintf("pid %d: %s", pid, strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " ")))
}

func becomeSubreaper() error {
	const prSetChildSubreaper = 36
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
		return fmt.Errorf("prctl(PR_SET_CHILD_SUBREAPER): %w", errno)
	}
	return nil
}

// closeOnExec keeps descriptors that were inherited, from make's job server for one, from a program that counts its descriptors.
func closeOnExec() {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, entry := range entries {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

// noCoreFile keeps a program that is aborted at its deadline from leaving a core file. Only the soft limit: a program may raise it.
func noCoreFile() {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_CORE, &limit) == nil {
		limit.Cur = 0
		_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &limit)
	}
}

// slots bounds how many programs run at a time: most start processes of their own, and deadlines are for a machine that keeps up.
var slots = make(chan struct{}, 2)

// run does the job in a supervisor and returns the outcome and the output. Only Path, Args and Deadline need be set, and Env, which
// is added to the usual environment. Files that the program left in its directory are reported as an error.
func (j job) run(t *testing.T) (outcome, string, error) {
	t.Helper()
	if !j.Beside {
		slots <- struct{}{}
		defer func() { <-slots }()
	}

	var result outcome
	scratch := t.TempDir()
	j.Dir = filepath.Join(scratch, "work")
	j.Output = filepath.Join(scratch, "output")
	j.Outcome = filepath.Join(scratch, "outcome")
	if err := os.Mkdir(j.Dir, 0o700); err != nil {
		return result, "", err
	}
	j.Env = append(append(cleanEnvironment(), "TMPDIR="+j.Dir), j.Env...)
	data, err := json.Marshal(j)
	if err != nil {
		return result, "", err
	}

	self, err := os.Executable()
	if err != nil {
		return result, "", err
	}
	supervisor := exec.Command(self)
	supervisor.Env = append(os.Environ(), jobVariable+"="+string(data))
	supervisor.Stderr = os.Stderr
	supervisor.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	err = j.accompany(supervisor)
	output, _ := os.ReadFile(j.Output)
	if err != nil {
		return result, string(output), fmt.Errorf("running the program: %w", err)
	}
	data, err = os.ReadFile(j.Outcome)
	if err == nil {
		err = json.Unmarshal(data, &result)
	}
	if err != nil {
		return result, string(output), err
	}
	return result, string(output), leftFiles(j.Dir)
}

// accompany runs the supervisor, and Meanwhile beside it.
func (j job) accompany(supervisor *exec.Cmd) error {
	if j.Meanwhile == nil {
		return supervisor.Run()
	}
	if err := supervisor.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- supervisor.Wait()
		cancel()
	}()
	err := j.Meanwhile(ctx, func() string {
		output, _ := os.ReadFile(j.Output)
		return string(output)
	})
	if err != nil {
		_ = supervisor.Process.Signal(syscall.SIGTERM)
	}
	if supervision := <-ended; err == nil {
		err = supervision
	}
	return err
}

// leftFiles is an error that names the files in dir, nil if there are none.
func leftFiles(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return err
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return fmt.Errorf("the program left files in its directory: %s", strings.Join(names, ", "))
}

// verdict is an error that says in what way the outcome is not that of a good run which ends with the given status.
func (o outcome) verdict(exit int, deadline time.Duration) error {
	switch {
	case o.TimedOut:
		return fmt.Errorf("the program was still running at its deadline of %v", deadline)
	case o.Exit != exit:
		return fmt.Errorf("the program ended with %s, and exit status %d is expected", o.Status, exit)
	case len(o.Survivors) > 0:
		return fmt.Errorf("the program left processes behind:\n\t%s", strings.Join(o.Survivors, "\n\t"))
	}
	return nil
}

// check runs the program that was compiled from source, to the end its directives tell, and fails the test with its output otherwise.
func check(t *testing.T, source, path string, args ...string) {
	t.Helper()
	if output, err := runProgram(t, source, path, args...); err != nil {
		t.Errorf("%v\n--- output of %s:\n%s", err, filepath.Base(source), output)
	} else if testing.Verbose() && output != "" {
		t.Logf("%s", output)
	}
}

func runProgram(t *testing.T, source, path string, args ...string) (string, error) {
	want, err := readDirectives(source)
	if err != nil {
		return "", err
	}
	result, output, err := job{Path: path, Args: args, Env: want.env, Deadline: want.deadline}.run(t)
	if bad := result.verdict(want.exit, want.deadline); bad != nil && (err == nil || result.Status != "") {
		err = bad // what went wrong first
	}
	return output, err
}
