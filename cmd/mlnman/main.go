// Command mlnman writes the man pages of the C library from what Doxygen read in the headers.
//
// Doxygen parses the headers and their comments and writes XML; mlnman only lays it out. Doxygen's own man pages are named after
// files, repeat every sentence and begin with lists of includes.
//
//	mlnman -xml FOLDER -out FOLDER
//
// Each page covers one or two headers. Whatever is declared and not documented is an error, and so is markup that mlnman has no
// layout for: nothing of a header is left out silently. `make man` runs both programs.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// pages are the man pages, in the order in which they name each other, with the headers that each covers.
var pages = []page{
	{"mln_framework", []string{"mln_framework.h", "mln_core.h"}},
	{"mln_fork", []string{"mln_fork.h"}},
	{"mln_ipc", []string{"mln_ipc.h"}},
	{"mln_event", []string{"mln_event.h"}},
	{"mln_tcp_conn", []string{"mln_connection.h"}},
	{"mln_conf", []string{"mln_conf.h"}},
	{"mln_log", []string{"mln_log.h"}},
}

func main() {
	xml := flag.String("xml", "", "the folder of Doxygen's XML")
	out := flag.String("out", "", "the folder for the pages")
	flag.Parse()
	if *xml == "" || *out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := writePages(*xml, *out); err != nil {
		fmt.Fprintf(os.Stderr, "mlnman: %v\n", err)
		os.Exit(1)
	}
}

// writePages writes all pages, or none if a header has mistakes.
func writePages(xml, out string) error {
	texts := make([][]byte, len(pages))
	var mistakes []error
	for i, p := range pages {
		headers := make([]*header, len(p.headers))
		for k, name := range p.headers {
			h, err := readHeader(xml, name)
			if h == nil {
				return err
			}
			headers[k] = h
			mistakes = append(mistakes, err)
		}
		text, err := p.render(headers)
		texts[i] = text
		mistakes = append(mistakes, err)
	}
	if err := errors.Join(mistakes...); err != nil {
		return err
	}
	for i, p := range pages {
		if err := os.WriteFile(filepath.Join(out, p.name+".3"), texts[i], 0o644); err != nil {
			return err
		}
	}
	return nil
}
