package ctest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// declaration is a declaration at the top level of a header: of a function, or (Name empty) of something else.
type declaration struct {
	Name       string
	File       string
	Line       int
	Documented bool // a /** comment ends on the line before it
	Static     bool
	Extern     bool
}

// token is a word, a number, a literal or a punctuation character of C.
type token struct {
	text       string
	line       int
	documented bool
}

// tokenize splits C text. Comments and preprocessor lines are left out: what both branches of an #if declare is seen.
func tokenize(text string) []token {
	var tokens []token
	line := 1
	documentedLine := -1 // the line after the end of the last /** comment
	startOfLine := true
	for len(text) > 0 {
		size := 1
		switch c := text[0]; {
		case c == '\n':
			startOfLine = true
			line++
			text = text[1:]
			continue
		case strings.IndexByte(" \t\r\f", c) >= 0:
			text = text[1:]
			continue
		case c == '#' && startOfLine:
			size = endOfDirective(text)
		case strings.HasPrefix(text, "//"):
			size = endOfDirective(text)
		case strings.HasPrefix(text, "/*"):
			size = len(text)
			if end := strings.Index(text[2:], "*/"); end >= 0 {
				size = end + 4
			}
			if strings.HasPrefix(text, "/**") && size > 4 {
				documentedLine = line + strings.Count(text[:size], "\n") + 1
			}
		case c == '"' || c == '\'':
			for size < len(text) && text[size] != c {
				if text[size] == '\\' {
					size++
				}
				size++
			}
			size = min(size+1, len(text))
			tokens = append(tokens, token{text[:size], line, line == documentedLine})
		case isWord(c):
			for size < len(text) && isWord(text[size]) {
				size++
			}
			tokens = append(tokens, token{text[:size], line, line == documentedLine})
		default:
			tokens = append(tokens, token{text[:1], line, line == documentedLine})
		}
		startOfLine = false
		line += strings.Count(text[:size], "\n")
		text = text[size:]
	}
	return tokens
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// endOfDirective is the length of a preprocessor line or // comment with its continuation lines, without the last newline. A comment
// that starts in it and spans lines is left to the next call.
func endOfDirective(text string) int {
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text):
			i++
		case text[i] == '\n':
			return i
		case strings.HasPrefix(text[i:], "/*") && text[0] == '#':
			return i
		}
	}
	return len(text)
}

// declarationsIn lists the top-level declarations of C text.
func declarationsIn(file, text string) []declaration {
	var found []declaration
	var current []token
	finish := func() {
		if len(current) > 0 {
			first := current[0]
			found = append(found, declaration{
				Name: functionName(current), File: file, Line: first.line, Documented: first.documented,
				Static: hasWord(current, "static"), Extern: hasWord(current, "extern"),
			})
		}
		current = nil
	}
	tokens := tokenize(text)
	for i := 0; i < len(tokens); i++ {
		switch tokens[i].text {
		case ";":
			finish()
		case "}": // the end of extern "C"
		case "{":
			if len(current) == 2 && current[0].text == "extern" {
				current = nil // extern "C" {: what is inside is at the top level too
				continue
			}
			i = matching(tokens, i)
			if functionName(current) != "" {
				finish() // the body ends a function; a structure goes on to its semicolon
			}
		default:
			current = append(current, tokens[i])
		}
	}
	return found
}

// matching is the index of the bracket that closes the one at i, or of the last token.
func matching(tokens []token, i int) int {
	for depth := 0; i < len(tokens); i++ {
		switch tokens[i].text {
		case "{", "(":
			depth++
		case "}", ")":
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(tokens) - 1
}

func hasWord(tokens []token, word string) bool {
	return slices.ContainsFunc(tokens, func(t token) bool { return t.text == word })
}

// functionName is the name of the function that the tokens declare, "" if they declare none: the first word that an opening
// parenthesis follows, attributes apart.
func functionName(tokens []token) string {
	if hasWord(tokens[:min(len(tokens), 2)], "typedef") || hasWord(tokens, "_Static_assert") || hasWord(tokens, "=") {
		return ""
	}
	for i := 0; i+1 < len(tokens); i++ {
		word := tokens[i].text
		switch {
		case tokens[i+1].text != "(" || !isWord(word[0]):
		case strings.HasPrefix(word, "__attribute"):
			i = matching(tokens, i+1)
		case i+2 < len(tokens) && tokens[i+2].text == "*":
			// A pointer to a function: a variable as in int (*name)(void), or returned by a function as in int (*name(int))(void).
			i++
		default:
			return word
		}
	}
	return ""
}

// publicDeclarations lists the declarations of all public headers.
func publicDeclarations(t *testing.T) []declaration {
	t.Helper()
	var all []declaration
	for _, path := range sources(t, include, "*.h") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, declarationsIn(filepath.Base(path), string(text))...)
	}
	return all
}

func TestDeclarationScanner(t *testing.T) {
	const text = `
#ifndef GUARD
#define CALL(a, b) \
    mln_not_declared(a); /* a comment
    that goes on */
extern "C" {
typedef int (*mln_handler)(void *);
struct __attribute__((packed)) mln_s { int (*call)(void); int x; };
enum mln_e { a = (1), b };
/** Documented. */
int mln_one(int a, mln_handler (*b)(char c));
/**
 * Documented, too.
 */
extern struct mln_s *mln_two(void) __attribute__((nonnull(1))) MLN_NOTE(1);
/** Too far away. */

__attribute__((noreturn)) extern void mln_three(const char *text, ...);
/* Not for the manual. */
int (*mln_four(int n))(void);
int (*mln_variable)(void);
/** Inline. "*/ /* " */
static inline int mln_five(char c) { if (c == '"') { return ';'; } return (0); }
extern int mln_data;
// int mln_comment(void);
}
#endif
`
	var got []string
	for _, d := range declarationsIn("x.h", text) {
		if d.Name != "" || d.Extern {
			got = append(got, fmt.Sprintf("%s:%d documented=%t static=%t", d.Name, d.Line, d.Documented, d.Static))
		}
	}
	want := []string{
		"mln_one:11 documented=true static=false",
		"mln_two:15 documented=true static=false",
		"mln_three:18 documented=false static=false",
		"mln_four:20 documented=false static=false",
		"mln_five:23 documented=true static=true",
		":24 documented=false static=false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
