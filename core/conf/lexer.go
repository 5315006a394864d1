package conf

import (
	"strconv"
	"strings"
)

type tokenKind uint8

const (
	tokEOF tokenKind = iota
	tokName
	tokString
	tokChar
	tokNumber
	tokMinus // this and the next three in the order of the bytes in next
	tokSemicolon
	tokOpen
	tokClose
)

// token is the smallest unit of the grammar. text is the value of a string or character, escapes resolved, and the
// spelling of everything else.
type token struct {
	kind tokenKind
	text string
	pos  Position
}

// String describes the token for an error message.
func (t token) String() string {
	switch t.kind {
	case tokEOF:
		return "the end of the file"
	case tokString:
		return "a string"
	case tokChar:
		return "a character"
	}
	return strconv.Quote(t.text)
}

// next gives the next token, carrying out the directives that stand before it.
func (l *lexer) next() (token, error) {
	for {
		s := l.top()
		s.skipBlanks(true)
		if s.atEnd() {
			if more, err := l.leave(); err != nil || !more {
				return token{kind: tokEOF, pos: l.pos()}, err
			}
			continue
		}
		pos := l.pos()
		var err error
		switch c := s.data[s.off]; {
		case s.skipComment():
		case c == '#':
			err = l.directive()
		case c == '"':
			return l.quoted(tokString, pos)
		case c == '\'':
			return l.quoted(tokChar, pos)
		case isDigit(c):
			return token{tokNumber, s.takeWhile(isNumberByte), pos}, nil
		case isNameStart(c):
			return token{tokName, s.takeWhile(isNameByte), pos}, nil
		default:
			i := strings.IndexByte("-;{}", c)
			if i < 0 {
				return token{}, failAt(pos, "expected a name, an item, a directive or one of ; { }, found "+describeByte(c))
			}
			s.advance(1)
			return token{tokMinus + tokenKind(i), string(rune(c)), pos}, nil
		}
		if err != nil {
			return token{}, err
		}
	}
}

// The letters that stand for control characters after a backslash, and what each stands for.
const (
	escapeLetters = "ntbafrve"
	escapeValues  = "\n\t\b\a\f\r\v\x1b"
)

// unescape gives the character that a backslash and c stand for.
func unescape(c byte) (byte, bool) {
	if c == '"' || c == '\'' || c == '\\' {
		return c, true
	}
	i := strings.IndexByte(escapeLetters, c)
	if i < 0 {
		return 0, false
	}
	return escapeValues[i], true
}

// quoted reads a string or a character, whose opening quote is next. A token never goes on beyond its file or macro.
func (l *lexer) quoted(kind tokenKind, pos Position) (token, error) {
	s := l.top()
	quote, what := s.data[s.off], "string"
	if kind == tokChar {
		what = "character"
	}
	s.advance(1)
	var text strings.Builder
	for {
		if s.atEnd() {
			return token{}, failAt(pos, "expected "+string(rune(quote))+" to end the "+what+" that begins here, found the end of the "+s.kind())
		}
		c := s.data[s.off]
		switch {
		case c == 0:
			// A program that reads the value as a C string would see it cut short.
			return token{}, failAt(l.pos(), "expected text in a "+what+", found a NUL byte")
		case c == quote:
			if kind == tokChar && text.Len() != 1 {
				return token{}, failAt(pos, "expected exactly one character between the single quotes, found none")
			}
			s.advance(1)
			return token{kind, text.String(), pos}, nil
		case kind == tokChar && text.Len() == 1:
			return token{}, failAt(pos, "expected exactly one character, of one byte, between the single quotes")
		case c == '\\':
			at := l.pos()
			s.advance(1)
			value, ok := unescape(s.peek())
			if !ok {
				return token{}, failAt(at, `expected one of \" \' \\ \n \t \b \a \f \r \v \e`)
			}
			s.advance(1)
			text.WriteByte(value)
		default:
			s.advance(1)
			text.WriteByte(c)
		}
	}
}

func isBlank(c byte) bool      { return c == ' ' || c == '\t' || c == '\r' }
func isDigit(c byte) bool      { return '0' <= c && c <= '9' }
func isNameStart(c byte) bool  { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' }
func isNameByte(c byte) bool   { return isNameStart(c) || isDigit(c) }
func isNumberByte(c byte) bool { return isNameByte(c) || c == '.' }

// isName tells whether a word may name a domain, a command or a macro.
func isName(word string) bool {
	return word != "" && word != "_" && word != "on" && word != "off" && isNameStart(word[0])
}

func describeByte(c byte) string {
	if ' ' < c && c < 0x7f {
		return strconv.Quote(string(rune(c)))
	}
	return "the byte 0x" + strconv.FormatUint(uint64(c)|0x100, 16)[1:]
}

func failAt(pos Position, msg string) error {
	return &SyntaxError{File: pos.File, Line: pos.Line, Column: pos.Column, Msg: msg}
}
