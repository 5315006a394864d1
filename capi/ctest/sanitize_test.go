package ctest

import (
	"path/filepath"
	"slices"
	"testing"
)

// plainSources are the C sources that need no Go: data structures that a program walks by pointer. Programs whose names begin with
// one of plainPrefixes use nothing else.
var (
	plainSources  = []string{"alloc.c", "string.c", "chain.c", "connection.c", "file.c", "path.c", "func.c", "tools_time.c"}
	plainPrefixes = []string{"alloc_", "string_", "chain_", "connection_", "file_", "utilities_"}
)

// TestPlainProgramsUnderSanitizers runs the programs of the plain C part with that part compiled in, so that the sanitizers see inside.
func TestPlainProgramsUnderSanitizers(t *testing.T) {
	eachPlainProgram(t, []string{
		"-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer",
	}, func(t *testing.T, source, program string) {
		check(t, source, program)
	})
}

// eachPlainProgram compiles every program of the plain C part, with that part and the flags, and hands it to run in a subtest.
func eachPlainProgram(t *testing.T, flags []string, run func(t *testing.T, source, program string)) {
	objects := t.TempDir()
	var parts []string
	for _, name := range plainSources {
		object := filepath.Join(objects, name+".o")
		args := slices.Concat([]string{"-std=gnu11", "-D_GNU_SOURCE", `-DMLN_PREFIX="/usr/local"`, `-DMLN_VERSION="test"`,
			"-Wall", "-Wextra", "-Werror", "-O1", "-g", "-I" + include, "-c", "-o", object}, flags,
			[]string{filepath.Join(root, "capi", name)})
		if err := runTool(compileLimit, setting("CC", "gcc"), args...); err != nil {
			t.Fatal(err)
		}
		parts = append(parts, object)
	}
	var patterns []string
	for _, prefix := range plainPrefixes {
		patterns = append(patterns, prefix+"*.c")
	}
	eachProgram(t, patterns, nil, parts, append(flags, "-I"+include), run)
}

// eachProgram compiles programs, with other parts and flags, and has each run.
func eachProgram(t *testing.T, patterns, without, parts, flags []string, run func(t *testing.T, source, program string)) {
	for _, source := range sources(t, programs, patterns...) {
		if slices.Contains(without, filepath.Base(source)) {
			continue
		}
		t.Run(filepath.Base(source), func(t *testing.T) {
			t.Parallel()
			program := filepath.Join(t.TempDir(), "program")
			if err := compile(program, slices.Concat([]string{source}, parts), flags...); err != nil {
				t.Fatal(err)
			}
			run(t, source, program)
		})
	}
}
