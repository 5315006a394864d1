package ctest

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// tableSymbol is the one exported name that is not of the API: the Go entry points of a copy of the library.
const tableSymbol = "_mln_engine"

// TestExportedSymbols asserts that the library exports the functions of the headers, its private table, and nothing else: any other
// name could clash with one of a program's.
func TestExportedSymbols(t *testing.T) {
	checkExportedSymbols(t, filepath.Join(libraryDirectory(t), "libmln.so"))
}

// TestBuildWithoutMake asserts that go build alone makes the same library from the committed files, and as hard a one.
func TestBuildWithoutMake(t *testing.T) {
	path := filepath.Join(t.TempDir(), "libmln.so")
	err := runTool(buildLimit, "env", "-C", root, setting("GO", "go"), "build", "-buildmode=c-shared", "-o", path, "./capi")
	if err != nil {
		t.Fatal(err)
	}
	checkExportedSymbols(t, path)
	checkHardened(t, path)
}

func checkExportedSymbols(t *testing.T, path string) {
	t.Helper()
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	symbols, err := file.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	exported := map[string]bool{}
	for _, symbol := range symbols {
		if symbol.Section == elf.SHN_UNDEF {
			continue
		}
		exported[symbol.Name] = true
		switch {
		case symbol.Name == tableSymbol:
		case !strings.HasPrefix(symbol.Name, "mln_"):
			t.Errorf("%s is exported, and is not a name of the library's", symbol.Name)
		case elf.ST_TYPE(symbol.Info) != elf.STT_FUNC:
			// The linker would copy it into the program, and the library's own code would go on with the original.
			t.Errorf("%s is exported, and is not a function", symbol.Name)
		}
	}
	if !exported[tableSymbol] {
		t.Errorf("%s is not exported: no forked process can reach its engine", tableSymbol)
	}

	declared := map[string]bool{}
	for _, d := range publicDeclarations(t) {
		switch {
		case d.Name == "" && d.Extern:
			t.Errorf("include/%s:%d declares data; give access to it by a function", d.File, d.Line)
		case d.Name == "" || d.Static:
		case !exported[d.Name]:
			t.Errorf("include/%s:%d declares %s, and the library does not export it", d.File, d.Line, d.Name)
		}
		if !d.Static {
			declared[d.Name] = true
		}
	}
	for name := range exported {
		if name != tableSymbol && !declared[name] {
			t.Errorf("%s is exported, and no header declares it", name)
		}
	}
}

// TestLibraryIdentity asserts what the loader goes by.
func TestLibraryIdentity(t *testing.T) {
	file, err := elf.Open(filepath.Join(libraryDirectory(t), "libmln.so"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	names, err := file.DynString(elf.DT_SONAME)
	if err != nil || len(names) != 1 || names[0] != "libmln.so.1" {
		t.Errorf("soname is %v (%v), want libmln.so.1", names, err)
	}
	if file.Section(".symtab") != nil || file.Section(".debug_info") != nil {
		t.Error("the library is not stripped")
	}
	flags, err := file.DynValue(elf.DT_FLAGS_1)
	if err != nil || len(flags) != 1 || elf.DynFlag1(flags[0])&elf.DF_1_NOW == 0 {
		t.Errorf("DT_FLAGS_1 is %v (%v): symbols are not bound at load, so the table of their addresses stays writable", flags, err)
	}
}

// TestLibraryIsHardened asserts what keeps a mistake in the C part from becoming an attacker's way in.
func TestLibraryIsHardened(t *testing.T) {
	checkHardened(t, filepath.Join(libraryDirectory(t), "libmln.so"))
}

func checkHardened(t *testing.T, path string) {
	t.Helper()
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if flags, err := file.DynValue(elf.DT_FLAGS); err != nil || len(flags) != 1 || elf.DynFlag(flags[0])&elf.DF_BIND_NOW == 0 {
		t.Errorf("DT_FLAGS is %v (%v): symbols are not bound at load", flags, err)
	} else if elf.DynFlag(flags[0])&elf.DF_TEXTREL != 0 {
		t.Error("DT_FLAGS has TEXTREL: the loader writes to code")
	}
	if entries, err := file.DynValue(elf.DT_TEXTREL); err != nil || len(entries) != 0 {
		t.Errorf("there is a DT_TEXTREL (%v): the loader writes to code", err)
	}
	var relocated, stack bool
	for _, segment := range file.Progs {
		switch {
		case segment.Type == elf.PT_GNU_RELRO:
			relocated = true
		case segment.Type == elf.PT_GNU_STACK:
			stack = true
			if segment.Flags&elf.PF_X != 0 {
				t.Error("the stack of programs becomes executable")
			}
		case segment.Type == elf.PT_LOAD && segment.Flags&(elf.PF_W|elf.PF_X) == elf.PF_W|elf.PF_X:
			t.Errorf("the segment at %#x can be written to and executed", segment.Vaddr)
		}
	}
	if !relocated {
		t.Error("there is no PT_GNU_RELRO: the tables of addresses stay writable")
	}
	if !stack {
		t.Error("there is no PT_GNU_STACK: the stack of programs becomes executable")
	}
	symbols, err := file.ImportedSymbols()
	if err != nil {
		t.Fatal(err)
	}
	imported := map[string]bool{}
	for _, symbol := range symbols {
		imported[symbol.Name] = true
	}
	if !imported["__stack_chk_fail"] {
		t.Error("__stack_chk_fail is not imported: it was built without -fstack-protector-strong")
	}
	for _, name := range []string{"printf", "snprintf", "vsnprintf", "asprintf", "vasprintf"} {
		if !imported["__"+name+"_chk"] {
			t.Errorf("__%s_chk is not imported: the C part, which uses %[1]s, was built without _FORTIFY_SOURCE", name)
		}
	}
}

// TestLibraryContactsNobody asserts that the library cannot even look up a host or open a connection, as the original does at every
// start: it has no functions for that, neither of the C library nor of Go, which makes its system calls itself. The names of Go's
// functions are in the table that the runtime unwinds by.
func TestLibraryContactsNobody(t *testing.T) {
	path := filepath.Join(libraryDirectory(t), "libmln.so")
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	symbols, err := file.ImportedSymbols()
	if err != nil {
		t.Fatal(err)
	}
	network := regexp.MustCompile(`^(socket|connect|bind|listen|accept4?|sendto|getaddrinfo|getnameinfo|gethostby.*|getservby.*|res_.*|dn_.*)$`)
	for _, symbol := range symbols {
		if network.MatchString(symbol.Name) {
			t.Errorf("%s is imported", symbol.Name)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte("\x00main.engineConfigure\x00")) {
		t.Error("the names of the Go functions are not to be found")
	}
	function := regexp.MustCompile(`\x00(net\.[\w.()*]+|(syscall|golang\.org/x/sys/unix)\.(?i:socket|connect|bind|listen|sendto))\x00`)
	for _, match := range function.FindAll(data, -1) {
		t.Errorf("the Go function %s is part of it", bytes.Trim(match, "\x00"))
	}
}
