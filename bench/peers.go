package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A peer is another library that programs are built with.
type peer struct {
	implementation string
	packageName    string
	header         string
	version        string // as the macros of the header have it
}

var peers = []peer{
	{libuv, "libuv1-dev", "uv.h", "UV_VERSION_MAJOR.UV_VERSION_MINOR.UV_VERSION_PATCH"},
	{libevent, "libevent-dev", "event2/event.h", "EVENT__VERSION"},
	{nng, "libnng-dev", "nng/nng.h", "NNG_MAJOR_VERSION.NNG_MINOR_VERSION.NNG_PATCH_VERSION"},
	{zeroMQ, "libzmq3-dev", "zmq.h", "ZMQ_VERSION_MAJOR.ZMQ_VERSION_MINOR.ZMQ_VERSION_PATCH"},
}

// preparePeers builds what other libraries are needed for, and installs them where that is possible.
func (o *options) preparePeers() {
	o.missing = make(map[string]bool)
	o.installPeers()
	for _, p := range peers {
		for _, s := range scenarios {
			program := o.path(p.implementation, s.program)
			if !o.only.MatchString(s.id) || !contains(s.by, p.implementation) || o.missing[p.implementation] {
				continue
			}
			c := exec.Command("make", "-s", "BUILD="+o.folder, filepath.Join(o.folder, "bench", "peers", filepath.Base(program)))
			// The options of the make that runs this are not for this one. The compiler and its flags are in the environment, too, whether
			// that make was given them there or as arguments.
			c.Env = append(os.Environ(), "MAKEFLAGS=")
			if out, err := c.CombinedOutput(); err != nil {
				o.missing[p.implementation] = true
				o.note("%s is left out: its programs cannot be built (package %s)%s", p.implementation, p.packageName, lastLine(string(out)))
			}
		}
	}
}

// installPeers installs what is missing, one by one: a system that does not know one of the packages may know the others.
func (o *options) installPeers() {
	updated := false
	for _, p := range peers {
		if _, ok := p.find(); ok {
			continue
		}
		if !updated {
			// It may fail where packages can be had all the same: one source of several is out of reach, or the list is from yesterday.
			if err := aptGet("update", "-q"); err != nil {
				o.note("the list of packages may be old: %v", err)
			}
			updated = true
		}
		if err := aptGet("install", "-y", "-q", "--no-install-recommends", p.packageName); err != nil {
			o.note("cannot install %s: %v", p.packageName, err)
		}
	}
}

// find returns the version of a peer, if the compiler finds it.
func (p *peer) find() (version string, ok bool) {
	compiler := strings.Fields(os.Getenv("CC"))
	if len(compiler) == 0 {
		compiler = []string{"gcc"}
	}
	c := exec.Command(compiler[0], append(compiler[1:], "-E", "-P", "-x", "c", "-")...)
	c.Stdin = strings.NewReader("#include <" + p.header + ">\n" + p.version + "\n")
	out, err := c.Output()
	if err != nil {
		return "", false
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.NewReplacer(" ", "", `"`, "").Replace(lines[len(lines)-1]), true
}

// peerVersions tells with what the programs were built, by implementation.
func (o *options) peerVersions() map[string]string {
	versions := make(map[string]string)
	for _, p := range peers {
		if version, ok := p.find(); ok && !o.missing[p.implementation] {
			versions[p.implementation] = version
		}
	}
	return versions
}

// aptGet runs apt-get, if there is one and this user may.
func aptGet(arguments ...string) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return errors.New("there is no apt-get")
	}
	command := []string{"apt-get"}
	if os.Geteuid() != 0 {
		command = []string{"sudo", "-n", "apt-get"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, command[0], append(command[1:], arguments...)...)
	c.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w%s", strings.Join(command, " "), arguments[0], err, lastLine(string(out)))
	}
	return nil
}
