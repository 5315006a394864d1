package main

/*
#include "copy.h"
#include "engine.h"
*/
import "C"

import (
	"sync/atomic"
	"time"
	"weak"

	"golang.org/x/sys/unix"
)

// canary is gone as soon as the garbage collector has run.
var canary = weak.Make(new([4]*int))

// pollerSteps is after how many steps of a loop it looks whether it is time to open the poller: that takes longer than much
// of what a step does, and there are many of them between two collections.
const pollerSteps = 64

// polls says whether the runtime has its poller. It lies where the C side sees it.
var polls = (*uint32)(&C.engine_orders.polls)

// pollerDue reports whether the runtime is to open the descriptors of its poller, before it does so by itself, which is with its
// first timer: after its second garbage collection it may set one at any time, and if it cannot open them then, it ends the
// process. Programs that never come to a collection never have them.
func pollerDue() bool { return atomic.LoadUint32(polls) == 0 && canary.Value() == nil }

// enginePollerOpen is the entry poller_open of struct engine_table.
//
//export enginePollerOpen
func enginePollerOpen() {
	room(false)
	if atomic.LoadUint32(polls) == 0 && pollerOpens() {
		time.AfterFunc(time.Hour, func() {}).Stop()
		atomic.StoreUint32(polls, 1)
	}
}

// pollerOpens does what the runtime will do. It reports whether that succeeds.
func pollerOpens() bool {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	defer unix.Close(epoll)
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return false
	}
	defer unix.Close(wake)
	return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN}) == nil
}
