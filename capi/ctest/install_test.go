package ctest

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
	checkManPages(t, filepath.Join(stage, prefix, "share/man"))

	if err := runMake(append(install, "uninstall")...); err != nil {
		t.Fatal(err)
	}
	if after := tree(t, stage); !slices.Equal(after, before) {
		t.Errorf("before the installation there was\n%s\nand after uninstalling\n%s",
			strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// manPages are the headers that have a man page, with its name.
var manPages = map[string]string{
	"mln_fork.h":       "mln_fork",
	"mln_ipc.h":        "mln_ipc",
	"mln_event.h":      "mln_event",
	"mln_connection.h": "mln_tcp_conn",
	"mln_conf.h":       "mln_conf",
	"mln_log.h":        "mln_log",
	"mln_framework.h":  "mln_framework",
	"mln_core.h":       "mln_framework",
}

// macroWithArguments matches the definition of a macro that is used like a function.
var macroWithArguments = regexp.MustCompile(`(?m)^#define (\w+)\(`)

// checkManPages asserts that every page is installed, and that every function of the headers it covers leads to it and is in it.
func checkManPages(t *testing.T, folder string) {
	t.Helper()
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(folder, "man3", name+".3"))
		if err != nil {
			t.Errorf("there is no man page: %v", err)
		}
		return string(text)
	}
	checked := 0
	for header, page := range manPages {
		text := read(page)
		heading := "\n.TH " + page + " 3 "
		if !strings.Contains(text, heading) || strings.Contains(text, "\n.so ") {
			t.Errorf("%s(3) has no line%s", page, heading)
		}
		source, err := os.ReadFile(filepath.Join(include, header))
		if err != nil {
			t.Fatal(err)
		}
		var functions []string
		for _, d := range declarationsIn(header, string(source)) {
			if d.Name != "" {
				functions = append(functions, d.Name)
			}
		}
		for _, macro := range macroWithArguments.FindAllStringSubmatch(string(source), -1) {
			functions = append(functions, macro[1])
		}
		for _, function := range functions {
			checked++
			if alias := read(function); function != page && alias != ".so man3/"+page+".3\n" {
				t.Errorf("%s.3 does not refer to %s(3): %q", function, page, alias)
			}
			if !strings.Contains(text, function+"(") {
				t.Errorf("%s(3) has no %s(), which %s declares: run make man", page, function, header)
			}
		}
	}
	if checked < 100 {
		t.Errorf("%d functions were found in the headers, want more than 100", checked)
	}

	// Where man-db is installed, it finds a page by the name of a function.
	version, err := exec.Command("man", "--version").Output()
	if err != nil || !strings.HasPrefix(string(version), "man 2") {
		return
	}
	cmd := exec.Command("man", "-M", folder, "-P", "cat", "3", "mln_event_fd_set")
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if output, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(output), "\nSYNOPSIS\n") {
		t.Errorf("man 3 mln_event_fd_set: %v\n%s", err, output)
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
