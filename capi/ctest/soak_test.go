package ctest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSoak runs the programs that go on for as long as one likes, for SOAKTIME or a part of it; see make soak. Without that variable
// TestPrograms runs them, each for some seconds.
func TestSoak(t *testing.T) {
	text := os.Getenv("SOAKTIME")
	if text == "" {
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
		{"fork_kill_storm.c", "STORM_S", max(6, int(limit.Seconds())/3)},
		{"fork_master_killed.c", "TIMES", 200},
	} {
		t.Run(c.program, func(t *testing.T) {
			t.Parallel()
			runLong(t, c.program, fmt.Sprintf("%s=%d", c.variable, c.value), limit+5*time.Minute)
		})
	}
}

// TestForkStorm forks FORKS times; see make storm.
func TestForkStorm(t *testing.T) {
	if forks := os.Getenv("FORKS"); forks != "" {
		runLong(t, "fork_storm.c", "FORKS="+forks, 7*24*time.Hour)
	}
}

// runLong runs a program of programs/ with a variable in its environment, under a deadline of its own.
func runLong(t *testing.T, program, variable string, deadline time.Duration) {
	path := filepath.Join(t.TempDir(), "program")
	if err := compile(path, []string{filepath.Join(programs, program)}, libraryFlags(t)...); err != nil {
		t.Fatal(err)
	}
	result, output, err := job{Path: path, Env: []string{variable}, Deadline: deadline}.run(t)
	if bad := result.verdict(0, deadline); bad != nil && (err == nil || result.Status != "") {
		err = bad
	}
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	t.Logf("%s\n%s", variable, output)
}
