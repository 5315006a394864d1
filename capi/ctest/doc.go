// Package ctest tests the C surface of libmln the way its users meet it: C programs, compiled with all warnings as errors against the
// public headers and the built library, each run as a process of its own.
//
// Every programs/*.c (C11) and programs/*.cc (C++17) is one test. A program passes when it exits with status 0 before its deadline,
// leaves no process behind, and leaves no file in its working directory. It is started in an empty directory of its own, which is TMPDIR
// too, as the leader of a process group, with standard input from /dev/null and no MLN_* variable in its environment. At the deadline
// the group gets SIGABRT, then SIGKILL, and the test shows what the program printed.
//
// The first comment lines of a program may change that:
//
//	// deadline: 120s      instead of 30s
//	// env: NAME=value     adds a variable to the environment; may be repeated
//	// expect-exit: 3      instead of status 0
//
// The programs use programs/check.h for their assertions. Those named alloc_*, string_*, chain_*, connection_* and file_* need only the
// plain C part of the library, and are also compiled together with those sources under the address and undefined-behaviour sanitizers
// and, with the build tag memcheck, run under valgrind. So are the others with the library, all but a few as `make memcheck` asks for, and
// some of each kind in continuous integration: testdata/valgrind.c is for what valgrind does not know, and check_slowness() of check.h for
// times.
//
// The fuzz tests have a program of drivers/ answer one request after the other; programs/*_random.c take a seed as their argument.
// Those of the configuration, which fork nothing, run under sanitizers as well: with CC="gcc -fsanitize=address,undefined" and MLN_LIBDIR
// for a library that make has built with these CFLAGS and LDFLAGS.
//
// The other tests of the package check the public headers, the exported symbols, an installation, and the programs of c_examples, as
// make builds them.
//
// TestRefusedCalls has the kernel refuse one system call after another to programs/fault_group.c and to its
// twin in Go, testdata/faultgroup; all of them with MLN_FAULTS=all, as
// `make faults` does. TestSoak and TestForkStorm run programs for longer than TestPrograms does, as `make soak` and `make storm` ask
// them to.
//
// The library is built by make into a temporary directory, unless MLN_LIBDIR names the lib folder of a build directory of make that is
// up to date, as `make test` does.
package ctest
