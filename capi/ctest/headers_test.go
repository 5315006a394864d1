package ctest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// standards are those in which every header has to compile.
var standards = []struct{ compiler, usual, language, standard string }{
	{"CC", "gcc", "c", "c99"},
	{"CC", "gcc", "c", "c11"},
	{"CC", "gcc", "c", "c17"},
	{"CXX", "g++", "c++", "c++17"},
}

// TestHeaders compiles units of public headers as strictly as a user may: each header alone and twice, and all in several orders. With
// a header that lacks an include or a guard, or that depends on one being first, some unit fails.
func TestHeaders(t *testing.T) {
	headers := sources(t, include, "*.h")
	for i, path := range headers {
		headers[i] = filepath.Base(path)
	}
	units := map[string][]string{"all": headers}
	for _, header := range headers {
		units[header] = []string{header, header}
	}
	units["reverse"] = slices.Clone(headers)
	slices.Reverse(units["reverse"])
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	shuffled := slices.Clone(headers)
	random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	units["shuffled"] = shuffled
	t.Logf("seed of the shuffled order: %d", seed)

	for name, unit := range units {
		var text strings.Builder
		for _, header := range unit {
			fmt.Fprintf(&text, "#include %q\n", header)
		}
		text.WriteString("int main(void) { return 0; }\n")
		for _, s := range standards {
			if s.compiler == "CXX" && !haveCXX() {
				continue
			}
			t.Run(name+"/"+s.standard, func(t *testing.T) {
				t.Parallel()
				source := filepath.Join(t.TempDir(), "unit")
				if err := os.WriteFile(source, []byte(text.String()), 0o600); err != nil {
					t.Fatal(err)
				}
				err := runTool(compileLimit, setting(s.compiler, s.usual), "-x", s.language, "-std="+s.standard,
					"-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "-I"+include, source)
				if err != nil {
					t.Errorf("%v\nthe unit:\n%s", err, &text)
				}
			})
		}
	}
}

// TestEveryFunctionIsDocumented asserts that the headers are the manual: a /** comment stands immediately before every function.
func TestEveryFunctionIsDocumented(t *testing.T) {
	for _, d := range publicDeclarations(t) {
		if d.Name != "" && !d.Documented {
			t.Errorf("include/%s:%d: %s has no /** comment immediately before it", d.File, d.Line, d.Name)
		}
	}
}
