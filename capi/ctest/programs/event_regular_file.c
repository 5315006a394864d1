/*
 * A regular file is always ready, in both directions, beside which timers and other descriptors keep their turn.
 */
#include "check.h"
#include "events.h"

static int file_at(const char *name)
{
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    CHECK(fd >= 0);
    CHECK_INT(unlink(name), 0);
    return fd;
}

static void set(mln_event_t *ev, int fd, mln_u32_t flag, int timeout, void *data, ev_fd_handler handler)
{
    CHECK_INT(mln_event_fd_set(ev, fd, flag, timeout, data, handler), 0);
}

static void read_on(mln_event_t *ev, int fd, void *data)
{
    char bytes[100];
    ssize_t n = read(fd, bytes, sizeof bytes);

    CHECK(n >= 0);
    *(long *)data += n;
    if (n > 0)
        return;
    set(ev, fd, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL);
    mln_event_set_break(ev);
}

static void say(mln_event_t *ev, int fd, void *data)
{
    static int lines;

    (void)data;
    CHECK_INT(write(fd, "line\n", 5), 5);
    if (++lines < 3)
        return;
    set(ev, fd, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL);
    mln_event_set_break(ev);
}

static void read_to_the_end(mln_event_t *ev)
{
    static char content[12345];
    int fd = file_at("content");
    long total = 0;

    CHECK_INT(write(fd, content, sizeof content), sizeof content);
    CHECK_INT(lseek(fd, 0, SEEK_SET), 0);
    set(ev, fd, M_EV_RECV, M_EV_UNLIMITED, &total, read_on);
    mln_event_dispatch(ev);
    CHECK_INT(total, sizeof content);
    run_for(ev, 10); /* cleared: no more calls */
    CHECK_INT(total, sizeof content);
    CHECK_INT(close(fd), 0);
}

static void write_to_redirected_output(mln_event_t *ev)
{
    int saved = dup(STDOUT_FILENO), fd = file_at("output");
    char text[64];

    CHECK(saved >= 0);
    CHECK_INT(dup2(fd, STDOUT_FILENO), STDOUT_FILENO);
    set(ev, STDOUT_FILENO, M_EV_SEND, M_EV_UNLIMITED, NULL, say);
    mln_event_dispatch(ev);
    check_sleeps(ev);
    CHECK_INT(dup2(saved, STDOUT_FILENO), STDOUT_FILENO);
    close(saved);
    CHECK_INT(pread(fd, text, sizeof text, 0), 15);
    CHECK_INT(memcmp(text, "line\nline\nline\n", 15), 0);
    CHECK_INT(close(fd), 0);
}

static void one_shot(mln_event_t *ev)
{
    int fd = file_at("one"), null = open("/dev/null", O_RDWR | O_CLOEXEC), received = 0, sent = 0;

    CHECK(null >= 0);
    set(ev, fd, M_EV_RECV | M_EV_ONESHOT, M_EV_UNLIMITED, &received, count);
    set(ev, fd, M_EV_SEND | M_EV_ONESHOT | M_EV_APPEND, M_EV_UNLIMITED, &sent, count);
    set(ev, null, M_EV_SEND | M_EV_ONESHOT, M_EV_UNLIMITED, &sent, count);
    check_sleeps(ev);
    CHECK_INT(received, 1);
    CHECK_INT(sent, 2);
    /* Nothing armed, then something: through APPEND, too. */
    set(ev, fd, 0, M_EV_UNLIMITED, NULL, never);
    set(ev, null, M_EV_ERROR, M_EV_UNLIMITED, NULL, never);
    check_sleeps(ev);
    set(ev, fd, M_EV_RECV | M_EV_ONESHOT | M_EV_APPEND, M_EV_UNLIMITED, &received, count);
    set(ev, null, M_EV_RECV | M_EV_ONESHOT, M_EV_UNLIMITED, &received, count);
    check_sleeps(ev);
    CHECK_INT(received, 3);
    set(ev, fd, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL);
    set(ev, null, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL);
    close(fd);
    close(null);
}

/* It is busy all the time; nobody else has to wait for it. */
static void others_have_their_turn(mln_event_t *ev)
{
    int fd = file_at("busy"), ends[2], reads = 0, bytes = 0, fired = 0, late = 0;

    make_pipe(ends);
    for (int i = 0; i < 10; ++i)
        put_byte(ends[1]);
    set(ev, fd, M_EV_RECV, 0, &reads, count);
    mln_event_fd_timeout_handler_set(ev, fd, &late, count); /* any activity ends the timeout */
    set(ev, ends[0], M_EV_RECV, M_EV_UNLIMITED, &bytes, count_byte);
    for (mln_u32_t msec = 0; msec < 50; msec += 10)
        CHECK(mln_event_timer_set(ev, msec, &fired, count_timer) != NULL);
    run_for(ev, 60);
    CHECK(reads > 10);
    CHECK_INT(bytes, 10);
    CHECK_INT(fired, 5);
    CHECK_INT(late, 0);
    set(ev, fd, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL);
    set(ev, ends[0], M_EV_CLR, M_EV_UNLIMITED, NULL, NULL);
    close(fd);
    close_both(ends);
}

int main(void)
{
    mln_event_t *ev = new_loop();

    read_to_the_end(ev);
    write_to_redirected_output(ev);
    one_shot(ev);
    others_have_their_turn(ev);
    mln_event_free(ev);
    return 0;
}
