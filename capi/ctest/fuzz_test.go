package ctest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

// A driver is a C program of drivers/ that answers one request after the other, so that a fuzz test need not start a process each time.
type driver struct {
	requests io.WriteCloser
	answers  io.Reader
	process  *os.Process
}

// startDriver compiles a source of drivers/ and starts it in a folder. It ends with the test.
func startDriver(f *testing.F, folder, source string, args ...string) *driver {
	build, err := buildOnce()
	if err != nil {
		f.Fatal(err)
	}
	lib := filepath.Join(build, "lib")
	path := filepath.Join(f.TempDir(), "driver")
	err = compile(path, []string{filepath.Join("drivers", source)}, "-I"+include, "-L"+lib, "-lmln", "-Wl,-rpath,"+lib)
	if err != nil {
		f.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env, cmd.Dir, cmd.Stderr = cleanEnvironment(), folder, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its children have the pipe of the answers as well
	d := &driver{}
	if d.requests, err = cmd.StdinPipe(); err != nil {
		f.Fatal(err)
	}
	if d.answers, err = cmd.StdoutPipe(); err != nil {
		f.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		f.Fatal(err)
	}
	d.process = cmd.Process
	f.Cleanup(func() {
		d.requests.Close() // it ends at the end of its input
		if err := cmd.Wait(); err != nil {
			f.Errorf("the driver: %v", err)
		}
	})
	return d
}

// ask sends a request and returns the answer, which may take ten seconds.
func (d *driver) ask(t *testing.T, request []byte) string {
	t.Helper()
	late := time.AfterFunc(10*time.Second, func() { syscall.Kill(-d.process.Pid, syscall.SIGKILL) })
	defer late.Stop()
	message := append(binary.NativeEndian.AppendUint32(nil, uint32(len(request))), request...)
	if _, err := d.requests.Write(message); err != nil {
		t.Fatalf("the driver takes no request: %v", err)
	}
	var size [4]byte
	if _, err := io.ReadFull(d.answers, size[:]); err != nil {
		t.Fatalf("the driver has ended: %v", err)
	}
	answer := make([]byte, binary.NativeEndian.Uint32(size[:]))
	if _, err := io.ReadFull(d.answers, answer); err != nil {
		t.Fatalf("the driver has ended: %v", err)
	}
	return string(answer)
}

// FuzzLogFormat compares what mln_log prints with what its specifiers mean. The program's own text is printed byte for byte.
func FuzzLogFormat(f *testing.F) {
	f.Add("[%s] %d %l\n", "text", int64(-1), int64(math.MinInt64), 0.5)
	f.Add("%S%c%%%u", "a\x00b", int64('x'), int64(-1), 0.0)
	f.Add("%f %x %X", "", int64(0xbeef), int64(-1), math.MaxFloat64)
	f.Add("\x1b[2J %i %I %q %s", strings.Repeat("long ", 500), int64(7), int64(-7), math.Inf(-1))
	f.Add("%U%", "\n", int64(0), int64(0), math.NaN())
	d := startDriver(f, f.TempDir(), "text.c", "format")
	f.Fuzz(func(t *testing.T, format, text string, i, l int64, x float64) {
		format = strings.ReplaceAll(format, "\x00", "")
		request, want := logCase(format, text, i, l, x)
		if got := d.ask(t, request); got != want {
			t.Errorf("mln_log(%q) with %q, %d, %d and %v printed %q, want %q", format, text, i, l, x, got, want)
		}
	})
}

// logCase returns the request for a message, and what is to be printed. The format ends before its fourth argument.
func logCase(format, text string, i, l int64, x float64) (request []byte, want string) {
	const arguments = 3
	var line strings.Builder
	var list []byte
	given := 0
	give := func(kind byte, value uint64, bytes string) {
		list = append(binary.NativeEndian.AppendUint64(append(list, kind), value), bytes...)
		given++
	}
	at := 0
scan:
	for at < len(format) {
		if format[at] != '%' {
			line.WriteByte(format[at])
			at++
			continue
		}
		if at+1 < len(format) && format[at+1] == '%' {
			line.WriteByte('%')
			at += 2
			continue
		}
		if at+1 == len(format) || !strings.Contains("sSdulUiIxXfc", format[at+1:at+2]) {
			line.WriteString("Log message format error.\n")
			at = len(format)
			break
		}
		if given == arguments {
			break scan
		}
		switch format[at+1] {
		case 's':
			until, _, _ := strings.Cut(text, "\x00")
			line.WriteString(until)
			give('s', uint64(len(until)), until)
		case 'S':
			line.WriteString(text)
			give('S', uint64(len(text)), text)
		case 'd':
			line.WriteString(strconv.Itoa(int(int32(i))))
			give('i', uint64(i), "")
		case 'u':
			line.WriteString(strconv.FormatUint(uint64(uint32(i)), 10))
			give('i', uint64(i), "")
		case 'x':
			line.WriteString(strconv.FormatUint(uint64(uint32(i)), 16))
			give('i', uint64(i), "")
		case 'c':
			line.WriteByte(byte(i))
			give('i', uint64(i), "")
		case 'l', 'i':
			line.WriteString(strconv.FormatInt(l, 10))
			give('l', uint64(l), "")
		case 'U', 'I':
			line.WriteString(strconv.FormatUint(uint64(l), 10))
			give('l', uint64(l), "")
		case 'X':
			line.WriteString(strconv.FormatUint(uint64(l), 16))
			give('l', uint64(l), "")
		case 'f':
			line.WriteString(number(x))
			give('f', math.Float64bits(x), "")
		}
		at += 2
	}
	for given < arguments {
		give('i', 0, "")
	}
	return append(list, format[:at]...), line.String()
}

// number is what %f of the C library prints.
func number(x float64) string {
	sign := ""
	if math.Signbit(x) {
		sign = "-"
	}
	switch {
	case math.IsNaN(x):
		return sign + "nan"
	case math.IsInf(x, 0):
		return sign + "inf"
	}
	return fmt.Sprintf("%f", x)
}

// FuzzLogForeign has the library name a file in its log, and asserts that nothing in the name can end the line or lead a terminal.
func FuzzLogForeign(f *testing.F) {
	for _, name := range []string{"plain", "Grüße €\U0001f600", "\n11/23/2026 02:00:00 UTC REPORT: PID:1 forged", "\x1b[2J\r\x7f\t",
		"\u009b2J \u0085", "\x9b2J", "cut \xe2\x82", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff\xfe", strings.Repeat("\x01", 700)} {
		f.Add(name)
	}
	d := startDriver(f, f.TempDir(), "text.c", "foreign")
	f.Fuzz(func(t *testing.T, name string) {
		name = "/nonexistent/" + strings.ReplaceAll(name, "\x00", "")
		got := d.ask(t, []byte(name))
		line, rest, ended := strings.Cut(got, "\n")
		if !ended || rest != "" {
			t.Fatalf("%q is not one line", got)
		}
		if !strings.Contains(line, escaped(name)) {
			t.Errorf("%q does not name %q", line, escaped(name))
		}
		for _, r := range line {
			if r == utf8.RuneError && !strings.ContainsRune(name, r) || r < ' ' || r >= 0x7f && r < 0xa0 {
				t.Errorf("there is %U in %q", r, line)
			}
		}
	})
}

// escaped is text as the library shows what others have chosen.
func escaped(text string) string {
	var out strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError && n == 1 {
			for _, b := range []byte(text[:n]) {
				fmt.Fprintf(&out, `\x%02x`, b)
				if r == utf8.RuneError {
					break
				}
			}
		} else {
			out.WriteString(text[:n])
		}
		text = text[n:]
	}
	return out.String()
}

// FuzzBootWords asserts that the first word on the command line that is one of the library's is acted upon, and any other is left alone.
func FuzzBootWords(f *testing.F) {
	const none, done, refused = "42", "0", "1" // there is no process to signal
	meanings := map[string]string{"--help": done, "-h": done, "--version": done, "-v": done,
		"--stop": refused, "-s": refused, "--reload": refused, "-r": refused}
	f.Add([]byte(""))
	f.Add([]byte("--help\x00"))
	f.Add([]byte("--helpful\x00-\x00\x00--\x00-vv\x00--stop"))
	f.Add([]byte("x\x00-r\x00-h\x00"))
	f.Add([]byte("--HELP\x00-h "))
	d := startDriver(f, f.TempDir(), "text.c", "words")
	f.Fuzz(func(t *testing.T, words []byte) {
		want := none
		for i, word := range bytes.Split(words, []byte{0}) {
			if meaning, known := meanings[string(word)]; known && i < 62 {
				want = meaning
				break
			}
		}
		if got := d.ask(t, words); got != want {
			t.Errorf("with the words %q the program ended with status %s, want %s", words, got, want)
		}
	})
}

// FuzzPidFile asserts that --stop believes a pid file only if it holds the decimal number of a process, and nothing else but a newline.
func FuzzPidFile(f *testing.F) {
	for _, content := range []string{"", "1", "2", "12345", "12345\n", "12345\n\n", "012345", " 12345", "+12345", "-12345", "12345 ", "12345\x00junk",
		"2147483647", "2147483648", "4294967298", "18446744073709551618", strings.Repeat("0", 30) + "7", "7\n" + strings.Repeat(" ", 40) + "7"} {
		f.Add([]byte(content))
	}
	form := regexp.MustCompile(`\A[1-9][0-9]*\n?\z`)
	d := startDriver(f, f.TempDir(), "text.c", "pid")
	f.Fuzz(func(t *testing.T, content []byte) {
		want := "does not hold a process id"
		number, err := strconv.ParseInt(strings.TrimSuffix(string(content), "\n"), 10, 32)
		if err == nil && number > 1 && form.Match(content) {
			want = fmt.Sprintf("process %d, named by ./melon.pid, is not running", number)
		}
		if got := d.ask(t, content); !strings.Contains(got, want) {
			t.Errorf("a pid file with %q has --stop say %q, want %q", content, got, want)
		}
	})
}
