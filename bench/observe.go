package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stay starts a program that prints the IDs of its processes and waits, and has `look` look at them.
func stay(path string, arguments []string, look func(master int, workers []int) error) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), programDeadline)
	defer cancel()
	c := exec.CommandContext(ctx, path, arguments...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	kill := func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.Cancel = kill
	c.WaitDelay = 5 * time.Second
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	defer func() {
		_ = kill()
		_ = c.Wait() // it was killed, so this is an error
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("%s %s: it printed no process IDs: %w", path, strings.Join(arguments, " "), err)
	}
	processes := make(map[string]int)
	if err := json.Unmarshal([]byte(line), &processes); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var workers []int
	for name, pid := range processes {
		if name != "master" {
			workers = append(workers, pid)
		}
	}
	return look(processes["master"], workers)
}

// idleSeconds is for how long processes are watched that have nothing to do.
var idleSeconds = amount{10, 3}

// observeIdle counts how often processes that have nothing to do run all the same, in all of their threads, and for how many
// milliseconds, in a second.
func observeIdle(o *options, path string, arguments []string) (results map[string]float64, err error) {
	seconds := idleSeconds.in(o)
	err = stay(path, arguments, func(master int, workers []int) error {
		time.Sleep(time.Second) // what began with the last message comes to rest
		groups := map[string][]int{"master": {master}, "workers": workers}
		results = make(map[string]float64)
		watch := func(sign float64) error {
			for name, processes := range groups {
				switches, cpu, err := activity(processes)
				if err != nil {
					return err
				}
				results[name+" wakeups"] += sign * switches / float64(seconds)
				results[name+" cpu"] += sign * cpu / float64(seconds)
			}
			return nil
		}
		if err := watch(-1); err != nil {
			return err
		}
		time.Sleep(time.Duration(seconds) * time.Second)
		return watch(1)
	})
	return results, err
}

// activity returns the context switches of processes, and the milliseconds that they ran.
func activity(processes []int) (switches, cpu float64, err error) {
	for _, pid := range processes {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		if err != nil || len(tasks) == 0 {
			return 0, 0, fmt.Errorf("process %d is gone", pid)
		}
		for _, task := range tasks {
			text, err := os.ReadFile(task)
			if err != nil {
				continue // a thread that has just ended
			}
			switches += field(string(text), "voluntary_ctxt_switches:") + field(string(text), "nonvoluntary_ctxt_switches:")
			// The first number is the time on a processor in nanoseconds, far finer than the ticks of stat.
			if text, err = os.ReadFile(strings.TrimSuffix(task, "status") + "schedstat"); err == nil {
				first, _, _ := strings.Cut(string(text), " ")
				n, _ := strconv.ParseFloat(first, 64)
				cpu += n / 1e6
			}
		}
	}
	return switches, cpu, nil
}

// observeMemory returns the share of memory of a worker, on average, in KiB.
func observeMemory(_ *options, path string, arguments []string) (results map[string]float64, err error) {
	err = stay(path, arguments, func(_ int, workers []int) error {
		time.Sleep(time.Second)
		sum := 0.0
		for _, pid := range workers {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
			if err != nil {
				return err
			}
			sum += field(string(text), "Pss:")
		}
		results = map[string]float64{"pss": sum / float64(len(workers))}
		return nil
	})
	return results, err
}

// field returns the number behind a name at the beginning of a line.
func field(text, name string) float64 {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return n
		}
	}
	return 0
}
