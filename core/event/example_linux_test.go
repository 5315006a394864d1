package event_test

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"melon/core/event"
)

func ExampleLoop_Run() {
	loop, err := event.New[string]()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer loop.Close()
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		fmt.Println(err)
		return
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])

	err = loop.Set(pipe[0], event.Registration[string]{
		Directions: event.Read,
		Timeout:    event.NoTimeout,
		Target:     "the pipe",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	loop.After(time.Millisecond, "the timer")
	loop.Run(func(e event.Event[string]) {
		switch e.Kind {
		case event.Expired:
			fmt.Println(e.Target, "has expired")
			_, _ = unix.Write(pipe[1], []byte("hello"))
		case event.Ready:
			var b [16]byte
			n, _ := unix.Read(e.FD, b[:])
			fmt.Printf("%s has %q\n", e.Target, b[:n])
			loop.Break()
		}
	})
	// Output:
	// the timer has expired
	// the pipe has "hello"
}
