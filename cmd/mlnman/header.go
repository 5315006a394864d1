package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// node is an XML element, or with an empty name a piece of text.
type node struct {
	name     string
	attrs    map[string]string
	text     string
	children []*node
}

// readXML returns the root element of a file.
func readXML(path string) (*node, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	root, err := parseXML(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return root, nil
}

func parseXML(r io.Reader) (*node, error) {
	decoder := xml.NewDecoder(r)
	top := &node{}
	open := []*node{top}
	for {
		tok, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		parent := open[len(open)-1]
		switch t := tok.(type) {
		case xml.StartElement:
			child := &node{name: t.Name.Local, attrs: map[string]string{}}
			for _, a := range t.Attr {
				child.attrs[a.Name.Local] = a.Value
			}
			parent.children = append(parent.children, child)
			open = append(open, child)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			parent.children = append(parent.children, &node{text: string(t)})
		}
	}
	for _, n := range top.children {
		if n.name != "" {
			return n, nil
		}
	}
	return nil, errors.New("no XML element")
}

// all returns the child elements of one name.
func (n *node) all(name string) []*node {
	var found []*node
	for _, c := range n.children {
		if c.name == name {
			found = append(found, c)
		}
	}
	return found
}

// child returns the first child element of a name, an empty one if there is none.
func (n *node) child(name string) *node {
	if found := n.all(name); len(found) > 0 {
		return found[0]
	}
	return &node{name: name}
}

// content is the text of a node and everything in it.
func (n *node) content() string {
	if n.name == "" {
		return n.text
	}
	var b strings.Builder
	for _, c := range n.children {
		b.WriteString(c.content())
	}
	return b.String()
}

// field is the content of a child element, with single blanks.
func (n *node) field(name string) string {
	return strings.Join(strings.Fields(n.child(name).content()), " ")
}

// kind says in which section of a page an item stands.
type kind int

const (
	constant kind = iota // a macro that stands for a value
	typeName             // a type
	function             // a function, or a macro that is used like one
)

// item is something that a header declares.
type item struct {
	kind    kind
	name    string
	line    int
	heads   []string // the declaration, in one or more lines of C without their semicolons
	doc     description
	members []member
}

// member is a part of a structure, or a constant of an enumeration.
type member struct {
	head string
	doc  description
}

// description is a comment: its paragraphs.
type description []*node

// header is a public header: its own comment and what it declares, in the order of the file.
type header struct {
	name  string
	doc   description
	items []item
}

// describe is the comment of a declaration, whichever of its forms was used.
func describe(n *node) description {
	return slices.Concat(n.child("briefdescription").all("para"), n.child("detaileddescription").all("para"))
}

// generated matches what mlnipc writes into mln_ipc.h for each message: it changes with the messages of a build, not with the API.
var generated = regexp.MustCompile(`^(M_IPC|MLN_IPC_TAKEN)_\w+$`)

// tagged matches the type of a typedef that gives a structure or enumeration a second name.
var tagged = regexp.MustCompile(`^(struct|union|enum) \w+$`)

// readHeader reads what Doxygen found in a header. With a header comes an error that lists the mistakes in it, without one an error
// that says why nothing could be read. Doxygen writes the underscore twice in a file's name, and a dot as _8.
func readHeader(folder, name string) (*header, error) {
	file := strings.NewReplacer("_", "__", ".", "_8").Replace(name) + ".xml"
	root, err := readXML(filepath.Join(folder, file))
	if err != nil {
		return nil, err
	}
	compound := root.child("compounddef")
	h := &header{name: name, doc: describe(compound)}
	var mistakes []error
	typedefs := map[string]item{} // of structures and enumerations, by what they name
	for _, section := range compound.all("sectiondef") {
		for _, m := range section.all("memberdef") {
			if name == "mln_ipc.h" && m.attrs["kind"] == "define" && generated.MatchString(m.field("name")) {
				continue
			}
			it, err := readItem(m)
			if err != nil {
				mistakes = append(mistakes, fmt.Errorf("%s: %w", name, err))
				continue
			}
			if m.attrs["kind"] == "typedef" && tagged.MatchString(m.field("type")) {
				typedefs[m.field("type")] = it
				continue
			}
			h.items = append(h.items, it)
		}
	}
	for _, inner := range compound.all("innerclass") {
		it, err := readStructure(folder, inner)
		if err != nil {
			return nil, err
		}
		h.items = append(h.items, it)
	}
	for i := range h.items {
		if it := &h.items[i]; it.kind == typeName {
			it.merge(typedefs[it.heads[0]])
			delete(typedefs, it.heads[0])
		}
	}
	for _, it := range typedefs { // of what another header defines, or none
		h.items = append(h.items, it)
	}
	for _, it := range h.items {
		mistakes = append(mistakes, it.check(name))
	}
	slices.SortStableFunc(h.items, func(a, b item) int { return a.line - b.line })
	return h, errors.Join(mistakes...)
}

// merge adds to a structure or enumeration the name that a typedef gives it, and what the comment there says.
func (it *item) merge(typedef item) {
	it.heads = append(it.heads, typedef.heads...)
	if len(typedef.doc) > 0 && (len(it.doc) == 0 || typedef.doc[0].content() != it.doc[0].content()) {
		it.doc = slices.Concat(typedef.doc, it.doc)
	}
}

// check finds what has no comment.
func (it *item) check(header string) error {
	var mistakes []error
	if len(it.doc) == 0 {
		mistakes = append(mistakes, fmt.Errorf("%s: %s has no comment", header, it.name))
	}
	for _, m := range it.members {
		if len(m.doc) == 0 {
			mistakes = append(mistakes, fmt.Errorf("%s: %s of %s has no comment", header, m.head, it.name))
		}
	}
	return errors.Join(mistakes...)
}

// readItem reads a declaration of a header, structures apart.
func readItem(m *node) (item, error) {
	it := item{name: m.field("name"), line: line(m), doc: describe(m)}
	switch m.attrs["kind"] {
	case "define":
		it.kind = constant
		if it.heads, it.doc = prototypes(it.doc); len(it.heads) > 0 {
			it.kind = function
		} else if len(m.all("param")) > 0 {
			return item{}, fmt.Errorf("the comment of the macro %s() has no \"@par Prototype\"", it.name)
		} else {
			it.heads = []string{it.name}
		}
	case "enum":
		it.kind = typeName
		it.heads = []string{"enum " + it.name}
		if strings.HasSuffix(it.name, "_t") { // Doxygen calls an enumeration without a tag by its typedef
			it.heads = []string{"typedef enum " + it.name}
		}
		for _, value := range m.all("enumvalue") {
			head := strings.TrimSpace(value.field("name") + " " + value.field("initializer"))
			it.members = append(it.members, member{head, describe(value)})
		}
	case "typedef":
		it.kind = typeName
		it.heads = []string{"typedef " + declare(m.field("type"), it.name) + m.field("argsstring")}
	case "function":
		it.kind = function
		var parameters []string
		for _, p := range m.all("param") {
			parameters = append(parameters, declare(p.field("type"), p.field("declname"))+p.field("array"))
		}
		if len(parameters) == 0 {
			parameters = []string{"void"}
		}
		it.heads = []string{declare(m.field("type"), it.name) + "(" + strings.Join(parameters, ", ") + ")"}
	default:
		return item{}, fmt.Errorf("%s is a %s, and mlnman knows no layout for one", it.name, m.attrs["kind"])
	}
	return it, nil
}

// readStructure reads a structure or union, which Doxygen keeps in a file of its own.
func readStructure(folder string, inner *node) (item, error) {
	root, err := readXML(filepath.Join(folder, inner.attrs["refid"]+".xml"))
	if err != nil {
		return item{}, err
	}
	compound := root.child("compounddef")
	it := item{kind: typeName, name: compound.field("compoundname"), line: line(compound), doc: describe(compound)}
	it.heads = []string{compound.attrs["kind"] + " " + it.name}
	unnamed := false
	for _, section := range compound.all("sectiondef") {
		for _, m := range section.all("memberdef") {
			kind := m.field("type")
			if strings.Contains(kind, "@") {
				kind, _, _ = strings.Cut(kind, " ") // a union without a name
				unnamed = true
			}
			head := declare(kind, m.field("name")) + m.field("argsstring")
			if bits := m.field("bitfield"); bits != "" {
				head += " : " + bits
			}
			it.members = append(it.members, member{head, describe(m)})
		}
	}
	if unnamed {
		// Some versions of Doxygen list the members of an unnamed union among those of the structure, some do not. The comment of
		// the union itself has to tell of them.
		it.members = slices.DeleteFunc(it.members, func(m member) bool { return len(m.doc) == 0 })
	}
	return it, nil
}

// prototypes takes the paragraph "@par Prototype" out of the comment of a macro and returns the code in it.
func prototypes(doc description) (heads []string, rest description) {
	for _, para := range doc {
		kept := &node{name: para.name}
		for _, c := range para.children {
			if c.name != "simplesect" || c.attrs["kind"] != "par" || c.field("title") != "Prototype" {
				kept.children = append(kept.children, c)
				continue
			}
			for _, p := range c.all("para") {
				for _, code := range p.all("computeroutput") {
					heads = append(heads, code.content())
				}
			}
		}
		if strings.TrimSpace(kept.content()) != "" {
			rest = append(rest, kept)
		}
	}
	return heads, rest
}

// declare writes a type before a name as C programmers do: int x, char *x, void (*x.
func declare(kind, name string) string {
	kind = strings.Replace(strings.Replace(kind, "(*", " (*", 1), "* (*", "*(*", 1)
	if name == "" || strings.HasSuffix(kind, "*") {
		return kind + name
	}
	return kind + " " + name
}

// line is where a declaration stands in its header.
func line(n *node) int {
	var number int
	fmt.Sscan(n.child("location").attrs["line"], &number)
	return number
}
