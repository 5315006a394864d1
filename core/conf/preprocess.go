package conf

import (
	"errors"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// lexer turns files into tokens. It reads from a stack of inputs: the file at the bottom, what it includes and the macros
// in use above it.
type lexer struct {
	stack    []*input
	macros   map[string]string
	loader   Loader
	budget   int // bytes that may still be parsed
	maxDepth int
}

// input is a text on the stack: a file, the text of a macro, or a folder whose files are still to come.
type input struct {
	path      string // of the file or folder
	id        string // of the file, "" when unknown
	macro     string // name of the macro, "" for a file
	data      []byte
	off       int
	line      int
	lineStart int
	use       Position // where a macro is used, outside of any other macro
	names     []string // of a folder: files to come
	folder    bool
	open      []condition // #if without #endif so far
}

// condition is an #if whose #endif has not come yet.
type condition struct {
	pos      Position
	elseSeen bool
}

func (l *lexer) top() *input { return l.stack[len(l.stack)-1] }

// pos is the position of the next byte.
func (l *lexer) pos() Position { return l.top().pos() }

func (s *input) pos() Position {
	if s.macro != "" {
		return s.use
	}
	return Position{s.path, s.line, s.off - s.lineStart + 1}
}

// kind names the input for an error message.
func (s *input) kind() string {
	if s.macro != "" {
		return "macro " + s.macro
	}
	return "file"
}

func (s *input) atEnd() bool { return s.off == len(s.data) }

// peek gives the next byte, 0 at the end.
func (s *input) peek() byte {
	if s.atEnd() {
		return 0
	}
	return s.data[s.off]
}

// advance skips n bytes, or what is left.
func (s *input) advance(n int) {
	for ; n > 0 && !s.atEnd(); n-- {
		s.off++
		if s.data[s.off-1] == '\n' {
			s.line++
			s.lineStart = s.off
		}
	}
}

func (s *input) takeWhile(accept func(byte) bool) string {
	start := s.off
	for !s.atEnd() && accept(s.data[s.off]) {
		s.advance(1)
	}
	return string(s.data[start:s.off])
}

func (s *input) skipBlanks(newlines bool) {
	s.takeWhile(func(c byte) bool { return isBlank(c) || newlines && c == '\n' })
}

// skipComment skips one comment if one is next. A // comment leaves the newline that ends it; an unclosed /* comment
// goes to the end.
func (s *input) skipComment() bool {
	rest := s.data[s.off:]
	switch {
	case hasPrefix(rest, "//"):
		s.takeWhile(func(c byte) bool { return c != '\n' })
	case hasPrefix(rest, "/*"):
		s.advance(2)
		for !s.atEnd() && !hasPrefix(s.data[s.off:], "*/") {
			s.advance(1)
		}
		s.advance(2)
	default:
		return false
	}
	return true
}

func hasPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

// directiveNamed gives the method that carries out a directive, nil for other words.
func directiveNamed(word string) func(*lexer, Position) error {
	switch word {
	case "define":
		return (*lexer).define
	case "undef":
		return (*lexer).undef
	case "if":
		return (*lexer).conditional
	case "else":
		return (*lexer).otherwise
	case "endif":
		return (*lexer).endif
	case "include":
		return (*lexer).include
	}
	return nil
}

// directive carries out a directive or starts the expansion of a macro; the # is next.
func (l *lexer) directive() error {
	s, pos := l.top(), l.pos()
	s.advance(1)
	word := s.takeWhile(isNameByte)
	if run := directiveNamed(word); run != nil {
		if s.macro != "" {
			return failAt(pos, "expected text without directives in macro "+s.macro+", found #"+word)
		}
		return run(l, pos)
	}
	if !isName(word) {
		return failAt(pos, "expected define, undef, if, else, endif, include or the name of a macro after #")
	}
	text, ok := l.macros[word]
	if !ok {
		return failAt(pos, "expected a directive or a defined macro, but macro "+word+" is not defined")
	}
	for _, in := range l.stack {
		if in.macro == word {
			return failAt(pos, "expected macro "+word+" not to expand to itself")
		}
	}
	if err := l.charge(pos, len(text)); err != nil {
		return err
	}
	return l.enter(pos, &input{path: s.path, macro: word, data: []byte(text), use: pos})
}

// macroName reads the name that follows #define, #undef or #if on the same line.
func (l *lexer) macroName(directive string) (string, error) {
	s := l.top()
	s.skipBlanks(false)
	pos := s.pos()
	name := s.takeWhile(isNameByte)
	if !isName(name) || directiveNamed(name) != nil {
		return "", failAt(pos, "expected the name of a macro after "+directive)
	}
	return name, nil
}

func (l *lexer) define(Position) error {
	name, err := l.macroName("#define")
	if err != nil {
		return err
	}
	l.macros[name] = l.top().macroText()
	return nil
}

func (l *lexer) undef(Position) error {
	name, err := l.macroName("#undef")
	if err != nil {
		return err
	}
	delete(l.macros, name)
	return nil
}

// macroText reads the rest of the line. Comments are not part of it: a // in the text would otherwise swallow what
// follows the macro's use, and a /* could not go over several lines.
func (s *input) macroText() string {
	var text strings.Builder
	for !s.atEnd() && s.peek() != '\n' {
		if s.skipComment() {
			text.WriteByte(' ')
			continue
		}
		start := s.off
		if s.skipQuoted('\n') {
			text.Write(s.data[start:s.off])
			continue
		}
		text.WriteByte(s.peek())
		s.advance(1)
	}
	return strings.Trim(text.String(), " \t\r")
}

// skipQuoted skips a string or character if one is next, so that a # or // in it is not taken for more. A string without
// its end goes to the byte stop. Something that only looks like a character (don't) is left alone.
func (s *input) skipQuoted(stop byte) bool {
	rest := s.data[s.off:]
	if rest[0] == '\'' {
		length := 3
		if len(rest) > 1 && rest[1] == '\\' {
			length = 4
		}
		if len(rest) < length || rest[length-1] != '\'' || rest[1] == '\'' || rest[1] == '\n' {
			return false
		}
		s.advance(length)
		return true
	}
	if rest[0] != '"' {
		return false
	}
	s.advance(1)
	for !s.atEnd() {
		c := s.peek()
		if c == stop {
			break
		}
		s.advance(1)
		if c == '"' {
			break
		}
		if c == '\\' && s.peek() != stop {
			s.advance(1)
		}
	}
	return true
}

func (l *lexer) conditional(pos Position) error {
	s := l.top()
	s.skipBlanks(false)
	negated := s.peek() == '!'
	if negated {
		s.advance(1)
	}
	name, err := l.macroName("#if or #if !")
	if err != nil {
		return err
	}
	s.open = append(s.open, condition{pos: pos})
	if _, defined := l.macros[name]; defined == negated {
		return s.skipBranch()
	}
	return nil
}

// otherwise handles an #else that ends a branch in force.
func (l *lexer) otherwise(pos Position) error {
	s := l.top()
	if err := s.elseOnce(pos); err != nil {
		return err
	}
	return s.skipBranch()
}

func (s *input) elseOnce(pos Position) error {
	if len(s.open) == 0 {
		return failAt(pos, "expected an #if before #else in the same file")
	}
	cond := &s.open[len(s.open)-1]
	if cond.elseSeen {
		return failAt(pos, "expected #endif, found a second #else for the #if at "+cond.pos.String())
	}
	cond.elseSeen = true
	return nil
}

func (l *lexer) endif(pos Position) error {
	s := l.top()
	if len(s.open) == 0 {
		return failAt(pos, "expected an #if before #endif in the same file")
	}
	s.open = s.open[:len(s.open)-1]
	return nil
}

// skipBranch skips the branch that is not in force: to the #else or behind the #endif that belongs to the innermost #if.
// The end of the file is left to leave, which knows the #if is still open.
func (s *input) skipBranch() error {
	outer := len(s.open)
	for !s.atEnd() {
		if s.skipComment() {
			continue
		}
		if s.peek() != '#' {
			if !s.skipQuoted(0) {
				s.advance(1)
			}
			continue
		}
		pos := s.pos()
		s.advance(1)
		switch s.takeWhile(isNameByte) {
		case "define":
			s.macroText() // as where it counts: a lone quote in it must not open a string
		case "if":
			s.open = append(s.open, condition{pos: pos})
		case "else":
			if err := s.elseOnce(pos); err != nil {
				return err
			}
			if len(s.open) == outer {
				return nil
			}
		case "endif":
			s.open = s.open[:len(s.open)-1]
			if len(s.open) < outer {
				return nil
			}
		}
	}
	return nil
}

func (l *lexer) include(pos Position) error {
	s := l.top()
	s.skipBlanks(false)
	if s.peek() != '"' {
		return failAt(l.pos(), `expected the path of a file or folder in double quotes after #include`)
	}
	tok, err := l.quoted(tokString, l.pos())
	if err != nil {
		return err
	}
	name := tok.text
	beside, relative := strings.CutPrefix(name, "@")
	if beside == "" {
		return failAt(tok.pos, "expected a path after #include, found an empty one")
	}
	inPlace := path.Join(path.Dir(s.path), beside)
	if relative {
		return l.load(pos, name, inPlace)
	}
	err = l.load(pos, name, name)
	if errors.Is(err, fs.ErrNotExist) && !path.IsAbs(name) && inPlace != path.Clean(name) {
		return l.load(pos, name, inPlace)
	}
	return err
}

// load puts a file or folder on the stack. name is how the #include called it.
func (l *lexer) load(pos Position, name, at string) error {
	src, err := l.loader.Load(at, l.budget)
	if err != nil {
		msg := "cannot include " + strconv.Quote(name)
		if at != name {
			msg += " (" + at + ")"
		}
		return &SyntaxError{File: pos.File, Line: pos.Line, Column: pos.Column, Msg: msg, Err: err}
	}
	size := len(src.Data)
	for _, n := range src.Names {
		size += len(n) + 1
	}
	if err := l.charge(pos, size); err != nil {
		return err
	}
	for _, in := range l.stack {
		if src.ID != "" && in.id == src.ID {
			return failAt(pos, "expected "+strconv.Quote(name)+" not to include itself, but it is being read already as "+in.path)
		}
	}
	return l.enter(pos, &input{path: at, id: src.ID, data: src.Data, line: 1, folder: src.Folder, names: src.Names, use: pos})
}

// charge takes n bytes from the budget.
func (l *lexer) charge(pos Position, n int) error {
	if n > l.budget {
		return failAt(pos, "expected a smaller configuration: included files and expanded macros exceed the limit in total")
	}
	l.budget -= n
	return nil
}

func (l *lexer) enter(pos Position, in *input) error {
	if len(l.stack) >= l.maxDepth {
		return failAt(pos, "expected at most "+strconv.Itoa(l.maxDepth)+" levels of included files and macros")
	}
	l.stack = append(l.stack, in)
	return nil
}

// leave ends the input at the top, or goes on to the next file of the folder that it is. It reports whether there is more
// to read.
func (l *lexer) leave() (bool, error) {
	s := l.top()
	if s.folder && len(s.names) > 0 {
		name := s.names[0]
		s.names = s.names[1:]
		file := path.Join(s.path, name)
		return true, l.load(s.use, file, file)
	}
	if n := len(s.open); n > 0 {
		return false, failAt(s.pos(), "expected #endif for the #if at "+s.open[n-1].pos.String()+", found the end of the file")
	}
	if len(l.stack) == 1 {
		return false, nil
	}
	l.stack = l.stack[:len(l.stack)-1]
	return true, nil
}
