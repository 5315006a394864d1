// Package measure has what the benchmark programs written in Go share: options, samples, the contents of messages and the
// report. It does in Go what bench.h does in C.
package measure

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Fail ends the program with a message.
func Fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "%s: %s\n", os.Args[0], fmt.Sprintf(format, arguments...))
	os.Exit(1)
}

// Must ends the program if there is an error.
func Must(err error) {
	if err != nil {
		Fail("%v", err)
	}
}

// Text returns an option, given as name=value.
func Text(name, otherwise string) string {
	for _, argument := range os.Args[1:] {
		if value, ok := strings.CutPrefix(argument, name+"="); ok {
			return value
		}
	}
	return otherwise
}

// Number returns an option that is a number.
func Number(name string, otherwise int) int {
	n, err := strconv.Atoi(Text(name, strconv.Itoa(otherwise)))
	Must(err)
	return n
}

// Begin is the first thing in main: it gives the program a deadline.
func Begin() {
	deadline := time.Duration(Number("deadline", 60)) * time.Second
	time.AfterFunc(deadline, func() { Fail("it took longer than %v", deadline) })
}

var base = time.Now()

// Samples are durations.
type Samples []time.Duration

// Report prints the quantiles as one line of JSON.
func (s Samples) Report() {
	slices.Sort(s)
	at := func(q float64) float64 { return float64(s[int(q*float64(len(s)-1)+0.5)]) }
	Report(map[string]float64{"p50": at(0.5), "p99": at(0.99), "samples": float64(len(s))})
}

// ReportStream prints how many messages went in which time, in each of the directions.
func ReportStream(messages, direction int, took time.Duration) {
	if direction == Both {
		messages *= 2
	}
	Report(map[string]float64{"rate": float64(messages) / took.Seconds(), "seconds": took.Seconds()})
}

// Report prints the results as one line of JSON.
func Report(results map[string]float64) {
	line, err := json.Marshal(results)
	Must(err)
	fmt.Println(string(line))
}

// Stamp puts a message's number at both of its ends.
func Stamp(message []byte, number uint64) {
	binary.NativeEndian.PutUint64(message, number)
	binary.NativeEndian.PutUint64(message[len(message)-8:], number)
}

// Check ends the program unless the message is the one that is due.
func Check(message []byte, size int, number uint64) {
	if len(message) != size {
		Fail("message %d has %d bytes instead of %d", number, len(message), size)
	}
	first, last := binary.NativeEndian.Uint64(message), binary.NativeEndian.Uint64(message[size-8:])
	if first != number || last != number {
		Fail("message %d came where %d was due", first, number)
	}
}

// Now returns the time since the program started.
func Now() time.Duration { return time.Since(base) }

// Clock returns a time that other processes can be told.
func Clock() time.Duration {
	var t unix.Timespec
	Must(unix.ClockGettime(unix.CLOCK_MONOTONIC, &t))
	return time.Duration(t.Nano())
}

// StampTime puts the time into a message, behind its number.
func StampTime(message []byte) { binary.NativeEndian.PutUint64(message[8:], uint64(Clock())) }

// StampedTime returns the time that is in a message.
func StampedTime(message []byte) time.Duration {
	return time.Duration(binary.NativeEndian.Uint64(message[8:]))
}

// Directions of a stream.
const (
	Down = 1 << iota // from the master or parent
	Up
	Both = Down | Up
)
