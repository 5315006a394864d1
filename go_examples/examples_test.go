// Package examples_test builds and runs the examples.
package examples_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const deadline = 60 * time.Second

// build builds an example without cgo.
func build(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	command := exec.Command("go", "build", "-o", path, "./"+name)
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// A job is an example that runs.
type job struct {
	t       *testing.T
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
}

func start(t *testing.T, path string, args ...string) *job {
	t.Helper()
	j := &job{t: t, command: exec.Command(path, args...)}
	j.command.Stderr = os.Stderr
	in, err := j.command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := j.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	j.in, j.out = in, bufio.NewScanner(out)
	if err := j.command.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(deadline, func() { _ = j.command.Process.Kill() })
	t.Cleanup(func() {
		timer.Stop()
		_ = j.command.Process.Kill() // unless it has ended
		_ = j.command.Wait()
	})
	return j
}

func (j *job) line() string {
	j.out.Scan()
	return j.out.Text()
}

// rest returns what it prints until it ends, with status 0.
func (j *job) rest() string {
	j.t.Helper()
	var text strings.Builder
	for j.out.Scan() {
		text.WriteString(j.out.Text() + "\n")
	}
	if err := j.command.Wait(); err != nil {
		j.t.Errorf("%s: %v", j.command.Path, err)
	}
	return text.String()
}

func (j *job) signal(signal os.Signal) {
	j.t.Helper()
	if err := j.command.Process.Signal(signal); err != nil {
		j.t.Error(err)
	}
}

func TestHello(t *testing.T) {
	if n := strings.Count(start(t, build(t, "hello")).rest(), " says hello\n"); n != 4 {
		t.Errorf("%d workers said hello, want 4", n)
	}
	program, err := os.ReadFile("hello/main.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(program), "\n")
	if !strings.Contains(string(readme), text) {
		t.Error("README.md has another program")
	}
}

func TestTCPServer(t *testing.T) {
	j := start(t, build(t, "tcp_server"), "-workers", "3")
	address := strings.TrimPrefix(j.line(), "listening on ")
	for n := range 30 {
		c, err := net.DialTimeout("tcp", address, deadline)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(deadline))
		fmt.Fprintf(c, "hello %d\n", n)
		in := bufio.NewReader(c)
		who, _ := in.ReadString('\n')
		back, err := in.ReadString('\n')
		if !regexp.MustCompile(`^this is worker [012]\n$`).MatchString(who) || back != fmt.Sprintf("hello %d\n", n) {
			t.Errorf("the server says %q, %q, %v", who, back, err)
		}
		_ = c.Close()
	}
	j.signal(syscall.SIGTERM)
	j.rest()
}

func TestCalls(t *testing.T) {
	want := "97: [97]\n360: [2 2 2 3 3 5]\n1000036000099: [1000003 1000033]\n18446744073709551557: too hard\n0: the number must be positive\n"
	if got := start(t, build(t, "calls")).rest(); got != want {
		t.Errorf("the output is\n%s\nwant\n%s", got, want)
	}
}

func TestRollingRestart(t *testing.T) {
	j := start(t, build(t, "rolling_restart"))
	_, address, _ := strings.Cut(j.line(), " listening on ")
	client := http.Client{Timeout: deadline, Transport: &http.Transport{DisableKeepAlives: true}}
	var served atomic.Int64
	workers := map[string]bool{}
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-end:
				return
			default:
			}
			response, err := client.Get("http://" + address)
			if err != nil {
				t.Errorf("request %d: %v", served.Load(), err)
				return
			}
			text, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if err != nil || response.StatusCode != http.StatusOK {
				t.Errorf("request %d: %v, %v", served.Load(), response.Status, err)
			}
			workers[string(text)] = true
			served.Add(1)
		}
	}()
	for range 3 {
		for before, give := served.Load(), time.Now().Add(deadline); served.Load() < before+20 && !t.Failed() && time.Now().Before(give); {
			time.Sleep(time.Millisecond)
		}
		j.signal(syscall.SIGHUP)
		if line := j.line(); line != "restarted" {
			t.Errorf("it says %q", line)
		}
	}
	close(end)
	<-done
	if len(workers) < 3 {
		t.Errorf("%d requests were answered by %v", served.Load(), workers)
	}
	j.signal(syscall.SIGTERM)
	j.rest()
}

func TestAGoMasterAndAProgramInCAsItsWorker(t *testing.T) {
	worker := filepath.Join(t.TempDir(), "exec_worker")
	if out, err := exec.Command("gcc", "-o", worker, "../c_examples/exec_worker.c").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	shoutAt(t, worker)
}

func TestAGoMasterAndAnotherGoProgramAsItsWorker(t *testing.T) { shoutAt(t, build(t, "go_worker")) }

func shoutAt(t *testing.T, worker string) {
	j := start(t, build(t, "c_program"), worker)
	for _, text := range []string{"hello", "once more"} {
		fmt.Fprintln(j.in, text)
		if got := j.line(); got != strings.ToUpper(text) {
			t.Errorf("the answer to %q is %q", text, got)
		}
	}
	_ = j.in.Close()
	j.rest()
}
