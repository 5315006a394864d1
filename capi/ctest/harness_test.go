package ctest

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestHarnessCatches runs programs that misbehave, and asserts that each is found out: a test that cannot fail tests nothing.
func TestHarnessCatches(t *testing.T) {
	for _, c := range []struct {
		program string
		fault   string // part of the error, "" for a program that behaves
		output  string // part of the output
	}{
		{"behaves.c", "", "first argument: none\nDIRECTIVE=kept\n"},
		{"fails_a_check.c", "ended with exit status 1, and exit status 0 is expected", "] 2 + 2 is 4, and 5 is expected\n"},
		{"fails_a_check_of_text.c", "ended with exit status 1", `is "one", and "two" is expected`},
		{"hangs.c", "still running at its deadline of 300ms", "before the hang"},
		{"hangs_on.c", "still running at its deadline of 300ms", "ignored"},
		{"crashes.c", "ended with signal: aborted", ""},
		{"exits_with_0_unexpectedly.c", "exit status 7 is expected", ""},
		{"leaves_a_child.c", "left processes behind:\n\tpid ", ""},
		{"leaves_a_daemon.c", "left processes behind:\n\tpid ", ""},
		{"leaves_a_file.c", "left files in its directory: forgotten", ""},
	} {
		t.Run(c.program, func(t *testing.T) {
			t.Parallel()
			source := filepath.Join("testdata", c.program)
			path := filepath.Join(t.TempDir(), "program")
			if err := compile(path, []string{source}); err != nil {
				t.Fatal(err)
			}
			output, err := runProgram(t, source, path)
			if c.fault == "" && err != nil {
				t.Errorf("unexpected error: %v", err)
			}
			if c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
				t.Errorf("error is %v, and does not say %q", err, c.fault)
			}
			if !strings.Contains(output, c.output) {
				t.Errorf("output is %q, and lacks %q", output, c.output)
			}
		})
	}
}
