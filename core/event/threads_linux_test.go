package event

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// runOutsideing is a loop whose owner waits outside Go, as the C library's does, until stop says so.
func runOutsideing(t *testing.T, l *Loop[func()], stop func() bool) {
	buffer := make([]unix.EpollEvent, 16)
	l.UseBuffer(buffer)
	var e Event[func()]
	for !stop() {
		switch l.Next(&e, Outside) {
		case Took:
			e.Target()
		case Idle:
			n, err := unix.EpollWait(l.Descriptors()[0], buffer, -1)
			if err != nil && err != unix.EINTR {
				t.Error(err)
				return
			}
			l.Collect(max(n, 0))
		}
	}
}

// The methods are called from many goroutines while another one waits, inside Next or outside. Each asks for something
// that only comes if the sleeping loop hears of it, and waits for that.
func TestOtherGoroutinesWhileTheLoopWaits(t *testing.T) {
	for _, how := range []string{"park", "hold"} {
		t.Run(how, func(t *testing.T) {
			limit(t)
			random := newRandom(t)
			l, err := New[func()]()
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()

			var workers, loop sync.WaitGroup
			for n := range 4 {
				fd, peer := pair(t)
				file := regularFile(t)
				seed := random.Uint64()
				workers.Go(func() { disturb(t, l, n, fd, peer, file, seed) })
			}
			stopped := false // by an event of the loop, on its goroutine
			loop.Go(func() {
				if how == "park" {
					l.Run(func(e Event[func()]) {
						e.Target()
						if stopped {
							l.Break()
						}
					})
				} else {
					runOutsideing(t, l, func() bool { return stopped })
				}
			})
			workers.Wait()
			l.After(0, func() { stopped = true })
			loop.Wait()
		})
	}
}

func disturb(t *testing.T, l *Loop[func()], n, fd, peer, file int, seed uint64) {
	random := rand.New(rand.NewPCG(seed, uint64(n)))
	came := make(chan struct{}, 1)
	tell := func() {
		select {
		case came <- struct{}{}:
		default:
		}
	}
	unwanted := func() { t.Error("something came that was taken back before it could") }
	register := func(fd int, d Direction, oneShot, appending bool, timeout time.Duration, target func()) {
		err := l.Set(fd, Registration[func()]{Directions: d, OneShot: oneShot, Append: appending, Timeout: timeout, Target: target})
		if err != nil {
			t.Error(err)
		}
	}
	var block [16]byte
	for range 300 {
		switch random.IntN(8) {
		case 0: // readable already
			l.Clear(fd)
			if _, err := unix.Write(peer, block[:1]); err != nil {
				t.Error(err)
			}
			register(fd, Read, true, false, NoTimeout, tell)
			<-came
			_, _ = unix.Read(fd, block[:])
		case 1: // readable later
			register(fd, Read, true, false, time.Hour, tell)
			if _, err := unix.Write(peer, block[:1]); err != nil {
				t.Error(err)
			}
			<-came
			_, _ = unix.Read(fd, block[:])
		case 2: // another direction
			register(fd, Read, false, false, NoTimeout, unwanted)
			register(fd, Write, true, true, KeepTimeout, tell)
			<-came
		case 3: // a timer, earlier than others
			late := l.After(time.Hour, unwanted)
			l.After(time.Duration(random.IntN(200))*time.Microsecond, tell)
			<-came
			if !l.Cancel(late) {
				t.Error("a timer that is due in an hour cannot be cancelled")
			}
		case 4: // a deadline
			register(fd, Read, false, false, NoTimeout, unwanted)
			if !l.OnTimeout(fd, tell) {
				t.Error("a registered descriptor is unknown")
			}
			register(fd, 0, false, true, time.Duration(random.IntN(200))*time.Microsecond, nil)
			<-came
		case 5: // a file
			register(file, Write, true, true, NoTimeout, tell)
			<-came
			if random.IntN(2) == 0 && !l.Clear(file) {
				t.Error("a registered file is unknown")
			}
		case 6: // taken back
			register(fd, Read, false, false, time.Hour, unwanted)
			l.Clear(fd)
			if l.Has(fd) {
				t.Error("cleared, but known")
			}
		case 7:
			l.Wake()
			l.Pending()
		}
	}
	l.Clear(fd)
}

// While the owner waits outside, other threads change what he waits for.
func TestOtherGoroutinesWhileTheOwnerWaits(t *testing.T) {
	limit(t)
	l := newLoop(t)
	a, b := pair(t)
	for n := range 50 {
		name := fmt.Sprint(n)
		entering := make(chan struct{}, 1)
		l.BeforeWait(func() bool {
			select {
			case entering <- struct{}{}:
			default:
			}
			return true
		})
		var worker sync.WaitGroup
		worker.Go(func() {
			<-entering
			switch n % 4 {
			case 0:
				l.After(0, name)
			case 1:
				watch(t, l, a, Write, name)
			case 2:
				watch(t, l, a, Read, name)
				write(t, b)
			case 3:
				watch(t, l, a, 0, name)
				l.OnTimeout(a, name)
				set(t, l, a, Registration[string]{Timeout: time.Microsecond})
			}
		})
		e := await(l, Outside)
		worker.Wait()
		if e.Target != name {
			t.Fatalf("%s came, want %s", show(e), name)
		}
		drain(t, a)
		l.Clear(a)
		round(l, nil)
	}
}
