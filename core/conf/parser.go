package conf

import (
	"errors"
	"strconv"
	"strings"
)

// parser builds the tree: file := { command | domain }, domain := NAME "{" { command } "}",
// command := NAME { item } ";".
type parser struct {
	lexer
	tree *Tree
}

func parse(name string, src Source, opts Options) (*Tree, error) {
	if opts.Loader == nil {
		opts.Loader = disk{}
	}
	if opts.MaxBytes == 0 {
		opts.MaxBytes = DefaultMaxBytes
	}
	if opts.MaxDepth == 0 {
		opts.MaxDepth = DefaultMaxDepth
	}
	file := &input{path: name, id: src.ID, data: src.Data, line: 1}
	p := parser{lexer: lexer{
		stack:    []*input{file},
		macros:   make(map[string]string),
		loader:   opts.Loader,
		budget:   opts.MaxBytes,
		maxDepth: opts.MaxDepth,
	}}
	if err := p.charge(file.pos(), len(src.Data)); err != nil {
		return nil, err
	}
	main := &Domain{Name: MainDomain, Pos: file.pos()}
	p.tree = &Tree{Domains: []*Domain{main}}
	if err := p.commands(main, true); err != nil {
		return nil, err
	}
	return p.tree, nil
}

// commands reads the commands of a domain: up to its closing brace or, for the top level, which may hold domains, up to
// the end of the file.
func (p *parser) commands(domain *Domain, topLevel bool) error {
	for {
		name, err := p.next()
		switch {
		case err != nil:
			return err
		case name.kind == tokEOF && topLevel:
			return nil
		case name.kind == tokEOF:
			return failAt(name.pos, "expected } to close domain "+domain.Name+", opened at "+domain.Pos.String()+", found "+name.String())
		case name.kind == tokClose && !topLevel:
			return nil
		case name.kind == tokClose:
			return failAt(name.pos, "expected a command or a domain, found a } that closes no domain")
		case name.kind != tokName || !isName(name.text):
			return failAt(name.pos, "expected the name of a command or domain, found "+name.String())
		}
		items, end, err := p.items()
		if err != nil {
			return err
		}
		switch {
		case end.kind == tokSemicolon:
			domain.Commands = append(domain.Commands, &Command{Name: name.text, Items: items, Pos: name.pos})
		case end.kind == tokOpen && len(items) == 0:
			if err := p.domain(name, domain, topLevel); err != nil {
				return err
			}
		default:
			return failAt(end.pos, "expected an item or ; to end command "+name.text+", begun at "+name.pos.String()+", found "+end.String())
		}
	}
}

// domain reads the commands of the domain name, whose opening brace has been read inside of the domain outer.
func (p *parser) domain(name token, outer *Domain, topLevel bool) error {
	if !topLevel {
		return failAt(name.pos, "expected } to close domain "+outer.Name+", opened at "+outer.Pos.String()+", before domain "+name.text)
	}
	if name.text == MainDomain {
		return failAt(name.pos, "expected the commands of domain main outside of every domain, found main {")
	}
	domain := &Domain{Name: name.text, Pos: name.pos}
	p.tree.Domains = append(p.tree.Domains, domain)
	return p.commands(domain, false)
}

// items reads items up to the first token that is none, and gives that token too.
func (p *parser) items() ([]Item, token, error) {
	var items []Item
	for {
		tok, err := p.next()
		if err != nil {
			return nil, tok, err
		}
		item := Item{Pos: tok.pos}
		switch {
		case tok.kind == tokString:
			item.Kind, item.Str = String, tok.text
		case tok.kind == tokChar:
			item.Kind, item.Char = Char, tok.text[0]
		case tok.kind == tokName && (tok.text == "on" || tok.text == "off"):
			item.Kind, item.Bool = Bool, tok.text == "on"
		case tok.kind == tokNumber:
			err = item.setNumber("", tok)
		case tok.kind == tokMinus:
			if tok, err = p.next(); err == nil {
				err = item.setNumber("-", tok)
			}
		default:
			return items, tok, nil
		}
		if err != nil {
			return nil, tok, err
		}
		items = append(items, item)
	}
}

// setNumber makes the item an integer or real.
func (item *Item) setNumber(sign string, tok token) error {
	if tok.kind != tokNumber {
		return failAt(tok.pos, "expected a number after -, found "+tok.String())
	}
	whole, fraction, isReal := strings.Cut(tok.text, ".")
	var err error
	switch {
	case isReal && isDigits(whole) && isDigits(fraction):
		item.Kind = Real
		item.Real, err = strconv.ParseFloat(sign+tok.text, 64)
	case !isReal && whole != "0" && whole[0] == '0':
		return failAt(tok.pos, "expected a decimal number without leading zeros, found "+tok.String())
	case !isReal && isDigits(whole):
		item.Kind = Int
		item.Int, err = strconv.ParseInt(sign+tok.text, 10, 64)
	default:
		return failAt(tok.pos, "expected a number such as 10 or 2.5, found "+tok.String())
	}
	if errors.Is(err, strconv.ErrRange) {
		return failAt(item.Pos, "expected a number that fits in 64 bits, found one out of range")
	}
	return err
}

func isDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return s != ""
}
