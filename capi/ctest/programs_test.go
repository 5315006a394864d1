package ctest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestPrograms compiles and runs every program of programs/ against the built library.
func TestPrograms(t *testing.T) {
	flags := libraryFlags(t)
	for _, source := range sources(t, programs, "*.c", "*.cc") {
		t.Run(filepath.Base(source), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "program")
			if err := compile(path, []string{source}, flags...); err != nil {
				t.Fatal(err)
			}
			check(t, source, path)
		})
	}
}

// directives are what a program's first comment lines say about its run; see the package comment.
type directives struct {
	deadline time.Duration
	env      []string
	exit     int
}

var directiveLine = regexp.MustCompile(`^\s*(?://|/?\*+)\s*(deadline|env|expect-exit):\s*(.*?)\s*(?:\*/)?$`)

// directiveLines is how far into a program directives are looked for.
const directiveLines = 30

func readDirectives(source string) (directives, error) {
	data, err := os.ReadFile(source)
	if err != nil {
		return directives{}, err
	}
	d := directives{deadline: 30 * time.Second}
	lines := strings.Split(string(data), "\n")
	for i, line := range lines[:min(len(lines), directiveLines)] {
		match := directiveLine.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		switch value := match[2]; match[1] {
		case "deadline":
			d.deadline, err = time.ParseDuration(value)
		case "env":
			if !strings.Contains(value, "=") {
				err = fmt.Errorf("%q is not NAME=value", value)
			}
			d.env = append(d.env, value)
		case "expect-exit":
			d.exit, err = strconv.Atoi(value)
		}
		if err != nil {
			return d, fmt.Errorf("%s:%d: %s: %w", source, i+1, match[1], err)
		}
	}
	return d, nil
}
