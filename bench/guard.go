package main

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// A bound is what a central row must not go beyond. What is twice as slow as today, on the machine where it is slowest compared with the
// floor, does; what a busy neighbour costs, on machines of continuous integration, does not, in one of several attempts.
type bound struct {
	scenario, metric string
	least, most      float64 // the ratio of the C API to the floor; 0: no bound
}

var bounds = []bound{
	{scenario: "ping 64", metric: "p50", most: 1.7},
	{scenario: "stream 64", metric: "rate", least: 0.35},
	{scenario: "bulk", metric: "rate", least: 0.55},
	{scenario: "broadcast 4", metric: "p50", most: 2.2},
	{scenario: "sleepers", metric: "p50", most: 3.2},
	{scenario: "fork", metric: "p50", most: 5.5},
}

// attempts is how often a row may be measured before it counts as a regression.
const attempts = 3

// guard measures the central rows and fails if one of them is far worse than it should be.
func guard(o *options) error {
	o.quick = true
	var complaints []string
	for _, b := range bounds {
		var s *scenario
		for i := range scenarios {
			if scenarios[i].id == b.scenario {
				s = &scenarios[i]
			}
		}
		ok, ratio := false, math.NaN()
		for attempt := 0; attempt < attempts && !ok; attempt++ {
			var err error
			if ratio, err = ratioOf(o, s, b.metric); err != nil {
				return err
			}
			ok = (b.least == 0 || ratio >= b.least) && (b.most == 0 || ratio <= b.most)
		}
		text := fmt.Sprintf("%s, %s: %s times the floor (%s)", b.scenario, b.metric, digits(ratio), b.text())
		fmt.Println(text)
		if !ok {
			complaints = append(complaints, text)
		}
	}
	if len(complaints) > 0 {
		return errors.New("slower than it should be, in each of several attempts; see docs/performance.md:\n" + strings.Join(complaints, "\n"))
	}
	return nil
}

func (b *bound) text() string {
	if b.least != 0 {
		return "at least " + digits(b.least)
	}
	return "at most " + digits(b.most)
}

// ratioOf measures the floor and the C API in turn.
func ratioOf(o *options, s *scenario, metric string) (float64, error) {
	r, both := newReport(o), *s
	both.by = inC
	r.measureScenario(&both)
	if len(r.Failures) > 0 {
		return 0, errors.New(r.Failures[0])
	}
	return median(paired(r.values(s.id, cAPI, metric), r.values(s.id, floor, metric), quotient)), nil
}
