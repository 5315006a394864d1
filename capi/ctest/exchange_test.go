package ctest

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestExchange has a master in C and one in Go say the same to workers in C and in Go, all four ways. The workers are executed, and
// are on this library and on package core.
func TestExchange(t *testing.T) {
	dir := t.TempDir()
	inC := func(name string) string {
		path := filepath.Join(dir, name)
		if err := compile(path, []string{filepath.Join("testdata", name+".c")}, libraryFlags(t)...); err != nil {
			t.Fatal(err)
		}
		return path
	}
	inGo := filepath.Join(dir, "exchange")
	err := runTool(buildLimit, "env", "-C", root, "CGO_ENABLED=0", setting("GO", "go"), "build", "-o", inGo, "./capi/ctest/testdata/exchange")
	if err != nil {
		t.Fatal(err)
	}
	masters := map[string]string{"C": inC("exchange_master"), "Go": inGo}
	workers := map[string]string{"C": inC("exchange_worker"), "Go": inGo}
	for m, master := range masters {
		for w, worker := range workers {
			t.Run("master in "+m+", workers in "+w, func(t *testing.T) {
				deadline := time.Minute
				result, output, err := job{Path: master, Args: []string{worker}, Dir: t.TempDir(), Deadline: deadline}.run(t)
				if bad := result.verdict(0, deadline); bad != nil || err != nil {
					t.Fatalf("%v, %v, output:\n%s", bad, err, output)
				}
				if !strings.Contains(output, "all answers were right") {
					t.Errorf("the master says\n%s", output)
				}
			})
		}
	}
}

// TestExampleInCWithWorkersInGo runs the master of the examples in C with the worker of the examples in Go.
func TestExampleInCWithWorkersInGo(t *testing.T) {
	worker := filepath.Join(t.TempDir(), "go_worker")
	err := runTool(buildLimit, "env", "-C", root, "CGO_ENABLED=0", setting("GO", "go"), "build", "-o", worker, "./go_examples/go_worker")
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Minute
	master := filepath.Join(examplesDirectory(t), "exec_master")
	result, output, err := job{Path: master, Args: []string{worker}, Dir: t.TempDir(), Deadline: deadline}.run(t)
	if bad := result.verdict(0, deadline); bad != nil || err != nil {
		t.Errorf("%v, %v, output:\n%s", bad, err, output)
	}
}
