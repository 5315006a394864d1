package core

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"melon/core/spawn"
)

// Listen announces on a network address, as net.Listen does, for the whole group: the master opens the listener, and a worker
// gets the same one, so that the workers share the connections among them. It is called before Run, with the same arguments
// in master and workers, once each. It returns ErrListedTwice for a second call in the master, and ErrNotListed in a worker
// for that, or for what the master did not open. Networks are "tcp", "tcp4", "tcp6", "unix" and "unixpacket".
//
// The listener belongs to the program. The master keeps it open as long as workers may be started, and does not accept.
func (g *Group) Listen(network, address string) (net.Listener, error) {
	name := "listener " + network + " " + address
	file, err := g.file(name, func() (closer, error) { return listenerOf(net.Listen(network, address)) })
	if err != nil {
		return nil, err
	}
	if file.opened != nil {
		return hand(g, file.opened.(net.Listener), nil)
	}
	defer file.inherited.Close() // FileListener makes a copy
	l, err := net.FileListener(file.inherited)
	return hand(g, l, err)
}

// ListenPacket announces on a network address, as net.ListenPacket does, for the whole group; see [Group.Listen]. Networks are
// "udp", "udp4", "udp6" and "unixgram".
func (g *Group) ListenPacket(network, address string) (net.PacketConn, error) {
	name := "packets " + network + " " + address
	file, err := g.file(name, func() (closer, error) { return packetConnOf(net.ListenPacket(network, address)) })
	if err != nil {
		return nil, err
	}
	if file.opened != nil {
		return hand(g, file.opened.(net.PacketConn), nil)
	}
	defer file.inherited.Close()
	c, err := net.FilePacketConn(file.inherited)
	return hand(g, c, err)
}

// File opens a file for the whole group: the master calls open, and a worker gets the same open file, with the position in
// it shared by all. It is called before Run, with the same name in master and workers; errors are those of Listen, and of
// open. The file belongs to the program.
func (g *Group) File(name string, open func() (*os.File, error)) (*os.File, error) {
	file, err := g.file("file "+name, func() (closer, error) { return fileOf(open()) })
	if err != nil {
		return nil, err
	}
	if file.opened != nil {
		return hand(g, file.opened.(*os.File), nil)
	}
	return hand(g, file.inherited, nil)
}

// hand hands something to the program.
func hand[T io.Closer](g *Group, v T, err error) (T, error) {
	if opened := g.world().Opened; opened != nil && err == nil {
		opened(v)
	}
	return v, err
}

// A closer is what can be inherited: it has a descriptor.
type closer interface {
	syscall.Conn
	Close() error
}

// These make no interface value of a nil pointer.

func listenerOf(l net.Listener, err error) (closer, error) {
	if err != nil {
		return nil, err
	}
	return l.(closer), nil
}

func packetConnOf(c net.PacketConn, err error) (closer, error) {
	if err != nil {
		return nil, err
	}
	return c.(closer), nil
}

func fileOf(f *os.File, err error) (closer, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

// heirloom is one of both: what the master has opened, or what a worker has inherited.
type heirloom struct {
	opened    closer
	inherited *os.File
}

func (g *Group) file(name string, open func() (closer, error)) (heirloom, error) {
	in, worker, err := g.inherit()
	switch {
	case err != nil:
		return heirloom{}, err
	case worker:
		for i, file := range in.Files {
			if file.Name == name {
				in.Files = append(in.Files[:i], in.Files[i+1:]...)
				return heirloom{inherited: os.NewFile(uintptr(file.FD), strings.TrimPrefix(name, "file "))}, nil
			}
		}
		return heirloom{}, fmt.Errorf("%w: %s", ErrNotListed, name)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running {
		return heirloom{}, ErrRunning
	}
	for _, file := range g.files {
		if file.Name == name {
			return heirloom{}, fmt.Errorf("%w: %s", ErrListedTwice, name)
		}
	}
	opened, err := open()
	if err != nil {
		return heirloom{}, err
	}
	fd, err := duplicate(opened)
	if err != nil {
		return heirloom{}, errors.Join(fmt.Errorf("core: %s cannot be inherited: %w", name, err), opened.Close())
	}
	g.files = append(g.files, spawn.File{Name: name, FD: fd})
	return heirloom{opened: opened}, nil
}

// duplicate returns another descriptor of the same open file, which the program may close meanwhile. os.File.Fd would do
// something else: it may make the file blocking.
func duplicate(c closer) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd = -1
	failed := raw.Control(func(from uintptr) { fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 3) })
	return fd, errors.Join(failed, err)
}

// closeFiles closes what the group has of its own of the files that workers inherit.
func (g *Group) closeFiles() {
	for _, file := range g.files {
		_ = unix.Close(file.FD)
	}
	g.files = nil
}
