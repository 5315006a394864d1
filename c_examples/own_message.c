/*
 * own_message.c - a message of one's own that is compiled into the program.
 *
 * The message is a file, messages/greeting.M_IPC_GREETING: its name says the type, its text holds the two handlers.
 *
 *     mlnipc program -header build/messages/ipc_types.h -units build/messages c_examples/messages
 *
 * turns the folder into C: a header with the type's number, which is kept in messages/.numbers, and a unit for each
 * message, which registers the handlers before main() runs. Compile the units with the program, as the Makefile does.
 * (A message for every program goes to ipc_handlers/ instead, and into the library.)
 *
 * Run it with `build/examples/own_message`. It ends by itself, with status 0.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mln_fork.h"
#include "mln_framework.h"

#include "ipc_types.h" /* M_IPC_GREETING */
#include "settings.h"

static const char configuration[] = "framework \"multiprocess\";\nworker_proc 3;\nlog_level \"error\";\n";

static int greet(mln_event_t *ev, mln_fork_t *f, void *data)
{
    if (mln_ipc_master_send_prepare(ev, M_IPC_GREETING, data, strlen(data), f) != 0)
        fprintf(stderr, "own_message: cannot greet worker %d: %s\n", (int)f->pid, strerror(errno));
    return 0;
}

static void master_process(mln_event_t *ev)
{
    static char text[] = "Good morning";

    printf("the master greets its workers with message %d: %s\n", M_IPC_GREETING, text);
    mln_fork_iterate(ev, greet, text);
}

int main(int argc, char *argv[])
{
    struct mln_framework_attr attr = {.argc = argc, .argv = argv, .master_process = master_process};

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (settings_use(configuration) != 0)
        return 1;
    return mln_framework_init(&attr) == 0 ? 0 : 1;
}
