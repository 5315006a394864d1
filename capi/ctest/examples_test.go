package ctest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// exampleDeadline is for an example that ends by itself: a second of work on an idle machine at most.
const exampleDeadline = 30 * time.Second

// examplesDirectory returns the folder of the examples as make builds them.
func examplesDirectory(t *testing.T) string {
	t.Helper()
	dir := buildDirectory(t)
	if err := runMake("BUILD="+dir, "examples"); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "examples")
}

// TestExamples runs every example, and asserts that it does what it says, ends with status 0, and leaves nothing behind.
func TestExamples(t *testing.T) {
	dir := examplesDirectory(t)
	build := filepath.Dir(dir)
	tests := map[string]struct {
		job  job
		want []string // patterns of lines, in this order; other lines may be between them
		also func(t *testing.T, output string)
	}{
		"demo": {
			job: job{Path: "make", Args: []string{"-C", root, "BUILD=" + build, "demo"}, Deadline: buildLimit},
			want: []string{
				`1\. master \d+ listens on port \d+, .*`,
				`2\. master \d+ asks everybody: .*`,
				`   worker \d+: port \d+, prime number 500 is 3571`,
				`3\. master \d+ kills worker \d+ with SIGKILL`,
				`   so \d+ has a successor, \d+`,
				`   worker \d+ has reloaded: the greeting is "good evening"`,
				`   master \d+ has reloaded: the greeting is "good evening"`,
				`That is all: .*`,
			},
		},
		"echo_server": {
			job:  job{Deadline: 2 * time.Minute, Meanwhile: useEchoServer},
			want: []string{`worker \d+ served \d+ connections`, fmt.Sprintf(`total: %d connections`, echoConnections)},
			also: checkEchoTotals,
		},
		"own_message": {
			want: []string{
				`the master greets its workers with message 1025: Good morning`,
				`the master hears from worker \d+: "Good morning" to you, too`,
				`the master hears from worker \d+: "Good morning" to you, too`,
				`the master hears from worker \d+: "Good morning" to you, too`,
			},
		},
		"exec_master": {
			want: []string{
				`worker \d+ says hello: .*/exec_worker "\w+" \(\w+\)`,
				`worker \d+ shouts: (IS KEPT ALIVE|ONE OF US)`,
				`both are told to finish`,
				`worker \d+ says hello: .*/exec_worker "configured" \(keepalive\)`,
				`that is the successor of .*`,
			},
			also: func(t *testing.T, output string) {
				for _, answer := range []string{" IS KEPT ALIVE\n", " ONE OF US\n"} {
					if strings.Count(output, answer) != 1 {
						t.Errorf("the answer %q does not occur once", answer)
					}
				}
			},
		},
		"today": {
			job:  job{Input: numbersToFactorise()},
			also: checkFactors,
		},
		"cpp_workers": {
			want: []string{`worker \d+: \d+ of 500000 darts hit`, `pi is about 3\.14\d*`},
			also: func(t *testing.T, output string) {
				if n := strings.Count(output, " darts hit\n"); n != 4 {
					t.Errorf("%d workers reported, and not 4", n)
				}
			},
		},
	}
	if !haveCXX() {
		delete(tests, "cpp_workers")
	}
	// exec_master runs exec_worker; everything else has to have a row.
	for _, source := range exampleSources(t) {
		name := strings.TrimSuffix(filepath.Base(source), filepath.Ext(source))
		if _, ok := tests[name]; !ok && name != "exec_worker" {
			t.Errorf("%s is not tested", filepath.Base(source))
		}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.job.Path == "" {
				test.job.Path = filepath.Join(dir, name)
			}
			if test.job.Deadline == 0 {
				test.job.Deadline = exampleDeadline
			}
			result, output, err := test.job.run(t)
			if err == nil {
				err = result.verdict(0, test.job.Deadline)
			}
			if err != nil {
				t.Error(err)
			}
			rest := strings.Split(output, "\n")
			for _, pattern := range test.want {
				if rest = after(rest, pattern); rest == nil {
					t.Errorf("no line, or none after the lines before, is %q", pattern)
					break
				}
			}
			if test.also != nil {
				test.also(t, output)
			}
			if t.Failed() {
				t.Logf("the output:\n%s", output)
			}
		})
	}
}

// after returns the lines that follow the first one that matches as a whole, nil if none does.
func after(lines []string, pattern string) []string {
	whole := regexp.MustCompile(`^(?:` + pattern + `)$`)
	for i, line := range lines {
		if whole.MatchString(line) {
			return lines[i+1:]
		}
	}
	return nil
}

func exampleSources(t *testing.T) []string {
	return sources(t, filepath.Join(root, "c_examples"), "*.c", "*.cc")
}

// TestExamplesHaveNoWarnings compiles the examples with the warnings as errors. make does without: a user's newer compiler may have
// warnings that this one has not.
func TestExamplesHaveNoWarnings(t *testing.T) {
	messages := filepath.Join(filepath.Dir(examplesDirectory(t)), "messages")
	for _, source := range append(exampleSources(t), sources(t, messages, "*.c")...) {
		t.Run(filepath.Base(source), func(t *testing.T) {
			t.Parallel()
			compiler, standard := setting("CC", "gcc"), "-std=gnu11"
			if filepath.Ext(source) == ".cc" {
				compiler, standard = setting("CXX", "g++"), "-std=c++17"
			}
			err := runTool(compileLimit, compiler, standard, "-Wall", "-Wextra", "-Werror", "-O2", "-I"+include, "-I"+messages,
				"-c", "-o", os.DevNull, source)
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestExampleRefusesBadInput asserts that an example that takes something from outside says what is wrong with it.
func TestExampleRefusesBadInput(t *testing.T) {
	dir := examplesDirectory(t)
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	for _, c := range []struct {
		name, program string
		args          []string
		input         string
		exit          int
		output        string
	}{
		{"no port", "echo_server", []string{"70000"}, "", 2, "usage: echo_server [PORT]"},
		{"port in use", "echo_server", []string{port}, "", 1, "cannot listen on port " + port + ": Address already in use"},
		{"worker without a master", "exec_worker", []string{"name"}, "", 2, "usage: exec_worker NAME DESCRIPTOR"},
		{"no number", "today", nil, "12\nnonsense\n0\n\n18446744073709551616\n1", 1, "is left out\n"},
		{"no numbers at all", "today", nil, "", 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := job{Path: filepath.Join(dir, c.program), Args: c.args, Input: c.input, Deadline: exampleDeadline}
			result, output, err := j.run(t)
			if err == nil {
				err = result.verdict(c.exit, j.Deadline)
			}
			if err != nil || !strings.Contains(output, c.output) {
				t.Errorf("%v; the output, which is to have %q in it:\n%s", err, c.output, output)
			}
		})
	}
}

// ---- echo_server ----

const (
	echoConnections = 10000
	echoClients     = 50 // that many at a time
	echoTimeout     = 30 * time.Second
)

var echoStarted = regexp.MustCompile(`(?s)master (\d+) listens on 127\.0\.0\.1 port (\d+)\n.*all 4 workers are ready\n`)

// useEchoServer makes the connections, and then ends the server by SIGTERM to its master.
func useEchoServer(ctx context.Context, output func() string) error {
	var started []string
	for started == nil {
		select {
		case <-ctx.Done():
			return errors.New("the server ended before it was ready")
		case <-time.After(5 * time.Millisecond):
			started = echoStarted.FindStringSubmatch(output())
		}
	}
	pid, _ := strconv.Atoi(started[1])
	master, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	defer master.Release()

	seed := uint64(time.Now().UnixNano())
	var next atomic.Int64
	var clients sync.WaitGroup
	failures := make(chan error, echoClients)
	for client := range uint64(echoClients) {
		clients.Go(func() {
			random := rand.NewChaCha8([32]byte{byte(client), byte(seed), byte(seed >> 8), byte(seed >> 16)})
			for n := next.Add(1); n <= echoConnections && ctx.Err() == nil; n = next.Add(1) {
				if err := echo("127.0.0.1:"+started[2], random); err != nil {
					failures <- fmt.Errorf("connection %d: %w", n, err)
					next.Add(echoConnections) // the others need not go on
					return
				}
			}
		})
	}
	clients.Wait()
	close(failures)
	if err := <-failures; err != nil {
		return err
	}
	return master.Signal(syscall.SIGTERM)
}

// echo makes one connection, sends random bytes and checks that the same bytes, and no more, come back.
func echo(address string, random *rand.ChaCha8) error {
	conn, err := net.DialTimeout("tcp4", address, echoTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(echoTimeout)); err != nil {
		return err
	}
	// From nothing at all to much more than the socket's buffers hold, where most are small.
	sent := make([]byte, random.Uint64()%(1<<(random.Uint64()%18)))
	if random.Uint64()%500 == 0 {
		sent = make([]byte, 4<<20)
	}
	random.Read(sent)
	written := make(chan error, 1)
	go func() {
		_, err := conn.Write(sent)
		if err == nil {
			err = conn.(*net.TCPConn).CloseWrite()
		}
		written <- err
	}()
	received, err := io.ReadAll(conn)
	if failed := <-written; err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(received, sent) {
		return fmt.Errorf("%d bytes were sent, and %d came back, not the same", len(sent), len(received))
	}
	return nil
}

// checkEchoTotals asserts that several workers had a share, and that the shares make up the total.
func checkEchoTotals(t *testing.T, output string) {
	sum, busy := 0, 0
	for _, share := range regexp.MustCompile(`(?m)^worker \d+ served (\d+) connections$`).FindAllStringSubmatch(output, -1) {
		n, _ := strconv.Atoi(share[1])
		sum += n
		if n > 0 {
			busy++
		}
	}
	if sum != echoConnections || busy < 2 {
		t.Errorf("%d workers served %d connections; several are to serve %d", busy, sum, echoConnections)
	}
}

// ---- today ----

// numbersToFactorise are small numbers, large ones, and some that are the product of two large primes.
func numbersToFactorise() string {
	var lines strings.Builder
	for n := 2; n < 200; n++ {
		fmt.Fprintln(&lines, n)
	}
	lines.WriteString("18446744073709551615\n9223372036854775808\n1000036000099\n")
	lines.WriteString("99999820000081") // the last line has no end
	return lines.String()
}

// checkFactors asserts that every number was answered once, by primes whose product it is.
func checkFactors(t *testing.T, output string) {
	missing := map[string]bool{}
	for _, number := range strings.Fields(numbersToFactorise()) {
		missing[number] = true
	}
	for _, line := range regexp.MustCompile(`(?m)^(\d+) = (.*?)  \(worker \d+\)$`).FindAllStringSubmatch(output, -1) {
		number, factors := line[1], strings.Split(line[2], " * ")
		if !missing[number] {
			t.Errorf("%s was not asked for, or is answered twice", number)
		}
		delete(missing, number)
		product := big.NewInt(1)
		for _, text := range factors {
			factor, ok := new(big.Int).SetString(text, 10)
			if !ok || !factor.ProbablyPrime(10) {
				t.Errorf("%s: the factor %s is not a prime number", number, text)
				continue
			}
			product.Mul(product, factor)
		}
		if product.String() != number {
			t.Errorf("%s is not the product of %v", number, factors)
		}
	}
	if len(missing) > 0 {
		t.Errorf("not answered: %v", missing)
	}
}
