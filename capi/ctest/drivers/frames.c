/*
 * A master of workers that write any bytes, as a fuzz test asks: a request is what drivers/frames_peer.c takes. The answer is what the
 * handlers have got, and what the library has said. The arguments are the program that is the peer and the largest payload.
 */
#include "driver.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include "ipc.h"
#include "mln_conf.h"
#include "mln_path.h"

enum { PLAIN = 2000, BREAKS, MOVES, NESTS, UNNESTS, STIRS, DEEPEST = 3, LONGEST = 20 /* ms */ };

static char *peer, configuration[] = "frames.conf";
static mln_event_t *loop;
static int process, other, moves, depth, done;

static char *conf_file(void)
{
    return configuration;
}

/* ---- handlers ---- */

/* FNV-1a */
static uint64_t sum(const unsigned char *bytes, uint32_t n)
{
    uint64_t hash = 0xcbf29ce484222325;

    for (uint32_t i = 0; i < n; ++i)
        hash = (hash ^ bytes[i]) * 0x100000001b3;
    return hash;
}

/* The next wait of the loop is to find something else than what comes next from this worker, and that as well. */
static void stir(const mln_fork_t *f)
{
    struct pollfd next = {.fd = f->conn.sockfd, .events = POLLIN};

    CHECK_INT(eventfd_write(other, 1), 0);
    CHECK(poll(&next, 1, LONGEST) >= 0);
}

static void on_other(mln_event_t *ev, int fd, void *data)
{
    eventfd_t count;

    (void)ev;
    (void)data;
    CHECK_INT(eventfd_read(fd, &count), 0);
}

static void on_message(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    const mln_fork_t *f = f_ptr;
    uint64_t before = sum(buf, len);

    (void)udata;
    CHECK_INT((uintptr_t)buf % 8, 0);
    CHECK_INT(f->msg_len, len);
    printf("%u %u %016lx %lu\n", f->msg_type, len, before, (unsigned long)f->error_bytes);
    switch (f->msg_type) {
    case MOVES:
        moves = 1;
        /* fall through */
    case BREAKS:
        mln_event_break_set(ev);
        break;
    case NESTS:
        if (depth == DEEPEST)
            break;
        ++depth;
        mln_event_dispatch(ev);
        --depth;
        CHECK(sum(buf, len) == before);
        break;
    case UNNESTS:
        if (depth > 0)
            mln_event_set_break(ev);
        break;
    case STIRS:
        stir(f);
        break;
    default:
        break;
    }
}

/* ---- the peer's life ---- */

/* Its process has ended; it is gone when what it has left is read. */
static void look(mln_event_t *ev, void *data)
{
    if (worker_count(ev) == 0 && depth == 0)
        done = 1;
    else
        CHECK(mln_event_timer_set(ev, 1, data, look) != NULL);
    if (worker_count(ev) == 0)
        mln_event_set_break(ev);
}

static void on_end(mln_event_t *ev, int fd, void *data)
{
    CHECK_INT(mln_event_fd_set(ev, fd, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    look(ev, data);
}

static void watch(void)
{
    CHECK_INT(mln_event_fd_set(loop, process, M_EV_RECV, M_EV_UNLIMITED, NULL, on_end), 0);
    CHECK_INT(mln_event_fd_set(loop, other, M_EV_RECV, M_EV_UNLIMITED, NULL, on_other), 0);
}

static void try_bytes(void)
{
    mln_s8ptr_t *args = calloc(2, sizeof *args);

    CHECK(args != NULL);
    args[0] = peer;
    write_file("bytes", request, size);
    CHECK_INT(mln_fork_spawn(M_PST_DFL, args, 1, loop), 0);
    CHECK((process = (int)syscall(SYS_pidfd_open, last_worker(loop)->pid, 0)) >= 0);
    watch();
    for (done = 0; !done;) {
        mln_event_dispatch(loop);
        mln_event_break_reset(loop);
        if (moves) {
            mln_event_t *next = mln_event_new();

            CHECK(next != NULL);
            mln_fork_master_events_set(next);
            mln_event_free(loop);
            loop = next;
            moves = 0;
            watch();
        }
    }
    close(process);
}

int main(int argc, char **argv)
{
    char text[64];

    CHECK_INT(argc, 3);
    peer = argv[1];
    write_file(configuration, text, (size_t)snprintf(text, sizeof text, "ipc_message_max %s;\n", argv[2]));
    mln_path_hook_set(m_p_conf, conf_file);
    CHECK_INT(mln_conf_load(), 0);
    for (mln_u32_t type = PLAIN; type <= STIRS; ++type)
        handle(type, on_message, NULL);
    handle(UINT32_MAX, on_message, NULL);
    CHECK((other = eventfd(0, EFD_CLOEXEC)) >= 0);
    loop = become_master();
    CHECK((stderr = fdopen(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3), "w")) != NULL); /* checks that fail are still seen */
    serve(try_bytes);
    return 0;
}
