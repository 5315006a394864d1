/*
 * A child that ends before it has done anything keeps its master from nothing: the fork returns, the loop goes on, and the
 * successor comes.
 */
#include "ipc.h"

#include <fcntl.h>
#include <sys/mman.h>

enum { HELLO = 2000, EARLY = 3 };

static int clears, hellos;
static int *forks; /* shared by all processes */

/* Called in each child right after the fork. */
static void end_early(void *data)
{
    (void)data;
    ++clears;
    if (__atomic_add_fetch(forks, 1, __ATOMIC_SEQ_CST) <= EARLY)
        _exit(3);
}

static void say_hello(mln_event_t *ev)
{
    CHECK_INT(mln_ipc_worker_send_prepare(ev, HELLO, NULL, 0), 0);
}

static void on_hello(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)buf;
    (void)len;
    (void)udata;
    CHECK(fcntl(((mln_fork_t *)f)->conn.sockfd, F_GETFL) & O_NONBLOCK); /* of a successor's channel, too */
    ++hellos;
    mln_event_break_set(ev);
}

int main(void)
{
    long long before = now_ms();
    mln_event_t *ev;

    CHECK((forks = (int *)mmap(NULL, sizeof *forks, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED);
    handle(HELLO, on_hello, NULL);
    ev = become_master();
    mln_fork_resource_clear_handler_set(end_early, NULL);
    start_worker(ev, say_hello);
    dispatch(ev, say_hello);
    CHECK_INT(hellos, 1);
    CHECK_INT(clears, 0); /* it is for children */
    CHECK_INT(*forks, EARLY + 1);
    CHECK(now_ms() - before >= 100 + 200); /* not in a storm, either: at once, then with pauses that grow */
    mln_event_free(ev);
    return 0;
}
