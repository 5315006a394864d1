package main

import (
	"fmt"
	"math"
	"slices"
)

// median returns the middle of some values; NaN if there are none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// highest returns the greatest of some values, NaN if there are none.
func highest(values []float64) float64 {
	result := math.NaN()
	for _, value := range values {
		if !(value <= result) && !math.IsNaN(value) {
			result = value
		}
	}
	return result
}

// paired returns what `of` makes of each value and the other's of the same repetition, without those that make no number: a run may have
// failed.
func paired(values, others []float64, of func(value, other float64) float64) []float64 {
	var results []float64
	for i := range min(len(values), len(others)) {
		if result := of(values[i], others[i]); !math.IsNaN(result) && !math.IsInf(result, 0) {
			results = append(results, result)
		}
	}
	return results
}

func quotient(value, other float64) float64   { return value / other }
func difference(value, other float64) float64 { return value - other }

// growth returns the factor by which y grows for each tenfold of x, as the line through the logarithms has it.
func growth(x, y []float64) float64 {
	var meanX, meanY, above, below float64
	for i := range x {
		meanX += math.Log10(x[i]) / float64(len(x))
		meanY += math.Log10(y[i]) / float64(len(x))
	}
	for i := range x {
		dx := math.Log10(x[i]) - meanX
		above += dx * (math.Log10(y[i]) - meanY)
		below += dx * dx
	}
	return math.Pow(10, above/below)
}

// steepest returns the greatest growth between neighbouring points: a line through all of them hides a bend.
func steepest(x, y []float64) float64 {
	var steps []float64
	for i := range len(x) - 1 {
		steps = append(steps, growth(x[i:i+2], y[i:i+2]))
	}
	return highest(steps)
}

// The first try of a stream, and by how much the next one may be longer: what a very short one took says little about it.
const (
	firstCount = 100
	mostGrowth = 50
)

// nextCount returns how many messages of a stream to try so that it lasts for `goal` seconds, if so many took that long.
func nextCount(count int, took, goal float64) int {
	return max(10, int(float64(count)*min(goal/took, mostGrowth)))
}

// A unit says how a value is written.
type unit int

const (
	plain unit = iota
	nanoseconds
	milliseconds
	perSecond
	kibibytes
)

func (u unit) format(value float64) string {
	switch {
	case math.IsNaN(value):
		return "-"
	case u == nanoseconds && value >= 1e6:
		return digits(value/1e6) + " ms"
	case u == nanoseconds && value >= 1e3:
		return digits(value/1e3) + " us"
	case u == nanoseconds:
		return digits(value) + " ns"
	case u == milliseconds:
		return digits(value) + " ms"
	case u == perSecond && value >= 1e6:
		return digits(value/1e6) + " M/s"
	case u == perSecond && value >= 1e3:
		return digits(value/1e3) + " k/s"
	case u == perSecond:
		return digits(value) + " /s"
	case u == kibibytes:
		return digits(value) + " KiB"
	}
	return digits(value)
}

// digits writes three digits that count, or all in front of the point.
func digits(value float64) string {
	switch a := math.Abs(value); {
	case a == 0:
		return "0"
	case a >= 100:
		return fmt.Sprintf("%.0f", value)
	case a >= 10:
		return fmt.Sprintf("%.1f", value)
	}
	return fmt.Sprintf("%.2f", value)
}
