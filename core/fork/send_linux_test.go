package fork_test

import (
	"errors"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"melon/core/fork"
)

func TestASignalThatIsNotSentSaysWhy(t *testing.T) {
	cmd := exec.Command("true")
	pidfd := -1
	cmd.SysProcAttr = &syscall.SysProcAttr{PidFD: &pidfd}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	for _, gone := range []int{pidfd, -1} {
		if err := fork.Send(gone, syscall.SIGTERM); err != nil {
			t.Errorf("to a process that has ended: %v", err)
		}
	}
	self, err := unix.PidfdOpen(unix.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(self)
	err = fork.Send(self, 1000)
	if !errors.Is(err, unix.EINVAL) || err.Error() != "signal 1000 (signal 1000): invalid argument" {
		t.Errorf("a signal that there is not: %v", err)
	}
}
