package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// page is a man page of section 3.
type page struct {
	name    string
	headers []string
}

// eras explains words that every header uses.
const eras = `Programs were written for the C framework Melon, whose API this is, in two eras: the seed era, up to version 2.2.2, ` +
	`and today, after version 2.8.1. The names of both are declared and do the same unless this page says otherwise; a program ` +
	`uses those of one era.`

// render lays the page out. Every mistake in the headers' comments is reported, not only the first.
func (p page) render(headers []*header) ([]byte, error) {
	l := &layout{}
	byKind := map[kind][]item{}
	for _, h := range headers {
		for _, it := range h.items {
			byKind[it.kind] = append(byKind[it.kind], it)
		}
	}

	// What a comment says of the header as a whole: the first paragraph is the line in NAME.
	if len(headers[0].doc) == 0 {
		return nil, fmt.Errorf("%s: the header has no \"@file\" comment", headers[0].name)
	}
	summary := strings.TrimSpace(headers[0].doc[0].content())
	if strings.Count(summary+" ", ". ") != 1 || !strings.HasSuffix(summary, ".") {
		return nil, fmt.Errorf("%s: the first paragraph of the \"@file\" comment has to be one sentence: %s", headers[0].name, summary)
	}
	l.request(`.\" Written by mlnman from ` + strings.Join(p.headers, " and ") + `: change the comments there and run "make man".`)
	l.request(`.TH ` + p.name + ` 3 "" "libmln" "Library Functions Manual"`)
	l.request(".nh") // a name broken by a hyphen cannot be searched for
	l.request(".ad l")
	l.request(".SH NAME")
	l.fill(strings.Join(p.entries(byKind[function]), ", ") + ` \- ` + lower(strings.TrimSuffix(prose(summary), ".")))
	l.request(".SH LIBRARY")
	l.request(`libmln (\fB\-lmln\fP)`)

	l.request(".SH SYNOPSIS")
	l.request(".nf")
	for _, h := range headers {
		l.request(bold("#include <" + h.name + ">"))
	}
	l.request(".PP")
	for _, it := range byKind[function] {
		for _, head := range it.heads {
			l.prototype(head + ";")
		}
	}
	l.request(".fi")

	l.request(".SH DESCRIPTION")
	l.first = true
	l.describe(headers[0].name, headers[0].doc[1:])
	for _, h := range headers[1:] {
		l.describe(h.name, h.doc)
	}
	for _, section := range []struct {
		kind kind
		name string
	}{{constant, "CONSTANTS"}, {typeName, "TYPES"}, {function, "FUNCTIONS"}} {
		if len(byKind[section.kind]) > 0 {
			l.request(".SH " + section.name)
			l.first = true
		}
		for _, it := range byKind[section.kind] {
			if it.kind == constant {
				l.entry(it.name, bold(it.heads[0]), it.doc)
			} else {
				l.item(it)
			}
		}
	}

	l.request(".SH NOTES")
	l.fill(prose(eras))
	l.request(".SH SEE ALSO")
	var others []string
	for _, other := range pages {
		if other.name != p.name {
			others = append(others, ".BR "+other.name+" (3)")
		}
	}
	l.request(strings.Join(others, ",\n"))
	return []byte(l.String()), errors.Join(l.mistakes...)
}

// entries are the names under which the page is found: its own, then those of its functions.
func (p page) entries(functions []item) []string {
	entries := []string{p.name}
	for _, it := range functions {
		if !slices.Contains(entries, it.name) {
			entries = append(entries, it.name)
		}
	}
	return entries
}

// lower makes a text go on in a sentence, unless it begins with a name in capitals.
func lower(text string) string {
	if len(text) > 1 && strings.ToUpper(text[:2]) == text[:2] && text[1] != ' ' {
		return text
	}
	return strings.ToLower(text[:1]) + text[1:]
}

// layout writes the parts of a page.
type layout struct {
	roff
	first    bool // nothing was written since the last heading: the next paragraph needs no distance
	indented bool // below a term, where a paragraph has to keep the margin
	mistakes []error
}

// paragraph begins a paragraph.
func (l *layout) paragraph() {
	switch {
	case l.first:
	case l.indented:
		l.request(".IP")
	default:
		l.request(".PP")
	}
	l.first = false
}

// prototype writes a declaration where lines are not filled.
func (l *layout) prototype(declaration string) {
	for _, line := range prototype(declaration) {
		l.request(line)
	}
}

// item writes a type or function: the declaration, and indented what there is to say.
func (l *layout) item(it item) {
	l.paragraph()
	l.request(".nf")
	for _, head := range it.heads {
		l.prototype(head)
	}
	l.request(".fi")
	l.request(".RS 4")
	l.first = true
	l.describe(it.name, it.doc)
	for _, m := range it.members {
		l.entry(it.name, bold(m.head), m.doc)
	}
	l.request(".RE")
}

// entry writes a term and what it means.
func (l *layout) entry(name, term string, doc description) {
	l.request(".TP")
	l.request(term)
	l.first, l.indented = true, true
	l.describe(name, doc)
	l.first, l.indented = false, false
}

// describe writes the paragraphs of a comment.
func (l *layout) describe(name string, doc description) {
	for _, para := range doc {
		l.blocks(name, para)
	}
}

// blocks writes a paragraph of Doxygen's, which may have lists and blocks of code in it.
func (l *layout) blocks(name string, para *node) {
	text := ""
	flush := func() {
		if strings.TrimSpace(text) != "" {
			l.paragraph()
			l.fill(text)
		}
		text = ""
	}
	for _, c := range para.children {
		switch {
		case c.name == "verbatim":
			flush()
			l.verbatim(name, c.content())
		case c.name == "parameterlist" && c.attrs["kind"] == "param":
			flush()
			for _, p := range c.all("parameteritem") {
				var arguments []string
				for _, n := range p.child("parameternamelist").all("parametername") {
					arguments = append(arguments, italic(n.content()))
				}
				l.entry(name, strings.Join(arguments, ", "), p.child("parameterdescription").all("para"))
			}
		case c.name == "itemizedlist":
			flush()
			for _, element := range c.all("listitem") {
				l.request(".IP \\(bu 2")
				l.first, l.indented = true, true
				l.describe(name, element.all("para"))
				l.first, l.indented = false, false
			}
		case c.name == "simplesect" && c.attrs["kind"] == "return":
			flush()
			l.results(name, c.all("para"))
		default:
			text += l.inline(name, c)
		}
	}
	flush()
}

// results writes what a function returns.
func (l *layout) results(name string, doc description) {
	for i, para := range doc {
		text := ""
		for _, c := range para.children {
			text += l.inline(name, c)
		}
		if i == 0 {
			text = "Returns " + lower(strings.TrimSpace(text))
		}
		l.paragraph()
		l.fill(text)
	}
}

// verbatim writes lines as they are, which have to fit: roff does not break them.
func (l *layout) verbatim(name, text string) {
	l.paragraph()
	l.request(".RS 4")
	l.request(".nf")
	for _, line := range strings.Split(strings.Trim(text, "\n"), "\n") {
		if len(line) > codeWidth-4 {
			l.mistakes = append(l.mistakes, fmt.Errorf("in the comment of %s this line of code is longer than %d characters: %s",
				name, codeWidth-4, line))
		}
		l.request(protect(code(line)))
	}
	l.request(".fi")
	l.request(".RE")
}

// inline is the text of a part of a paragraph.
func (l *layout) inline(name string, n *node) string {
	switch n.name {
	case "":
		return mention(n.text)
	case "ref":
		return mention(n.content())
	case "computeroutput", "bold":
		return bold(n.content())
	case "emphasis":
		return italic(n.content())
	case "ndash":
		return `\(en`
	case "mdash":
		return `\(em`
	}
	l.mistakes = append(l.mistakes, fmt.Errorf("the comment of %s uses <%s %v>, and mlnman knows no layout for it", name, n.name, n.attrs))
	return ""
}
