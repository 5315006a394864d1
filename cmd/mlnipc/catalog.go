package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// message is one message: its file, and the number its type has.
type message struct {
	messageName
	File   string // path of the handler file
	Text   []byte // its content
	Number uint32
	New    bool // the number is given by this run
}

// Base is the name of the handler file without its folder.
func (m *message) Base() string { return m.Prefix + "." + m.Type }

// folder is a folder of messages.
type folder struct {
	path     string
	messages []*message
	numbers  *numberRecord
	recorded []byte // content of the record on disk, nil when there is none
}

// catalog is everything the folders of one run hold, checked and numbered.
type catalog struct {
	folders  []*folder
	messages []*message // folder by folder, in byte order of the file names
	notes    []string   // remarks for the user: files that were left out
}

// readCatalog reads the folders, checks everything and numbers the messages. It changes nothing on disk. The error
// joins all problems found, each naming its file.
func readCatalog(paths []string) (*catalog, error) {
	c := &catalog{}
	var problems []error
	for _, path := range paths {
		f, notes, err := readFolder(path)
		c.notes = append(c.notes, notes...)
		if err != nil {
			problems = append(problems, err)
		}
		c.folders = append(c.folders, f)
		c.messages = append(c.messages, f.messages...)
	}
	problems = append(problems, sameFolders(paths), c.checkUnique())
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if err := c.number(); err != nil {
		return nil, err
	}
	return c, nil
}

// readFolder reads one folder. The folder it returns is never nil: what could be read is checked against the others
// even when something else in it is wrong, so that one run reports all there is to mend.
func readFolder(path string) (f *folder, notes []string, err error) {
	f = &folder{path: path}
	entries, err := os.ReadDir(path) // in byte order of the names, whatever the locale
	if err != nil {
		return f, nil, fmt.Errorf("cannot read the folder of messages: %w", err)
	}
	var problems []error
	for _, entry := range entries {
		base := entry.Name()
		file := filepath.Join(path, base)
		if why := ignored(base); why != "" {
			if base != numbersName && !strings.HasPrefix(base, ".git") {
				notes = append(notes, fmt.Sprintf("%s: left out (%s)", file, why))
			}
			continue
		}
		m, err := readMessage(file, base)
		if m != nil {
			f.messages = append(f.messages, m)
		}
		if err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				problems = append(problems, fmt.Errorf("%s: %s", file, line))
			}
		}
	}
	record := filepath.Join(path, numbersName)
	f.numbers = newNumberRecord(record)
	switch f.recorded, err = readRegular(record); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		problems = append(problems, fmt.Errorf("%s: %w", record, err))
	default:
		r, err := parseNumbers(record, f.recorded)
		if err != nil {
			problems = append(problems, err)
		} else {
			f.numbers = r
		}
	}
	return f, notes, errors.Join(problems...)
}

// ignored says why a file in a folder of messages is not taken for a message; "" when it is one.
func ignored(base string) string {
	switch {
	case strings.HasPrefix(base, "."):
		return "a hidden file"
	case strings.HasSuffix(base, "~"), len(base) > 1 && strings.HasPrefix(base, "#") && strings.HasSuffix(base, "#"):
		return "an editor's backup"
	}
	return ""
}

// readMessage reads and checks a handler file. With a good name it returns a message even when the text is wrong.
func readMessage(file, base string) (*message, error) {
	name, err := parseName(base)
	if err != nil {
		return nil, err
	}
	m := &message{messageName: name, File: file}
	if m.Text, err = readRegular(file); err != nil {
		return m, err
	}
	return m, checkHandlerText(m.Text, m.Prefix)
}

// readRegular reads a file, and refuses what is none: a named pipe would keep the program waiting for ever.
func readRegular(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file (%s)", info.Mode().Type())
	}
	data, err := os.ReadFile(path)
	return data, withoutPath(err)
}

// withoutPath takes the path out of an error of package os, for callers that name the file themselves.
func withoutPath(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return fmt.Errorf("cannot %s the file: %w", pathErr.Op, pathErr.Err)
	}
	return err
}

// sameFolders refuses a folder that is named twice, under whatever names.
func sameFolders(paths []string) error {
	var infos []fs.FileInfo
	var seen []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			continue // reported where the folder is read
		}
		for i := range infos {
			if os.SameFile(infos[i], info) {
				return fmt.Errorf("%s: the folder is named twice, before as %s", path, seen[i])
			}
		}
		infos, seen = append(infos, info), append(seen, path)
	}
	return nil
}

// checkUnique refuses a type or a prefix that two files share, and a number that two types share.
func (c *catalog) checkUnique() error {
	var problems []error
	types, prefixes := make(map[string]*message), make(map[string]*message)
	for _, m := range c.messages {
		if other := types[m.Type]; other != nil {
			problems = append(problems, fmt.Errorf("%s: type %s is already that of %s", m.File, m.Type, other.File))
		} else {
			types[m.Type] = m
		}
		if other := prefixes[m.Prefix]; other != nil {
			problems = append(problems, fmt.Errorf("%s: prefix %s is already that of %s", m.File, m.Prefix, other.File))
		} else {
			prefixes[m.Prefix] = m
		}
	}

	// Within one folder the record was checked when it was read. A type that moved from one folder to another stands
	// in both records, with one number.
	type place struct {
		*numberLine
		path string
	}
	byNumber, byType := make(map[uint32]place), make(map[string]place)
	for _, f := range c.folders {
		if f.numbers == nil {
			continue
		}
		for _, l := range f.numbers.lines {
			if l.Type == "" {
				continue
			}
			if other, ok := byNumber[l.Number]; ok && other.Type != l.Type {
				problems = append(problems, fmt.Errorf("%s:%d: number %d of %s is already that of %s (%s:%d); change the one that fewer programs use", f.numbers.path, l.line, l.Number, l.Type, other.Type, other.path, other.line))
			}
			if other, ok := byType[l.Type]; ok && other.Number != l.Number {
				problems = append(problems, fmt.Errorf("%s:%d: %s has number %d here but %d in %s:%d; make them the same", f.numbers.path, l.line, l.Type, l.Number, other.Number, other.path, other.line))
			}
			byNumber[l.Number], byType[l.Type] = place{l, f.numbers.path}, place{l, f.numbers.path}
		}
	}
	return errors.Join(problems...)
}

// number gives each message the number of its type and brings the records up to date in memory.
func (c *catalog) number() error {
	known := make(map[string]uint32)
	used := make(map[uint32]bool)
	for _, f := range c.folders {
		for typ, l := range f.numbers.byType {
			known[typ] = l.Number
			used[l.Number] = true
		}
	}
	next := uint64(firstNumber)
	for _, f := range c.folders {
		present := make(map[string]bool)
		for _, m := range f.messages {
			present[m.Type] = true
			number, ok := known[m.Type]
			switch {
			case ok:
			case m.Type == reloadType:
				number = reloadNumber
			default:
				for next <= 0xffffffff && used[uint32(next)] {
					next++
				}
				if next > 0xffffffff {
					return fmt.Errorf("%s: no number is left for %s", m.File, m.Type)
				}
				number = uint32(next)
			}
			used[number] = true
			m.Number, m.New = number, !ok
			if f.numbers.byType[m.Type] == nil {
				f.numbers.add(number, m.Type)
			}
		}
		for typ, l := range f.numbers.byType {
			l.setRemoved(!present[typ])
		}
	}
	return nil
}

// changed tells whether the record of the folder has to be written. A folder that never held a message has none.
func (f *folder) changed() bool {
	if f.recorded == nil {
		return len(f.numbers.byType) > 0
	}
	return !bytes.Equal(f.recorded, f.numbers.bytes())
}
