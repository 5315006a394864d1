/*
 * event_many_ready.c - many descriptors are ready at once, and their handlers clear, replace and set each other, break, jump out,
 * dispatch and fork: each that is registered is called once, with what was set last, and no other.
 * deadline: 60s
 */
#include "check.h"
#include "events.h"

#include <setjmp.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

enum { DESCRIPTORS = 100, ROUNDS = 300 };

static struct place {
    int fd;
    int registered;
    int ready;      /* there is something to read */
    int generation; /* of what is registered */
} places[DESCRIPTORS];

static struct tag {
    struct place *place;
    int generation;
} tags[DESCRIPTORS * ROUNDS];

static int tag_count, left, depth;
static unsigned seed;
static pid_t first;
static jmp_buf outside;

static int chance(int n)
{
    return rand_r(&seed) % n;
}

static void on_ready(mln_event_t *ev, int fd, void *data);

static void set(mln_event_t *ev, struct place *p)
{
    struct tag *tag = &tags[tag_count++];

    CHECK(tag_count < DESCRIPTORS * ROUNDS);
    *tag = (struct tag){p, ++p->generation};
    CHECK_INT(mln_event_fd_set(ev, p->fd, M_EV_RECV | M_EV_NONBLOCK, M_EV_UNLIMITED, tag, on_ready), 0);
    p->registered = 1;
}

static void clear(mln_event_t *ev, struct place *p)
{
    CHECK_INT(mln_event_fd_set(ev, p->fd, M_EV_CLR, M_EV_UNLIMITED, NULL, NULL), 0);
    left -= p->registered && p->ready;
    p->registered = 0;
}

/* The number comes back with nothing to read. */
static void replace(mln_event_t *ev, struct place *p)
{
    int fresh = eventfd(0, EFD_CLOEXEC);

    clear(ev, p);
    CHECK_INT(dup3(fresh, p->fd, O_CLOEXEC), p->fd);
    close(fresh);
    p->ready = 0;
    set(ev, p);
}

static void fork_here(void)
{
    pid_t child = fork();
    int status;

    CHECK(child >= 0);
    if (child > 0) {
        CHECK_INT(waitpid(child, &status, 0), child);
        CHECK_INT(status, 0);
    }
}

/* The last of a round ends it, in a dispatch inside of a handler, too. */
static void on_ready(mln_event_t *ev, int fd, void *data)
{
    struct tag *tag = data;
    struct place *p = tag->place, *other = &places[chance(DESCRIPTORS)];
    uint64_t value;

    CHECK_INT(fd, p->fd);
    CHECK(p->registered && p->ready);
    CHECK_INT(tag->generation, p->generation);
    CHECK_INT(read(fd, &value, sizeof value), sizeof value);
    p->ready = 0;
    --left;
    switch (chance(40)) {
    case 0:
    case 1:
        clear(ev, other);
        break;
    case 2:
        replace(ev, other);
        break;
    case 3:
        if (other->registered)
            set(ev, other);
        break;
    case 4:
        mln_event_set_break(ev);
        return;
    case 5:
        if (left > 0 && ++depth < 5)
            mln_event_dispatch(ev);
        break;
    case 6:
        if (chance(4) == 0)
            longjmp(outside, 1);
        break;
    case 7:
        if (chance(10) == 0)
            fork_here(); /* the child's dispatch returns */
        break;
    default:
        break;
    }
    if (left == 0)
        mln_event_set_break(ev);
}

int main(void)
{
    static const uint64_t one = 1;
    mln_event_t *ev = mln_event_new();

    seed = (unsigned)time(NULL) ^ (unsigned)getpid();
    printf("seed %u\n", seed);
    first = getpid();
    CHECK(ev != NULL);
    for (int i = 0; i < DESCRIPTORS; ++i)
        CHECK((places[i].fd = eventfd(0, EFD_CLOEXEC)) >= 0);
    for (int round = 0; round < ROUNDS; ++round) {
        tag_count = 0;
        for (int i = 0; i < DESCRIPTORS; ++i) {
            struct place *p = &places[i];

            set(ev, p);
            if (!p->ready)
                CHECK_INT(write(p->fd, &one, sizeof one), sizeof one);
            p->ready = 1;
        }
        left = DESCRIPTORS;
        (void)setjmp(outside);
        while (left > 0) {
            depth = 0;
            mln_event_dispatch(ev);
            if (getpid() != first)
                _exit(0);
        }
    }
    mln_event_free(ev);
    return 0;
}
