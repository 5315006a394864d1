/*
 * The same as ipc_threads_send.c, with a worker that is executed: nothing forks and goes on, which the thread sanitizer does not follow.
 * There are fewer words, because it is slow.
 *
 * deadline: 60s
 */
#define EXECUTED
#define WORDS 2000
#include "ipc_threads_send.c"
