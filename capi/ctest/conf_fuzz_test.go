package ctest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"melon/core/conf"
)

// Kinds of items that no file has: one that holds nothing, and what an update refuses.
const (
	kindNone     conf.Kind = 0
	kindNoString conf.Kind = 0xf0 // a string without a string
	kindUnknown  conf.Kind = 0xf1
)

// confModel is what a program is to see of a configuration: the tree, with reals that are floats, and what calls print and return.
type confModel struct {
	file     string
	tree     *conf.Tree // nil before it is loaded
	fromFile bool       // and not the defaults
	hooks    []*confHook
}

// A confHook does something when it is called: 'p' for nothing, 'f' to fail, 'u' to unset a hook, 's' to set one that does nothing.
type confHook struct{ number, does, to byte }

// read reads the file, and returns the line in the log and whether there is a new tree.
func (m *confModel) read() (line string, ok bool) {
	consequence := "there is no configuration"
	if m.tree != nil {
		consequence = "the old configuration stays in force"
	}
	if _, err := os.Stat(m.file); errors.Is(err, fs.ErrNotExist) {
		if m.tree != nil && m.fromFile {
			return m.file + ": the configuration file is gone; " + consequence + "\n", false
		}
		m.tree, m.fromFile = &conf.Tree{Domains: []*conf.Domain{{Name: conf.MainDomain}}}, false
		return m.file + ": the configuration file, named by the program's path hook, does not exist; the built-in defaults are used\n", true
	}
	tree, err := conf.ParseFile(m.file)
	if err == nil {
		err = toFloats(tree)
	}
	if err != nil {
		return escaped(err.Error()) + "; " + consequence + "\n", false
	}
	m.tree, m.fromFile = tree, true
	return "", true
}

// toFloats makes the reals of a tree what the C API holds, and refuses what it cannot hold.
func toFloats(tree *conf.Tree) error {
	for _, d := range tree.Domains {
		for _, c := range d.Commands {
			for i := range c.Items {
				item := &c.Items[i]
				if math.Abs(item.Real) > math.MaxFloat32 {
					return fmt.Errorf("%v: expected a real number that fits in a float, found one out of range", item.Pos)
				}
				item.Real = float64(float32(item.Real))
			}
		}
	}
	return nil
}

func result(ok bool) string {
	if ok {
		return "0\n"
	}
	return "-1\n"
}

func (m *confModel) load() string {
	if m.tree != nil {
		return result(true)
	}
	line, ok := m.read()
	return line + result(ok)
}

func (m *confModel) reload() string {
	printed, ok := m.read()
	if !ok {
		return printed + result(false)
	}
	for _, hook := range slices.Clone(m.hooks) { // those that hooks set count from the next reload on
		if !slices.Contains(m.hooks, hook) {
			continue // one before it has unset it
		}
		printed += fmt.Sprintf("hook %d\n", hook.number)
		switch hook.does {
		case 'f':
			return printed + "a hook failed after the configuration was reloaded; the hooks behind it were not called\n" + result(false)
		case 'u':
			m.unset(hook.to)
		case 's':
			if m.hook(hook.to) < 0 {
				m.hooks = append(m.hooks, &confHook{number: hook.to, does: 'p'})
			}
		}
	}
	return printed + result(true)
}

func (m *confModel) hook(number byte) int {
	return slices.IndexFunc(m.hooks, func(h *confHook) bool { return h.number == number })
}

func (m *confModel) unset(number byte) {
	m.hooks = slices.DeleteFunc(m.hooks, func(h *confHook) bool { return h.number == number })
}

// show is what drivers/conf.c shows of the domains of these names, and of the whole.
func (m *confModel) show(names []string) string {
	if m.tree == nil {
		return "empty: 1\nno configuration\ndump:\n"
	}
	var b strings.Builder
	main := m.tree.Domain(conf.MainDomain)
	if len(m.tree.Domains) <= 1 && (main == nil || len(main.Commands) == 0) {
		b.WriteString("empty: 1\n")
	} else {
		b.WriteString("empty: 0\n")
	}
	for _, name := range names {
		d := m.tree.Domain(name)
		if d == nil {
			b.WriteString("no domain\n")
			continue
		}
		fmt.Fprintf(&b, "domain %d:%s\n", len(name), name)
		known := map[string]bool{}
		for _, c := range d.Commands {
			if known[c.Name] {
				b.WriteString("again ")
			} else {
				b.WriteString("first ")
			}
			known[c.Name] = true
			fmt.Fprintf(&b, "%d:%s", len(c.Name), c.Name)
			for _, item := range c.Items {
				fmt.Fprintf(&b, " %d=%s", item.Kind, shown(item))
			}
			b.WriteByte('\n')
		}
	}
	return b.String() + "dump:\n" + m.dump()
}

func shown(item conf.Item) string {
	switch item.Kind {
	case conf.String:
		return fmt.Sprintf("%d:%s", len(item.Str), item.Str)
	case conf.Char:
		return strconv.Itoa(int(item.Char))
	case conf.Bool:
		if item.Bool {
			return "1"
		}
		return "0"
	case conf.Int:
		return strconv.FormatInt(item.Int, 10)
	case conf.Real:
		return strconv.FormatUint(uint64(math.Float32bits(float32(item.Real))), 10)
	}
	return ""
}

// dump is what mln_conf_dump prints.
func (m *confModel) dump() string {
	var b strings.Builder
	for _, d := range m.tree.Domains {
		indent := ""
		if d.Name != conf.MainDomain {
			b.WriteString(escaped(d.Name) + " {\n")
			indent = "    "
		}
		for _, c := range d.Commands {
			b.WriteString(indent + escaped(c.Name))
			for _, item := range c.Items {
				b.WriteString(" " + dumped(item))
			}
			b.WriteString(";\n")
		}
		if indent != "" {
			b.WriteString("}\n")
		}
	}
	return b.String()
}

func dumped(item conf.Item) string {
	switch item.Kind {
	case kindNone:
		return "none"
	case conf.Real:
		return dumpedReal(item.Real)
	}
	return escaped(item.String())
}

// dumpedReal has as many digits as it takes to read the same float.
func dumpedReal(x float64) string {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return number(x)
	}
	for digits := 1; ; digits++ {
		text := strconv.FormatFloat(x, 'f', digits, 64)
		if again, _ := strconv.ParseFloat(text, 64); float32(again) == float32(x) {
			return text
		}
	}
}

// readable tells whether the language has a spelling for everything in a tree that came from a file.
func readable(tree *conf.Tree) bool {
	for _, d := range tree.Domains {
		for _, c := range d.Commands {
			for _, item := range c.Items {
				if text := item.String(); escaped(text) != text {
					return false
				}
			}
		}
	}
	return true
}

// A confRun has drivers/conf.c and the model do the same.
type confRun struct {
	confModel
	t *testing.T
	d *driver
}

// startConfDriver starts drivers/conf.c, and returns its configuration file as well. It is in the same folder as the test, because what
// an #include names is looked for there first.
func startConfDriver(f *testing.F) (d *driver, file string) {
	file = filepath.Join(f.TempDir(), "melon.conf")
	return startDriver(f, "", "conf.c", file), file
}

// takesNothing runs what begins without a configuration and without hooks, frees both, and asserts that no memory and no descriptor is
// taken for good. The allocator rounds and keeps some in stock, and the Go runtime takes some for its threads; but not each time.
func takesNothing(t *testing.T, d *driver, file string, run func(r *confRun)) {
	t.Helper()
	begin := func() (r *confRun, memory, descriptor int) {
		r = &confRun{confModel{file: file}, t, d}
		r.tell("f")
		r.tell("F")
		if _, err := fmt.Sscan(d.ask(t, []byte("t")), &memory, &descriptor); err != nil {
			t.Fatal(err)
		}
		return r, memory, descriptor
	}
	const tries = 20
	for range tries {
		r, memory, descriptor := begin()
		run(r)
		if _, memoryNow, descriptorNow := begin(); memoryNow <= memory && descriptorNow <= descriptor {
			return
		}
	}
	t.Errorf("each of %d times memory or descriptors are left", tries)
}

// linePrefix is what the log puts before a message.
var linePrefix = regexp.MustCompile(`(?m)^\d\d/\d\d/\d{4} \d\d:\d\d:\d\d UTC (WARN|ERROR): \S+:\d+: PID:\d+ `)

// expect sends a request, and compares what is printed.
func (r *confRun) expect(want, request string) {
	r.t.Helper()
	if got := r.d.ask(r.t, []byte(request)); got != want && linePrefix.ReplaceAllString(got, "") != want {
		r.t.Fatalf("%.80q printed\n%q, want\n%q", request, got, want)
	}
}

// tell sends a request that has nothing printed.
func (r *confRun) tell(request string) {
	r.t.Helper()
	r.expect("", request)
}

func (r *confRun) write(text string) {
	r.t.Helper()
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *confRun) load() {
	r.t.Helper()
	r.expect(r.confModel.load(), "l")
}

func (r *confRun) reload() {
	r.t.Helper()
	r.expect(r.confModel.reload(), "r")
}

func (r *confRun) free() {
	r.t.Helper()
	r.tell("f")
	r.tree, r.fromFile = nil, false
}

func (r *confRun) setHook(hook confHook) {
	r.t.Helper()
	r.tell(string([]byte{'H', hook.number, hook.does, hook.to}))
	r.hooks = append(r.hooks, &hook)
}

func (r *confRun) show(names []string) {
	r.t.Helper()
	r.expect(r.confModel.show(names), "s"+strings.Join(names, "\x00")+"\x00")
}

// readBack asserts that what was dumped is the same configuration, or is refused where the language cannot say it.
func (r *confRun) readBack(names []string) {
	r.t.Helper()
	_, dump, _ := strings.Cut(r.d.ask(r.t, []byte("s")), "dump:\n")
	tree, err := conf.Parse("dump", []byte(dump), conf.Options{MaxBytes: math.MaxInt})
	if !readable(r.tree) {
		if err == nil || !strings.Contains(err.Error(), `expected one of \"`) {
			r.t.Fatalf("the language has no escape for something in %q, which is read all the same: %v", dump, err)
		}
		return
	}
	if err == nil {
		err = toFloats(tree)
	}
	if err != nil {
		r.t.Fatalf("what was dumped cannot be read back: %v\n%q", err, dump)
	}
	if got, want := (&confModel{tree: tree}).show(names), r.confModel.show(names); got != want {
		r.t.Fatalf("what was dumped is read back as\n%q, and was\n%q", got, want)
	}
}

// elsewhere matches a file that includes another one which is not below its folder or this one: that is none of a test's business.
var elsewhere = regexp.MustCompile(`#include[ \t\r]*"@?(/|[^"]*(\.\.|\\))`)

// FuzzConfFile compares what the C library makes of a configuration file with what the parser does, while there is a configuration and
// while there is none: what is in the tree, what the log says, that a failure leaves everything as it was, and what a dump is read as.
func FuzzConfFile(f *testing.F) {
	for _, seed := range []string{
		"", "a;", "a 1 -2 2.5 'c' \"s\\n\" on off;", "d { a 1; a 2; b; }\nd { c; }\nbefore;", "#define N 4\na #N;", "#if !A\na;\n#else\nb;\n#endif",
		"a 1", "main { }", "d {", "a \"\x00\";", "\xff", "a 9223372036854775807 -9223372036854775808;", "a 9223372036854775808;", "#include \"none\"",
		"#include \"part.conf\"\n#include \"@more\"", "#include \"part.conf/none\"", "#include \"@melon.conf\"", "#include \"main_test.go\"",
		"a 340282346638528859811704183484516925440.0 -340282346638528859811704183484516925440.0 0.1 -0.0;", "a 340282346638528859811704183484516925441.0;",
		"a 340282356779733661637539395458142568447.0;", "a 0." + strings.Repeat("0", 44) + "1;", "a 0." + strings.Repeat("0", 400) + "1;",
		"a 0.0000000000000000000000000703853069185120912085918801714;", // needs more digits for the parser than for strtof()
		`a "\"\'\\\n\t\b\a\f\r\v\e\"" '\'' '\"' '"' '\\' '\e';`, "a \"Grüße €\U0001f600 '#N // /* \\\\x41 \n\" '#';",
		"a \"\x01\";", "a '\x7f';", "a '\xe9' \"\";", "a \"\u009b2J\";", "a \"cut \xe2\x82\";", "a \"\xed\xa0\x80\\e\";", "a \"\\x41\";",
		"#define X #Y#Y#Y#Y#Y#Y#Y#Y\n#define Y a 1 2.5 'c' \"text\" on; a;\nd { #X #X #X #X }\n" + strings.Repeat("e { #X }\n", 20),
	} {
		f.Add([]byte(seed))
	}
	d, file := startConfDriver(f)
	folder := filepath.Dir(file)
	for name, text := range map[string]string{"part.conf": "part 1;", "more/1": "more { one 1.5; }", "more/2": "more { two \"2\"; }"} {
		path := filepath.Join(folder, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if elsewhere.Match(text) {
			return
		}
		takesNothing(t, d, file, func(r *confRun) {
			r.write("before 1;\nlimits { rate -2.5 \"text\"; }")
			r.load()
			r.setHook(confHook{number: 1, does: 'p'})
			r.write(string(text))
			r.load() // which does nothing now
			r.reload()
			names := []string{conf.MainDomain, "none"}
			for _, domain := range r.tree.Domains[1:] {
				if !slices.Contains(names, domain.Name) {
					names = append(names, domain.Name)
				}
			}
			r.show(names)
			r.readBack(names)
			r.free()
			r.load()
			r.show(names)
		})
	})
}

// confNames are names of domains and commands, some of which only a program can choose.
var confNames = []string{conf.MainDomain, "a", "b", "a b", "on", "", "d\x9b", "c\n\""}

// confTexts are pieces of a configuration file. With some of them it is wrong.
var confTexts = []string{"", "a 1;", "b on 'c'; a;", "a { b 2.5; a \"text\"; }", "b { }", "a { a; a 2; }", "on;", "b {"}

// A confProgram is bytes that say what to do.
type confProgram []byte

func (p *confProgram) next() byte {
	if len(*p) == 0 {
		return 0
	}
	first := (*p)[0]
	*p = (*p)[1:]
	return first
}

func (p *confProgram) bytes(n int) []byte {
	n = min(n, len(*p))
	first := (*p)[:n]
	*p = (*p)[n:]
	return first
}

func (p *confProgram) name() string { return confNames[p.next()%byte(len(confNames))] }

func (p *confProgram) item() conf.Item {
	kinds := []conf.Kind{conf.String, conf.Char, conf.Bool, conf.Int, conf.Real, kindNone, kindNoString, kindUnknown}
	item := conf.Item{Kind: kinds[p.next()%byte(len(kinds))]}
	var value [8]byte
	switch item.Kind {
	case conf.String:
		item.Str = string(p.bytes(int(p.next() % 16)))
	case conf.Char:
		item.Char = p.next()
	case conf.Bool:
		item.Bool = p.next()%2 == 1
	case conf.Int:
		copy(value[:], p.bytes(8))
		item.Int = int64(binary.NativeEndian.Uint64(value[:]))
	case conf.Real:
		copy(value[:], p.bytes(4))
		item.Real = float64(math.Float32frombits(binary.NativeEndian.Uint32(value[:])))
	}
	return item
}

// encoded is an item as drivers/conf.c takes it.
func encoded(item conf.Item) string {
	kind, value := byte(item.Kind), uint64(0)
	switch item.Kind {
	case kindNoString:
		kind, value = byte(conf.String), math.MaxUint64
	case conf.String:
		value = uint64(len(item.Str))
	case conf.Char:
		value = uint64(item.Char)
	case conf.Bool:
		if item.Bool {
			value = 1
		}
	case conf.Int:
		value = uint64(item.Int)
	case conf.Real:
		value = uint64(math.Float32bits(float32(item.Real)))
	}
	return string(binary.NativeEndian.AppendUint64([]byte{kind}, value)) + item.Str
}

// confSteps are what can be done at any time, and need not have an effect.
var confSteps = []func(r *confRun, p *confProgram){
	func(r *confRun, p *confProgram) { r.load() },
	func(r *confRun, p *confProgram) { r.reload() },
	func(r *confRun, p *confProgram) { r.free() },
	func(r *confRun, p *confProgram) { // another file
		text := ""
		for range p.next() % 4 {
			text += confTexts[p.next()%byte(len(confTexts))] + "\n"
		}
		r.write(text)
	},
	func(r *confRun, p *confProgram) { // no file
		if err := os.Remove(r.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.t.Fatal(err)
		}
	},
	func(r *confRun, p *confProgram) { // a domain more
		if name := p.name(); r.tree != nil {
			r.tell("D" + name + "\x00")
			r.tree.Domains = append(r.tree.Domains, &conf.Domain{Name: name})
		}
	},
	func(r *confRun, p *confProgram) { // a domain less
		if name := p.name(); r.tree != nil {
			r.tell("d" + name + "\x00")
			if at := slices.Index(r.tree.Domains, r.tree.Domain(name)); at >= 0 {
				r.tree.Domains = slices.Delete(r.tree.Domains, at, at+1)
			}
		}
	},
	func(r *confRun, p *confProgram) { // a command more
		if d, name := r.domain(p), p.name(); d != nil {
			r.tell("C" + d.Name + "\x00" + name + "\x00")
			d.Commands = append(d.Commands, &conf.Command{Name: name})
		}
	},
	func(r *confRun, p *confProgram) { // a command less
		if d, name := r.domain(p), p.name(); d != nil {
			r.tell("c" + d.Name + "\x00" + name + "\x00")
			if at := slices.Index(d.Commands, d.Command(name)); at >= 0 {
				d.Commands = slices.Delete(d.Commands, at, at+1)
			}
		}
	},
	func(r *confRun, p *confProgram) { // other items
		d, c := r.command(p)
		var items []conf.Item
		var request string
		refused := false
		for range p.next() % 5 {
			item := p.item()
			items = append(items, item)
			request += encoded(item)
			refused = refused || item.Kind == kindNoString || item.Kind == kindUnknown
		}
		if c == nil {
			return
		}
		r.expect(result(!refused), "u"+d.Name+"\x00"+c.Name+"\x00"+request)
		if !refused {
			c.Items = items
		}
	},
	func(r *confRun, p *confProgram) { // the items the other way round
		if d, c := r.command(p); c != nil {
			r.expect(result(true), "o"+d.Name+"\x00"+c.Name+"\x00")
			slices.Reverse(c.Items)
		}
	},
	func(r *confRun, p *confProgram) { // a hook more
		hook := confHook{number: p.next() % 8, does: "pfus"[p.next()%4], to: p.next() % 8}
		if r.hook(hook.number) < 0 {
			r.setHook(hook)
		}
	},
	func(r *confRun, p *confProgram) { // a hook less
		number := p.next() % 8
		r.tell(string([]byte{'h', number}))
		r.unset(number)
	},
	func(r *confRun, p *confProgram) { // no hooks
		r.tell("F")
		r.hooks = nil
	},
}

// domain is the first domain of the name that comes next, or nil.
func (r *confRun) domain(p *confProgram) *conf.Domain {
	name := p.name()
	if r.tree == nil {
		return nil
	}
	return r.tree.Domain(name)
}

// command is the first command of the name that comes next, and its domain; nil if there is none.
func (r *confRun) command(p *confProgram) (*conf.Domain, *conf.Command) {
	d, name := r.domain(p), p.name()
	if d == nil {
		return nil, nil
	}
	return d, d.Command(name)
}

// FuzzConfTree has a program load, reload, free and change a configuration, with hooks, and compares what it sees after each step with a
// model of some lines.
func FuzzConfTree(f *testing.F) {
	const (
		load = iota
		reload
		free
		write
		remove
		insertDomain
		removeDomain
		insertCommand
		removeCommand
		update
		reverse
		setHook
		unsetHook
		unsetHooks
	)
	for _, seed := range [][]byte{
		{},
		{load, reload, write, 1, 1, reload, remove, reload, free, load},
		{write, 2, 1, 7, load, write, 3, 3, 5, 4, load, write, 1, 7, reload, load, free, reload},
		// The last of a list goes, and one is put behind it; a name that is there twice.
		{write, 1, 3, load, removeCommand, 1, 1, insertCommand, 1, 5, insertCommand, 1, 5, removeCommand, 1, 5, removeDomain, 1, insertDomain, 1,
			insertDomain, 1, removeDomain, 0, insertDomain, 0, insertCommand, 0, 7, removeDomain, 1},
		{load, insertCommand, 0, 1, update, 0, 1, 4, 0, 5, 'a', 0, '"', 0xff, '\n', 1, 0xe9, 2, 1, 3, 1, 2, 3, 4, 5, 6, 7, 0xff, reverse, 0, 1,
			update, 0, 1, 2, 3, 1, 0, 0, 0, 0, 0, 0, 0, 6, update, 0, 1, 1, 7, update, 0, 1, 3, 4, 1, 0, 0, 0, 5, 0, 0, update, 0, 1, 0, reverse, 0, 1},
		{load, insertCommand, 0, 1, update, 0, 1, 4, 4, 0, 0, 0x80, 0x7f, 4, 0, 0, 0x80, 0xff, 4, 1, 0, 0xc0, 0x7f, 4, 0xff, 0xff, 0x7f, 0x7f},
		// A hook unsets itself, one unsets the next, one sets another, which counts from the next time on, and one fails.
		{setHook, 1, 2, 1, setHook, 2, 2, 3, setHook, 3, 0, 0, setHook, 4, 3, 1, reload, reload, setHook, 5, 1, 0, setHook, 6, 0, 0, reload,
			unsetHook, 5, reload, unsetHook, 5, unsetHooks, reload},
		// The one that is unset is set again in the same reload, behind another.
		{setHook, 1, 2, 2, setHook, 3, 3, 2, setHook, 2, 0, 0, setHook, 4, 0, 0, reload, reload},
	} {
		f.Add(seed)
	}
	d, file := startConfDriver(f)
	f.Fuzz(func(t *testing.T, program []byte) {
		takesNothing(t, d, file, func(r *confRun) {
			confSteps[remove](r, nil)
			p := confProgram(program)
			for range 100 {
				r.show(confNames)
				if len(p) == 0 {
					return
				}
				confSteps[p.next()%byte(len(confSteps))](r, &p)
			}
		})
	})
}
