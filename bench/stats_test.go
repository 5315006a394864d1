package main

import (
	"math"
	"slices"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{5, 1, 3}, 3},
		{[]float64{4, 1, 3, 100}, 3.5},
	} {
		if got := median(test.values); got != test.want {
			t.Errorf("median(%v) = %v, want %v", test.values, got, test.want)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing = %v", got)
	}
}

func TestHighest(t *testing.T) {
	nan := math.NaN()
	if got := highest([]float64{nan, 0, 3, 1, nan}); got != 3 {
		t.Errorf("the highest is %v, want 3", got)
	}
	if got := highest([]float64{nan}); !math.IsNaN(got) {
		t.Errorf("the highest of runs that failed is %v", got)
	}
}

func TestPaired(t *testing.T) {
	nan := math.NaN()
	for _, test := range []struct {
		name           string
		values, others []float64
		of             func(value, other float64) float64
		want           []float64
	}{
		{"ratios", []float64{2, 9, 4}, []float64{1, 3, 4}, quotient, []float64{2, 3, 1}},
		{"differences", []float64{2, 9, 4}, []float64{1, 3, 4}, difference, []float64{1, 6, 0}},
		{"runs that failed", []float64{nan, 9, 4, 5}, []float64{1, nan, 4, 1}, quotient, []float64{1, 5}},
		{"nothing to compare with", []float64{1, 2}, []float64{0, 1}, quotient, []float64{2}},
		{"not there", []float64{1, 2}, nil, quotient, nil},
	} {
		if got := paired(test.values, test.others, test.of); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// A ratio is the median of the ratios within repetitions: what disturbs one of them does not show, though it moves the medians.
func TestRatioIsPaired(t *testing.T) {
	r := newReport(&options{})
	floors, ours := []float64{10, 20, 40, 80}, []float64{5, 20, 80, 480} // the machine becomes slower
	for i := range floors {
		r.add("ping 64", floor, map[string]float64{"p50": floors[i]})
		r.add("ping 64", cAPI, map[string]float64{"p50": ours[i]})
	}
	r.Results["ping 64"][floor][0] = nil // a run that failed
	r.conclude()
	for _, l := range r.Rows {
		if l.Implementation == cAPI && l.Row == "round trip 64 B, median" {
			if l.Median != 50 || l.Ratio != 2 || l.Low != 1 || l.High != 6 {
				t.Errorf("median %v, ratio %v, %v to %v; want 50, 2, 1 to 6", l.Median, l.Ratio, l.Low, l.High)
			}
			return
		}
	}
	t.Error("there is no such line")
}

func TestGrowth(t *testing.T) {
	for _, test := range []struct {
		name string
		y    func(x float64) float64
		want float64
	}{
		{"constant", func(float64) float64 { return 7 }, 1},
		{"linear", func(x float64) float64 { return 3 * x }, 10},
		{"quadratic", func(x float64) float64 { return x * x / 2 }, 100},
	} {
		x := []float64{4, 16, 64}
		y := []float64{test.y(4), test.y(16), test.y(64)}
		if got := growth(x, y); math.Abs(got-test.want) > 1e-9*test.want {
			t.Errorf("%s: growth = %v, want %v", test.name, got, test.want)
		}
	}
}

func TestSteepest(t *testing.T) {
	x := []float64{1, 10, 100, 1000}
	y := []float64{1, 1, 50, 100} // a bend between points that look well together
	if got := steepest(x, y); math.Abs(got-50) > 1e-9 {
		t.Errorf("the steepest step is %v, want 50", got)
	}
	if got := growth(x, y); got > 12 {
		t.Errorf("growth over all = %v", got)
	}
	if got := steepest([]float64{4, 16}, []float64{1, 4}); math.Abs(got-10) > 1e-9 {
		t.Errorf("for each tenfold, a linear step is %v, want 10", got)
	}
}

func TestNextCount(t *testing.T) {
	for _, test := range []struct {
		name  string
		count int
		took  float64
		want  int
	}{
		{"half as long as it should be", 1000, 0.15, 2000},
		{"as long as it should be", 1000, 0.3, 1000},
		{"twice as long", 1000, 0.6, 500},
		{"far too short to tell", 100, 2e-6, 5000},
		{"no time at all", 100, 0, 5000},
		{"one message takes longer", 100, 100, 10},
	} {
		if got := nextCount(test.count, test.took, 0.3); got != test.want {
			t.Errorf("%s: the next count is %d, want %d", test.name, got, test.want)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, test := range []struct {
		unit  unit
		value float64
		want  string
	}{
		{nanoseconds, 18204, "18.2 us"},
		{nanoseconds, 999, "999 ns"},
		{nanoseconds, 1234567890, "1235 ms"},
		{perSecond, 37648813, "37.6 M/s"},
		{perSecond, 5000, "5.00 k/s"},
		{kibibytes, 1536, "1536 KiB"},
		{plain, 0, "0"},
		{plain, 0.001, "0.00"},
		{plain, math.NaN(), "-"},
	} {
		if got := test.unit.format(test.value); got != test.want {
			t.Errorf("%v is written %q, want %q", test.value, got, test.want)
		}
	}
}

// A goal that cannot be judged counts as one that is not met.
func TestGoalsThatCannotBeJudged(t *testing.T) {
	verdicts := func(fill func(*report)) []verdict {
		r := newReport(&options{})
		fill(r)
		r.conclude()
		for _, l := range r.Rows {
			if l.Implementation == cAPI && l.Row == "stream 64 B to the worker" {
				return l.Goals
			}
		}
		t.Fatal("there is no line for the C API")
		return nil
	}
	rate := func(value float64) map[string]float64 { return map[string]float64{"rate": value} }
	got := verdicts(func(r *report) { // nng is missing
		r.add("stream 64", floor, rate(50))
		r.add("stream 64", cAPI, rate(40))
		r.add("stream 64", zeroMQ, rate(1))
	})
	want := []verdict{{"at least 0.50 x floor", true, "0.80"}, {"at least 20.0 x nng", false, notMeasured}, {"at least 20.0 x ZeroMQ", true, "40.0"}}
	if !slices.Equal(got, want) {
		t.Errorf("without nng: %v, want %v", got, want)
	}
	got = verdicts(func(r *report) { // all runs failed
		r.add("stream 64", floor, rate(50))
		r.add("stream 64", cAPI, nil)
	})
	for _, v := range got {
		if v.Met || v.Got != notMeasured {
			t.Errorf("without results of the C API: %v", v)
		}
	}
}

// Every row and curve is about a scenario that is there, whose first implementation everything is relative to, and every
// goal is about implementations that do its work.
func TestSuiteIsConsistent(t *testing.T) {
	byID := make(map[string]scenario)
	for _, s := range scenarios {
		if _, twice := byID[s.id]; twice {
			t.Errorf("two scenarios are called %q", s.id)
		}
		byID[s.id] = s
	}
	for _, r := range rows {
		s, ok := byID[r.scenario]
		if !ok {
			t.Errorf("row %q is about %q, which is no scenario", r.title, r.scenario)
		}
		for _, g := range r.goals {
			other := s
			if g.before != "" {
				other = byID[g.before]
			}
			if !contains(s.by, g.of) || g.than != "" && !contains(other.by, g.than) {
				t.Errorf("a goal of row %q is about an implementation that does not do its work", r.title)
			}
		}
	}
	for _, b := range bounds {
		if s := byID[b.scenario]; !contains(s.by, floor) || !contains(s.by, cAPI) {
			t.Errorf("the guard looks at %q, which the floor or the C API does not do", b.scenario)
		}
	}
	for _, c := range curves {
		for _, p := range c.points {
			for _, implementation := range c.by {
				if !contains(byID[p.scenario].by, implementation) {
					t.Errorf("curve %q is about %q, which %s does not do", c.title, p.scenario, implementation)
				}
			}
		}
	}
}
