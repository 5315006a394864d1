package fork

import (
	"strconv"
	"syscall"
)

// Status is how a process ended.
type Status struct {
	Known  bool           // false when the system kept no record, as with SIGCHLD ignored
	Code   int            // exit status, when Signal is 0
	Signal syscall.Signal // the signal that ended it, or 0
	Core   bool           // a core was dumped
	Held   bool           // not Known: it cannot be reaped, mostly since another process traces it, and is given up; see Supervisor.Held
	Left   bool           // not Known: it has not ended, but nobody may kill it, and it is left to itself
}

// SignalName is the number of a signal, and a word or two.
func SignalName(signal syscall.Signal) string {
	return strconv.Itoa(int(signal)) + " (" + signal.String() + ")"
}

// String says it as the end of a sentence about the process.
func (s Status) String() string {
	switch {
	case s.Held:
		return "is given up (its status is unknown: it cannot be reaped, as when another process traces it)"
	case s.Left:
		return "is left to itself, since it may not be killed"
	case !s.Known:
		return "ended (its status is unknown: SIGCHLD is ignored, or the program waited for it itself)"
	case s.Signal != 0:
		text := "was killed by signal " + SignalName(s.Signal)
		if s.Core {
			text += ", core dumped"
		}
		return text
	}
	return "exited with status " + strconv.Itoa(s.Code)
}
