/*
 * A thread of the program forks on its own while another one starts, replaces and ends workers, and makes and frees loops: its children
 * hold no end of a channel, no loop and no pipe of these, or the end of a worker would not be seen.
 * deadline: 60s
 */
#include "ipc.h"
#include "processes.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>

enum { STARTS = 40, AT_ONCE = 8 };

static char given[256]; /* open when this program began: of whoever started it */
static atomic_int ended;

/* What a child has of others. */
static int held(void)
{
    int n = 0;

    for (int fd = 3; fd < 256; ++fd) {
        const char *name = descriptor_name(fd);

        if (given[fd])
            continue;
        if (strncmp(name, "socket:", 7) == 0 || strncmp(name, "pipe:", 5) == 0 || strncmp(name, "anon_inode:", 11) == 0) {
            fprintf(stderr, "a child has %s\n", name);
            ++n;
        }
    }
    return n;
}

static void *fork_beside(void *data)
{
    pid_t pid;

    (void)data;
    while (!atomic_load(&ended)) {
        CHECK((pid = fork()) >= 0);
        if (pid == 0)
            _exit(held());
        CHECK_INT(await_status(pid), 0);
    }
    return NULL;
}

static int kill_one(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    (void)data;
    return kill(f->pid, SIGKILL);
}

static void start_program(mln_event_t *ev)
{
    static char program[] = "/bin/true";
    mln_s8ptr_t *args = calloc(3, sizeof *args); /* the library's from now on */

    CHECK(args != NULL);
    args[0] = program;
    CHECK_INT(mln_fork_spawn(M_PST_DFL, args, 1, ev), 0);
}

static void wait_for_orders(mln_event_t *ev)
{
    (void)ev;
}

int main(void)
{
    mln_event_t *ev;
    pthread_t thread;

    for (int fd = 3; fd < 256; ++fd)
        given[fd] = *descriptor_name(fd) != '\0';
    ev = become_master();
    CHECK_INT(pthread_create(&thread, NULL, fork_beside, NULL), 0);
    for (int i = 0; i < STARTS; ++i) {
        start_worker(ev, wait_for_orders);
        start_program(ev);
        mln_event_free(mln_event_new());
        if (i % AT_ONCE != AT_ONCE - 1)
            continue;
        CHECK_INT(mln_fork_iterate(ev, kill_one, NULL), 0);
        CHECK(mln_event_timer_set(ev, 20, NULL, break_loop) != NULL);
        dispatch(ev, wait_for_orders);
        mln_event_break_reset(ev);
    }
    atomic_store(&ended, 1);
    CHECK_INT(pthread_join(thread, NULL), 0);
    return 0;
}
