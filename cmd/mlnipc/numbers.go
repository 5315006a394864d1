package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	numbersName = ".numbers" // the record of type numbers in a folder of messages

	reloadType   = "M_IPC_CONF_RELOAD" // the message that ships with the library
	reloadNumber = 1                   // its number in programs built with any version
	firstNumber  = 1025                // the smaller ones are kept for the library and for numbers pinned by hand
)

const numbersHead = `# Numbers of the message types in this folder, one line a type: NUMBER TYPE
# mlnipc appends to this file. Commit it: programs that are built apart agree on a message by its number, so a number
# once given never changes. The line of a type that is gone stays, marked "removed", so that its number is not given
# out again. To choose the number of a new type yourself, write its line before the next run.
`

// numberLine is a line of a record: an entry, or (Type empty) a comment or blank line that is kept as it is.
type numberLine struct {
	text    string // without the newline
	line    int
	Number  uint32
	Type    string
	Removed bool
}

func (l *numberLine) setRemoved(removed bool) {
	if l.Removed == removed {
		return
	}
	l.Removed = removed
	l.text = entryText(l.Number, l.Type, removed)
}

func entryText(number uint32, typ string, removed bool) string {
	text := fmt.Sprintf("%d %s", number, typ)
	if removed {
		text += " removed"
	}
	return text
}

// numberRecord is the record of one folder. Lines that need no change are written back byte for byte.
type numberRecord struct {
	path   string
	lines  []*numberLine
	byType map[string]*numberLine
}

// newNumberRecord is the record of a folder that has none yet.
func newNumberRecord(path string) *numberRecord {
	r := &numberRecord{path: path, byType: make(map[string]*numberLine)}
	for _, text := range strings.Split(strings.TrimSuffix(numbersHead, "\n"), "\n") {
		r.lines = append(r.lines, &numberLine{text: text})
	}
	return r
}

// parseNumbers reads a record. It refuses whatever it does not understand: a line that was guessed wrong would give a
// message a new number behind the back of the programs that know the old one.
func parseNumbers(path string, data []byte) (*numberRecord, error) {
	const restore = "restore the file from version control"
	if len(data) == 0 {
		return nil, fmt.Errorf("%s: the file is empty, so the numbers given so far are lost: %s (delete it only when no message in the folder was ever in use)", path, restore)
	}
	r := &numberRecord{path: path, byType: make(map[string]*numberLine)}
	texts := strings.Split(string(data), "\n")
	if texts[len(texts)-1] != "" {
		return nil, fmt.Errorf("%s:%d: the last line does not end with a newline, the file may have been cut short: %s, or end the line if it is whole", path, len(texts), restore)
	}
	var problems []error
	byNumber := make(map[uint32]*numberLine)
	for i, text := range texts[:len(texts)-1] {
		l, err := parseNumberLine(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s:%d: %w", path, i+1, err))
			continue
		}
		l.line = i + 1
		r.lines = append(r.lines, l)
		if l.Type == "" {
			continue
		}
		if other := r.byType[l.Type]; other != nil {
			problems = append(problems, fmt.Errorf("%s:%d: %s is already in line %d; keep the line with the number that programs use", path, l.line, l.Type, other.line))
			continue
		}
		if other := byNumber[l.Number]; other != nil {
			problems = append(problems, fmt.Errorf("%s:%d: number %d is already that of %s in line %d; give the newer type another number", path, l.line, l.Number, other.Type, other.line))
			continue
		}
		r.byType[l.Type], byNumber[l.Number] = l, l
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return r, nil
}

func parseNumberLine(text string) (*numberLine, error) {
	l := &numberLine{text: text}
	for _, marker := range []string{"<<<<<<<", "|||||||", "=======", ">>>>>>>"} {
		if strings.HasPrefix(text, marker) {
			return nil, errors.New("a merge conflict was left in the file: keep the lines of both sides, and where both gave one number to different types give the newer type another")
		}
	}
	fields := strings.Fields(text)
	if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
		return l, nil
	}
	if len(fields) > 3 || len(fields) < 2 || len(fields) == 3 && fields[2] != "removed" {
		return nil, fmt.Errorf("%q is not an entry; one reads NUMBER TYPE, or NUMBER TYPE removed", text)
	}
	n, err := strconv.ParseUint(fields[0], 10, 32)
	if errors.Is(err, strconv.ErrRange) {
		return nil, fmt.Errorf("number %s is out of range: a type number is at most 4294967295", fields[0])
	}
	if err != nil || strconv.FormatUint(n, 10) != fields[0] {
		return nil, fmt.Errorf("%q is not a decimal number", fields[0])
	}
	l.Number, l.Type, l.Removed = uint32(n), fields[1], len(fields) == 3
	if err := checkType(l.Type); err != nil {
		return nil, err
	}
	if (l.Number == reloadNumber) != (l.Type == reloadType) {
		return nil, fmt.Errorf("number %d is kept for %s, and %[2]s always has it", reloadNumber, reloadType)
	}
	return l, nil
}

// add records a type that had no number in this folder.
func (r *numberRecord) add(number uint32, typ string) {
	l := &numberLine{text: entryText(number, typ, false), line: len(r.lines) + 1, Number: number, Type: typ}
	r.lines = append(r.lines, l)
	r.byType[typ] = l
}

// bytes is the record as it is to be written.
func (r *numberRecord) bytes() []byte {
	var b bytes.Buffer
	for _, l := range r.lines {
		b.WriteString(l.text)
		b.WriteByte('\n')
	}
	return b.Bytes()
}
