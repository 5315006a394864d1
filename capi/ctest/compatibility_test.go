package ctest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The tables of docs/compatibility.md name everything that the public headers declare, and a test for every defect of the original.

var (
	guardLines = regexp.MustCompile(`#ifndef (\w+)\n#define (\w+)\n`)
	defineLine = regexp.MustCompile(`(?m)^[ \t]*#[ \t]*define[ \t]+(\w+)`)
	codeSpan   = regexp.MustCompile("`([^`]+)`")
	testFunc   = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
)

// defectsHeading is the section of the table of defects. Each table of names stands below the name of its header.
const defectsHeading = "Known defects of the original"

// namesIn lists what C text declares at the top level: functions, macros without the include guard, types and enumerators.
func namesIn(file, text string) []string {
	var names []string
	for _, d := range declarationsIn(file, text) {
		if d.Name != "" {
			names = append(names, d.Name)
		}
	}
	guard := guardLines.FindStringSubmatch(text)
	for _, define := range defineLine.FindAllStringSubmatch(text, -1) {
		if guard == nil || guard[1] != guard[2] || guard[1] != define[1] {
			names = append(names, define[1])
		}
	}
	tokens := tokenize(text)
	for i := range tokens {
		switch tokens[i].text {
		case "typedef":
			names = append(names, typedefName(tokens[i:]))
		case "struct", "union", "enum":
			brace := i + 1
			if brace < len(tokens) && isWord(tokens[brace].text[0]) {
				brace++
			}
			if brace >= len(tokens) || tokens[brace].text != "{" {
				continue // no definition
			}
			if brace == i+2 {
				names = append(names, tokens[i+1].text)
			}
			if tokens[i].text == "enum" {
				names = append(names, enumerators(tokens[brace:matching(tokens, brace)])...)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// typedefName is the name that the type definition at the beginning of tokens gives: the one in the first (*name), or the last word.
func typedefName(tokens []token) string {
	name := ""
	for i := 0; i < len(tokens) && tokens[i].text != ";"; i++ {
		switch {
		case tokens[i].text == "{":
			i = matching(tokens, i)
		case tokens[i].text == "(" && i+2 < len(tokens) && tokens[i+1].text == "*":
			return tokens[i+2].text
		case isWord(tokens[i].text[0]):
			name = tokens[i].text
		}
	}
	return name
}

// enumerators lists the names in the body of an enum, which begins with its brace.
func enumerators(body []token) []string {
	var names []string
	for i := 1; i < len(body); i++ {
		if before := body[i-1].text; before == "{" || before == "," {
			names = append(names, body[i].text)
		}
	}
	return names
}

func TestNameScanner(t *testing.T) {
	const text = `
#ifndef GUARD_H
#define GUARD_H
#define OBJECT 1
#  define CALL(a) \
    a
#ifdef __cplusplus
extern "C" {
#endif
typedef unsigned char byte_t;
typedef struct hidden_s handle_t; /**< typedef int not_me; */
typedef int (*callback_t)(byte_t *, void *);
typedef struct { int member; enum { INNER } kind; } record_t;
struct tagged { int member; struct other *next; };
typedef enum level { low = 1, high = (low + 1), } level_t;
/** f */
struct tagged *function(enum level l);
/** g */
static inline int helper(int x) { enum level local = low; return x + (int)local; }
#endif
`
	want := []string{"CALL", "INNER", "OBJECT", "byte_t", "callback_t", "function", "handle_t", "helper", "high", "level", "level_t",
		"low", "record_t", "tagged"}
	if got := namesIn("x.h", text); !slices.Equal(got, want) {
		t.Errorf("found\n%v\nwant\n%v", got, want)
	}
}

// publicNames maps each name of the public headers to its header.
func publicNames(t *testing.T) map[string]string {
	t.Helper()
	names := map[string]string{}
	for _, path := range sources(t, include, "*.h") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range namesIn(filepath.Base(path), string(text)) {
			names[name] = filepath.Base(path)
		}
	}
	return names
}

// row is a row of a table in docs/compatibility.md.
type row struct {
	line    int
	section string // the nearest heading above
	cells   []string
}

func (r row) code(cell int) []string {
	var spans []string
	for _, match := range codeSpan.FindAllStringSubmatch(r.cells[cell], -1) {
		spans = append(spans, match[1])
	}
	return spans
}

// tables lists the rows of all tables in the document, without their headings.
func tables(t *testing.T) []row {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "compatibility.md"))
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	section := ""
	heading := true
	for i, line := range strings.Split(string(text), "\n") {
		switch {
		case strings.HasPrefix(line, "#"):
			section = strings.TrimSpace(strings.TrimLeft(line, "#"))
		case !strings.HasPrefix(line, "|"):
			heading = true
		case heading:
			heading = false
		case !strings.HasPrefix(line, "|---"):
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for k := range cells {
				cells[k] = strings.TrimSpace(cells[k])
			}
			rows = append(rows, row{i + 1, section, cells})
		}
	}
	return rows
}

// TestCompatibilityTableIsComplete asserts that every name of the headers is in the table of its header, once, and nothing else is.
func TestCompatibilityTableIsComplete(t *testing.T) {
	declared := publicNames(t)
	listed := map[string]bool{}
	for _, r := range tables(t) {
		if !strings.HasSuffix(r.section, ".h") {
			continue
		}
		at := fmt.Sprintf("docs/compatibility.md:%d", r.line)
		if len(r.cells) != 4 {
			t.Errorf("%s: %d cells, want name, era, comparison and remark", at, len(r.cells))
			continue
		}
		if !slices.Contains([]string{"both", "seed", "today", "own"}, r.cells[1]) {
			t.Errorf("%s: the era is %q, want both, seed, today or own", at, r.cells[1])
		}
		if !slices.Contains([]string{"same", "better", "different", "-"}, r.cells[2]) {
			t.Errorf("%s: the comparison is %q, want same, better, different or -", at, r.cells[2])
		}
		if r.cells[2] != "same" && r.cells[3] == "" {
			t.Errorf("%s: not a word about why it is not the same", at)
		}
		names := r.code(0)
		if len(names) == 0 {
			t.Errorf("%s: no name in its first cell", at)
		}
		for _, name := range names {
			switch {
			case declared[name] == "":
				t.Errorf("%s: no header declares %s", at, name)
			case declared[name] != r.section:
				t.Errorf("%s: %s is declared in %s", at, name, declared[name])
			case listed[name]:
				t.Errorf("%s: %s is there twice", at, name)
			}
			listed[name] = true
		}
	}
	for name, header := range declared {
		// The generated header has a macro for each message file that somebody added.
		ofMessage := header == "mln_ipc.h" && strings.ToUpper(name) == name && name != "M_IPC_CONF_RELOAD"
		if !listed[name] && !ofMessage {
			t.Errorf("docs/compatibility.md lacks %s, which %s declares", name, header)
		}
	}
}

// TestEveryKnownDefectHasATest asserts that the table of the original's defects is complete, and that the tests exist which it names.
func TestEveryKnownDefectHasATest(t *testing.T) {
	exist := map[string]bool{}
	for _, folder := range []string{"programs", "testdata"} {
		for _, path := range sources(t, folder, "*.c", "*.cc") {
			exist[filepath.Base(path)] = true
		}
	}
	for _, path := range append(sources(t, root, "core/*_test.go", "core/*/*_test.go", "cmd/*/*_test.go"), sources(t, ".", "*_test.go")...) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range testFunc.FindAllStringSubmatch(string(text), -1) {
			exist[match[1]] = true
		}
	}

	number := 0
	for _, r := range tables(t) {
		if r.section != defectsHeading {
			continue
		}
		at := fmt.Sprintf("docs/compatibility.md:%d", r.line)
		number++
		if want := fmt.Sprintf("D%d", number); r.cells[0] != want {
			t.Fatalf("%s: %s follows, want %s", at, r.cells[0], want)
		}
		if len(r.cells) != 4 {
			t.Errorf("%s: %d cells, want number, situation, what happens here and tests", at, len(r.cells))
			continue
		}
		tests := r.code(3)
		if len(tests) == 0 {
			t.Errorf("%s: no test shows what happens here", at)
		}
		for _, test := range tests {
			if !exist[test] {
				t.Errorf("%s: there is no test %s", at, test)
			}
		}
	}
	if number != 42 {
		t.Errorf("the table of the original's defects has %d rows, want 42", number)
	}
}
