package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sort"
	"syscall"
)

// lockFolders locks folders against other runs of this program and returns a function that unlocks them. The lock is on
// the folder itself, so that no lock file is left lying about, and goes with the process, however that ends. Runs that
// only read share it. All runs lock in one order, so that none waits for another in a circle.
//
// A folder that does not exist is left out: reading it gives the better error.
func lockFolders(paths []string, shared bool, say func(format string, args ...any)) (unlock func(), err error) {
	type held struct {
		file *os.File
		path string
		id   [2]uint64 // device and inode
	}
	var folders []held
	release := func() {
		for _, f := range folders {
			f.file.Close() // which unlocks
		}
	}
	defer func() {
		if err != nil {
			release()
		}
	}()
	seen := make(map[[2]uint64]bool)
	for _, path := range paths {
		// Not blocking: what was named may turn out to be a named pipe.
		file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_DIRECTORY, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot open the folder: %w", err)
		}
		info, err := file.Stat()
		if err != nil {
			file.Close()
			return nil, err
		}
		stat := info.Sys().(*syscall.Stat_t)
		id := [2]uint64{uint64(stat.Dev), stat.Ino}
		if seen[id] {
			file.Close()
			continue
		}
		seen[id] = true
		folders = append(folders, held{file, path, id})
	}
	sort.Slice(folders, func(i, k int) bool {
		a, b := folders[i].id, folders[k].id
		return a[0] < b[0] || a[0] == b[0] && a[1] < b[1]
	})
	how := syscall.LOCK_EX
	if shared {
		how = syscall.LOCK_SH
	}
	for _, f := range folders {
		err := flock(f.file, how|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			say("%s: waiting for another mlnipc to finish", f.path)
			err = flock(f.file, how)
		}
		// Some network file systems lock no folders. There it is up to the user to run one at a time.
		if errors.Is(err, syscall.EBADF) || errors.Is(err, syscall.ENOLCK) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EINVAL) {
			say("%s: this file system cannot lock the folder; do not run mlnipc twice at a time", f.path)
			err = nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: cannot lock the folder: %w", f.path, err)
		}
	}
	return release, nil
}

func flock(file *os.File, how int) error {
	for {
		err := syscall.Flock(int(file.Fd()), how)
		if err != syscall.EINTR {
			return err
		}
	}
}
