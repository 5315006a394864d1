package ctest

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestInterchange runs a master with exec'ed workers that share nothing with the library but the frame format: one in C, compiled
// without the library's headers, and one in Python. They cut their stream at every byte, and check what comes back.
func TestInterchange(t *testing.T) {
	master := filepath.Join(t.TempDir(), "interchange")
	source := filepath.Join("testdata", "interchange.c")
	if err := compile(master, []string{source}, libraryFlags(t)...); err != nil {
		t.Fatal(err)
	}
	t.Run("C", func(t *testing.T) {
		peer := filepath.Join(t.TempDir(), "frame_peer")
		if err := compile(peer, []string{filepath.Join("testdata", "frame_peer.c")}); err != nil {
			t.Fatal(err)
		}
		check(t, source, master, peer)
	})
	python, err := exec.LookPath("python3")
	if err != nil {
		return // make says so
	}
	t.Run("Python", func(t *testing.T) {
		check(t, source, master, python, absolute(filepath.Join("testdata", "frame_peer.py")))
	})
}
