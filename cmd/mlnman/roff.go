package main

import (
	"fmt"
	"regexp"
	"strings"
)

// sourceWidth is the length of the lines of a page's source.
const sourceWidth = 79

// roff collects the source of a page.
type roff struct {
	strings.Builder
}

// request writes a line with a request or macro.
func (r *roff) request(line string) {
	r.WriteString(line + "\n")
}

// fill writes running text, which is escaped already: each sentence on lines of its own.
func (r *roff) fill(text string) {
	line := ""
	flush := func() {
		if line != "" {
			r.WriteString(protect(line) + "\n")
			line = ""
		}
	}
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > sourceWidth {
			flush()
		}
		if line != "" {
			line += " "
		}
		line += word
		if strings.HasSuffix(word, ".") || strings.HasSuffix(word, ".)") {
			flush()
		}
	}
	flush()
}

// protect keeps a line of text from being taken for a request.
func protect(line string) string {
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		return `\&` + line
	}
	return line
}

// always are the characters that mean something else to roff, or that it would replace by another form.
var always = strings.NewReplacer(`\`, `\e`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`)

// minusSign is a hyphen that begins a number or an option.
var minusSign = regexp.MustCompile(`(^|[^\w\\-])(-+)`)

// prose escapes running text. An apostrophe and a hyphen between words stay what they are.
func prose(text string) string {
	text = minusSign.ReplaceAllStringFunc(always.Replace(text), func(s string) string { return strings.ReplaceAll(s, "-", `\-`) })
	return unicode(text)
}

// code escapes text that a reader may copy into a program.
func code(text string) string {
	return unicode(strings.NewReplacer("-", `\-`, "'", `\(aq`).Replace(always.Replace(text)))
}

// unicode names characters outside of ASCII by their numbers.
func unicode(text string) string {
	var b strings.Builder
	for _, c := range text {
		if c < 0x80 {
			b.WriteRune(c)
		} else {
			fmt.Fprintf(&b, `\[u%04X]`, c)
		}
	}
	return b.String()
}

// names matches what is set in bold wherever it is mentioned: functions with their parentheses, constants.
var names = regexp.MustCompile(`\b(\w+\(\)|M_\w+|CONF_\w+)`)

// mention is prose with the names in it set in bold.
func mention(text string) string {
	var b strings.Builder
	end := 0
	for _, at := range names.FindAllStringIndex(text, -1) {
		b.WriteString(prose(text[end:at[0]]) + bold(text[at[0]:at[1]]))
		end = at[1]
	}
	return b.String() + prose(text[end:])
}

func bold(text string) string   { return `\fB` + code(text) + `\fP` }
func italic(text string) string { return `\fI` + code(text) + `\fP` }

// codeWidth is the length of the lines of prototypes as they are read, which have a margin of 7 on a terminal of 80.
const codeWidth = 71

// argument matches the name of an argument: a word after a type or star, with what ends it. A word alone is a type.
var argument = regexp.MustCompile(`(\w |\*)(\w+)((?:\[\w*\])?[,)])`)

// prototype sets a C declaration: bold, with the arguments' names in italics, in lines of a bearable length.
func prototype(declaration string) []string {
	open := strings.Index(declaration, "(")
	if strings.Contains(declaration, "(*") { // the arguments of a pointer to a function come after it
		open = strings.LastIndex(declaration, "(")
	}
	if open < 0 {
		return []string{`\fB` + code(declaration) + `\fP`}
	}
	var lines []string
	line := declaration[:open+1]
	for i, a := range strings.SplitAfter(declaration[open+1:], ", ") {
		if i > 0 && len(line)+len(strings.TrimRight(a, " ")) > codeWidth {
			lines = append(lines, strings.TrimRight(line, " "))
			line = "        "
		}
		line += a
	}
	lines = append(lines, line)
	for i, l := range lines {
		head := ""
		if i == 0 {
			head, l = l[:open+1], l[open+1:]
		}
		l = argument.ReplaceAllString(code(l), `$1\fI$2\fB$3`)
		lines[i] = `\fB` + code(head) + l + `\fP`
	}
	return lines
}
