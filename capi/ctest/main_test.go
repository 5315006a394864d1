package ctest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv(jobVariable) != "" {
		os.Exit(supervise())
	}
	status := m.Run()
	for _, remove := range cleanups {
		remove()
	}
	os.Exit(status)
}

// cleanups run after the last test: what sync.OnceValues made is shared, and outlives the test that asked for it first.
var cleanups []func()

// Folders of the repository.
var (
	root     = absolute("../..")
	include  = filepath.Join(root, "include")
	programs = absolute("programs")
)

func absolute(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		panic(err)
	}
	return path
}

// buildDirectory returns make's build directory with the library in it, built once for all tests.
func buildDirectory(t *testing.T) string {
	t.Helper()
	dir, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var buildOnce = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("MLN_LIBDIR"); dir != "" {
		dir = absolute(dir)
		if _, err := os.Stat(filepath.Join(dir, "libmln.so")); err != nil {
			return "", fmt.Errorf("MLN_LIBDIR must name a folder with libmln.so in it: %w", err)
		}
		return filepath.Dir(dir), nil
	}
	dir, err := os.MkdirTemp("", "mln-build-")
	if err != nil {
		return "", err
	}
	cleanups = append(cleanups, func() { os.RemoveAll(dir) })
	return dir, runMake("BUILD="+dir, "lib")
})

// libraryDirectory returns the folder of libmln.so.
func libraryDirectory(t *testing.T) string {
	t.Helper()
	return filepath.Join(buildDirectory(t), "lib")
}

// buildLimit is the time that building the library may take on a busy machine, with nothing in Go's build cache.
const buildLimit = 5 * time.Minute

// runMake runs make in the repository, as if from a fresh shell: the options of a make that runs these tests are not for this one.
func runMake(args ...string) error {
	return runTool(buildLimit, "make", append([]string{"-C", root}, args...)...)
}

// setting is the value of an environment variable, or the usual one. With CC, CXX and PREFIX, the tests follow the make they run under.
func setting(variable, usual string) string {
	if value := os.Getenv(variable); value != "" {
		return value
	}
	return usual
}

// haveCXX tells whether there is a C++ compiler. It is not needed to build and test the library; make says what is left out.
func haveCXX() bool {
	_, err := exec.LookPath(strings.Fields(setting("CXX", "g++"))[0])
	return err == nil
}

// runTool runs a program of the tool chain. A failure's error holds what it printed.
func runTool(limit time.Duration, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	words := strings.Fields(name) // CC may be "ccache gcc"
	cmd := exec.CommandContext(ctx, words[0], append(words[1:], args...)...)
	cmd.Env = cleanEnvironment()
	cmd.WaitDelay = 5 * time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, &output)
	}
	return nil
}

// cleanEnvironment is the environment without what would change the meaning of a program's or make's run: settings of the library,
// and what the make that runs these tests passes on.
func cleanEnvironment() []string {
	var kept []string
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		switch {
		case strings.HasPrefix(name, "MLN_"), strings.HasPrefix(name, "MAKE"), name == "MFLAGS":
		case name == "BUILD", name == "DESTDIR", name == "CGO_CFLAGS", name == "CGO_LDFLAGS":
		default:
			kept = append(kept, variable)
		}
	}
	return kept
}

// compileLimit is the time that one compilation may take on a busy machine.
const compileLimit = 2 * time.Minute

// compile builds the program target from sources and flags: as C11, or as C++17 when the first source is a .cc file.
func compile(target string, sources []string, flags ...string) error {
	compiler, standard := setting("CC", "gcc"), "-std=c11"
	if filepath.Ext(sources[0]) == ".cc" {
		compiler, standard = setting("CXX", "g++"), "-std=c++17"
	}
	args := []string{standard, "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-pthread", "-I" + programs, "-o", target}
	args = append(args, sources...)
	return runTool(compileLimit, compiler, append(args, flags...)...)
}

// buildGo builds a program of testdata that is written in Go, without cgo where nothing needs it.
func buildGo(target, program string, flags ...string) error {
	cgo := "CGO_ENABLED=0"
	if slices.Contains(flags, "-race") {
		cgo = "CGO_ENABLED=1"
	}
	args := append([]string{"-C", root, cgo, setting("GO", "go"), "build", "-o", target}, flags...)
	return runTool(buildLimit, "env", append(args, "./capi/ctest/testdata/"+program)...)
}

// libraryFlags are the flags that compile and link a program against the headers of the sources and the built library.
func libraryFlags(t *testing.T) []string {
	dir := libraryDirectory(t)
	return []string{"-I" + include, "-L" + dir, "-lmln", "-Wl,-rpath," + dir}
}

// sources lists the files of a folder that match one of the patterns, at least one; without a C++ compiler, only those that are not C++.
func sources(t *testing.T, dir string, patterns ...string) []string {
	t.Helper()
	var found []string
	for _, pattern := range patterns {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if filepath.Ext(file) != ".cc" || haveCXX() {
				found = append(found, file)
			}
		}
	}
	if len(found) == 0 {
		t.Fatalf("no file in %s matches any of %v", dir, patterns)
	}
	return found
}
