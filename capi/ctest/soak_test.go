package ctest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSoak runs the programs that go on for as long as one likes, for SOAKTIME or a part of it, all at the same time; see make soak.
// Without that variable TestPrograms runs those in C, each for some seconds, and this the one in Go.
func TestSoak(t *testing.T) {
	const inGo = "soakgroup"
	text := os.Getenv("SOAKTIME")
	if text == "" {
		t.Parallel()
		runLong(t, inGo, job{Deadline: 2 * time.Minute})
		return
	}
	limit, err := time.ParseDuration(text)
	if err != nil || limit < 10*time.Second {
		t.Fatalf("SOAKTIME is %q, but it must be a time of 10s or more, as in SOAKTIME=3m", text)
	}
	for _, c := range []struct {
		program, variable string
		value             int
	}{
		{"soak_group.c", "SOAK_S", int(limit.Seconds())},
		{inGo, "SOAK_S", int(limit.Seconds())},
		{"fork_kill_storm.c", "STORM_S", max(6, int(limit.Seconds())/3)},
		{"fork_master_killed.c", "TIMES", 200},
	} {
		t.Run(c.program, func(t *testing.T) {
			t.Parallel()
			runLong(t, c.program, job{Env: []string{fmt.Sprintf("%s=%d", c.variable, c.value)}, Deadline: limit + 5*time.Minute, Beside: true})
		})
	}
}

// TestForkStorm forks FORKS times; see make storm.
func TestForkStorm(t *testing.T) {
	if forks := os.Getenv("FORKS"); forks != "" {
		runLong(t, "fork_storm.c", job{Env: []string{"FORKS=" + forks}, Deadline: 7 * 24 * time.Hour})
	}
}

// runLong does a job with a program of programs/, or one of testdata/ in Go.
func runLong(t *testing.T, program string, j job) {
	j.Path = filepath.Join(t.TempDir(), "program")
	var err error
	if filepath.Ext(program) == ".c" {
		err = compile(j.Path, []string{filepath.Join(programs, program)}, libraryFlags(t)...)
	} else {
		err = buildGo(j.Path, program)
	}
	if err != nil {
		t.Fatal(err)
	}
	result, output, err := j.run(t)
	if bad := result.verdict(0, j.Deadline); bad != nil && (err == nil || result.Status != "") {
		err = bad
	}
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	t.Logf("%s\n%s", strings.Join(j.Env, " "), output)
}
