/*
 * A program that closes the descriptors of a loop ends it: its dispatch returns, in whatever way it waits, and the log says why. It does
 * not run in circles.
 */
#include "check.h"
#include "mln_event.h"
#include "processes.h"
#include "scratch.h"

static void close_all(mln_event_t *ev, void *data)
{
    int closed = 0;

    (void)ev;
    (void)data;
    for (int fd = 3; fd < 256; ++fd)
        if (strncmp(descriptor_name(fd), "anon_inode:", 11) == 0)
            closed += close(fd) == 0;
    CHECK(closed >= 3);
}

static void nothing(mln_event_t *ev, void *data)
{
    (void)ev;
    (void)data;
}

int main(void)
{
    mln_event_t *ev;
    char *path;

    scratch_make();
    path = scratch_path("stderr");
    scratch_catch_stderr(path);
    for (int callback = 0; callback < 2; ++callback) {
        CHECK((ev = mln_event_new()) != NULL);
        if (callback)
            mln_event_callback_set(ev, nothing, NULL);
        CHECK(mln_event_timer_set(ev, 10, NULL, close_all) != NULL);
        mln_event_dispatch(ev);
        mln_event_free(ev);
        scratch_expect_part(path, "the kernel refuses to wait for events");
        CHECK_INT(truncate(path, 0), 0);
    }
    return 0;
}
