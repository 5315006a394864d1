// Package conf reads the configuration language of Melon programs.
//
// A file is a sequence of commands and domains. A command is a name, any number of items and a semicolon; a domain is a
// name and commands in braces. What stands outside of every domain belongs to the domain "main":
//
//	#define WORKERS 4
//	worker_proc #WORKERS;
//	log_path "logs/app.log";
//	limits {
//	    rate -2.5;
//	    mode 'r' on 10 "ten";
//	}
//
// The preprocessor knows #define, #undef, #if, #else, #endif and #include, and #NAME stands for the text of a macro.
// Names may repeat; the tree keeps everything in the order of the file.
//
// The package also runs inside the C library, whose processes fork: the parent has to know every descriptor a child
// inherits. The Go runtime's network poller opens descriptors that nobody can list, and package os may start it (its
// initialisation alone does when a standard descriptor is non-blocking). So neither os nor fmt, which imports it, is
// used here; files are read by raw system calls.
package conf

import (
	"io/fs"
	"strconv"

	"golang.org/x/sys/unix"
)

// MainDomain is the name of the domain that holds the commands outside of every domain.
const MainDomain = "main"

// Tree is a parsed configuration.
type Tree struct {
	// Domains holds the domain "main", which always exists and is always first, and then the domains in the order of
	// the file. Names may repeat.
	Domains []*Domain
}

// Domain is a named list of commands.
type Domain struct {
	Name     string
	Commands []*Command // in the order of the file; names may repeat
	Pos      Position   // where the name stands
}

// Command is a name with its items.
type Command struct {
	Name  string
	Items []Item
	Pos   Position // where the name stands
}

// Kind says what an Item holds.
type Kind uint8

// The kinds of items, numbered as CONF_STR to CONF_FLOAT in mln_conf.h.
const (
	String Kind = iota + 1
	Char
	Bool
	Int
	Real
)

// Item is one argument of a command. Kind says which of the values is meant; the others are zero.
type Item struct {
	Kind Kind
	Bool bool
	Char byte
	Str  string
	Int  int64
	Real float64
	Pos  Position // where the item stands
}

// Position is a place in a file. Lines and columns count from 1, columns in bytes. What a macro yielded has the position
// of the macro's use.
type Position struct {
	File   string
	Line   int
	Column int
}

// String gives the position as file:line:column.
func (p Position) String() string {
	return p.File + ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column)
}

// SyntaxError tells what is wrong with a configuration, and where.
type SyntaxError struct {
	File         string
	Line, Column int    // from 1; the column counts bytes
	Msg          string // what was expected
	Err          error  // the cause when reading an included file failed, else nil
}

// Error gives the sentence "file:line:column: what was expected".
func (e *SyntaxError) Error() string {
	s := Position{e.File, e.Line, e.Column}.String() + ": " + e.Msg
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause, so that errors.Is finds for instance fs.ErrNotExist for a missing included file.
func (e *SyntaxError) Unwrap() error { return e.Err }

// Default limits of Options. They are far above what configurations need and low enough for a mistake, such as macros
// that double at each level or files that include each other in a fan, to end in an error and not in exhausted memory.
const (
	DefaultMaxBytes = 4 << 20
	DefaultMaxDepth = 64
)

// Options are the settings of Parse. The zero value serves.
type Options struct {
	// Loader reads the files and folders that are included; nil means the file system.
	Loader Loader
	// MaxBytes limits the text that is parsed, included files and expanded macros counted each time they are used;
	// 0 means DefaultMaxBytes.
	MaxBytes int
	// MaxDepth limits how deeply included files, folders and macros nest; 0 means DefaultMaxDepth.
	MaxDepth int
}

// A Loader reads what an #include names.
type Loader interface {
	// Load reads a file of at most limit bytes, or the names in a folder. A path that names nothing gives an error
	// for which errors.Is(err, fs.ErrNotExist) holds.
	Load(path string, limit int) (Source, error)
}

// Source is what a Loader found.
type Source struct {
	ID     string // identifies the file whatever path led to it, so that include cycles are seen
	Data   []byte // the content of a file
	Folder bool
	Names  []string // for a folder, the names of its files in the order in which to include them
}

// ParseFile reads the configuration file path and everything it includes. It fails with an *fs.PathError when the file
// cannot be read, and with a *SyntaxError when the content is wrong.
//
// A relative path in an #include is looked for in the working directory first and, when nothing is there, beside the
// including file. A path that starts with @ is looked for beside the including file only.
func ParseFile(path string) (*Tree, error) {
	src, err := disk{}.Load(path, DefaultMaxBytes)
	if err == nil && src.Folder {
		err = unix.EISDIR
	}
	if err != nil {
		return nil, &fs.PathError{Op: "read configuration file", Path: path, Err: err}
	}
	return parse(path, src, Options{})
}

// Parse parses src as if it were the content of the file name. Its errors are of the type *SyntaxError.
func Parse(name string, src []byte, opts Options) (*Tree, error) {
	return parse(name, Source{Data: src}, opts)
}

// Domain gives the first domain of that name, or nil.
func (t *Tree) Domain(name string) *Domain {
	for _, d := range t.Domains {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// Command gives the first command of that name, or nil.
func (d *Domain) Command(name string) *Command {
	for _, c := range d.Commands {
		if c.Name == name {
			return c
		}
	}
	return nil
}
