package conf

import (
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"
)

// files is a Loader over a map. A name that ends in a slash is a folder, its content the names.
type files map[string]string

func (f files) Load(path string, limit int) (Source, error) {
	if names, ok := f[path+"/"]; ok {
		return Source{ID: path + "/", Folder: true, Names: strings.Fields(names)}, nil
	}
	data, ok := f[path]
	if !ok {
		return Source{}, fs.ErrNotExist
	}
	if len(data) > limit {
		return Source{}, errTooLarge
	}
	return Source{ID: path, Data: []byte(data)}, nil
}

func TestParse(t *testing.T) {
	included := files{
		"inc.conf":       "included 1;",
		"here.conf":      "here 1;",
		"dir/here.conf":  "there 1;",
		"dir/at.conf":    `#include "@here.conf" #include "here.conf"`,
		"dir/twin.conf":  `#include "only.conf"`,
		"dir/only.conf":  "only 1;",
		"conf.d/":        "a b c",
		"conf.d/a":       "a;",
		"conf.d/b":       "#include \"conf.d/c\"\nb;",
		"conf.d/c":       "c;",
		"empty.d/":       "",
		"open.conf":      "limits { rate 1;",
		"define.conf":    "#define FROM_INCLUDE 7",
		"semicolon.conf": ";",
	}
	tests := []struct{ name, src, want string }{
		{"nothing", "", ""},
		{"blanks and comments", " \t\r\n// a\n/* b */ /**/ // c", ""},
		{"comment open to the end", "a; /* b;", "a;"},
		{"command without items", "empty;", "empty;"},
		{"every kind of item", `a "s" 'c' on off 1 -1 2.5 -2.5 0;`, `a "s" 'c' on off 1 -1 2.5 -2.5 0;`},
		{"tokens without blanks", `a"s"'c'1"t"-2;b 3;`, `a "s" 'c' 1 "t" -2; b 3;`},
		{"minus apart from its number", "a - 1 -\n2.5;", "a -1 -2.5;"},
		{"names", "_a1; A_; main; include; o_n;", "_a1; A_; main; include; o_n;"},
		{"carriage returns", "a 1;\r\nb\r2;\r\n", "a 1; b 2;"},
		{"smallest and largest integers", "a 9223372036854775807 -9223372036854775808;", "a 9223372036854775807 -9223372036854775808;"},
		{"escapes", `a "\"\'\n\t\b\a\f\r\v\\\e" '\'' '\n' '"' "it's";`, `a "\"'\n\t\b\a\f\r\v\\\e" '\'' '\n' '"' "it's";`},
		{"string over lines", "a \"x\ny\";", `a "x\ny";`},
		{"bytes 0xff and 0xfe in strings", "a \"\xff\xfe\" '\xff'; // \xff\nb;", "a \"\xff\xfe\" '\xff'; b;"},
		{"comment signs in a string", `a "//x" "/*";`, `a "//x" "/*";`},
		{"domain", "a 1; d { b 2; c; } e 3;", "a 1; e 3; d { b 2; c; }"},
		{"empty domain", "d {}", "d { }"},
		{"repeated names are kept", "a 1; a 2; d { b; b; } d { c; }", "a 1; a 2; d { b; b; } d { c; }"},

		{"macro", "#define N 4\na #N;", "a 4;"},
		{"macro of several tokens", "#define ALL \"x\" 2 on; b\na #ALL;", `a "x" 2 on; b;`},
		{"empty macro", "#define E\na #E 1;", "a 1;"},
		{"macro in macro", "#define A 1 #B\n#define B 2\na #A 3;", "a 1 2 3;"},
		{"sign before macro", "#define N 4\na -#N;", "a -4;"},
		{"comments are no part of a macro", "#define A 1 // one\n#define B 2 /* two\nlines */ 3\na #A #B;", "a 1 2 3;"},
		{"comment signs in a macro's string", "#define URL \"http://x\"\na #URL;", `a "http://x";`},
		{"comment signs after odd quotes in a macro", "#define Q '\"' 1 // c\na #Q;", `a '"' 1;`},
		{"later definition wins", "#define A 1\n#define A 2\na #A;", "a 2;"},
		{"undef", "#define A 1\n#undef A\n#undef B\n#if A\na;\n#endif\nb;", "b;"},
		{"if", "#define A\n#if A\na;\n#else\nb;\n#endif\nc;", "a; c;"},
		{"if not defined", "#if A\na;\n#else\nb;\n#endif\nc;", "b; c;"},
		{"if negated", "#if !A\na;\n#endif\n#define A\n#if ! A\nb;\n#endif", "a;"},
		{"nested if in a skipped branch", "#if A\n#if B\na;\n#else\nb;\n#endif\nc;\n#else\nd;\n#endif", "d;"},
		{"nested if in a live branch", "#if !A\n#if B\na;\n#else\nb;\n#endif\nc;\n#else\nd;\n#endif", "b; c;"},
		{"directives hidden in a skipped branch", "#if A\n\"#endif\" // #endif\n/* #else */ '\"' #nothing\n#define X \"\ndon't\n#endif\na;", "a;"},
		{"definitions of a skipped branch", "#if A\n#define B\n#endif\n#if B\nb;\n#endif", ""},

		{"include", `a; #include "inc.conf" b;`, "a; included 1; b;"},
		{"include twice", `#include "inc.conf"` + "\n" + `#include "inc.conf"`, "included 1; included 1;"},
		{"include beside the includer only with @", `#include "dir/at.conf"`, "there 1; here 1;"},
		{"include falls back to the includer's folder", `#include "dir/twin.conf"`, "only 1;"},
		{"include folder in order", `#include "conf.d"`, "a; c; b; c;"},
		{"include empty folder", `#include "empty.d"`, ""},
		{"include defines", "#include \"define.conf\"\na #FROM_INCLUDE;", "a 7;"},
		{"include in the middle of a command", `a 1 #include "semicolon.conf"`, "a 1;"},
		{"domain goes on after an include", `#include "open.conf" b; }`, "limits { rate 1; b; }"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tree, err := Parse("t.conf", []byte(test.src), Options{Loader: included})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(strings.Fields(tree.String()), " "); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if tree.Domains[0].Name != MainDomain {
				t.Errorf("first domain is %q", tree.Domains[0].Name)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	included := files{
		"good.conf":   "a;\n",
		"bad.conf":    "a;\n b ?;",
		"bad.d/":      "good x",
		"bad.d/good":  "a;\n",
		"bad.d/x":     "a;\n\n;",
		"domain.conf": "a;\nd {\n",
		"self.conf":   `#include "self.conf"`,
		"ping.conf":   `#include "pong.conf"`,
		"pong.conf":   "\n" + `#include "ping.conf"`,
		"if.conf":     "#if A",
		"endif.conf":  "#endif",
		"loop.d/":     "x",
		"loop.d/x":    `#include "loop.d"`,
	}
	tests := []struct{ name, src, want string }{
		{"no semicolon", "a 1\nb 2;", `t.conf:2:1: expected an item or ; to end command a, begun at t.conf:1:1, found "b"`},
		{"no semicolon at the end", "a 1", `t.conf:1:4: expected an item or ; to end command a, begun at t.conf:1:1, found the end of the file`},
		{"lone semicolon", ";", `t.conf:1:1: expected the name of a command or domain, found ";"`},
		{"lone number", "1;", `t.conf:1:1: expected the name`},
		{"name on", "on;", `t.conf:1:1: expected the name`},
		{"name _", "_;", `t.conf:1:1: expected the name`},
		{"domain named off", "off {}", `t.conf:1:1: expected the name`},
		{"items before a brace", "a 1 {}", `t.conf:1:5: expected an item or ;`},
		{"domain in domain", "a {\n b { } }", `t.conf:2:2: expected } to close domain a, opened at t.conf:1:1, before domain b`},
		{"domain main", "main { }", `t.conf:1:1: expected the commands of domain main outside`},
		{"domain open", "a;\nd {\n b;\n", `t.conf:4:1: expected } to close domain d, opened at t.conf:2:1, found the end of the file`},
		{"brace too many", "a {}\n}", `t.conf:2:1: expected a command or a domain, found a } that closes no domain`},
		{"string open", "a\n \"bc;\n", `t.conf:2:2: expected " to end the string that begins here, found the end of the file`},
		{"character open", "a 'b", `t.conf:1:3: expected ' to end the character`},
		{"character empty", "a '';", `t.conf:1:3: expected exactly one character`},
		{"character of two", "a 'bc';", `t.conf:1:3: expected exactly one character`},
		{"unknown escape", `a "\q";`, `t.conf:1:4: expected one of \"`},
		{"escape at the end", `a "\`, `t.conf:1:4: expected one of \"`},
		{"nul in string", "a \"b\x00\";", `t.conf:1:5: expected text in a string, found a NUL byte`},
		{"byte 0xff", "a \xff;", `t.conf:1:3: expected a name, an item, a directive or one of ; { }, found the byte 0xff`},
		{"byte 0", "a \x00;", `found the byte 0x00`},
		{"plus", "a +1;", `t.conf:1:3: expected a name, an item, a directive or one of ; { }, found "+"`},
		{"octal", "a 017;", `t.conf:1:3: expected a decimal number without leading zeros, found "017"`},
		{"hexadecimal", "a 0x1F;", `t.conf:1:3: expected a decimal number without leading zeros`},
		{"exponent", "a 1.5e3;", `t.conf:1:3: expected a number such as 10 or 2.5, found "1.5e3"`},
		{"real without fraction", "a 1.;", `expected a number such as`},
		{"two points", "a 1.2.3;", `expected a number such as`},
		{"integer too large", "a 9223372036854775808;", `t.conf:1:3: expected a number that fits in 64 bits`},
		{"integer too small", "a -9223372036854775809;", `t.conf:1:3: expected a number that fits in 64 bits`},
		{"real too large", "a 1" + strings.Repeat("0", 400) + ".0;", `expected a number that fits in 64 bits`},
		{"minus alone", "a -;", `t.conf:1:4: expected a number after -, found ";"`},
		{"two minuses", "a --1;", `expected a number after -, found "-"`},
		{"minus and word", "a -on;", `expected a number after -, found "on"`},
		{"slash", "a / 1;", `t.conf:1:3: expected a name, an item, a directive or one of ; { }, found "/"`},
		{"lone string", "a;\n\"b\";", `t.conf:2:1: expected the name of a command or domain, found a string`},
		{"lone character", " 'b';", `t.conf:1:2: expected the name of a command or domain, found a character`},
		{"minus and string", `a - "1";`, `t.conf:1:5: expected a number after -, found a string`},

		{"unknown macro", "a #B;", `t.conf:1:3: expected a directive or a defined macro, but macro B is not defined`},
		{"lone #", "a # 1;", `t.conf:1:3: expected define, undef,`},
		{"macro without name", "#define\nA", `t.conf:1:8: expected the name of a macro after #define`},
		{"undef without name", "#undef 1", `t.conf:1:8: expected the name of a macro after #undef`},
		{"macro with a directive's name", "#define if", `expected the name of a macro after #define`},
		{"macro of itself", "#define A #B\n#define B 1 #A\n\na #A;", `t.conf:4:3: expected macro A not to expand to itself`},
		{"directive in macro", "#define A #if B\na #A;", `t.conf:2:3: expected text without directives in macro A, found #if`},
		{"error in macro", "#define A 1 ?\na #A;", `t.conf:2:3: expected a name, an item`},
		{"string open in macro", "#define A \"x\na #A;", `t.conf:2:3: expected " to end the string that begins here, found the end of the macro A`},
		{"if open", "\n#if A\n", `t.conf:3:1: expected #endif for the #if at t.conf:2:1, found the end of the file`},
		{"live if open", "#if !A\na;", `t.conf:2:3: expected #endif for the #if at t.conf:1:1`},
		{"inner if open", "#if A\n#if B\n", `t.conf:3:1: expected #endif for the #if at t.conf:2:1`},
		{"endif alone", "#endif", `t.conf:1:1: expected an #if before #endif`},
		{"else alone", "#else", `t.conf:1:1: expected an #if before #else`},
		{"two elses", "#if !A\n#else\n#else\n#endif", `t.conf:3:1: expected #endif, found a second #else for the #if at t.conf:1:1`},
		{"if without name", "#if 1", `t.conf:1:5: expected the name of a macro after #if`},

		{"include without path", "#include inc", `t.conf:1:10: expected the path of a file or folder in double quotes`},
		{"include path open", `#include "inc`, `t.conf:1:10: expected " to end the string that begins here, found the end of the file`},
		{"include empty path", `#include ""`, `t.conf:1:10: expected a path`},
		{"include empty path with @", `#include "@"`, `t.conf:1:10: expected a path`},
		{"include missing", ` #include "none"`, `t.conf:1:2: cannot include "none": file does not exist`},
		{"error in included file", `#include "bad.conf"`, `bad.conf:2:4: expected a name, an item`},
		{"error in a file of a folder", "a;\n#include \"bad.d\"", `bad.d/x:3:1: expected the name of a command or domain, found ";"`},
		{"error behind an included file", "#include \"good.conf\"\n ?", `t.conf:2:2: expected a name, an item`},
		{"domain left open by an included file", "#include \"domain.conf\"\n", `t.conf:2:1: expected } to close domain d, opened at domain.conf:2:1, found the end of the file`},
		{"include of itself", `#include "self.conf"`, `self.conf:1:1: expected "self.conf" not to include itself`},
		{"include in a ring", `#include "ping.conf"`, `pong.conf:2:1: expected "ping.conf" not to include itself`},
		{"include of its own folder", `#include "loop.d"`, `loop.d/x:1:1: expected "loop.d" not to include itself`},
		{"if left open by an included file", "#include \"if.conf\"\n#endif", `if.conf:1:6: expected #endif`},
		{"endif in an included file", "#if !A\n#include \"endif.conf\"\n", `endif.conf:1:1: expected an #if before #endif`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tree, err := Parse("t.conf", []byte(test.src), Options{Loader: included})
			var syntax *SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("got tree %v and error %v, want a *SyntaxError", tree, err)
			}
			if syntax.File == "" || syntax.Line < 1 || syntax.Column < 1 {
				t.Errorf("no complete position: %s", err)
			}
			if !strings.HasPrefix(syntax.Msg, "expected ") && syntax.Err == nil {
				t.Errorf("it does not say what was expected: %s", err)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %s\nwant %s", err, test.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	doubling, deep := "#define A 1\n", "#define A 1\n"
	fan := files{"A": "a;"}
	for c := 'B'; c <= 'Z'; c++ {
		name, below := string(c), string(c-1)
		doubling += "#define " + name + " #" + below + " #" + below + "\n"
		deep += "#define " + name + " #" + below + "\n"
		fan[name] = `#include "` + below + `" #include "` + below + `"`
	}
	tests := []struct {
		name, src string
		opts      Options
		want      string
	}{
		{"macros that double", doubling + "a #Z;", Options{MaxBytes: 64 << 10}, "exceed the limit in total"},
		{"includes that double", `#include "Z"`, Options{Loader: fan, MaxBytes: 64 << 10}, "larger than its limit"},
		{"depth", deep + "a #Z;", Options{MaxDepth: 16}, "expected at most 16 levels"},
		{"size of the file itself", "a 1;", Options{MaxBytes: 3}, "exceed the limit in total"},
		{"size of an included file", `#include "big"`, Options{Loader: files{"big": strings.Repeat(" ", 100)}, MaxBytes: 50}, "larger than its limit"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("t.conf", []byte(test.src), test.opts)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
	if _, err := Parse("t.conf", []byte(deep+"a #Z;"), Options{}); err != nil {
		t.Errorf("26 macros deep: %v", err)
	}
}

func TestParseFile(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write := func(name, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("sub/main.conf", "#include \"parts\"\n#include \"@parts/a\"\n#include \"cwd\"")
	write("sub/parts/b", "b;")
	write("sub/parts/a", "a;")
	write("sub/parts/.hidden", "?")
	write("sub/parts/folder/c", "?")
	write("cwd", "cwd;")
	write("sub/cwd", "?")
	if err := os.Symlink("a", "sub/parts/link"); err != nil {
		t.Fatal(err)
	}
	tree, err := ParseFile(filepath.Join(dir, "sub/main.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tree.String(), "a;\nb;\na;\na;\ncwd;\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	write("cycle", "\n#include \"link\"")
	if err := os.Symlink("cycle", "link"); err != nil {
		t.Fatal(err)
	}
	if _, err := ParseFile("cycle"); err == nil || !strings.Contains(err.Error(), `cycle:2:1: expected "link" not to include itself`) {
		t.Errorf("cycle through a link: %v", err)
	}

	write("missing", `#include "none"`)
	_, err = ParseFile("missing")
	var syntax *SyntaxError
	if !errors.As(err, &syntax) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing include: %v", err)
	}

	_, err = ParseFile("none")
	var pathErr *fs.PathError
	if !errors.As(err, &pathErr) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err = ParseFile("sub"); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("folder as file: %v", err)
	}
	if _, err = ParseFile("/dev/null"); err != nil {
		t.Errorf("/dev/null: %v", err)
	}
	if _, err = ParseFile("/dev/zero"); err == nil || !strings.Contains(err.Error(), "larger than its limit") {
		t.Errorf("/dev/zero: %v", err)
	}
}

func TestPositionsAndSearch(t *testing.T) {
	tree, err := Parse("t.conf", []byte("a 1;\n#define M \"x\"\nd {\n\ta 'c' #M; a 2; }\nd { b; }"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := tree.Domain("d")
	if d == nil || len(d.Commands) != 2 || d.Pos != (Position{"t.conf", 3, 1}) {
		t.Fatalf("domain d: %+v", d)
	}
	a := d.Command("a")
	if a == nil || len(a.Items) != 2 || a.Pos != (Position{"t.conf", 4, 2}) {
		t.Fatalf("command a: %+v", a)
	}
	if want := (Item{Kind: String, Str: "x", Pos: Position{"t.conf", 4, 8}}); a.Items[1] != want {
		t.Errorf("got %+v, want %+v", a.Items[1], want)
	}
	if tree.Domain("none") != nil || d.Command("none") != nil {
		t.Error("found what is not there")
	}
}

// TestRoundTrip writes random trees in the language and reads them back.
func TestRoundTrip(t *testing.T) {
	for seed := range uint64(500) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		tree := randomTree(rnd)
		again, err := Parse("t.conf", []byte(tree.String()), Options{})
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, tree)
		}
		if !equal(tree, again) {
			t.Fatalf("seed %d: got\n%s\nwant\n%s", seed, again, tree)
		}
	}
}

func randomTree(rnd *rand.Rand) *Tree {
	name := func() string {
		b := []byte{"abcXYZ_"[rnd.IntN(7)], 'x'}
		for range rnd.IntN(6) {
			b = append(b, "abcXYZ_059"[rnd.IntN(10)])
		}
		return string(b)
	}
	item := func() Item {
		switch k := Kind(rnd.IntN(5)) + String; k {
		case String:
			b := make([]byte, rnd.IntN(20))
			for i := range b {
				b[i] = byte(1 + rnd.IntN(255))
			}
			return Item{Kind: k, Str: string(b)}
		case Char:
			return Item{Kind: k, Char: byte(1 + rnd.IntN(255))}
		case Bool:
			return Item{Kind: k, Bool: rnd.IntN(2) == 1}
		case Int:
			return Item{Kind: k, Int: int64(rnd.Uint64() >> rnd.IntN(64))}
		default:
			for {
				if f := math.Float64frombits(rnd.Uint64()); !math.IsInf(f, 0) && !math.IsNaN(f) {
					return Item{Kind: k, Real: f}
				}
			}
		}
	}
	tree := &Tree{Domains: []*Domain{{Name: MainDomain}}}
	for range rnd.IntN(4) {
		tree.Domains = append(tree.Domains, &Domain{Name: name()})
	}
	for _, d := range tree.Domains {
		for range rnd.IntN(5) {
			c := &Command{Name: name()}
			for range rnd.IntN(5) {
				c.Items = append(c.Items, item())
			}
			d.Commands = append(d.Commands, c)
		}
	}
	return tree
}

// equal compares trees without the positions.
func equal(a, b *Tree) bool {
	if len(a.Domains) != len(b.Domains) {
		return false
	}
	for i, d := range a.Domains {
		e := b.Domains[i]
		if d.Name != e.Name || len(d.Commands) != len(e.Commands) {
			return false
		}
		for j, c := range d.Commands {
			f := e.Commands[j]
			if c.Name != f.Name || len(c.Items) != len(f.Items) {
				return false
			}
			for k, item := range c.Items {
				other := f.Items[k]
				item.Pos, other.Pos = Position{}, Position{}
				if item != other {
					return false
				}
			}
		}
	}
	return true
}

// within ends the test program when a test is not done in that time. The fuzzer by itself takes an input that hangs for one that
// passes; when its worker ends, it reports the input.
func within(t *testing.T, limit time.Duration) {
	name := t.Name()
	timer := time.AfterFunc(limit, func() { panic(name + " hangs") })
	t.Cleanup(func() { timer.Stop() })
}

// allocated is how many bytes this process has allocated so far.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// FuzzParse checks that any text gives a tree that can be written and read back, or a complete error, soon and without more memory
// than the limits of the options stand for.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "a;", "a 1 -2 2.5 'c' \"s\\n\" on off;", "d { a 1; } // c\n/* d", "#define N 4\na #N;", "#if !A\na;\n#else\nb;\n#endif",
		"#define A #B\n#define B #A\na #A;", "#define A #B#B\n#define B #C#C\n#define C 1\na #A;", "#include \"a\"", "#include \"@d\"",
		"#if A\n\"'\\\" #endif\n#define \"\n#endif", "main { }", "a \xff\xfe\x00;", "a 99999999999999999999;", "\r\n\t{}{}#", "#undef A\n#A",
	} {
		f.Add([]byte(seed))
	}
	growing := "#define M0 1\n" // by four at each level
	for level := range 12 {
		growing += "#define M" + strconv.Itoa(level+1) + strings.Repeat(" #M"+strconv.Itoa(level), 4) + "\n"
	}
	f.Add([]byte(growing + "a #M12;"))
	included := files{"a": "a 1;\n#include \"b\"", "b": "#define B 2\nd { x; }", "c": "#include \"a\"\n#include \"c\"", "d/": "a b c", "d/a": "x;", "d/b": "#if Z", "d/c": ""}
	// An item of the tree takes about 200 bytes, and text of two bytes is enough for one.
	const maxBytes, maxMemory = 1 << 16, 500 << 16
	f.Fuzz(func(t *testing.T, src []byte) {
		within(t, 3*time.Second)
		before := allocated()
		tree, err := Parse("fuzz.conf", src, Options{Loader: included, MaxBytes: maxBytes, MaxDepth: 16})
		if n := allocated() - before; n > maxMemory {
			t.Fatalf("%d bytes were allocated", n)
		}
		if err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Line < 1 || syntax.Column < 1 || syntax.Msg == "" {
				t.Fatalf("not a complete *SyntaxError: %#v", err)
			}
			return
		}
		again, err := Parse("again.conf", []byte(tree.String()), Options{})
		if err != nil || !equal(tree, again) {
			t.Fatalf("%v\ngot  %v\nwant %v", err, again, tree)
		}
	})
}
