//go:build !linux

package core

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"time"

	"melon/core/event"
)

type platform struct {
	loop   *engine
	master *supervisor
}

type supervisor struct{ ended chan struct{} }

func (*supervisor) resize(int) {}

func (*supervisor) roll(chan<- error) {}

type engine struct{}

func (*engine) post(func()) bool { return false }

func (*engine) totals() (uint64, time.Duration) { return 0, 0 }

func unsupported() error {
	return fmt.Errorf("core: worker processes need Linux, and this system is %s: %w", runtime.GOOS, event.ErrUnsupported)
}

func (g *Group) run(context.Context) error { return unsupported() }

func (g *Group) retire() {}

// IsWorker reports false: workers are started on Linux only.
func (g *Group) IsWorker() bool { return false }

func (g *Group) inMaster(func(*supervisor)) (*supervisor, error) { return nil, unsupported() }

// Listen is for Linux.
func (g *Group) Listen(network, address string) (net.Listener, error) { return nil, unsupported() }

// ListenPacket is for Linux.
func (g *Group) ListenPacket(network, address string) (net.PacketConn, error) {
	return nil, unsupported()
}

// File is for Linux.
func (g *Group) File(name string, open func() (*os.File, error)) (*os.File, error) {
	return nil, unsupported()
}
