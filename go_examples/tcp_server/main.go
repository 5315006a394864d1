// Tcp_server is an echo server whose workers share one listener: the master opens it, and each worker accepts from it.
//
//	go run ./go_examples/tcp_server -listen 127.0.0.1:7777 -workers 4
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os/signal"
	"syscall"

	"melon/core"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	workers := flag.Int("workers", 2, "number of worker processes")
	flag.Parse() // workers get the same arguments as the master

	// An interrupt from the terminal reaches master and workers alike, and ends both in order.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	group := core.Group{Workers: *workers}
	listener, err := group.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	if !core.IsWorker() {
		fmt.Println("listening on", listener.Addr())
	}
	group.Attached = func(master *core.Master) error { // in each worker
		go serve(listener, master.Index())
		return nil
	}
	if err := group.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

func serve(listener net.Listener, index int) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Print(err)
			return
		}
		go func() {
			defer connection.Close()
			fmt.Fprintf(connection, "this is worker %d\n", index)
			_, _ = io.Copy(connection, connection)
		}()
	}
}
