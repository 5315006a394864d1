// Command mlnipc turns folders of message files into C code.
//
// A message file is named PREFIX.TYPE and defines two C functions, PREFIX_master and PREFIX_worker. From all files
// mlnipc generate writes the header mln_ipc.h, with one number a type, and the C units that compile the handlers into
// the library. mlnipc program does the same for a program that keeps messages of its own. Numbers never change: they
// are recorded in the file .numbers beside the messages.
//
// Run mlnipc help for the commands and their flags.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/tabwriter"
)

const help = `mlnipc turns message files into C code.

A message file is named PREFIX.TYPE and defines the C functions PREFIX_master, which runs in the master, and
PREFIX_worker, which runs in a worker. TYPE becomes a macro, the number of the message.

  mlnipc generate [-header FILE] [-units DIR] FOLDER...
        Compile the messages of the folders into the library: write the header with the types and the C units with the
        handlers, and delete the units of messages that are gone. The library's own folder comes first.
        -header FILE   the header (default include/mln_ipc.h); another one must have that name, too, and its folder
                       must come first among the compiler's -I
        -units DIR     the folder of the units (default capi)

  mlnipc check [-header FILE] [-units DIR] FOLDER...
        Write nothing; name the files that generate would change, and end with status 1 if there are any.

  mlnipc program [-header FILE] [-units DIR] FOLDER
        Compile the messages of a folder into a program instead: the units register the handlers before main() runs.
        Compile all units with the program and include the header where messages are sent. The units include the header
        by its base name.
        -header FILE   the header (default ipc_types.h; it includes mln_ipc.h and cannot have that name)
        -units DIR     the folder of the units (default the current one)

  mlnipc new PREFIX.TYPE [-dir FOLDER]
        Write a message file to start from. It never overwrites one.
        -dir FOLDER    the folder of messages (default ipc_handlers)

  mlnipc list FOLDER...
        Show the messages of the folders with their numbers: given, new (given by the next generate), or removed.

  mlnipc help
        Show this text.

The numbers are recorded in the file .numbers in the folder of the message; commit it. A number never changes and is
never given twice. New types get numbers from 1025 up; M_IPC_CONF_RELOAD has 1. Hidden files and editors' backups in a
folder of messages are left out. Files are written only when their content changes, all of them or none, and only files
that mlnipc wrote are overwritten or deleted.

Exit status: 0 done; 1 an error, or check found changes; 2 wrong use.
`

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// usageError is wrong use of the command line.
type usageError struct{ error }

// run carries out a command line and returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	say := func(format string, args ...any) { fmt.Fprintf(stderr, "mlnipc: "+format+"\n", args...) }
	err := command(args, stdout, say)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, help)
		return 0
	case errors.As(err, &usage):
		say("%v; run mlnipc help", err)
		return 2
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		say("%s", line)
	}
	return 1
}

func command(args []string, stdout io.Writer, say func(string, ...any)) error {
	if len(args) == 0 {
		return usageError{errors.New("no command")}
	}
	switch name, args := args[0], args[1:]; name {
	case "generate", "program", "check":
		return generate(name, args, say)
	case "new":
		return newMessage(args, say)
	case "list":
		return list(args, stdout, say)
	case "help", "-h", "-help", "--help":
		return flag.ErrHelp
	default:
		return usageError{fmt.Errorf("unknown command %q", name)}
	}
}

// parse reads flags that may stand before, after and between the other arguments, which it returns.
func parse(flags *flag.FlagSet, args []string) ([]string, error) {
	flags.SetOutput(io.Discard)
	var rest []string
	for {
		if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
			return nil, err
		} else if err != nil {
			return nil, usageError{err}
		}
		if flags.NArg() == 0 {
			return rest, nil
		}
		rest = append(rest, flags.Arg(0))
		args = flags.Args()[1:]
	}
}

// generate is the commands generate, program and check.
func generate(name string, args []string, say func(string, ...any)) error {
	j := job{mode: libraryMode}
	header, units := "include/"+libraryHeader, "capi"
	if name == string(programMode) {
		j.mode = programMode
		header, units = "ipc_types.h", "."
	}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.StringVar(&j.header, "header", header, "")
	flags.StringVar(&j.units, "units", units, "")
	var err error
	if j.folders, err = parse(flags, args); err != nil {
		return err
	}
	if len(j.folders) == 0 {
		return usageError{fmt.Errorf("%s needs a folder of messages", name)}
	}
	if j.mode == programMode && len(j.folders) != 1 {
		return usageError{errors.New("program takes one folder of messages")}
	}
	dryRun := name == "check"
	changes, err := j.run(dryRun, say)
	if err != nil {
		return err
	}
	if !dryRun {
		for _, c := range changes {
			say("%s", c)
		}
		return nil
	}
	var stale []error
	for _, c := range changes {
		stale = append(stale, fmt.Errorf("not up to date: generate would %s", c))
	}
	return errors.Join(stale...)
}

// newMessage is the command new.
func newMessage(args []string, say func(string, ...any)) error {
	flags := flag.NewFlagSet("new", flag.ContinueOnError)
	dir := flags.String("dir", "ipc_handlers", "")
	rest, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usageError{errors.New("new needs one name, PREFIX.TYPE")}
	}
	name, err := parseName(rest[0])
	if err != nil {
		return fmt.Errorf("%s: %w", rest[0], err)
	}
	unlock, err := lockFolders([]string{*dir}, false, say)
	if err != nil {
		return err
	}
	defer unlock()
	entries, err := os.ReadDir(*dir)
	if err != nil {
		return fmt.Errorf("cannot read the folder of messages: %w", err)
	}
	for _, entry := range entries {
		other, err := parseName(entry.Name())
		if err != nil || ignored(entry.Name()) != "" {
			continue
		}
		if other.Prefix == name.Prefix || other.Type == name.Type {
			return fmt.Errorf("%s: the message exists already, or shares its prefix or type with another: %s", rest[0], filepath.Join(*dir, entry.Name()))
		}
	}
	path := filepath.Join(*dir, rest[0])
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: the file exists already", path)
	}
	if err := apply([]change{{path, renderSkeleton(name)}}); err != nil {
		return err
	}
	say("write %s", path)
	return nil
}

// list is the command list.
func list(args []string, stdout io.Writer, say func(string, ...any)) error {
	folders, err := parse(flag.NewFlagSet("list", flag.ContinueOnError), args)
	if err != nil {
		return err
	}
	if len(folders) == 0 {
		return usageError{errors.New("list needs a folder of messages")}
	}
	unlock, err := lockFolders(folders, true, say)
	if err != nil {
		return err
	}
	defer unlock()
	c, err := readCatalog(folders)
	if err != nil {
		return err
	}
	for _, note := range c.notes {
		say("%s", note)
	}

	type row struct {
		number                    uint32
		typ, prefix, where, state string
	}
	var rows []row
	alive := make(map[string]bool)
	for _, m := range c.messages {
		alive[m.Type] = true
		state := "given"
		if m.New {
			state = "new"
		}
		rows = append(rows, row{m.Number, m.Type, m.Prefix, m.File, state})
	}
	for _, f := range c.folders {
		for _, l := range f.numbers.lines {
			if l.Removed && !alive[l.Type] {
				rows = append(rows, row{l.Number, l.Type, "-", f.numbers.path, "removed"})
			}
		}
	}
	sort.SliceStable(rows, func(i, k int) bool { return rows[i].number < rows[k].number })
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NUMBER\tTYPE\tPREFIX\tFILE\tSTATE")
	for _, r := range rows {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", r.number, r.typ, r.prefix, r.where, r.state)
	}
	return w.Flush()
}
