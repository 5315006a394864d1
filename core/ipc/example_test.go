package ipc_test

import (
	"bytes"
	"fmt"

	"melon/core/ipc"
)

func ExampleInbox() {
	stream := ipc.AppendFrame(nil, 1, []byte("hello"))
	stream = ipc.AppendFrame(stream, 2, []byte("world"))
	source := bytes.NewReader(stream) // a socket, say

	var inbox ipc.Inbox
	for {
		n, err := source.Read(inbox.Space())
		inbox.Added(n)
		for {
			frame, ok, err := inbox.Next()
			if err != nil {
				fmt.Println(err)
				return
			}
			if !ok {
				break
			}
			fmt.Printf("type %d: %s\n", frame.Type, frame.Payload)
		}
		if err != nil {
			break
		}
	}
	// Output:
	// type 1: hello
	// type 2: world
}
