package main

import (
	"bytes"
	"errors"
	"fmt"
)

// errBinary is why a file is not taken as C text.
var errBinary = errors.New("the file holds a NUL byte: it is not C text")

// checkHandlerText says what keeps the text of a handler file from becoming the unit of the message with that prefix.
func checkHandlerText(text []byte, prefix string) error {
	if bytes.IndexByte(text, 0) >= 0 {
		return errBinary
	}
	// A compiler skips the mark at the start of a file only, and in the unit the text does not stand at the start.
	if bytes.HasPrefix(text, []byte("\xef\xbb\xbf")) {
		return errors.New("the file begins with a byte order mark: save it as UTF-8 without one")
	}
	code, err := stripC(text)
	if err != nil {
		return err
	}
	var missing []error
	for _, side := range []string{"_master", "_worker"} {
		if !definesFunction(code, prefix+side) {
			missing = append(missing, fmt.Errorf("no definition of the function %s%s; a message file defines both %[1]s_master and %[1]s_worker", prefix, side))
		}
	}
	return errors.Join(missing...)
}

// stripC returns the text with comments, string and character literals and preprocessor lines replaced by blanks, so
// that only code is left. As a compiler does, it joins continued lines first, and ends a literal that was never closed
// at the end of its line. Raw string literals, a GNU extension in C, are not known to it.
func stripC(text []byte) ([]byte, error) {
	src, lineOf := joinLines(text)
	out := make([]byte, 0, len(src))
	lineStart := true  // nothing but blanks and comments so far on this line
	directive := false // inside a preprocessor line
	emit := func(b ...byte) {
		if !directive {
			out = append(out, b...)
		}
	}
	for i := 0; i < len(src); {
		c := src[i]
		rest := src[i:]
		switch {
		case c == '\n':
			directive, lineStart = false, true
			emit('\n')
			i++
		case bytes.HasPrefix(rest, []byte("//")):
			n := bytes.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			emit(' ')
			i += n
		case bytes.HasPrefix(rest, []byte("/*")):
			n := bytes.Index(rest[2:], []byte("*/"))
			if n < 0 {
				return nil, fmt.Errorf("the comment that begins in line %d is never closed", lineOf(i))
			}
			emit(' ')
			i += 2 + n + 2
		case c == '"' || c == '\'':
			emit(' ')
			i += literalLength(rest)
			lineStart = false
		case lineStart && (c == '#' || bytes.HasPrefix(rest, []byte("%:"))):
			directive, lineStart = true, false
			i++
		case isDigit(c) || isIdentifierByte(c):
			n := wordLength(rest)
			emit(rest[:n]...)
			i += n
			lineStart = false
		default:
			if c != ' ' && c != '\t' && c != '\r' && c != '\v' && c != '\f' {
				lineStart = false
			}
			emit(c)
			i++
		}
	}
	return out, nil
}

// joinLines removes each backslash that ends a line together with the newline. The function it returns gives the line
// number in the original text of an offset in the joined text.
func joinLines(text []byte) ([]byte, func(int) int) {
	out := make([]byte, 0, len(text))
	var joints []int // offsets in out at which a newline was taken away
	for i := 0; i < len(text); {
		if text[i] == '\\' {
			if bytes.HasPrefix(text[i+1:], []byte("\n")) {
				joints = append(joints, len(out))
				i += 2
				continue
			}
			if bytes.HasPrefix(text[i+1:], []byte("\r\n")) {
				joints = append(joints, len(out))
				i += 3
				continue
			}
		}
		out = append(out, text[i])
		i++
	}
	return out, func(offset int) int {
		line := 1 + bytes.Count(out[:offset], []byte("\n"))
		for _, j := range joints {
			if j <= offset {
				line++
			}
		}
		return line
	}
}

// literalLength is the length of the string or character literal at the start of src, up to its line's end at most.
func literalLength(src []byte) int {
	for i := 1; i < len(src); i++ {
		switch src[i] {
		case '\n':
			return i
		case '\\':
			if i+1 < len(src) && src[i+1] != '\n' {
				i++
			}
		case src[0]:
			return i + 1
		}
	}
	return len(src)
}

// wordLength is the length of the identifier or number at the start of src. A number may hold the digit separators of
// C23, which must not be taken for the start of a character literal.
func wordLength(src []byte) int {
	number := isDigit(src[0])
	n := 1
	for n < len(src) {
		c := src[n]
		separator := number && c == '\'' && n+1 < len(src) && (isDigit(src[n+1]) || isIdentifierByte(src[n+1]))
		if !isDigit(c) && !isIdentifierByte(c) && !separator {
			break
		}
		n++
	}
	return n
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isIdentifierByte takes the dollar sign and everything beyond ASCII as compilers do, as part of a name.
func isIdentifierByte(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// definesFunction tells whether stripped code holds `name ( ... ) {`. A declaration ends in a semicolon and a call is
// never followed by a brace, so the depth of the braces around it need not be known, which conditional compilation
// would make unreliable. One pass whatever the nesting.
func definesFunction(code []byte, name string) bool {
	var open []bool      // for each parenthesis still open: does it follow name?
	afterName := false   // the last token was name
	afterParams := false // the last token closed a parenthesis that follows name
	for i := 0; i < len(code); {
		c := code[i]
		if c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f' || c == '\n' {
			i++
			continue
		}
		n := 1
		wasName, wasParams := afterName, afterParams
		afterName, afterParams = false, false
		switch {
		case isDigit(c) || isIdentifierByte(c):
			n = wordLength(code[i:])
			afterName = string(code[i:i+n]) == name
		case c == '(':
			open = append(open, wasName)
		case c == ')' && len(open) > 0:
			afterParams = open[len(open)-1]
			open = open[:len(open)-1]
		case c == '{' && wasParams:
			return true
		}
		i += n
	}
	return false
}
