package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// A report is what was measured, and what follows from it. It is written as JSON as it is.
type report struct {
	Began       time.Time
	Took        string
	Machine     string
	Peers       map[string]string // the versions of other libraries
	Quick       bool
	Repetitions int
	Notes       []string
	Failures    []string
	// Results has, for each scenario and implementation, the results of each repetition.
	Results map[string]map[string][]map[string]float64
	Rows    []line
	Curves  []curveLine

	options *options
	mutex   sync.Mutex // of Failures and Results, while programs run at the same time
}

// A line of the table.
type line struct {
	Row            string
	Implementation string
	Median         float64
	Value          string  // the median as it is written; it may not have been measured
	Ratio          float64 `json:",omitempty"` // to the first implementation
	Low, High      float64 `json:",omitempty"` // of the ratios of all repetitions; Ratio is their median
	Goals          []verdict
}

// A curveLine is how a cost grows with something.
type curveLine struct {
	Curve          string
	Implementation string
	Sizes, Costs   []float64
	Values         string
	Growth         float64 // for each tenfold, as a line through all points has it
	Steepest       float64 // the same between neighbouring points
	Goals          []verdict
}

type verdict struct {
	Goal string
	Met  bool
	Got  string
}

func newReport(o *options) *report {
	return &report{Began: time.Now(), Machine: machine(), Quick: o.quick, Repetitions: cmp.Or(o.repetitions, repetitions.in(o)), options: o,
		Results: make(map[string]map[string][]map[string]float64)}
}

func machine() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	model := "unknown processor"
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%s, %d processors, Linux %s, %s", model, runtime.NumCPU(), strings.TrimSpace(string(release)), runtime.Version())
}

// measure runs everything, repetition by repetition and, within one, implementation by implementation.
func (r *report) measure() {
	for _, s := range scenarios {
		if !r.options.only.MatchString(s.id) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%-20s", s.id)
		start := time.Now()
		r.measureScenario(&s)
		fmt.Fprintf(os.Stderr, " %.1f s\n", time.Since(start).Seconds())
	}
	r.Took = time.Since(r.Began).Round(time.Second).String()
	r.Notes = r.options.notes
	r.Peers = r.options.peerVersions()
	r.conclude()
}

func (r *report) measureScenario(s *scenario) {
	for repetition := range r.options.repetitionsOf(s) {
		var running sync.WaitGroup
		for i := range s.by {
			// Another one begins each time: nobody always comes after the same neighbour's load, or pause.
			implementation := s.by[(repetition+i)%len(s.by)]
			if r.options.missing[implementation] {
				continue
			}
			running.Go(func() { r.measureOnce(s, implementation) })
			if !s.together {
				running.Wait()
			}
		}
		running.Wait()
	}
}

// measureOnce has one implementation do the work of a scenario, and keeps the results; nil for a run that failed, so that they stay in
// step with those of the others.
func (r *report) measureOnce(s *scenario, implementation string) {
	result, err := r.options.measureOnce(s, implementation)
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if err != nil {
		r.Failures = append(r.Failures, err.Error())
		fmt.Fprintf(os.Stderr, "\nFAILED: %v\n", err)
		result = nil
	}
	r.add(s.id, implementation, result)
}

func (r *report) add(scenario, implementation string, result map[string]float64) {
	if r.Results[scenario] == nil {
		r.Results[scenario] = make(map[string][]map[string]float64)
	}
	r.Results[scenario][implementation] = append(r.Results[scenario][implementation], result)
}

// values returns one metric of all repetitions, NaN where a run failed.
func (r *report) values(scenario, implementation, metric string) []float64 {
	var values []float64
	for _, result := range r.Results[scenario][implementation] {
		value, ok := result[metric]
		if !ok {
			value = math.NaN()
		}
		values = append(values, value)
	}
	return values
}

func (r *report) median(scenario, implementation, metric string) float64 {
	return median(slices.DeleteFunc(r.values(scenario, implementation, metric), math.IsNaN))
}

// conclude makes the lines of the table.
func (r *report) conclude() {
	for _, row := range rows {
		for i := range scenarios {
			if scenarios[i].id == row.scenario && r.Results[row.scenario] != nil {
				r.concludeRow(&row, &scenarios[i])
			}
		}
	}
	for _, c := range curves {
		if !slices.ContainsFunc(c.points, func(p point) bool { return r.Results[p.scenario] == nil }) {
			r.concludeCurve(&c)
		}
	}
}

// concludeRow makes a line for each implementation that was measured, or was to be measured against a goal.
func (r *report) concludeRow(row *row, s *scenario) {
	for _, implementation := range s.by {
		l := line{Row: row.title, Implementation: implementation, Value: notMeasured}
		for _, g := range row.goals {
			if g.of == implementation {
				l.Goals = append(l.Goals, r.judge(g, row, s))
			}
		}
		if value := r.median(s.id, implementation, row.metric); !math.IsNaN(value) {
			l.Median, l.Value = value, row.unit.format(value)
		} else if len(l.Goals) == 0 {
			continue
		}
		ratios := paired(r.values(s.id, implementation, row.metric), r.values(s.id, s.by[0], row.metric), quotient)
		if len(ratios) > 0 {
			l.Ratio, l.Low, l.High = median(ratios), slices.Min(ratios), slices.Max(ratios)
		}
		r.Rows = append(r.Rows, l)
	}
}

// judge says whether a goal is met. One that cannot be judged, since a program failed or a library is missing, is not.
func (r *report) judge(g goal, row *row, s *scenario) verdict {
	values := r.values(s.id, g.of, row.metric)
	than := cmp.Or(g.than, s.by[0])
	name, others := than, r.values(s.id, than, row.metric)
	if g.before != "" {
		// It was measured at another time: the medians belong together, single repetitions do not.
		name = than + ", " + g.before
		values = []float64{r.median(s.id, g.of, row.metric)}
		others = []float64{r.median(g.before, than, row.metric)}
	}
	switch g.what {
	case valueMost:
		return verdictOf("never more than "+row.unit.format(g.limit), highest(values), atMost, g.limit, row.unit)
	case beyondMost:
		return verdictOf(fmt.Sprintf("at most %s more than %s", row.unit.format(g.limit), name),
			median(paired(values, others, difference)), atMost, g.limit, row.unit)
	case atLeast:
		return verdictOf(fmt.Sprintf("at least %s x %s", digits(g.limit), name), median(paired(values, others, quotient)), atLeast, g.limit, plain)
	}
	return verdictOf(fmt.Sprintf("at most %s x %s", digits(g.limit), name), median(paired(values, others, quotient)), atMost, g.limit, plain)
}

// notMeasured stands where a value is missing.
const notMeasured = "not measured"

func verdictOf(goal string, got float64, what goalKind, limit float64, u unit) verdict {
	switch {
	case math.IsNaN(got):
		return verdict{Goal: goal, Got: notMeasured}
	case what == atLeast:
		return verdict{Goal: goal, Met: got >= limit, Got: u.format(got)}
	}
	return verdict{Goal: goal, Met: got <= limit, Got: u.format(got)}
}

// cells returns the table: what is measured, by whom, the value, the ratio, its spread, the goals, whether they are met.
func (l *line) cells() []string {
	cells := []string{l.Row, l.Implementation, l.Value, "", "", "", ""}
	if l.Ratio != 0 {
		cells[3] = digits(l.Ratio)
		cells[4] = digits(l.Low) + "-" + digits(l.High)
	}
	cells[5], cells[6] = goalCells(l.Goals)
	return cells
}

// goalCells returns the goals, and whether they are met.
func goalCells(verdicts []verdict) (string, string) {
	var goals, met []string
	for _, v := range verdicts {
		goals = append(goals, v.Goal)
		word := "no: " + v.Got
		if v.Met {
			word = "yes"
			if len(verdicts) > 1 {
				word = "yes: " + v.Got
			}
		}
		met = append(met, word)
	}
	return strings.Join(goals, "; "), strings.Join(met, "; ")
}

var headings = []string{"what", "by", "median", "ratio", "spread", "goal", "met"}

// concludeCurve makes a line for each implementation that was measured, or was to be measured, at all points.
func (r *report) concludeCurve(c *curve) {
	for _, implementation := range c.by {
		l := curveLine{Curve: c.title, Implementation: implementation}
		var values []string
		for _, p := range c.points {
			cost := c.cost(p, r.median(p.scenario, implementation, c.metric))
			if !math.IsNaN(cost) {
				l.Sizes, l.Costs = append(l.Sizes, p.n), append(l.Costs, cost)
				values = append(values, c.unit.format(cost))
			}
		}
		steps := math.NaN()
		if len(values) == len(c.points) {
			l.Values = strings.Join(values, ", ")
			l.Growth, l.Steepest = growth(l.Sizes, l.Costs), steepest(l.Sizes, l.Costs)
			steps = l.Steepest
		} else {
			l.Values = notMeasured
		}
		if slices.Contains(ourselves[1:], implementation) {
			l.Goals = []verdict{verdictOf("at most "+digits(c.most), steps, atMost, c.most, plain)}
		} else if l.Values == notMeasured {
			continue
		}
		r.Curves = append(r.Curves, l)
	}
}

// cells returns the table: what costs, whom, how much, the growth over all and at most, the goal, whether it is met.
func (l *curveLine) cells() []string {
	cells := []string{l.Curve, l.Implementation, l.Values, "", "", "", ""}
	if l.Growth != 0 {
		cells[3], cells[4] = digits(l.Growth), digits(l.Steepest)
	}
	cells[5], cells[6] = goalCells(l.Goals)
	return cells
}

var growthHeadings = []string{"cost of", "by", "values", "growth for each tenfold", "steepest step", "goal", "met"}

func (r *report) summary() string {
	var verdicts []verdict
	for _, l := range r.Rows {
		verdicts = append(verdicts, l.Goals...)
	}
	for _, l := range r.Curves {
		verdicts = append(verdicts, l.Goals...)
	}
	met := 0
	for _, v := range verdicts {
		if v.Met {
			met++
		}
	}
	mode := "full"
	if r.Quick {
		mode = "quick"
	}
	with := r.Machine
	for _, name := range slices.Sorted(maps.Keys(r.Peers)) {
		with += ", " + name + " " + r.Peers[name]
	}
	return fmt.Sprintf("%d of %d goals met. %s mode, %d repetitions, %s, on %s; %s.", met, len(verdicts),
		strings.ToUpper(mode[:1])+mode[1:], r.Repetitions, r.Took, r.Began.Format("2006-01-02"), with)
}

type table struct {
	head  []string
	lines [][]string
}

// tables returns what is not empty of the rows and the curves.
func (r *report) tables() []table {
	rows, curves := table{head: headings}, table{head: growthHeadings}
	for _, l := range r.Rows {
		rows.lines = append(rows.lines, l.cells())
	}
	for _, l := range r.Curves {
		curves.lines = append(curves.lines, l.cells())
	}
	return slices.DeleteFunc([]table{rows, curves}, func(t table) bool { return len(t.lines) == 0 })
}

// text is the table for a terminal.
func (r *report) text() string {
	var out bytes.Buffer
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	put := func(cells []string) { fmt.Fprintln(w, strings.Join(cells, "\t")) }
	for _, t := range r.tables() {
		put(t.head)
		last := ""
		for _, cells := range t.lines {
			row := cells[0]
			if row == last {
				cells[0] = ""
			}
			last = row
			put(cells)
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // into memory
	fmt.Fprintln(&out, r.summary())
	for _, note := range append(r.Notes, r.Failures...) {
		fmt.Fprintln(&out, "note:", note)
	}
	return out.String()
}

const (
	markBegin = "<!-- The table between these marks is written by make bench-docs. -->"
	markEnd   = "<!-- End of the table. -->"
)

// insert puts the table into a Markdown file.
func (r *report) insert(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(text), markBegin)
	_, after, ok2 := strings.Cut(rest, markEnd)
	if !ok1 || !ok2 {
		return errors.New(path + " has no marks for the table")
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n\n%s\n\n", markBegin, r.summary())
	for _, t := range r.tables() {
		fmt.Fprintf(&out, "| %s |\n|%s\n", strings.Join(t.head, " | "), strings.Repeat("---|", len(t.head)))
		for _, cells := range t.lines {
			fmt.Fprintf(&out, "| %s |\n", strings.Join(cells, " | "))
		}
		out.WriteByte('\n')
	}
	for _, note := range append(r.Notes, r.Failures...) {
		fmt.Fprintf(&out, "Note: %s\n\n", note)
	}
	return os.WriteFile(path, []byte(before+out.String()+markEnd+after), 0o644)
}

func contains(list []string, s string) bool { return slices.Contains(list, s) }
