package ctest

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The program that is compiled against an installation.
const installedProgram = `
#include <mln_path.h>
#include <stdio.h>

int main(void)
{
    printf("%s\n", mln_path());
    return 0;
}
`

// TestInstall installs into a folder, builds and runs a program from what is there alone, and uninstalls.
func TestInstall(t *testing.T) {
	prefix := setting("PREFIX", "/usr/local") // another one would be built again
	stage := t.TempDir()
	foreign := filepath.Join(stage, prefix, "lib", "foreign.so")
	if err := os.MkdirAll(filepath.Dir(foreign), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(foreign, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	before := tree(t, stage)

	install := []string{"BUILD=" + buildDirectory(t), "DESTDIR=" + stage, "PREFIX=" + prefix}
	// The second time over the first, as an upgrade does, and with another option.
	for _, option := range []string{"MELON_LINK=1", "MELON_LINK="} {
		if err := runMake(append(install, option, "install")...); err != nil {
			t.Fatal(err)
		}
		melon := filepath.Join(stage, prefix, "lib", "libmelon.so")
		if _, err := os.Stat(melon); (err == nil) != (option == "MELON_LINK=1") {
			t.Errorf("make install %s: libmelon.so: %v", option, err)
		}
	}

	flags := installedFlags(t, stage, filepath.Join(stage, prefix, "lib/pkgconfig/mln.pc"))
	source := filepath.Join(t.TempDir(), "program.c")
	program := strings.TrimSuffix(source, ".c")
	if err := os.WriteFile(source, []byte(installedProgram), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := runTool(compileLimit, setting("CC", "gcc"), slices.Concat([]string{source, "-o", program}, flags)...); err != nil {
		t.Fatal(err)
	}
	library := "LD_LIBRARY_PATH=" + filepath.Join(stage, prefix, "lib")
	result, output, err := job{Path: program, Env: []string{library}, Deadline: 30 * time.Second}.run(t)
	if bad := result.verdict(0, 30*time.Second); err != nil || bad != nil || output == "\n" || output == "" {
		t.Errorf("the program: %v, %v, output %q", err, bad, output)
	}
	generator := filepath.Join(stage, prefix, "bin", "mlnipc")
	if info, err := os.Stat(generator); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mlnipc is not installed as a program: %v, %v", info, err)
	}

	if err := runMake(append(install, "uninstall")...); err != nil {
		t.Fatal(err)
	}
	if after := tree(t, stage); !slices.Equal(after, before) {
		t.Errorf("before the installation there was\n%s\nand after uninstalling\n%s",
			strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// installedFlags returns the compiler's flags from a pkg-config file whose paths are below the folder stage. Where pkg-config is
// installed, its answer has to be the same.
func installedFlags(t *testing.T, stage, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	variables := map[string]string{}
	fields := map[string]string{}
	for line := range strings.Lines(string(data)) {
		line = os.Expand(strings.TrimSpace(line), func(name string) string { return variables[name] })
		if name, value, ok := strings.Cut(line, "="); ok && !strings.ContainsAny(name, ": ") {
			variables[name] = value
		} else if name, value, ok := strings.Cut(line, ": "); ok {
			fields[name] = value
		}
	}
	flags := strings.Fields(fields["Cflags"] + " " + fields["Libs"])
	for i, flag := range flags {
		if strings.HasPrefix(flag, "-I") || strings.HasPrefix(flag, "-L") {
			flags[i] = flag[:2] + stage + flag[2:]
		}
	}
	version, err := os.ReadFile(filepath.Join(root, "VERSION"))
	if err != nil || fields["Version"] != strings.TrimSpace(string(version)) {
		t.Errorf("mln.pc says version %q; VERSION: %q, %v", fields["Version"], version, err)
	}

	if tool, err := exec.LookPath("pkg-config"); err == nil {
		cmd := exec.Command(tool, "--cflags", "--libs", "mln")
		cmd.Env = append(os.Environ(), "PKG_CONFIG_PATH="+filepath.Dir(path), "PKG_CONFIG_SYSROOT_DIR="+stage)
		output, err := cmd.Output()
		if answer := strings.Fields(string(output)); err != nil || !slices.Equal(answer, flags) {
			t.Errorf("pkg-config answers %q (%v), and mln.pc says %q", answer, err, flags)
		}
	}
	return flags
}

// tree lists everything below a folder.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, strings.TrimPrefix(path, dir))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}
