/*
 * The key ipc_message_max bounds the payload of a message: one byte more is refused with EMSGSIZE by whoever sends it, in the
 * master and in its workers, and ends the channel of a peer that sends it all the same. It may be more than the default, too.
 */
#include "ipc.h"
#include "processes.h"
#include "scratch.h"

enum { WORD = 2000, WORDS = 5 };

static uint32_t most; /* as configured */
static char *payload; /* one byte more than that */
static int echoes;

static int peer(int fd)
{
    for (int i = 0; i < WORDS; ++i) {
        write_frame(fd, WORD, payload, most);
        await_read(fd);
    }
    write_frame(fd, WORD, payload, most + 1);
    await_end(fd);
    return 0;
}

static void in_worker(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    CHECK_INT(len, most);
    errno = 0;
    CHECK_INT(mln_ipc_worker_send_prepare(ev, WORD, payload, (mln_size_t)most + 1), -1);
    CHECK_INT(errno, EMSGSIZE);
    CHECK_INT(mln_ipc_worker_send_prepare(ev, WORD, buf, len), 0);
}

static void in_master(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    CHECK_INT(len, most);
    CHECK_INT(memcmp(buf, payload, len), 0);
    ++echoes;
    mln_event_break_set(ev);
}

static void look(mln_event_t *ev, void *data)
{
    mln_event_break_set(ev);
    CHECK(mln_event_timer_set(ev, 5, data, look) != NULL);
}

static void run(const char *bytes)
{
    char text[200], *log = scratch_path("stderr");
    mln_event_t *ev;

    snprintf(text, sizeof text, "ipc_message_max %s;", bytes);
    CHECK_INT(scratch_conf(text), 0);
    scratch_catch_stderr(log);
    handle(WORD, in_master, in_worker);
    ev = become_master();
    start_worker(ev, NULL);
    errno = 0;
    CHECK_INT(mln_ipc_master_send_prepare(ev, WORD, payload, (mln_size_t)most + 1, last_worker(ev)), -1);
    CHECK_INT(errno, EMSGSIZE);
    CHECK_INT(mln_ipc_master_send_prepare(ev, WORD, payload, most, last_worker(ev)), 0);
    dispatch(ev, NULL);
    CHECK_INT(echoes, 1);
    if (most <= 1000) {
        (void)start_peer(ev, bytes);
        look(ev, NULL);
        for (long long end = now_ms() + 10000 * check_slowness(); worker_count(ev) > 1 || echoes < 1 + WORDS;) {
            CHECK(now_ms() < end);
            mln_event_break_reset(ev);
            dispatch(ev, NULL);
        }
        CHECK_INT(echoes, 1 + WORDS);
        snprintf(text, sizeof text, "it announces a payload of %u bytes, the limit is %u", most + 1, most);
        scratch_expect_part(log, text);
    }
    mln_event_free(ev);
}

/* The value, and what is said of one that is none. */
static void refused(const char *value)
{
    char text[200];
    int status;
    pid_t pid;

    snprintf(text, sizeof text, "ipc_message_max %s;", value);
    CHECK((pid = fork()) >= 0);
    if (pid == 0) {
        CHECK_INT(scratch_conf(text), 0);
        scratch_catch_stderr(scratch_path("stderr"));
        (void)mln_fork_prepare();
        _exit(3);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    scratch_expect_part(scratch_path("stderr"), "ipc_message_max must be a number of bytes from 1 to 4294967291");
}

int main(int argc, char **argv)
{
    static const char *const values[] = {"1", "1000", "67108870"};
    static const char *const wrong[] = {"0", "-1", "4294967292", "\"1000\"", "on", "1 2", ""};

    if (argc > 1) {
        most = (uint32_t)strtoul(argv[1], NULL, 10);
        CHECK((payload = (char *)malloc((size_t)most + 1)) != NULL);
        fill(payload, (size_t)most + 1, most);
    }
    if (argc > 2)
        return peer(atoi(argv[argc - 1]));
    scratch_make();
    if (argc > 1) {
        run(argv[1]);
        return 0;
    }
    for (size_t i = 0; i < sizeof values / sizeof values[0]; ++i)
        run_self(values[i]);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i)
        refused(wrong[i]);
    return 0;
}
