/*
 * The kernel is short of memory for what is received or sent, and that lasts: the loop waits meanwhile, the log says so once, nothing is
 * lost, and the messages arrive when there is memory again. A filter of system calls cannot be taken back, but holds for one thread: another
 * one goes on with the loop then.
 */
#include "ipc.h"
#include "processes.h"
#include "refuse.h"
#include "scratch.h"

#include <pthread.h>

enum { WORD = 2000, WORDS = 300, SHORTAGE_MS = 600 };

static uint32_t words;
static int turn[2]; /* by which the thread with memory is told to begin */

static void on_word(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)udata;
    CHECK_INT(len, sizeof words);
    CHECK_INT(memcmp(buf, &words, len), 0);
    if (++words == WORDS)
        mln_event_break_set(ev);
}

static void *go_on(void *ev)
{
    char byte;

    CHECK_INT(read_bytes(turn[0], &byte, 1), 1);
    mln_event_dispatch(ev);
    return NULL;
}

/* Runs the loop while calls of that number fail, and then until every word has come. */
static void run_short(mln_event_t *ev, int number, int error_number)
{
    pthread_t other;
    long cpu;

    CHECK_INT(pipe(turn), 0);
    CHECK_INT(pthread_create(&other, NULL, go_on, ev), 0);
    refuse(number, error_number);
    CHECK(mln_event_timer_set(ev, SHORTAGE_MS, NULL, break_loop) != NULL);
    cpu = cpu_ms();
    mln_event_dispatch(ev);
    CHECK(cpu_ms() - cpu < SHORTAGE_MS / 4 * check_slowness());
    CHECK_INT(words, 0);
    mln_event_break_reset(ev);
    write_bytes(turn[1], "", 1);
    CHECK_INT(pthread_join(other, NULL), 0);
    CHECK_INT(words, WORDS);
}

static void expect_logged(const char *format, mln_fork_t *f, const char *cause)
{
    char line[128];

    snprintf(line, sizeof line, format, f != NULL ? (long)f->pid : 0);
    strcat(line, cause);
    CHECK_INT(scratch_count("log", line), 1);
    CHECK_INT(scratch_count("log", cause), 1);
    CHECK_INT(unlink("log"), 0);
}

static void say_words(int fd)
{
    char frames[WORDS * (8 + sizeof words)], *end = frames;

    for (uint32_t n = 0; n < WORDS; ++n)
        end = put_frame(end, WORD, &n, sizeof n);
    write_bytes(fd, frames, sizeof frames); /* at once: then the kernel has room for them */
}

static void receive(const char *role)
{
    mln_event_t *ev;
    mln_fork_t *f;

    handle(WORD, on_word, NULL);
    ev = become_master();
    f = start_peer(ev, role);
    scratch_catch_stderr("log");
    run_short(ev, SYS_recvfrom, ENOMEM);
    expect_logged("worker %ld (/proc/self/exe) cannot be read, which is tried again: ", f, "cannot allocate memory");
    mln_event_free(ev);
}

static void receive_in_master(void)
{
    receive("talker");
}

/* What a worker has sent is received also when it has ended. */
static void receive_last_words(void)
{
    receive("ending talker");
}

static void send_words(mln_event_t *ev, mln_fork_t *f)
{
    for (uint32_t n = 0; n < WORDS; ++n)
        CHECK_INT(mln_ipc_master_send_prepare(ev, WORD, &n, sizeof n, f), 0);
}

static void send_in_master(void)
{
    mln_event_t *ev;
    mln_fork_t *f;

    handle(WORD, on_word, NULL);
    ev = become_master();
    f = start_peer(ev, "echo");
    scratch_catch_stderr("log");
    send_words(ev, f);
    run_short(ev, SYS_sendto, ENOBUFS);
    expect_logged("nothing can be sent to process %ld, which is tried again: ", f, "No buffer space available");
    mln_event_free(ev);
}

static void on_word_in_worker(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    on_word(ev, f, buf, len, udata);
    if (words == WORDS)
        CHECK_INT(mln_ipc_worker_send_prepare(ev, WORD, NULL, 0), 0);
}

static void be_short(mln_event_t *ev)
{
    run_short(ev, SYS_recvfrom, ENOBUFS);
    expect_logged("the master cannot be read, which is tried again: ", NULL, "no buffer space available");
    exit(0); /* this thread would not see the end of the master */
}

static void receive_in_worker(void)
{
    mln_event_t *ev;

    handle(WORD, break_on_message, on_word_in_worker);
    ev = become_master();
    scratch_catch_stderr("log");
    start_worker(ev, be_short);
    send_words(ev, last_worker(ev));
    dispatch(ev, be_short);
    mln_event_free(ev);
}

/* ---- peers ---- */

static int peer(const char *role, int fd)
{
    char frame[8 + sizeof words];

    if (strcmp(role, "echo") == 0)
        while (read_bytes(fd, frame, sizeof frame))
            write_bytes(fd, frame, sizeof frame);
    else
        say_words(fd);
    if (strcmp(role, "talker") == 0)
        await_end(fd);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"receive in the master", receive_in_master},
        {"receive last words", receive_last_words},
        {"send in the master", send_in_master},
        {"receive in a worker", receive_in_worker},
    };

    if (argc == 3)
        return peer(argv[1], atoi(argv[2]));
    return run_parts(argc, argv, parts, sizeof parts / sizeof *parts);
}
