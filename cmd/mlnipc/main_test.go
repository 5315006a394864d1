package main

import (
	"bytes"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// handlers is a good handler file for a prefix.
func handlers(prefix string) string {
	const parameters = "(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata_ptr)\n{\n}\n"
	return "static void " + prefix + "_master" + parameters + "static void " + prefix + "_worker" + parameters
}

// write puts files, named by their paths below dir, on disk.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// file is what snapshot keeps of a file.
type file struct {
	content string
	time    time.Time
}

// snapshot is the state of all files below dir.
func snapshot(t *testing.T, dir string) map[string]file {
	t.Helper()
	files := make(map[string]file)
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = file{string(content), info.ModTime()}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// tool runs a command line with every path in it taken below dir (arguments that begin with @).
func tool(t *testing.T, dir string, args ...string) (status int, output string) {
	t.Helper()
	var b bytes.Buffer
	for i, a := range args {
		if name, ok := strings.CutPrefix(a, "@"); ok {
			args[i] = filepath.Join(dir, name)
		}
	}
	status = run(args, &b, &b)
	return status, strings.ReplaceAll(b.String(), dir+string(filepath.Separator), "")
}

// generateIn runs generate over folders of dir, with the outputs in include/ and units/.
func generateIn(t *testing.T, dir string, folders ...string) (int, string) {
	t.Helper()
	args := []string{"generate", "-header", "@include/mln_ipc.h", "-units", "@units"}
	for _, f := range folders {
		args = append(args, "@"+f)
	}
	return tool(t, dir, args...)
}

func mustGenerate(t *testing.T, dir string, folders ...string) string {
	t.Helper()
	status, output := generateIn(t, dir, folders...)
	if status != 0 {
		t.Fatalf("generate: status %d:\n%s", status, output)
	}
	return output
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// numbers is the entries of a folder's record.
func numbers(t *testing.T, dir, folder string) []string {
	t.Helper()
	var entries []string
	for _, line := range strings.Split(strings.TrimSuffix(read(t, dir, folder, numbersName), "\n"), "\n") {
		if !strings.HasPrefix(line, "#") {
			entries = append(entries, line)
		}
	}
	return entries
}

func TestCommittedFilesAreUpToDate(t *testing.T) {
	status, output := tool(t, filepath.Join("..", ".."), "check", "-header", "@include/mln_ipc.h", "-units", "@capi", "@ipc_handlers")
	if status != 0 {
		t.Errorf("run `mlnipc generate ipc_handlers` in the top folder:\n%s", output)
	}
}

// TestGolden compares everything that is generated with testdata: the output must be the same on every machine.
func TestGolden(t *testing.T) {
	dir := t.TempDir()
	inputs := map[string]string{
		"ipc_handlers/conf_reload.M_IPC_CONF_RELOAD": handlers("conf_reload"),
		"ipc_handlers/Zebra.M_ZEBRA":                 handlers("Zebra"),
		"ipc_handlers/ant.M_ANT":                     strings.TrimSuffix(handlers("ant"), "\n"), // no newline at the end
		"own/linux.M_BIG":                            handlers("linux") + "// ends in a backslash \\",
		"own/" + numbersName:                         "4000000000 M_BIG\n",
		"program/hello.M_HELLO":                      handlers("hello"),
	}
	write(t, dir, inputs)
	mustGenerate(t, dir, "ipc_handlers", "own")
	if status, output := tool(t, dir, "program", "-header", "@program_units/hello-types.h", "-units", "@program_units", "@program"); status != 0 {
		t.Fatal(output)
	}
	if status, output := tool(t, dir, "new", "greet.M_GREET", "-dir", "@program"); status != 0 {
		t.Fatal(output)
	}
	for name, f := range snapshot(t, dir) {
		if f.content == inputs[name] {
			continue
		}
		if strings.Contains(f.content, dir) {
			t.Errorf("%s holds an absolute path", name)
		}
		golden := filepath.Join("testdata", "golden", strings.ReplaceAll(name, "/.", "/dot"))
		if *update {
			write(t, ".", map[string]string{golden: f.content})
		}
		if want := read(t, golden); f.content != want {
			t.Errorf("%s differs from %s (go test -update writes it anew):\n%s", name, golden, f.content)
		}
	}
}

func TestAnEmptyFolderGivesAnEmptyTable(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a/.gitkeep": ""})
	mustGenerate(t, dir, "a")
	got := slices.Sorted(maps.Keys(snapshot(t, dir)))
	if want := []string{"a/.gitkeep", "include/mln_ipc.h", "units/ipc_handlers_gen.c"}; !slices.Equal(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
	if table := read(t, dir, "units", tableFile); !strings.Contains(table, "ipc_builtins[] = {\n    NULL\n};") {
		t.Errorf("table:\n%s", table)
	}
}

func TestNothingIsWrittenWhenNothingChanged(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a/x.M_X": handlers("x"), "a/y.M_Y": handlers("y"), "b/z.M_Z": handlers("z")})
	mustGenerate(t, dir, "a", "b")
	old := time.Now().Add(-time.Hour).Truncate(time.Second)
	for name := range snapshot(t, dir) {
		if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	before := snapshot(t, dir)
	if output := mustGenerate(t, dir, "a", "b"); output != "" {
		t.Errorf("output %q", output)
	}
	if after := snapshot(t, dir); !maps.Equal(before, after) {
		t.Errorf("files changed:\n%v\n%v", before, after)
	}
	write(t, dir, map[string]string{"a/x.M_X": handlers("x") + "\n"})
	if output, want := mustGenerate(t, dir, "a", "b"), "mlnipc: write units/ipc_x_gen.c\n"; output != want {
		t.Errorf("after a change of one text: output %q, want %q", output, want)
	}
}

func TestNumbersStayWhenFilesComeAndGo(t *testing.T) {
	dir := t.TempDir()
	steps := []struct {
		does   string
		write  map[string]string
		remove string
		want   []string
	}{
		{"first run", map[string]string{"a/m.M_M": handlers("m"), "a/conf_reload.M_IPC_CONF_RELOAD": handlers("conf_reload")}, "",
			[]string{"1 M_IPC_CONF_RELOAD", "1025 M_M"}},
		{"add one that sorts first", map[string]string{"a/a.M_A": handlers("a")}, "",
			[]string{"1 M_IPC_CONF_RELOAD", "1025 M_M", "1026 M_A"}},
		{"rename the prefix", map[string]string{"a/zz.M_A": handlers("zz")}, "a/a.M_A",
			[]string{"1 M_IPC_CONF_RELOAD", "1025 M_M", "1026 M_A"}},
		{"remove", nil, "a/m.M_M",
			[]string{"1 M_IPC_CONF_RELOAD", "1025 M_M removed", "1026 M_A"}},
		{"rename the type", map[string]string{"a/zz.M_B": handlers("zz")}, "a/zz.M_A",
			[]string{"1 M_IPC_CONF_RELOAD", "1025 M_M removed", "1026 M_A removed", "1027 M_B"}},
		{"bring a type back", map[string]string{"a/m.M_M": handlers("m")}, "",
			[]string{"1 M_IPC_CONF_RELOAD", "1025 M_M", "1026 M_A removed", "1027 M_B"}},
		{"remove the reload", nil, "a/conf_reload.M_IPC_CONF_RELOAD",
			[]string{"1 M_IPC_CONF_RELOAD removed", "1025 M_M", "1026 M_A removed", "1027 M_B"}},
	}
	for _, step := range steps {
		write(t, dir, step.write)
		if step.remove != "" {
			if err := os.Remove(filepath.Join(dir, step.remove)); err != nil {
				t.Fatal(err)
			}
		}
		mustGenerate(t, dir, "a")
		if got := numbers(t, dir, "a"); !slices.Equal(got, step.want) {
			t.Errorf("%s: numbers %q, want %q", step.does, got, step.want)
		}
		header := read(t, dir, "include/mln_ipc.h")
		for _, entry := range step.want {
			fields := strings.Fields(entry)
			defined := strings.Contains(header, "#define "+fields[1]+" "+fields[0]+" ")
			if defined != (len(fields) == 2) {
				t.Errorf("%s: entry %q, but is it defined in the header: %v", step.does, entry, defined)
			}
		}
	}
}

func TestNumbersOverSeveralFolders(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"lib/l.M_L": handlers("l"), "own/o.M_O": handlers("o"),
		"own/" + numbersName: "# mine\n\n1025 M_PINNED\n7 M_O\n",
	})
	mustGenerate(t, dir, "lib", "own")
	if got, want := numbers(t, dir, "lib"), []string{"1026 M_L"}; !slices.Equal(got, want) {
		t.Errorf("lib: %q, want %q: 1025 is taken in the other folder", got, want)
	}
	if got, want := read(t, dir, "own", numbersName), "# mine\n\n1025 M_PINNED removed\n7 M_O\n"; got != want {
		t.Errorf("own: %q, want %q: comments and order stay", got, want)
	}

	// A message that moves to the other folder keeps its number.
	if err := os.Rename(filepath.Join(dir, "lib/l.M_L"), filepath.Join(dir, "own/l.M_L")); err != nil {
		t.Fatal(err)
	}
	mustGenerate(t, dir, "lib", "own")
	if got, want := numbers(t, dir, "lib"), []string{"1026 M_L removed"}; !slices.Equal(got, want) {
		t.Errorf("lib after the move: %q, want %q", got, want)
	}
	if got, want := numbers(t, dir, "own"), []string{"", "1025 M_PINNED removed", "7 M_O", "1026 M_L"}; !slices.Equal(got, want) {
		t.Errorf("own after the move: %q, want %q", got, want)
	}
}

// TestErrors holds one rule a row. Whatever is wrong, the error names the file and nothing is written.
func TestErrors(t *testing.T) {
	good := handlers("x")
	rows := []struct {
		rule  string
		files map[string]string // besides a good message in folder a, and an older state of the generated files
		want  []string          // parts of the output
	}{
		{"no dot", map[string]string{"a/README": good}, []string{"a/README: ", "exactly one dot"}},
		{"two dots", map[string]string{"a/x.M_X.orig": good}, []string{"a/x.M_X.orig: ", "exactly one dot"}},
		{"prefix not an identifier", map[string]string{"a/2x.M_X": good}, []string{"a/2x.M_X: ", `prefix "2x"`}},
		{"empty type", map[string]string{"a/x.": good}, []string{"a/x.: ", `type name ""`}},
		{"type not an identifier", map[string]string{"a/x.M-X": good}, []string{"a/x.M-X: ", `type name "M-X"`}},
		{"type is a keyword", map[string]string{"a/x.while": good}, []string{"a/x.while: ", "keyword"}},
		{"type is a keyword of C++", map[string]string{"a/x.class": good}, []string{"a/x.class: ", "keyword"}},
		{"type is a macro of ours", map[string]string{"a/x.M_EV_RECV": good}, []string{"a/x.M_EV_RECV: ", "headers"}},
		{"type in our name space", map[string]string{"a/x.MLN_X": good}, []string{"a/x.MLN_X: ", "MLN_"}},
		{"type of the compiler", map[string]string{"a/x.__X": good}, []string{"a/x.__X: ", "compiler"}},
		{"prefix in our name space", map[string]string{"a/mln_x.M_X": handlers("mln_x")}, []string{"a/mln_x.M_X: ", "mln_"}},
		{"prefix of the table", map[string]string{"a/handlers.M_X": handlers("handlers")}, []string{"a/handlers.M_X: ", "table"}},
		{"too long", map[string]string{"a/" + strings.Repeat("x", 64) + ".M_X": good}, []string{"64 characters"}},
		{"a folder", map[string]string{"a/x.M_X/file": good}, []string{"a/x.M_X: ", "not a regular file"}},
		{"duplicate type", map[string]string{"a/x.M_GOOD": good}, []string{"a/x.M_GOOD: ", "a/good.M_GOOD"}},
		{"duplicate type in another folder", map[string]string{"b/x.M_GOOD": good}, []string{"b/x.M_GOOD: ", "a/good.M_GOOD"}},
		{"duplicate prefix", map[string]string{"a/good.M_X": handlers("good")}, []string{"a/good.M_X: ", "a/good.M_GOOD"}},
		{"duplicate prefix in another folder", map[string]string{"b/good.M_X": handlers("good")}, []string{"b/good.M_X: ", "a/good.M_GOOD"}},
		{"no master", map[string]string{"a/x.M_X": strings.ReplaceAll(good, "x_master", "y_master")}, []string{"a/x.M_X: ", "x_master"}},
		{"no worker", map[string]string{"a/x.M_X": strings.ReplaceAll(good, "x_worker", "y_worker")}, []string{"a/x.M_X: ", "x_worker"}},
		{"empty file", map[string]string{"a/x.M_X": ""}, []string{"a/x.M_X: ", "x_master", "x_worker"}},
		{"open comment", map[string]string{"a/x.M_X": good + "\n\n/* to be continued"}, []string{"a/x.M_X: ", "line 9 "}},
		{"binary", map[string]string{"a/x.M_X": good + "\x00"}, []string{"a/x.M_X: ", "NUL"}},
		{"byte order mark", map[string]string{"a/x.M_X": "\xef\xbb\xbf" + good}, []string{"a/x.M_X: ", "byte order mark"}},
		{"two problems at once", map[string]string{"a/x.M_X": "", "a/y": ""}, []string{"a/x.M_X: ", "a/y: "}},

		{"number out of range", map[string]string{"b/.numbers": "# head\n4294967296 M_X\n"}, []string{"b/.numbers:2: ", "out of range"}},
		{"negative number", map[string]string{"b/.numbers": "-5 M_X\n"}, []string{"b/.numbers:1: ", "not a decimal number"}},
		{"leading zero", map[string]string{"b/.numbers": "010 M_X\n"}, []string{"b/.numbers:1: ", "not a decimal number"}},
		{"not an entry", map[string]string{"b/.numbers": "1030\n"}, []string{"b/.numbers:1: ", "not an entry"}},
		{"unknown mark", map[string]string{"b/.numbers": "1030 M_X gone\n"}, []string{"b/.numbers:1: ", "not an entry"}},
		{"bad type in the record", map[string]string{"b/.numbers": "1030 M-X\n"}, []string{"b/.numbers:1: ", "identifier"}},
		{"duplicate number", map[string]string{"b/.numbers": "1030 M_X\n1030 M_Y\n"}, []string{"b/.numbers:2: ", "line 1"}},
		{"duplicate type in the record", map[string]string{"b/.numbers": "1030 M_X\n1031 M_X\n"}, []string{"b/.numbers:2: ", "line 1"}},
		{"number 1 for another", map[string]string{"b/.numbers": "1 M_X\n"}, []string{"b/.numbers:1: ", reloadType}},
		{"another number for the reload", map[string]string{"b/.numbers": "1030 M_IPC_CONF_RELOAD\n"}, []string{"b/.numbers:1: ", reloadType}},
		{"number of another folder", map[string]string{"b/.numbers": "1025 M_X\n"}, []string{"b/.numbers:1: ", "M_GOOD", "a/.numbers:"}},
		{"two numbers for a type", map[string]string{"b/.numbers": "1030 M_GOOD\n"}, []string{"b/.numbers:1: ", "1025", "a/.numbers:"}},
		{"merge conflict", map[string]string{"b/.numbers": "<<<<<<< HEAD\n1030 M_X\n=======\n1030 M_Y\n>>>>>>> other\n"}, []string{"b/.numbers:1: ", "merge conflict"}},
		{"empty record", map[string]string{"b/.numbers": ""}, []string{"b/.numbers: ", "empty"}},
		{"cut record", map[string]string{"b/.numbers": "1030 M_X\n1031 M_"}, []string{"b/.numbers:2: ", "cut short"}},
		{"record is a folder", map[string]string{"b/.numbers/x": ""}, []string{"b/.numbers: ", "not a regular file"}},

		{"foreign unit", map[string]string{"a/x.M_X": good, "units/ipc_x_gen.c": "int precious;\n"}, []string{"units/ipc_x_gen.c: ", "not written by mlnipc"}},
		{"unit of the other mode", map[string]string{"a/x.M_X": good, "units/ipc_x_gen.c": programMode.marker() + "\n"}, []string{"units/ipc_x_gen.c: ", "not written by mlnipc generate"}},
		{"unit is a folder", map[string]string{"a/x.M_X": good, "units/ipc_x_gen.c/file": ""}, []string{"units/ipc_x_gen.c: ", "not a regular file"}},
	}
	for _, row := range rows {
		t.Run(row.rule, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, map[string]string{"a/good.M_GOOD": handlers("good"), "a/old.M_OLD": handlers("old"), "b/.gitkeep": ""})
			mustGenerate(t, dir, "a", "b")
			// A removed file would change the record, the header, the table, and delete a unit.
			if err := os.Remove(filepath.Join(dir, "a/old.M_OLD")); err != nil {
				t.Fatal(err)
			}
			write(t, dir, row.files)
			before := snapshot(t, dir)
			status, output := generateIn(t, dir, "a", "b")
			if status != 1 {
				t.Errorf("status %d, want 1", status)
			}
			for _, part := range row.want {
				if !strings.Contains(output, part) {
					t.Errorf("output does not say %q:\n%s", part, output)
				}
			}
			if after := snapshot(t, dir); !maps.Equal(before, after) {
				t.Errorf("files changed in spite of the error")
			}
		})
	}
}

func TestWrongOutputs(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a/x.M_X": handlers("x"), "file": "", "mine.h": "int precious;\n"})
	reload := t.TempDir()
	write(t, reload, map[string]string{"a/x.M_IPC_CONF_RELOAD": handlers("x")})
	rows := []struct {
		rule   string
		args   []string
		status int
		want   string
	}{
		{"header not a header", []string{"program", "-header", "@x.c", "@a"}, 1, ".h"},
		{"library header of another name", []string{"generate", "-header", "@x.h", "@a"}, 1, "mln_ipc.h"},
		{"program header of the library's name", []string{"program", "-header", "@mln_ipc.h", "@a"}, 1, "mln_ipc.h"},
		{"header of somebody else", []string{"program", "-header", "@mine.h", "-units", "@u", "@a"}, 1, "not written by mlnipc"},
		{"units among the messages", []string{"program", "-header", "@x.h", "-units", "@a", "@a"}, 1, "folder of messages"},
		{"header among the messages", []string{"program", "-header", "@a/x.h", "-units", "@u", "@a"}, 1, "folder of messages"},
		{"units in a file", []string{"program", "-header", "@x.h", "-units", "@file", "@a"}, 1, "not a folder"},
		{"no such folder", []string{"program", "-header", "@x.h", "-units", "@u", "@none"}, 1, "none"},
		{"a file for a folder", []string{"program", "-header", "@x.h", "-units", "@u", "@file"}, 1, "file"},
		{"folder twice", []string{"generate", "-header", "@mln_ipc.h", "-units", "@u", "@a", "@a/../a"}, 1, "named twice"},
		{"two folders for a program", []string{"program", "@a", "@b"}, 2, "one folder"},
		{"no folder", []string{"generate"}, 2, "needs a folder"},
		{"unknown flag", []string{"generate", "-x", "@a"}, 2, "-x"},
		{"unknown command", []string{"genrate"}, 2, "genrate"},
		{"no command", nil, 2, "mlnipc help"},
	}
	for _, row := range rows {
		t.Run(row.rule, func(t *testing.T) {
			before := snapshot(t, dir)
			status, output := tool(t, dir, row.args...)
			if status != row.status || !strings.Contains(output, row.want) {
				t.Errorf("status %d, want %d; output must say %q:\n%s", status, row.status, row.want, output)
			}
			if after := snapshot(t, dir); !maps.Equal(before, after) {
				t.Errorf("files changed in spite of the error")
			}
		})
	}
	if status, output := tool(t, reload, "program", "-header", "@x.h", "-units", "@u", "@a"); status != 1 || !strings.Contains(output, "belongs to the library") {
		t.Errorf("a program's own %s: status %d:\n%s", reloadType, status, output)
	}
}

func TestUnitsOfRemovedMessagesAreDeleted(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"a/x.M_X":               handlers("x"),
		"a/y.M_Y":               handlers("y"),
		"units/ipc_mine_gen.c":  "int precious;\n",
		"units/ipc_other_gen.c": programMode.marker() + "\n",
	})
	mustGenerate(t, dir, "a")
	if err := os.Remove(filepath.Join(dir, "a/y.M_Y")); err != nil {
		t.Fatal(err)
	}
	output := mustGenerate(t, dir, "a")
	if !strings.Contains(output, "mlnipc: delete units/ipc_y_gen.c\n") {
		t.Errorf("output:\n%s", output)
	}
	got := slices.Sorted(maps.Keys(snapshot(t, filepath.Join(dir, "units"))))
	want := []string{"ipc_handlers_gen.c", "ipc_mine_gen.c", "ipc_other_gen.c", "ipc_x_gen.c"}
	if !slices.Equal(got, want) {
		t.Errorf("units %v, want %v: only generated ones go", got, want)
	}
}

func TestHiddenFilesAndBackupsAreLeftOutAndNamed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a/x.M_X": handlers("x"), "a/x.M_X~": "", "a/.x.M_X.swp": "", "a/#x.M_X#": "", "a/.gitignore": ""})
	output := mustGenerate(t, dir, "a")
	for name, want := range map[string]bool{"a/x.M_X~": true, "a/.x.M_X.swp": true, "a/#x.M_X#": true, "a/.gitignore": false, "a/.numbers: ": false} {
		if strings.Contains(output, name) != want {
			t.Errorf("is %s named: %v, want %v:\n%s", name, !want, want, output)
		}
	}
	if got, want := numbers(t, dir, "a"), []string{"1025 M_X"}; !slices.Equal(got, want) {
		t.Errorf("numbers %q, want %q", got, want)
	}
}

// TestWriteFailureChangesNothing makes the last file impossible to stage after others could be.
func TestWriteFailureChangesNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "old a", "b": "old b"})
	before := snapshot(t, dir)
	err := apply([]change{
		{filepath.Join(dir, "a"), []byte("new a")},
		{path: filepath.Join(dir, "b")},
		{filepath.Join(dir, "none", "c"), []byte("new c")},
	})
	if err == nil || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("error %v", err)
	}
	if after := snapshot(t, dir); !maps.Equal(before, after) {
		t.Errorf("files %v, want %v", after, before)
	}
}

func TestCheckNamesWhatWouldChangeAndWritesNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a/x.M_X": handlers("x")})
	check := func() (int, string) {
		return tool(t, dir, "check", "-header", "@include/mln_ipc.h", "-units", "@units", "@a")
	}
	before := snapshot(t, dir)
	status, output := check()
	if status != 1 {
		t.Errorf("status %d", status)
	}
	for _, name := range []string{"write a/.numbers", "write include/mln_ipc.h", "write units/ipc_x_gen.c", "write units/ipc_handlers_gen.c"} {
		if !strings.Contains(output, name) {
			t.Errorf("output does not say %q:\n%s", name, output)
		}
	}
	if after := snapshot(t, dir); !maps.Equal(before, after) {
		t.Error("check wrote files")
	}
	if _, err := os.Stat(filepath.Join(dir, "units")); err == nil {
		t.Error("check made a folder")
	}
	mustGenerate(t, dir, "a")
	if status, output := check(); status != 0 || output != "" {
		t.Errorf("after generate: status %d, output %q", status, output)
	}
	write(t, dir, map[string]string{"include/mln_ipc.h": libraryMode.marker() + "\nedited\n"})
	if status, output := check(); status != 1 || !strings.Contains(output, "include/mln_ipc.h") {
		t.Errorf("after an edit: status %d, output %q", status, output)
	}
}

// TestConcurrentRunsGiveEachTypeOneNumber starts a run after each message that is added, before the earlier runs are
// done. Each message sorts before the others, so that a run that overlooks a number just given would give it again.
func TestConcurrentRunsGiveEachTypeOneNumber(t *testing.T) {
	dir := t.TempDir()
	var wait sync.WaitGroup
	var mutex sync.Mutex
	seen := make(map[string]string) // number by type
	for _, prefix := range strings.Fields("h g f e d c b a") {
		write(t, dir, map[string]string{"m/.new": handlers(prefix)})
		if err := os.Rename(filepath.Join(dir, "m/.new"), filepath.Join(dir, "m", prefix+".M_"+prefix)); err != nil {
			t.Fatal(err)
		}
		wait.Go(func() {
			if status, output := generateIn(t, dir, "m"); status != 0 {
				t.Errorf("status %d:\n%s", status, output)
				return
			}
			mutex.Lock()
			defer mutex.Unlock()
			for _, entry := range numbers(t, dir, "m") {
				number, typ, _ := strings.Cut(entry, " ")
				if seen[typ] != "" && seen[typ] != number {
					t.Errorf("%s had number %s and now has %s", typ, seen[typ], number)
				}
				seen[typ] = number
			}
		})
	}
	wait.Wait()
	if len(seen) != 8 {
		t.Errorf("numbers %v, want 8", seen)
	}
	for name := range snapshot(t, dir) {
		if strings.Contains(name, ".mlnipc-") {
			t.Errorf("temporary file %s was left", name)
		}
	}
}

func TestTheFolderIsLockedWhileARunDecides(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"m/x.M_X": handlers("x"), "m/.hidden": ""})
	j := job{libraryMode, filepath.Join(dir, libraryHeader), filepath.Join(dir, "units"), []string{filepath.Join(dir, "m")}}
	remarks := 0
	_, err := j.run(false, func(string, ...any) { // called for the hidden file, between reading and writing
		remarks++
		folder, err := os.Open(j.folders[0])
		if err != nil {
			t.Fatal(err)
		}
		defer folder.Close()
		if err := flock(folder, syscall.LOCK_SH|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
			t.Errorf("another run could lock the folder: %v", err)
		}
	})
	if err != nil || remarks != 1 {
		t.Errorf("error %v, %d remarks", err, remarks)
	}
}

func TestLockKeepsASecondRunWaiting(t *testing.T) {
	dir := t.TempDir()
	quiet := func(string, ...any) {}
	unlock, err := lockFolders([]string{dir, dir}, false, quiet)
	if err != nil {
		t.Fatal(err)
	}
	waiting, locked := make(chan struct{}), make(chan struct{})
	go func() {
		second, err := lockFolders([]string{dir}, true, func(string, ...any) { close(waiting) })
		if err != nil {
			t.Error(err)
			return
		}
		close(locked)
		second()
	}()
	deadline := time.After(10 * time.Second)
	select {
	case <-waiting:
	case <-locked:
		t.Fatal("the second run did not wait")
	case <-deadline:
		t.Fatal("the second run says nothing")
	}
	unlock()
	select {
	case <-locked:
	case <-deadline:
		t.Fatal("the second run waits for ever")
	}
}

func TestNewWritesAMessageThatGenerates(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a/x.M_X": handlers("x")})
	if status, output := tool(t, dir, "new", "greet.M_GREET", "-dir", "@a"); status != 0 || output != "mlnipc: write a/greet.M_GREET\n" {
		t.Fatalf("status %d:\n%s", status, output)
	}
	mustGenerate(t, dir, "a")
	before := snapshot(t, dir)
	for _, args := range [][]string{
		{"new", "-dir", "@a", "greet.M_GREET"}, // exists
		{"new", "-dir", "@a", "greet.M_OTHER"}, // prefix exists
		{"new", "-dir", "@a", "other.M_GREET"}, // type exists
		{"new", "-dir", "@a", "x.y.z"},
		{"new", "-dir", "@none", "other.M_OTHER"},
	} {
		name := args[len(args)-1]
		if status, output := tool(t, dir, args...); status != 1 {
			t.Errorf("new %s: status %d:\n%s", name, status, output)
		}
	}
	if status, _ := tool(t, dir, "new", "-dir", "@a"); status != 2 {
		t.Errorf("new without a name: status %d", status)
	}
	if after := snapshot(t, dir); !maps.Equal(before, after) {
		t.Error("a refused new changed files")
	}
}

func TestListShowsGivenNewAndRemoved(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a/x.M_X": handlers("x"), "a/" + numbersName: "1025 M_X\n1026 M_OLD removed\n", "b/y.M_Y": handlers("y")})
	before := snapshot(t, dir)
	status, output := tool(t, dir, "list", "@a", "@b")
	var rows [][]string
	for _, line := range strings.Split(strings.TrimSpace(output), "\n") {
		rows = append(rows, strings.Fields(line))
	}
	want := [][]string{
		{"NUMBER", "TYPE", "PREFIX", "FILE", "STATE"},
		{"1025", "M_X", "x", "a/x.M_X", "given"},
		{"1026", "M_OLD", "-", "a/.numbers", "removed"},
		{"1027", "M_Y", "y", "b/y.M_Y", "new"},
	}
	if status != 0 || !slices.EqualFunc(rows, want, slices.Equal[[]string]) {
		t.Errorf("status %d:\n%s", status, output)
	}
	if after := snapshot(t, dir); !maps.Equal(before, after) {
		t.Error("list changed files")
	}
}

func TestHelpNamesEveryCommand(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"-h"}, {"generate", "-h"}} {
		status, output := tool(t, t.TempDir(), args...)
		if status != 0 || output != help {
			t.Errorf("%v: status %d:\n%s", args, status, output)
		}
	}
	for _, name := range []string{"generate", "check", "program", "new", "list"} {
		if !strings.Contains(help, "  mlnipc "+name+" ") {
			t.Errorf("help does not explain %s", name)
		}
	}
}
