// Rolling_restart is an HTTP server that replaces its workers without refusing a request: send SIGHUP to the master.
//
//	go run ./go_examples/rolling_restart -listen 127.0.0.1:8080 &
//	kill -HUP MASTER
//
// A worker is ready when it serves, and answers the requests that it has begun before it ends. A worker that hangs or dies is
// replaced; when that happens too often the program ends and says why.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"melon/core"
	"melon/core/fork"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // in workers, too, for those that a terminal sends to all

	group := core.Group{
		Workers:      2,
		HoldReady:    true,
		StartTimeout: 10 * time.Second,
		Heartbeat:    5 * time.Second,
		Budget:       fork.Budget{Failures: 10, Within: time.Minute},
	}
	listener, err := group.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	if core.IsWorker() {
		err = work(ctx, &group, listener)
	} else {
		fmt.Println("pid", os.Getpid(), "listening on", listener.Addr())
		go func() {
			for range hangups {
				if err := group.Restart(ctx); err != nil {
					slog.Error("the workers were not replaced", "error", err)
					continue
				}
				fmt.Println("restarted")
			}
		}()
		err = group.Run(ctx)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// work serves until the worker is to end, and then those who are connected. (Server.Shutdown would turn away a connection
// that was accepted and whose request has not been read yet.)
func work(ctx context.Context, group *core.Group, listener net.Listener) error {
	var connected sync.WaitGroup
	server := http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "worker", os.Getpid()) }),
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				connected.Add(1)
			case http.StateClosed, http.StateHijacked:
				connected.Done()
			}
		},
	}
	served := make(chan error, 1)
	group.Attached = func(master *core.Master) error {
		go func() { served <- server.Serve(listener) }()
		master.Ready()
		return nil
	}
	err := group.Run(ctx)              // returns when the master wants this worker to end
	_ = listener.Close()               // refuses nobody: the other processes have the listener, too
	serveErr := <-served               // nothing is accepted any more
	server.SetKeepAlivesEnabled(false) // each connection ends after the request that it is at
	done := make(chan struct{})
	go func() {
		connected.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
	}
	if !errors.Is(serveErr, net.ErrClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}
