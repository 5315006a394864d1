// Calls has its workers find prime factors. The master asks them, each question has its own answer, and one that takes
// too long is given up. The workers ask the master, too: for what another of them has found already.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	"melon/core"
)

var (
	factors = core.Call[uint64, []uint64]{Type: 1} // of the workers
	known   = core.Call[uint64, []uint64]{Type: 2} // of the master
)

var errNotPositive = errors.New("the number must be positive")

func main() {
	var group core.Group
	group.Workers = 2
	factors.HandleWorker(&group, func(ctx context.Context, master *core.Master, n uint64) ([]uint64, error) {
		if n == 0 {
			return nil, errNotPositive
		}
		if found, err := known.Do(ctx, master, n); err != nil || found != nil {
			return found, err
		}
		return factor(ctx, n)
	})
	var mu sync.Mutex // handlers of calls have a goroutine each
	cache := map[uint64][]uint64{97: {97}}
	known.HandleMaster(&group, func(_ context.Context, _ *core.Worker, n uint64) ([]uint64, error) {
		mu.Lock()
		defer mu.Unlock()
		return cache[n], nil
	})

	ctx, stop := context.WithCancel(context.Background())
	ready := make(chan *core.Worker, group.Workers)
	group.Observe = func(e core.Event) {
		if e.Kind == core.Ready {
			ready <- e.Worker
		}
	}
	if !core.IsWorker() {
		go func() {
			defer stop()
			ask(ctx, <-ready, <-ready)
		}()
	}
	if err := group.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

// ask runs in the master.
func ask(ctx context.Context, workers ...*core.Worker) {
	const large = 18446744073709551557 // a prime: its factors are not found in a moment
	for i, n := range []uint64{97, 360, 1000003 * 1000033, large, 0} {
		limit, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		found, err := factors.Do(limit, workers[i%2], n)
		cancel()
		var remote *core.RemoteError
		switch {
		case errors.As(err, &remote):
			fmt.Printf("%d: %s\n", n, remote.Text)
		case errors.Is(err, context.DeadlineExceeded):
			fmt.Printf("%d: too hard\n", n)
		case err != nil:
			log.Print(err)
		default:
			fmt.Printf("%d: %v\n", n, found)
		}
	}
}

func factor(ctx context.Context, n uint64) (found []uint64, _ error) {
	for d := uint64(2); d <= n/d; d++ {
		for n%d == 0 {
			found, n = append(found, d), n/d
		}
		if d%65536 == 0 && ctx.Err() != nil {
			return nil, ctx.Err() // nobody wants to know any more
		}
	}
	if n > 1 {
		found = append(found, n)
	}
	return found, nil
}
