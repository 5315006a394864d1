package fork

import (
	"syscall"
	"testing"
)

func TestStatusString(t *testing.T) {
	tests := []struct {
		status Status
		want   string
	}{
		{Status{}, "ended (its status is unknown: SIGCHLD is ignored, or the program waited for it itself)"},
		{Status{Code: 3}, "ended (its status is unknown: SIGCHLD is ignored, or the program waited for it itself)"},
		{Status{Held: true}, "is given up (its status is unknown: it cannot be reaped, as when another process traces it)"},
		{Status{Left: true}, "is left to itself, since it may not be killed"},
		{Status{Known: true}, "exited with status 0"},
		{Status{Known: true, Code: 127}, "exited with status 127"},
		{Status{Known: true, Signal: syscall.SIGKILL}, "was killed by signal 9 (killed)"},
		{Status{Known: true, Signal: syscall.SIGSEGV}, "was killed by signal 11 (segmentation fault)"},
		{Status{Known: true, Signal: syscall.SIGABRT, Core: true}, "was killed by signal 6 (aborted), core dumped"},
		{Status{Known: true, Signal: 40}, "was killed by signal 40 (signal 40)"},
	}
	for _, test := range tests {
		if got := test.status.String(); got != test.want {
			t.Errorf("%+v: %q, want %q", test.status, got, test.want)
		}
	}
}
