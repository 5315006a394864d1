/*
 * tools.h - what other C files of the library use of the tools.
 *
 *   tools_boot.c    words on the command line, the running program
 *   tools_limit.c   resource limits
 *   tools_daemon.c  daemon and account
 *   tools_time.c    dates
 */
#ifndef TOOLS_H
#define TOOLS_H

#include <stdbool.h>

#include <sys/types.h>

#include "mln_tools.h"

/*
 * mln_boot_params(); `with_version` tells whether --version and -v are known. Programs of the seed era have them,
 * today's do not, and may use -v for themselves.
 */
int tools_boot_params(int argc, char *argv[], bool with_version);

/* Whether a process runs the program that this process runs: the same executable. */
bool tools_runs_this_program(pid_t pid);

#endif
