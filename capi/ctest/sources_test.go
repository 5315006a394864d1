package ctest

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSourcesHaveNoWarnings compiles the library's C sources with the warnings as errors. The build itself does without: a user's newer
// compiler may have warnings that this one has not.
func TestSourcesHaveNoWarnings(t *testing.T) {
	// The declarations of the exported Go functions, under the name that cgo gives them while it builds.
	exports, err := os.ReadFile(filepath.Join(buildDirectory(t), "obj", "libmln.h"))
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "_cgo_export.h"), exports, 0o600); err != nil {
		t.Fatal(err)
	}
	capi := filepath.Join(root, "capi")
	for _, source := range sources(t, capi, "*.c") {
		t.Run(filepath.Base(source), func(t *testing.T) {
			t.Parallel()
			// With optimization, for the warnings that follow the flow of values.
			err := runTool(compileLimit, setting("CC", "gcc"), "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O2",
				"-I"+include, "-I"+capi, "-isystem", folder, "-c", "-o", os.DevNull, source)
			if err != nil {
				t.Error(err)
			}
		})
	}
}
