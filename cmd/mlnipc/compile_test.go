package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// standIns are headers with as much as generated code needs of the library's, so that it can be compiled and run
// without the library. mln_fork.h and mln_ipc.h include each other as the real ones do.
func standIns() map[string]string {
	headers := map[string]string{
		"include/mln_types.h":  "#ifndef T\n#define T\ntypedef unsigned int mln_u32_t;\n#endif\n",
		"include/mln_fork.h":   "#ifndef F\n#define F\n#include \"mln_types.h\"\ntypedef struct mln_event_s mln_event_t;\ntypedef void (*ipc_handler)(mln_event_t *, void *, void *, mln_u32_t, void **);\n#include \"mln_ipc.h\"\n#endif\n",
		"include/mln_global.h": "#ifndef G\n#define G\nint mln_conf_reload(void);\n#endif\n",
	}
	for _, name := range strings.Fields("connection lex log event fheap hash prime_generator rbtree string") {
		headers["include/mln_"+name+".h"] = "#include \"mln_fork.h\"\n"
	}
	return headers
}

// compiler runs the C compiler in dir and returns what it printed.
func compiler(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "gcc"
	}
	return run60s(t, dir, cc, args...)
}

// run60s runs a program in dir for a minute at most.
func run60s(t *testing.T, dir, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	output, err := cmd.CombinedOutput()
	return string(output), err
}

var strict = []string{"-Wall", "-Wextra", "-Werror"}

// buildFolder has stand-in headers, and is ready for generate and for compiling what it writes.
func buildFolder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, standIns())
	builtin := read(t, "..", "..", "capi", "ipc_builtin.h")
	write(t, dir, map[string]string{"units/ipc_builtin.h": builtin})
	write(t, dir, files)
	return dir
}

// TestLibraryUnitsCompileAndRun compiles the library's own messages, a skeleton, and two that share a static name.
func TestLibraryUnitsCompileAndRun(t *testing.T) {
	reload := read(t, "..", "..", "ipc_handlers", "conf_reload."+reloadType)
	shared := func(prefix, value string) string {
		return "static int answer(void) { return " + value + "; }\n" +
			"void " + prefix + "_master(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata_ptr) { *(int *)buf = answer(); }\n" +
			"static void " + prefix + "_worker(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata_ptr) { *(int *)buf = -answer(); }\n" +
			"// \\" // as nasty an end as a file can have
	}
	dir := buildFolder(t, map[string]string{
		"m/conf_reload." + reloadType: reload,
		"m/one.M_ONE":                 shared("one", "1"),
		"m/two.M_TWO":                 shared("two", "2"),
		"m/" + numbersName:            "4294967295 M_TWO\n",
		"units/main.c": `#include "ipc_builtin.h"
int reloads;
int mln_conf_reload(void);
int mln_conf_reload(void) { reloads++; return -1; }
int main(void)
{
    int v, sum = 0, n = 0;
    for (const struct ipc_builtin *const *b = ipc_builtins; *b != NULL; b++, n++) {
        v = 0;
        (*b)->master(NULL, NULL, &v, sizeof(v), NULL);
        if (v != ((*b)->type == M_ONE ? 1 : (*b)->type == M_TWO ? 2 : 0)) return 1;
        (*b)->worker(NULL, NULL, &v, sizeof(v), NULL);
        sum += v;
    }
    return n == 4 && sum == -3 && reloads == 1 && M_IPC_CONF_RELOAD == 1 && M_TWO == 0xffffffff ? 0 : 2;
}
`,
	})
	if status, output := tool(t, dir, "new", "greet.M_GREET", "-dir", "@m"); status != 0 {
		t.Fatal(output)
	}
	mustGenerate(t, dir, "m")
	units, err := filepath.Glob(filepath.Join(dir, "units", "*.c"))
	if err != nil || len(units) != 6 {
		t.Fatalf("units %v (%v)", units, err)
	}
	args := append([]string{"-std=gnu11", "-Iinclude", "-o", "program"}, strict...)
	// The comment that continues into the next line is the nasty file's own affair.
	if output, err := compiler(t, dir, append(append(args, "-Wno-comment"), units...)...); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if output, err := run60s(t, dir, "./program"); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestCompilerNamesTheMessageFile checks that errors are reported where they are to be mended.
func TestCompilerNamesTheMessageFile(t *testing.T) {
	good := handlers("x")
	rows := []struct{ does, text, want string }{
		{"an error in the text", good + "\nint a = ;\n", "x.M_X:8:"},
		{"an unfinished conditional", "#if 1\n" + good, "x.M_X:1:"},
		{"a handler of another type", strings.Replace(good, "mln_u32_t len", "int len", 1), "x_master must be: void ("},
		{"a handler with a result", strings.Replace(good, "static void x_worker", "static int x_worker", 1), "x_worker must be: void ("},
	}
	for _, row := range rows {
		t.Run(row.does, func(t *testing.T) {
			dir := buildFolder(t, map[string]string{"m/x.M_X": row.text})
			mustGenerate(t, dir, "m")
			output, err := compiler(t, dir, "-std=gnu11", "-Iinclude", "-c", "-o", "x.o", "units/ipc_x_gen.c")
			if err == nil || !strings.Contains(output, row.want) {
				t.Errorf("the compiler must say %q; %v\n%s", row.want, err, output)
			}
		})
	}
	t.Run("the end of the unit has its own lines", func(t *testing.T) {
		unit := string(renderUnit(libraryMode, libraryHeader, &message{messageName: messageName{"x", "M_X"}, Text: []byte("a\nb")}))
		lines := strings.Split(unit, "\n")
		for i, line := range lines {
			if strings.HasPrefix(line, "#line ") && !strings.Contains(line, "M_X") {
				if want := "#line " + cNumber(uint32(i+2)) + ` "ipc_x_gen.c"`; line != want {
					t.Errorf("line %d is %q, want %q", i+1, line, want)
				}
				return
			}
		}
		t.Error("no line puts the numbers back")
	})
}

// TestHeaderCompilesAloneAndInAnyOrder covers the languages of the programs that include it.
func TestHeaderCompilesAloneAndInAnyOrder(t *testing.T) {
	dir := buildFolder(t, map[string]string{"m/x.M_X": handlers("x"), "p/y.M_Y": handlers("y"), "p/" + numbersName: "1026 M_Y\n"})
	mustGenerate(t, dir, "m")
	if status, output := tool(t, dir, "program", "-header", "@types.h", "-units", "@p_units", "@p"); status != 0 {
		t.Fatal(output)
	}
	const use = "mln_ipc_cb_t cb; int types[] = { M_X };\n"
	write(t, dir, map[string]string{
		"alone.c": "#include \"mln_ipc.h\"\n" + use,
		"after.c": "#include \"mln_fork.h\"\n" + use,
		"twice.c": "#include \"mln_ipc.h\"\n#include \"mln_fork.h\"\n#include \"mln_ipc.h\"\n#include \"types.h\"\n#include \"types.h\"\nint own = M_Y;\n" + use,
	})
	for _, language := range [][]string{{"-xc", "-std=c99"}, {"-xc", "-std=c11"}, {"-xc++", "-std=c++17"}} {
		for _, name := range []string{"alone.c", "after.c", "twice.c"} {
			args := append(append([]string{"-pedantic", "-Iinclude", "-fsyntax-only"}, strict...), append(language, name)...)
			if output, err := compiler(t, dir, args...); err != nil {
				t.Errorf("%s as %s: %v\n%s", name, language[1], err, output)
			}
		}
	}
}

const registry = `#include <stdio.h>
#include "types.h"
static mln_u32_t seen[8];
static int n;
static mln_ipc_cb_t cb;
mln_ipc_cb_t *mln_ipc_handler_register(mln_u32_t type, ipc_handler master, ipc_handler worker, void *md, void *wd)
{
    if (n == LIMIT || master == NULL || worker == NULL || md != NULL || wd != NULL) { errno_is_set(); return NULL; }
    seen[n++] = type;
    return &cb;
}
int main(void)
{
    for (int i = 0; i < n; i++) printf("%u\n", seen[i]);
    return 0;
}
`

// TestProgramUnitsRegisterBeforeMain also covers a registration that fails.
func TestProgramUnitsRegisterBeforeMain(t *testing.T) {
	dir := buildFolder(t, map[string]string{
		"p/y.M_Y":     handlers("y"),
		"p/z.M_Z":     handlers("z"),
		"p_units/m.c": "#include <errno.h>\n#define errno_is_set() (errno = ENOMEM)\n" + registry,
	})
	write(t, dir, map[string]string{"m/.gitkeep": ""})
	mustGenerate(t, dir, "m")
	if status, output := tool(t, dir, "program", "-header", "@p_units/types.h", "-units", "@p_units", "@p"); status != 0 {
		t.Fatal(output)
	}
	for limit, want := range map[string]string{
		"2": "1025\n1026\n",
		"1": "cannot register the handlers of message M_Z: Cannot allocate memory\n",
	} {
		args := append([]string{"-std=gnu11", "-Iinclude", "-DLIMIT=" + limit, "-o", "program"}, strict...)
		if output, err := compiler(t, dir, append(args, "p_units/ipc_y_gen.c", "p_units/ipc_z_gen.c", "p_units/m.c")...); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		output, err := run60s(t, dir, "./program")
		if output != want || (err == nil) != (limit == "2") {
			t.Errorf("with room for %s: %v, output %q, want %q", limit, err, output, want)
		}
	}
}

func TestProgramRefusesANumberOfTheLibrary(t *testing.T) {
	dir := buildFolder(t, map[string]string{"m/x.M_X": handlers("x"), "p/y.M_Y": handlers("y"), "q/x.M_X": handlers("x"), "q/" + numbersName: "2000 M_X\n"})
	mustGenerate(t, dir, "m")
	for folder, want := range map[string]string{"p": "a message of the library has number 1025", "q": "M_X is already a macro"} {
		if status, output := tool(t, dir, "program", "-header", "@"+folder+"_units/types.h", "-units", "@"+folder+"_units", "@"+folder); status != 0 {
			t.Fatal(output)
		}
		output, err := compiler(t, dir, "-Iinclude", "-fsyntax-only", folder+"_units/types.h")
		if err == nil || !strings.Contains(output, want) {
			t.Errorf("the compiler must say %q; %v\n%s", want, err, output)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "p_units", tableFile)); err == nil {
		t.Error("a program got a table")
	}
}
