package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
)

// job is one run of generate, program or check.
type job struct {
	mode    mode
	header  string   // path of the header with the types
	units   string   // folder of the generated units
	folders []string // folders of messages
}

// change is a file to be written, or with nil data deleted.
type change struct {
	path string
	data []byte
}

func (c change) String() string {
	if c.data == nil {
		return "delete " + c.path
	}
	return "write " + c.path
}

// check refuses what can be seen to be wrong before anything is read.
func (j job) check() error {
	switch base := filepath.Base(j.header); {
	case j.mode == libraryMode && base != libraryHeader:
		return fmt.Errorf("%s: the library's header must be called %s, because other headers include it", j.header, libraryHeader)
	case j.mode == programMode && base == libraryHeader:
		return fmt.Errorf("%s: %s is the library's, and the program's header includes it: choose another name", j.header, libraryHeader)
	case !headerName.MatchString(base):
		return fmt.Errorf("%s: the name of a header is made of letters, digits, '_', '-' and '.', and ends in .h", j.header)
	}
	outputs, err := os.Stat(j.units)
	if err == nil && !outputs.IsDir() {
		return fmt.Errorf("%s: not a folder", j.units)
	}
	for _, output := range j.outputFolders() {
		if isOneOf(output, j.folders) {
			return fmt.Errorf("%s: generated files cannot go into a folder of messages, where each file is a message", output)
		}
	}
	return nil
}

// libraryHeader is the header with the types of the library's messages.
const libraryHeader = "mln_ipc.h"

// headerName is what a header may be called: the name stands between quotes in an #include.
var headerName = regexp.MustCompile(`^[A-Za-z0-9_.-]+\.h$`)

// isOneOf tells whether path is one of the folders, under whatever name.
func isOneOf(path string, folders []string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	for _, f := range folders {
		if other, err := os.Stat(f); err == nil && os.SameFile(info, other) {
			return true
		}
	}
	return false
}

// changes compares what the catalog asks for with what is on disk. The records of numbers come first: should the
// machine stop half-way, no number that some file already shows is forgotten.
func (j job) changes(c *catalog) ([]change, error) {
	var changes []change
	for _, f := range c.folders {
		if f.changed() {
			changes = append(changes, change{f.numbers.path, f.numbers.bytes()})
		}
	}

	wanted := []change{{j.header, renderHeader(j.mode, j.header, c.messages)}}
	if j.mode == libraryMode {
		wanted = append(wanted, change{filepath.Join(j.units, tableFile), renderTable(c.messages)})
	}
	for _, m := range c.messages {
		wanted = append(wanted, change{filepath.Join(j.units, unitFile(m.Prefix)), renderUnit(j.mode, j.header, m)})
	}
	var problems []error
	current := make(map[string]bool)
	for _, w := range wanted {
		current[filepath.Base(w.path)] = true
		switch data, err := readRegular(w.path); {
		case errors.Is(err, fs.ErrNotExist):
			changes = append(changes, w)
		case err != nil:
			problems = append(problems, fmt.Errorf("%s: %w", w.path, err))
		case bytes.Equal(data, w.data):
		case !j.generated(data):
			problems = append(problems, fmt.Errorf("%s: the file was not written by mlnipc %s and is not overwritten: move it away, or generate elsewhere", w.path, string(j.mode)))
		default:
			changes = append(changes, w)
		}
	}

	stale, err := j.stale(current)
	changes = append(changes, stale...)
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, err
	}
	return changes, nil
}

// generated tells whether a file's content is our own.
func (j job) generated(data []byte) bool {
	return bytes.HasPrefix(data, []byte(j.mode.marker()+"\n"))
}

// stale finds the units of messages that are gone.
func (j job) stale(current map[string]bool) ([]change, error) {
	entries, err := os.ReadDir(j.units)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the folder of units: %w", err)
	}
	var stale []change
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !isUnitFile(entry.Name()) || current[entry.Name()] {
			continue
		}
		path := filepath.Join(j.units, entry.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if j.generated(data) {
			stale = append(stale, change{path: path})
		}
	}
	return stale, nil
}

// apply makes the changes. All new content is on disk under temporary names before the first file is touched, so that
// a full disk or a folder that cannot be written leaves everything as it was.
func apply(changes []change) (err error) {
	staged := make(map[string]string) // temporary name by path
	defer func() {
		for _, temporary := range staged {
			os.Remove(temporary)
		}
	}()
	for _, c := range changes {
		if c.data == nil {
			continue
		}
		temporary, err := stage(c)
		if err != nil {
			return fmt.Errorf("%s: cannot be written, nothing was changed: %w", c.path, err)
		}
		staged[c.path] = temporary
	}
	for _, c := range changes {
		if c.data == nil {
			err = os.Remove(c.path)
		} else if err = os.Rename(staged[c.path], c.path); err == nil {
			delete(staged, c.path)
		}
		if err != nil {
			return fmt.Errorf("not all files were brought up to date, run mlnipc again: %w", err)
		}
	}
	return nil
}

// stage writes the new content of a file to a temporary file beside it and returns that file's name.
func stage(c change) (name string, err error) {
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(c.path); err == nil {
		mode = info.Mode().Perm()
	}
	f, err := os.CreateTemp(filepath.Dir(c.path), ".mlnipc-*")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(c.data)
	// Without the sync a crash of the machine could leave the new name with no content.
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	return f.Name(), err
}

// outputFolders are the folders the job writes to, except the folders of messages.
func (j job) outputFolders() []string {
	folders := []string{filepath.Dir(j.header), j.units}
	sort.Strings(folders)
	return folders
}

// run reads the folders and brings all files up to date. With dryRun it only finds out what it would do. say gets a
// remark for the user.
func (j job) run(dryRun bool, say func(format string, args ...any)) ([]change, error) {
	if err := j.check(); err != nil {
		return nil, err
	}
	unlock, err := lockFolders(j.folders, dryRun, say)
	if err != nil {
		return nil, err
	}
	defer unlock()
	c, err := readCatalog(j.folders)
	if err != nil {
		return nil, err
	}
	for _, note := range c.notes {
		say("%s", note)
	}
	if j.mode == programMode {
		for _, m := range c.messages {
			if m.Type == reloadType {
				return nil, fmt.Errorf("%s: type %s belongs to the library; a program registers its own handlers for it with mln_ipc_handler_register", m.File, reloadType)
			}
		}
	}
	if !dryRun {
		for _, folder := range j.outputFolders() {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				return nil, fmt.Errorf("cannot make the folder for generated files: %w", err)
			}
		}
	}
	unlockOutputs, err := lockFolders(existing(j.outputFolders()), dryRun, say)
	if err != nil {
		return nil, err
	}
	defer unlockOutputs()
	changes, err := j.changes(c)
	if err != nil || dryRun {
		return changes, err
	}
	return changes, apply(changes)
}

func existing(folders []string) []string {
	var found []string
	for _, f := range folders {
		if _, err := os.Stat(f); err == nil {
			found = append(found, f)
		}
	}
	return found
}
