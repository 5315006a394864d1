package spawn

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"melon/core/fork"
)

// Start starts the test binary once more. It says what it inherited, and ends with status 7.
func init() {
	switch os.Getenv("SPAWN_TEST") {
	case "secure":
		_, inherits, err := Inherit()
		p, refused := Start(Spec{Env: []string{"SPAWN_TEST=end"}})
		if refused == nil {
			_, _ = unix.Wait4(p.PID, nil, 0, nil)
		}
		fmt.Printf("a worker %t, inherits %t, error %v, may have workers %t", IsWorker(), inherits, err, !errors.Is(refused, ErrSecure))
		os.Exit(0)
	case "end":
		os.Exit(0)
	case "gap":
		in, _, err := Inherit()
		null := 0
		for _, file := range in.Files {
			if target(file.FD) == os.DevNull {
				null++
			}
		}
		report := fmt.Sprintf("descriptor %d is %s, of %d files %d are %s, error %v", in.Index, target(in.Index), len(in.Files), null, os.DevNull, err)
		_, _ = unix.Write(in.Channel, []byte(report))
		os.Exit(0)
	}
	if !IsWorker() || os.Getenv("SPAWN_TEST") == "" {
		return
	}
	in, worker, err := Inherit()
	_, _, again := Inherit()
	comm, _ := os.ReadFile("/proc/self/comm")
	given := ""
	for _, file := range in.Files {
		text := make([]byte, 100)
		n, _ := unix.Read(file.FD, text)
		flags, _ := unix.FcntlInt(uintptr(file.FD), unix.F_GETFD, 0)
		given += fmt.Sprintf("%s (close-on-exec %t) says %s; ", file.Name, flags&unix.FD_CLOEXEC != 0, text[:n])
		_ = unix.Close(file.FD) // openSockets takes it for the channel
	}
	report := fmt.Sprintf("given %spayload %s, heartbeat %v, index %d, master %t, worker %t, error %v, again %t, sockets %v, still a worker %t, comm %s",
		given, in.Payload, in.Heartbeat, in.Index, in.Master == os.Getppid(), worker, err, errors.Is(again, ErrInherited), openSockets(), IsWorker(), comm)
	_, _ = unix.Write(in.Channel, []byte(report))
	os.Exit(7)
}

func TestStartAndInherit(t *testing.T) {
	t.Setenv("SPAWN_TEST", "1")
	// What this process was given and what it was not: workers get the first alone.
	given, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	sockets := openSockets()
	defer unix.Close(given)
	own, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(own)
	var files []File
	for _, name := range []string{"one", "two"} {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pair[0])
		defer unix.Close(pair[1])
		if _, err := unix.Write(pair[0], []byte("I am "+name)); err != nil {
			t.Fatal(err)
		}
		files = append(files, File{name, pair[1]})
	}
	before := descriptors(t)
	p, err := Start(Spec{Index: 5, Files: files, Payload: []byte("a payload"), Heartbeat: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	report := make([]byte, 4096)
	wait(t, p.Channel)
	n, err := unix.Read(p.Channel, report)
	if err != nil {
		t.Fatal(err)
	}
	comm, _ := os.ReadFile("/proc/self/comm")
	sockets["the channel"] = true
	want := fmt.Sprintf("given one (close-on-exec true) says I am one; two (close-on-exec true) says I am two; "+
		"payload a payload, heartbeat 1s, index 5, master true, worker true, error <nil>, again true, sockets %v, still a worker true, comm %s", sockets, comm)
	if got := string(report[:n]); got != want {
		t.Errorf("the worker says\n%s\nwant\n%s", got, want)
	}
	wait(t, p.PIDFD)
	status, ended, err := fork.Reap(p.PIDFD)
	if err != nil || !ended || status != (fork.Status{Known: true, Code: 7}) {
		t.Errorf("Reap returned %v, %t, %v; want exit status 7", status, ended, err)
	}
	_ = unix.Close(p.Channel)
	_ = unix.Close(p.PIDFD)
	if after := descriptors(t); after != before {
		t.Errorf("there are %d descriptors, and were %d before", after, before)
	}
}

// What this process was given has its number in workers, too, also where there is a gap before it and more goes with the channel than
// the gap has room for.
func TestStartKeepsWhatIsBehindAGap(t *testing.T) {
	for _, files := range []int{0, 8, 20, 40} {
		t.Run(fmt.Sprint(files, " files"), func(t *testing.T) {
			t.Setenv("SPAWN_TEST", "gap")
			lock, err := os.Create(filepath.Join(t.TempDir(), "lock"))
			if err != nil {
				t.Fatal(err)
			}
			defer lock.Close()
			given, err := unix.FcntlInt(lock.Fd(), unix.F_DUPFD, 30)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(given)
			null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(null)
			spec := Spec{Index: given, Payload: []byte("a payload")}
			for i := range files {
				spec.Files = append(spec.Files, File{fmt.Sprint(i), null})
			}
			p, err := Start(spec)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(p.Channel)
			defer unix.Close(p.PIDFD)
			wait(t, p.PIDFD)
			_, _, _ = fork.Reap(p.PIDFD)
			report := make([]byte, 4096)
			n, err := unix.Read(p.Channel, report)
			want := fmt.Sprintf("descriptor %d is %s, of %d files %[3]d are %s, error <nil>", given, target(given), files, os.DevNull)
			if got := string(report[:max(n, 0)]); err != nil || got != want {
				t.Errorf("the worker says\n%s\n(%v), want\n%s", got, err, want)
			}
		})
	}
}

func target(fd int) string {
	path, _ := os.Readlink(fmt.Sprint("/proc/self/fd/", fd))
	return path
}

// What this process was given by whoever started it is not for programs of other files.
func TestStartGivesAnotherProgramNothingElse(t *testing.T) {
	given, err := unix.FcntlInt(1, unix.F_DUPFD, 200)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(given)
	p, err := Start(Spec{Path: "/bin/sh", Args: []string{"-c", fmt.Sprintf("for fd in 1 $0; do test -e /proc/self/fd/$fd || exit 1; done; "+
		"test ! -e /proc/self/fd/%d", given)}})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p.Channel)
	defer unix.Close(p.PIDFD)
	wait(t, p.PIDFD)
	if status, ended, err := fork.Reap(p.PIDFD); err != nil || !ended || status != (fork.Status{Known: true}) {
		t.Errorf("Reap returned %v, %t, %v; want exit status 0", status, ended, err)
	}
	if descriptor(given) != uintptr(given) {
		t.Error("it is not this process's any more")
	}
}

// openSockets returns the sockets that this process has, by inode. In a worker, the channel goes by that name.
func openSockets() map[string]bool {
	inodes := make(map[string]bool)
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, entry := range entries {
		fd, _ := strconv.Atoi(entry.Name())
		var stat unix.Stat_t
		if err := unix.Fstat(fd, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFSOCK {
			continue
		}
		name := strconv.FormatUint(stat.Ino, 10)
		if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC != 0 {
			name = "the channel"
		}
		inodes[name] = true
	}
	return inodes
}

// wait waits until fd can be read.
func wait(t *testing.T, fd int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Until(deadline).Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if n != 1 {
			t.Fatalf("nothing comes from the worker: %v", err)
		}
		return
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestStartReportsWhyAProgramCannotBeLoaded(t *testing.T) {
	before := descriptors(t)
	if _, err := start(&Spec{Path: filepath.Join(t.TempDir(), "gone")}, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("start of a missing file: %v", err)
	}
	notExecutable := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(notExecutable, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := start(&Spec{Path: notExecutable}, 0); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("start of a file that is not executable: %v", err)
	}
	if after := descriptors(t); after != before {
		t.Errorf("there are %d descriptors, and were %d before", after, before)
	}
}

func TestInherit(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	var stat unix.Stat_t
	if err := unix.Fstat(pair[0], &stat); err != nil {
		t.Fatal(err)
	}
	value := func(fd int, inode uint64, master int) string { return fmt.Sprintf("2:%d:%d:%d:0:0", fd, inode, master) }
	for _, test := range []struct {
		name, value string
		worker      bool
		err         error
	}{
		{"no worker", "unset", false, nil},
		{"started by a worker", "inherited:1", false, nil},
		{"garbage", "garbage", false, nil},
		{"empty", "", false, nil},
		{"too little", "2:3:4", false, nil},
		{"another process", value(100000, stat.Ino, os.Getpid()), false, nil},
		{"no process", value(100000, stat.Ino, 0), false, nil},
		{"another socket", value(pair[1], stat.Ino, os.Getppid()), true, ErrNoChannel},
		{"closed descriptor", value(100000, stat.Ino, os.Getppid()), true, ErrNoChannel},
		{"dead master", value(pair[0], stat.Ino, os.Getpid()), true, ErrOrphan},
		{"worker", value(pair[0], stat.Ino, os.Getppid()), true, nil},
		{"second call", "inherited:" + strconv.Itoa(os.Getpid()), true, ErrInherited},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(variable, test.value)
			if test.value == "unset" {
				_ = os.Unsetenv(variable)
			}
			in, worker, err := Inherit()
			if worker != test.worker || !errors.Is(err, test.err) || worker != IsWorker() {
				t.Errorf("Inherit returned %+v, %t, %v; IsWorker returns %t", in, worker, err, IsWorker())
			}
			if test.name == "worker" {
				if !reflect.DeepEqual(in, Inheritance{Index: 2, Master: os.Getppid(), Channel: pair[0]}) {
					t.Errorf("Inherit returned %+v", in)
				}
				flags, _ := unix.FcntlInt(uintptr(pair[0]), unix.F_GETFL, 0)
				if flags&syscall.O_NONBLOCK == 0 {
					t.Error("the channel is in blocking mode")
				}
			}
		})
	}
}

// Whoever starts a program that has more rights is nobody's master: everything that the variable may name is true here.
func TestProgramsWithMoreRightsAreNobodysWorkers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make a program set-user-ID to another account than that which starts it")
	}
	dir, err := os.MkdirTemp("", "spawn")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "program")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(program, self, 0o755)); err != nil {
		t.Fatal(err)
	}
	pair, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	channel := os.NewFile(uintptr(pair[1]), "channel")
	defer channel.Close()
	defer unix.Close(pair[0])
	var stat unix.Stat_t
	if err := unix.Fstat(pair[1], &stat); err != nil {
		t.Fatal(err)
	}
	capability := make([]byte, 20) // version 2, effective; of 64 bits the one of CAP_NET_BIND_SERVICE
	binary.LittleEndian.PutUint32(capability, 0x02000001)
	binary.LittleEndian.PutUint32(capability[4:], 1<<unix.CAP_NET_BIND_SERVICE)
	for _, test := range []struct {
		name  string
		raise func() error
	}{
		{"the same rights", func() error { return nil }},
		{"set-user-ID", func() error { return os.Chmod(program, 0o755|os.ModeSetuid) }},
		{"set-group-ID", func() error { return os.Chmod(program, 0o755|os.ModeSetgid) }},
		{"a capability", func() error {
			return errors.Join(os.Chmod(program, 0o755), unix.Setxattr(program, "security.capability", capability, 0))
		}},
	} {
		if err := test.raise(); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		plain := test.name == "the same rights"
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		command := exec.CommandContext(ctx, program)
		command.Dir = "/"
		command.Env = []string{"SPAWN_TEST=secure", fmt.Sprintf("%s=0:3:%d:%d:0:0", variable, stat.Ino, os.Getpid())}
		command.ExtraFiles = []*os.File{channel}
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		got, err := command.CombinedOutput()
		want := fmt.Sprintf("a worker %t, inherits %t, error <nil>, may have workers %t", plain, plain, plain)
		if err != nil || string(got) != want {
			t.Errorf("with %s it says\n%s\n(%v), want\n%s", test.name, got, err, want)
		}
	}
}
