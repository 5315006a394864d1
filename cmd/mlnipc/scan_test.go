package main

import (
	"go/build"
	"strings"
	"testing"
	"time"
)

// goMatches tells whether the Go tool takes a file of a package on Linux.
func goMatches(dir, name string) (bool, error) {
	context := build.Default
	context.GOOS, context.GOARCH, context.CgoEnabled = "linux", "amd64", true
	return context.MatchFile(dir, name)
}

func TestDefinitionsAreFound(t *testing.T) {
	rows := []struct {
		does string
		text string
		want bool
	}{
		{"plain", "void f(int a) { }", true},
		{"static", "static void f(int a)\n{\n}", true},
		{"split over lines", "void\nf\n(\nint a\n)\n{", true},
		{"comments everywhere", "void/**/f/* ( */(/* ) */int a // )\n)/* ; */{", true},
		{"parameters with parentheses", "void f(int (*a)(void), int b[sizeof(int)]) {", true},
		{"after an unbalanced conditional", "#if 1\nvoid g(void) {\n#else\nvoid g(int a) {\n#endif\n}\nvoid f(void) {", true},
		{"after a continued directive", "#define X \\\n y\nvoid f(void) {", true},
		{"after a quote in a directive", "#error don't\nvoid f(void) {", true},
		{"after digit separators", "int a = 1'000; void f(void) {", true},
		{"after a string with a comment", "char *a = \"/*\";\nvoid f(void) {", true},
		{"after an escaped quote", "char *a = \"\\\"\"; char b = '\\''; char *c = \"\\\\\";\nvoid f(void) {", true},
		{"after a string over a joined line", "char *a = \"x\\\ny\";\nvoid f(void) {", true},
		{"after too many closing parentheses", ")))void f(void) {", true},
		{"a name over a joined line", "void f\\\noo(void) {", false},
		{"a name made by a joined line", "void \\\nf(void) {", true},
		{"carriage returns", "void f(void)\r\n{\r\n}\r\n", true},
		{"a hash that begins no line", "int a; # void f(void) {", true},

		{"nothing", "", false},
		{"declaration", "void f(int a);", false},
		{"call", "void g(void) { f(1); }", false},
		{"call in a condition", "void g(void) { if (f(1)) { } }", false},
		{"variable", "int f; void g(void) { }", false},
		{"array of structures", "int f[] = { 1 };", false},
		{"longer name", "void f2(void) { } void af(void) { } void f$(void) { } void f\u00e9(void) { }", false},
		{"in a comment", "/* void f(void) { } */", false},
		{"in a line comment", "// void f(void) { }", false},
		{"in a continued line comment", "// \\\nvoid f(void) { }", false},
		{"in a string", "char *a = \"void f(void) {\";", false},
		{"in a macro", "#define F void f(void) { }", false},
		{"in a continued macro", "#define F \\\nvoid f(void) { }", false},
		{"in a macro after a comment", "/* x */ # /* y\n */ define F void f(void) { }", false},
		{"in a macro with the digraph", "%:define F void f(void) { }", false},
		{"never closed", "void f(int a {", false},
	}
	for _, row := range rows {
		t.Run(row.does, func(t *testing.T) {
			code, err := stripC([]byte(row.text))
			if err != nil {
				t.Fatal(err)
			}
			if got := definesFunction(code, "f"); got != row.want {
				t.Errorf("found: %v, want %v, in\n%s\nwhich is\n%s", got, row.want, row.text, code)
			}
		})
	}
}

func TestOpenCommentIsReportedWithItsLine(t *testing.T) {
	_, err := stripC([]byte("int a; \\\n\\\r\n\n/* closed */\n\"/*\" /* open\n"))
	if err == nil || !strings.Contains(err.Error(), "line 5 ") {
		t.Errorf("error %v, want one that names line 5", err)
	}
}

// TestScanTakesTimeInProportion feeds what would make a scanner that searches for the closing parenthesis slow.
func TestScanTakesTimeInProportion(t *testing.T) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		text := []byte(strings.Repeat("f(\\\n", 1<<19))
		if code, err := stripC(text); err != nil || definesFunction(code, "f") {
			t.Errorf("error %v, or a definition where there is none", err)
		}
		if _, err := stripC(append(text, "/*"...)); err == nil {
			t.Error("an open comment went unnoticed")
		}
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("not done after 20 s")
	}
}

// within ends the test program when a test is not done in that time. The fuzzer by itself takes an input that hangs for one that
// passes; when its worker ends, it reports the input.
func within(t *testing.T, limit time.Duration) {
	name := t.Name()
	timer := time.AfterFunc(limit, func() { panic(name + " hangs") })
	t.Cleanup(func() { timer.Stop() })
}

// FuzzScan checks that no text makes the scanner fail, that a definition behind any text is found, and that one in a
// comment, a string or a directive is not.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{
		"", "int a;", "/*", "*/", "//", "\"", "'", "\\", "#", "#if 1\n", "(((", ")))", "{", "1'0", "\"\\\"", "a\\\nb", "%:", "/\\\n*", "\x00\xff", "R\"(\")\"",
	} {
		f.Add(seed)
	}
	const definition = "void zz_master(void) {\n}\n"
	f.Fuzz(func(t *testing.T, text string) {
		within(t, 3*time.Second)
		text = strings.ReplaceAll(text, "zz_master", "z")
		code, err := stripC([]byte(text))
		if err != nil {
			return // a comment stays open: nothing behind it is code
		}
		if strings.Contains(string(code), "\"") {
			t.Errorf("a quote is left: %q", code)
		}
		finds := func(text string) bool {
			code, err := stripC([]byte(text))
			return err == nil && definesFunction(code, "zz_master")
		}
		if !finds(text + "\n\n" + definition) {
			t.Errorf("not found behind %q", text)
		}
		if !finds(definition + text) {
			t.Errorf("not found before %q", text)
		}
		oneLine := strings.ReplaceAll(definition, "\n", " ")
		for _, hidden := range []string{"/* " + oneLine + "*/", "// " + oneLine, "\"" + oneLine + "\"", "#define X " + oneLine} {
			if finds(text + "\n\n" + hidden + "\n") {
				t.Errorf("found in %q behind %q", hidden, text)
			}
		}
	})
}
