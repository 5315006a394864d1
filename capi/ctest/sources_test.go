package ctest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
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

// TestLibraryIsMadeOfLittle keeps packages out of the C library that run at the start of each worker and may open the runtime's
// network poller, a descriptor that nobody could close in a child.
func TestLibraryIsMadeOfLittle(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), buildLimit)
	defer cancel()
	command := exec.CommandContext(ctx, setting("GO", "go"), "list", "-deps", "./capi")
	command.Dir = root
	command.Env = append(cleanEnvironment(), "CGO_ENABLED=1")
	list, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(list))
	if !slices.Contains(packages, "melon/core/event") {
		t.Fatalf("the library is made of %q", packages)
	}
	for _, unwanted := range []string{"fmt", "os", "net"} {
		if slices.Contains(packages, unwanted) {
			t.Errorf("the C library has package %s in it", unwanted)
		}
	}
}
