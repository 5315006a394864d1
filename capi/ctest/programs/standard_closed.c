/*
 * Standard input, output and error are closed when the program starts, and again later: none of the library's descriptors takes their
 * place, whatever it opens next, or what is printed would go to a worker. Nor has a worker or a program one of the library's there.
 * Before the program asks for anything, the library opens nothing at all there, as its runtime would that starts.
 * env: GOGC=1
 */
#include "ipc.h"
#include "processes.h"
#include "scratch.h"

#include "mln_log.h"

enum { STANDARD = 2000, REPORTS = 2, REPORT_FD = 50 };

static const char expected[] = "/dev/null /dev/null /dev/null";
static int reports;

/* What the three are. */
static const char *standard(void)
{
    static char text[800];

    text[0] = '\0';
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", fd > 0 ? " " : "", descriptor_name(fd));
    return text;
}

static void check_untouched(void)
{
    for (int i = 0; i < 10000; ++i)
        for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
            CHECK(fcntl(fd, F_GETFD) < 0);
}

static void close_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
        close(fd);
}

static void tell(mln_event_t *ev)
{
    const char *text = standard();

    CHECK_INT(mln_ipc_worker_send_prepare(ev, STANDARD, (void *)text, (mln_u32_t)strlen(text) + 1), 0);
}

static void on_report(mln_event_t *ev, void *f, void *buf, mln_u32_t len, void **udata)
{
    (void)f;
    (void)len;
    (void)udata;
    CHECK_STR((char *)buf, expected);
    if (++reports == REPORTS)
        mln_event_break_set(ev);
}

static int runtime_polls(void)
{
    char name[16];
    int polls = 0;

    for (int fd = 0; fd < 256 && !polls; ++fd) {
        snprintf(name, sizeof name, "%d", fd);
        polls = check_is_runtimes(name);
    }
    return polls;
}

static void never(mln_event_t *ev, int fd, void *data)
{
    (void)ev;
    (void)fd;
    (void)data;
    CHECK(!"called");
}

/* Makes garbage until the Go runtime has its descriptors. */
static void await_poller(mln_event_t *ev, void *data)
{
    (void)data;
    if (runtime_polls()) {
        mln_event_break_set(ev);
        return;
    }
    for (int i = 0; i < 100; ++i) {
        CHECK_INT(mln_event_fd_set(ev, REPORT_FD, M_EV_RECV, M_EV_UNLIMITED, NULL, never), 0);
        CHECK_INT(mln_event_fd_set(ev, REPORT_FD, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    }
    CHECK(mln_event_timer_set(ev, 1, NULL, await_poller) != NULL);
}

static char *nowhere(void)
{
    static char path[] = "/nowhere/null";

    return path;
}

static int run_closed(void)
{
    char text[1000];
    mln_event_t *ev;

    CHECK((stderr = fdopen(REPORT_FD, "w")) != NULL && setvbuf(stderr, NULL, _IONBF, 0) == 0);
    check_untouched();
    scratch_make();
    snprintf(text, sizeof text, "log_path \"%s/log\";", scratch_dir);
    CHECK_INT(scratch_conf(text), 0);
    handle(STANDARD, on_report, NULL);
    CHECK_INT(mln_log_init(NULL), 0);
    CHECK_STR(standard(), expected);
    close_standard();
    CHECK_INT(mln_fork_prepare(), 0); /* opens the image */
    CHECK_STR(standard(), expected);
    close_standard();
    CHECK((ev = mln_event_new()) != NULL);
    CHECK(mln_event_timer_set(ev, 1, NULL, await_poller) != NULL); /* the loop's own are needed now */
    CHECK_STR(standard(), expected);
    CHECK(!runtime_polls());
    close_standard();
    mln_event_dispatch(ev);
    mln_event_break_reset(ev);
    CHECK_STR(standard(), expected);
    close_standard();
    mln_path_hook_set(m_p_null, nowhere);
    CHECK_INT(mln_fork_restart(ev), -1);
    CHECK_INT(errno, ENOENT);
    mln_path_hook_set(m_p_null, NULL);
    scratch_expect_part(scratch_path("log"), "descriptor 0 is closed, and /nowhere/null cannot be opened in its place: No such file");
    start_worker(ev, tell);
    CHECK_STR(standard(), expected);
    close_standard();
    start_peer(ev, "program");
    CHECK_STR(standard(), expected);
    dispatch(ev, tell);
    mln_event_free(ev);
    return 0;
}

static int run_program(int fd)
{
    const char *text = standard();

    write_frame(fd, STANDARD, text, (mln_u32_t)strlen(text) + 1);
    await_end(fd);
    return 0;
}

int main(int argc, char **argv)
{
    char closed[] = "closed", *const words[] = {argv[0], closed, NULL};

    if (argc > 2)
        return run_program(atoi(argv[2]));
    if (argc > 1)
        return run_closed();
    CHECK_INT(dup2(STDERR_FILENO, REPORT_FD), REPORT_FD);
    close_standard();
    execv("/proc/self/exe", words);
    return 1;
}
