package conf

import (
	"math"
	"strconv"
	"strings"
)

// String writes the tree in the configuration language. Parsing the result gives an equal tree, positions aside, provided
// that the tree could come from a file: names are names, no string holds a NUL byte, no real is infinite.
func (t *Tree) String() string {
	var b strings.Builder
	for i, d := range t.Domains {
		indent := ""
		if i > 0 {
			b.WriteString(d.Name + " {\n")
			indent = "    "
		}
		for _, c := range d.Commands {
			b.WriteString(indent + c.Name)
			for _, item := range c.Items {
				b.WriteString(" " + item.String())
			}
			b.WriteString(";\n")
		}
		if i > 0 {
			b.WriteString("}\n")
		}
	}
	return b.String()
}

// String writes the item in the configuration language.
func (item Item) String() string {
	switch item.Kind {
	case String:
		return quote(item.Str, '"')
	case Char:
		return quote(string([]byte{item.Char}), '\'')
	case Bool:
		if item.Bool {
			return "on"
		}
		return "off"
	case Int:
		return strconv.FormatInt(item.Int, 10)
	case Real:
		s := strconv.FormatFloat(item.Real, 'f', -1, 64)
		if item.Real == math.Trunc(item.Real) {
			s += ".0"
		}
		return s
	}
	return ""
}

// quote is the inverse of lexer.quoted.
func quote(s string, mark byte) string {
	b := []byte{mark}
	for i := range len(s) {
		c := s[i]
		if j := strings.IndexByte(escapeValues, c); j >= 0 {
			b = append(b, '\\', escapeLetters[j])
		} else if c == mark || c == '\\' {
			b = append(b, '\\', c)
		} else {
			b = append(b, c)
		}
	}
	return string(append(b, mark))
}
