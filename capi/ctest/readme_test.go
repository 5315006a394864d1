package ctest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestReadmeProgram builds and runs the README's C program with the README's configuration.
func TestReadmeProgram(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)```c\n(.*?)```").FindStringSubmatch(string(readme))
	conf := regexp.MustCompile("(?s)`hello.conf`:\n\n((?:    [^\n]*\n)+)").FindStringSubmatch(string(readme))
	if program == nil || conf == nil {
		t.Fatal("README.md has no C program, or no hello.conf")
	}
	dir := t.TempDir()
	source, path := filepath.Join(dir, "hello.c"), filepath.Join(dir, "hello")
	// The log is not one of the files that the program may leave in its working directory.
	configuration := strings.ReplaceAll(conf[1], "./hello.log", filepath.Join(dir, "hello.log"))
	for name, text := range map[string]string{source: program[1], filepath.Join(dir, "hello.conf"): configuration} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := compile(path, []string{source}, libraryFlags(t)...); err != nil {
		t.Fatal(err)
	}
	deadline := 30 * time.Second
	result, output, err := job{Path: path, Env: []string{"MLN_CONF=" + filepath.Join(dir, "hello.conf")}, Deadline: deadline}.run(t)
	if bad := result.verdict(0, deadline); bad != nil || err != nil {
		t.Fatalf("%v, %v, output:\n%s", bad, err, output)
	}
	if n := strings.Count(output, " says hello\n"); n != 4 {
		t.Errorf("%d workers said hello, not 4:\n%s", n, output)
	}
}

// TestReadmeGoProgram builds and runs the README's Go program, without cgo.
func TestReadmeGoProgram(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)```go\n(.*?)```").FindStringSubmatch(string(readme))
	if program == nil {
		t.Fatal("README.md has no Go program")
	}
	dir := t.TempDir()
	source, path := filepath.Join(dir, "main.go"), filepath.Join(dir, "hello")
	if err := os.WriteFile(source, []byte(program[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	err = runTool(buildLimit, "env", "-C", root, "CGO_ENABLED=0", setting("GO", "go"), "build", "-o", path, source)
	if err != nil {
		t.Fatal(err)
	}
	deadline := 30 * time.Second
	result, output, err := job{Path: path, Deadline: deadline}.run(t)
	if bad := result.verdict(0, deadline); bad != nil || err != nil {
		t.Fatalf("%v, %v, output:\n%s", bad, err, output)
	}
	if n := strings.Count(output, " says hello\n"); n != 4 {
		t.Errorf("%d workers said hello, not 4:\n%s", n, output)
	}
}
