/*
 * Hooks around forks that a program has set before the library was loaded run inside of the library's own: they may log, send, and make
 * loops all the same.
 */
#include "check.h"
#include "events.h"
#include "mln_fork.h"
#include "mln_log.h"
#include "processes.h"

#include <pthread.h>

enum { MESSAGE = 3000, FORKS = 3 };

static mln_event_t *loop;
static mln_fork_t *worker;
static int prepared, answers;

static void prepare(void)
{
    if (worker == NULL)
        return;
    ++prepared;
    mln_log(none, "about to fork\n");
    CHECK_INT(mln_ipc_master_send_prepare(loop, MESSAGE, &prepared, sizeof prepared, worker), 0);
    CHECK(mln_event_timer_set(loop, 1000000, NULL, NULL) != NULL);
    mln_event_free(new_loop());
}

/* Before the constructors of libraries. */
static void set_hooks(void)
{
    CHECK_INT(pthread_atfork(prepare, NULL, NULL), 0);
}

__attribute__((section(".preinit_array"), used)) static void (*const before_libraries)(void) = set_hooks;

static void in_worker(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **slot)
{
    (void)f;
    (void)slot;
    CHECK_INT(mln_ipc_worker_send_prepare(ev, MESSAGE, buf, len), 0);
}

static void in_master(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **slot)
{
    (void)f;
    (void)slot;
    CHECK_INT(len, sizeof answers);
    CHECK_INT(*(int *)buf, ++answers);
    if (answers == FORKS)
        mln_event_set_break(ev);
}

static int note_worker(mln_event_t *ev, mln_fork_t *f, void *data)
{
    (void)ev;
    (void)data;
    worker = f;
    return 0;
}

int main(void)
{
    int result;
    pid_t pid;

    alarm(20 * (unsigned)check_slowness());
    mln_log_logger_set(NULL);
    CHECK(mln_ipc_handler_register(MESSAGE, in_master, in_worker, NULL, NULL) != NULL);
    CHECK_INT(mln_fork_prepare(), 0);
    CHECK((result = mln_fork_restart(NULL)) >= 0);
    loop = new_loop();
    if (result == 0) {
        mln_fork_worker_events_set(loop);
        mln_event_dispatch(loop);
        _exit(0);
    }
    mln_fork_master_events_set(loop);
    CHECK_INT(mln_fork_iterate(loop, note_worker, NULL), 0);
    CHECK(worker != NULL);
    for (int i = 0; i < FORKS; ++i) {
        CHECK((pid = fork()) >= 0);
        if (pid == 0) {
            mln_event_free(new_loop());
            _exit(0);
        }
        CHECK_INT(await_status(pid), 0);
    }
    mln_event_dispatch(loop);
    CHECK_INT(answers, FORKS);
    CHECK_INT(prepared, FORKS);
    mln_event_free(loop);
    return 0;
}
