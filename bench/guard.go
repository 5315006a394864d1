package main

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// A bound is what a central row must not go beyond: about twice as bad as it is, for machines of continuous integration are
// noisy neighbours.
type bound struct {
	scenario, metric string
	least, most      float64 // the ratio of the C API to the floor; 0: no bound
}

var bounds = []bound{
	{scenario: "ping 64", metric: "p50", most: 2.4},
	{scenario: "stream 64", metric: "rate", least: 0.3},
	{scenario: "bulk", metric: "rate", least: 0.4},
	{scenario: "broadcast 4", metric: "p50", most: 2.6},
	{scenario: "sleepers", metric: "p50", most: 4.5},
	{scenario: "fork", metric: "p50", most: 12},
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
	var base, values []float64
	for range o.repetitionsOf(s) {
		for implementation, list := range map[string]*[]float64{floor: &base, cAPI: &values} {
			result, err := o.measureOnce(s, implementation)
			if err != nil {
				return 0, err
			}
			*list = append(*list, result[metric])
		}
	}
	return median(values) / median(base), nil
}
