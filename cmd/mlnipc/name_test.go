package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FuzzName checks that a name is taken apart without loss, and that what is accepted is safe wherever it ends up: in
// the name of a file, in a macro and in C code.
func FuzzName(f *testing.F) {
	for _, seed := range []string{
		"conf_reload.M_IPC_CONF_RELOAD", "x.M_X", "", ".", "..", "x.", ".x", "a.b.c", "2.3", "a b.c", "a/b.c", "a.c\n", "x.int", "x.MLN_A",
		"mln_.X", "handlers.X", "_.X", "__a.X", "x._X", "\u00e4.X", "x.M_X\x00", strings.Repeat("a", 64) + ".X",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, base string) {
		within(t, 3*time.Second)
		name, err := parseName(base)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has more than one line: %q", err)
			}
			return
		}
		if name.Prefix+"."+name.Type != base {
			t.Errorf("%q was taken apart as %q and %q", base, name.Prefix, name.Type)
		}
		for _, part := range []string{name.Prefix, name.Type} {
			if part == "" || len(part) > maxIdentifier || strings.Trim(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
				t.Errorf("%q was accepted", part)
			}
		}
		if unit := unitFile(name.Prefix); !isUnitFile(unit) || unit == tableFile {
			t.Errorf("unit %q", unit)
		}
		if ignored(base) != "" {
			t.Errorf("%q is a name of a message and is left out", base)
		}
	})
}

func TestEveryReservedNameIsAnIdentifier(t *testing.T) {
	for _, set := range []map[string]bool{keywords, reserved} {
		for word := range set {
			if !identifier.MatchString(word) {
				t.Errorf("%q can never be refused", word)
			}
		}
	}
}

// TestUnitNamesAreTakenByGo guards against prefixes that would make the Go tool leave a unit out.
func TestUnitNamesAreTakenByGo(t *testing.T) {
	dir := t.TempDir()
	for _, prefix := range []string{"linux", "windows", "arm64", "windows_arm64", "test", "x_test"} {
		write(t, dir, map[string]string{unitFile(prefix): "int x;\n"})
		if ok, err := goMatches(dir, unitFile(prefix)); err != nil || !ok {
			t.Errorf("%s is left out (%v)", unitFile(prefix), err)
		}
	}
	write(t, dir, map[string]string{"ipc_windows.c": "int x;\n"})
	if ok, _ := goMatches(dir, "ipc_windows.c"); ok {
		t.Error("ipc_windows.c is taken: the test shows nothing")
	}
	if err := os.Remove(filepath.Join(dir, "ipc_windows.c")); err != nil {
		t.Fatal(err)
	}
}
