// Command bench measures the library and the Go package against a floor, which is plain C doing the same work with nothing
// but system calls, and against other libraries. See docs/performance.md.
//
// Each program of the suite is a process of its own that takes options, checks what it receives, and prints one line of
// JSON. All programs of a scenario run in turn, again and again, so that what happens to the machine meanwhile happens to
// all of them; only ratios within one run are compared.
package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

func main() {
	o := options{counts: make(map[[2]string]int)}
	flag.BoolVar(&o.quick, "quick", false, "take less than two minutes, and be less exact")
	flag.IntVar(&o.repetitions, "repetitions", 0, "how often each program runs (default 7, or 3 with -quick, for most)")
	flag.StringVar(&o.folder, "build", "build", "the `folder` that make builds into")
	only := flag.String("only", "", "only scenarios that match this regular `expression`")
	markdown := flag.String("markdown", "", "put the table into this `file`, between its two markers")
	guarding := flag.Bool("guard", false, "only look for regressions, for continuous integration")
	flag.Parse()
	var err error
	if o.only, err = regexp.Compile(*only); err != nil {
		quit(err)
	}
	if o.build, err = filepath.Abs(o.folder); err != nil {
		quit(err)
	}
	if *guarding {
		if err := guard(&o); err != nil {
			quit(err)
		}
		return
	}
	o.preparePeers()
	r := newReport(&o)
	r.measure()
	fmt.Print(r.text())
	if err := r.write(filepath.Join(o.build, "bench", "results.json")); err != nil {
		quit(err)
	}
	if *markdown != "" {
		if err := r.insert(*markdown); err != nil {
			quit(err)
		}
	}
	if len(r.Failures) > 0 {
		quit(fmt.Errorf("%d runs failed", len(r.Failures)))
	}
}

func quit(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

type options struct {
	quick       bool
	repetitions int    // of all scenarios; 0: as many as each is to have
	folder      string // that make builds into, as make is told
	build       string // the same, absolute
	only        *regexp.Regexp
	missing     map[string]bool   // implementations that are not there
	counts      map[[2]string]int // of streams: how many messages, for a scenario and an implementation
	notes       []string
}

// repetitionsOf returns how often each program of a scenario runs.
func (o *options) repetitionsOf(s *scenario) int {
	return cmp.Or(o.repetitions, s.times.in(o), repetitions.in(o))
}

// write puts everything that was measured into a file.
func (r *report) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
