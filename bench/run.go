package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// programDeadline is for a program that does not even end by its own deadline.
const programDeadline = 90 * time.Second

// path returns the program of an implementation.
func (o *options) path(implementation, program string) string {
	folder := map[string]string{floor: "floor/", cAPI: "ours/", goAPI: "gocore/", goNet: "gonet/", libuv: "peers/uv_",
		libevent: "peers/event_", nng: "peers/nng_", zeroMQ: "peers/zmq_"}[implementation]
	if implementation == goAPI {
		program = "messages" // one for all
	}
	return filepath.Join(o.build, "bench", folder+program)
}

// command makes a process that takes everything that it started with it when it is ended.
func (o *options) command(ctx context.Context, implementation, program string, arguments []string) *exec.Cmd {
	c := exec.CommandContext(ctx, o.path(implementation, program), arguments...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = 5 * time.Second
	c.Dir = os.TempDir()
	return c
}

// run runs a program once and returns its results.
func (o *options) run(implementation, program string, arguments []string) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), programDeadline)
	defer cancel()
	c := o.command(ctx, implementation, program, arguments)
	var out, complaints bytes.Buffer
	c.Stdout, c.Stderr = &out, &complaints
	err := c.Run()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w%s", c.Path, strings.Join(arguments, " "), err, lastLine(complaints.String()))
	}
	// A library may print lines of its own.
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	results := make(map[string]float64)
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &results); err != nil {
		return nil, fmt.Errorf("%s %s: no result: %w", c.Path, strings.Join(arguments, " "), err)
	}
	return results, nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return ": " + last
	}
	return ""
}

// measureOnce has one implementation do the work of a scenario.
func (o *options) measureOnce(s *scenario, implementation string) (map[string]float64, error) {
	if s.observer != nil {
		return s.observer(o, o.path(implementation, s.program), s.options)
	}
	if s.lasts.in(o) != 0 {
		return o.measureStream(s, implementation)
	}
	return o.runCounted(s, implementation, s.count.in(o))
}

// measureStream has a stream last as long as it should: a few milliseconds are a few turns of the scheduler, and say little. One
// implementation moves a thousand times as much in that time as another, so each is given a count of its own, which is found by trying
// and kept for the next repetition.
func (o *options) measureStream(s *scenario, implementation string) (map[string]float64, error) {
	goal := float64(s.lasts.in(o)) / 1000
	key := [2]string{s.id, implementation}
	for count := cmp.Or(o.counts[key], firstCount); ; {
		result, err := o.runCounted(s, implementation, count)
		if err != nil {
			return nil, err
		}
		next := nextCount(count, result["seconds"], goal)
		o.counts[key] = next
		if result["seconds"] >= goal/2 {
			return result, nil
		}
		count = next
	}
}

func (o *options) runCounted(s *scenario, implementation string, count int) (map[string]float64, error) {
	return o.run(implementation, s.program, append(slices.Clone(s.options), text("count=%d", count)))
}

func (o *options) note(format string, arguments ...any) {
	o.notes = append(o.notes, fmt.Sprintf(format, arguments...))
	fmt.Fprintln(os.Stderr, "note:", o.notes[len(o.notes)-1])
}
