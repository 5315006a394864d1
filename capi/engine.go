// The runtime would keep the files of the control group open, two descriptors of which a child that was forked could not
// be rid: it does not know their numbers.
//go:debug containermaxprocs=0

// Package main is the C library: libmln.so, built with -buildmode=c-shared.
//
// The public functions are C (the *.c files). What decides is Go, behind the table of entries in engine.h: one Go file
// for each group of entries. An entry computes and returns; it never calls C, because its caller may be a process that
// was forked and uses this copy's Go code together with another copy's C code.
package main

/*
#cgo CFLAGS: -std=gnu11 -D_GNU_SOURCE -I${SRCDIR}/../include -Wall -Wextra -fexceptions
#cgo CFLAGS: -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
#cgo LDFLAGS: -Wl,-z,relro -Wl,-z,now
#cgo LDFLAGS: ${SRCDIR}/exports.so -Wl,--wrap=x_cgo_mmap -Wl,--wrap=x_cgo_munmap
#include <stdlib.h>
#include "engine.h"

// By its own name, malloc is a function of cgo's that ends the process where there is no memory.
static inline void *allocate(size_t n) { return malloc(n); }
*/
import "C"

import (
	"errors"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {}

// maxPayload is the largest message that is accepted, in bytes.
var maxPayload atomic.Uint32

// engineConfigure is the entry configure of struct engine_table.
//
//export engineConfigure
func engineConfigure(settings *C.struct_engine_settings) {
	room(false)
	maxPayload.Store(uint32(settings.max_payload))
	setPolicy(settings)
	if settings.all_processors != 0 {
		runtime.GOMAXPROCS(runtime.NumCPU())
	}
}

// result is an error as the entries return it: 0, or -errno.
func result(err error) C.int {
	if err == nil {
		return 0
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return -C.int(errno)
	}
	return -C.int(unix.EIO)
}

// toC copies bytes, and a zero behind them, into memory that the C side frees; nil where there is none.
func toC(p []byte) unsafe.Pointer {
	memory := C.allocate(C.size_t(len(p) + 1))
	if memory != nil {
		out := unsafe.Slice((*byte)(memory), len(p)+1)
		copy(out, p)
		out[len(p)] = 0
	}
	return memory
}

// room makes sure that the stack below has room for a signal handler of the program.
//
// On a thread of the program Go code runs on a goroutine's stack, which is small and grows by need. A handler that has no
// alternate stack would run there, and run over its end. Calling a function with a large frame makes the stack grow
// once. The garbage collector halves one that it finds mostly unused, also in the middle of a call of the engine, so there is
// twice as much room as is promised.
//
//go:noinline
func room(never bool) {
	if never {
		var half, other [stackRoom]byte // the compiler puts no variable of more than 128 KiB on the stack
		touch(&half, &other)
	}
}

// stackRoom is how much room is promised.
const stackRoom = 96 << 10

//go:noinline
func touch(half, other *[stackRoom]byte) { half[0], other[0] = 1, 1 }
