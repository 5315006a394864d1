/*
 * Connections, the buffers in their queues, and sets of files are used in random order, several of each at a time, while plain arrays
 * keep what must come of it: a connection delivers what was sent, once and in order, whatever it is made of, however little the kernel
 * takes at a time and however it is received; queues hold what was put into them; a set keeps as many files open as it should; and what
 * is released gives back what it has, and nothing else. The other end of a connection is in this process or in a child, which has
 * a copy of all the rest, gives that back, and sends what it is sent.
 *
 * For the arguments see random.h.
 *
 * deadline: 60s
 */
#include "random.h"

#include "bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "mln_connection.h"

enum {
    NAMES = 5,
    INODES = 64,
    SETS = 2,
    ENTRIES = 32,
    USES = 12,
    ENDS = 6,            /* of connections, two of which belong together */
    MANY = 400,          /* pieces in a queue, beyond which there come no more */
    MOST = 304,          /* that are made at once: more than one system call takes */
    IN_FLIGHT = 256 << 10,
    CAPACITY = 64 << 20 /* of the pool */
};

/* A pool beside those of the connections: with it one sees what is taken and given back. */
static mln_alloc_t *common;
static size_t used;

static size_t available(void)
{
    return mln_alloc_available_capacity(common);
}

/* ---- files ---- */

struct inode {
    uint64_t content;
    size_t size;
    int pinned; /* how many buffers are in it, so that it must not change */
};

/* A path, which leads to a file in memory, now to this one and now to another. */
struct name {
    int fd;
    int inode;
    char path[32];
};

struct set {
    mln_fileset_t *set;
    unsigned most; /* files that it keeps open */
};

/* A file that a set has open, or had. */
struct entry {
    mln_file_t *file; /* NULL: there is none */
    struct set *set;  /* NULL: it is not in one any more */
    int name, inode;
    off_t mark; /* its position, which tells that it is not open anew */
    unsigned users;
    uint64_t unused_since;
};

static struct inode inodes[INODES];
static int n_inodes;
static struct name names[NAMES];
static struct set sets[SETS];
static struct entry entries[ENTRIES];
static struct entry *uses[USES];
static uint64_t closes;
static off_t marks;
static int temporaries; /* files without a name that are open */

static int make_inode(void)
{
    char bytes[3000];
    int fd = memfd_create("utilities", MFD_CLOEXEC);
    struct inode *i = &inodes[n_inodes++];

    CHECK(fd >= 0);
    *i = (struct inode){.content = random_number(&whims), .size = pick(sizeof bytes)};
    fill(bytes, i->size, i->content);
    CHECK_INT(write(fd, bytes, i->size), i->size);
    return fd;
}

static void check_file(const struct entry *e)
{
    const struct inode *i = &inodes[e->inode];
    char bytes[3000];

    CHECK_INT(e->file->is_tmp, 0);
    CHECK_INT(e->file->refer_cnt, e->users);
    CHECK_PTR(e->file->fset, e->set != NULL ? e->set->set : NULL);
    CHECK_STR((const char *)e->file->file_path->data, names[e->name].path);
    CHECK_INT(fcntl(mln_file_fd(e->file), F_GETFD), FD_CLOEXEC);
    CHECK_INT(lseek(mln_file_fd(e->file), 0, SEEK_CUR), e->mark);
    CHECK_INT(pread(mln_file_fd(e->file), bytes, sizeof bytes, 0), i->size);
    CHECK(filled(bytes, i->size, i->content));
}

/* What a set does about files beyond those that it keeps. */
static void keep_to_limit(const struct set *s)
{
    for (;;) {
        struct entry *oldest = NULL;
        unsigned n = 0;

        for (struct entry *e = entries; e < entries + ENTRIES; ++e) {
            if (e->file == NULL || e->set != s)
                continue;
            ++n;
            if (e->users == 0 && (oldest == NULL || e->unused_since < oldest->unused_since))
                oldest = e;
        }
        if (n <= s->most || oldest == NULL)
            return;
        oldest->file = NULL;
    }
}

static void leave_set(struct entry *e)
{
    e->set = NULL;
    if (e->users == 0)
        e->file = NULL;
}

static struct entry *free_entry(void)
{
    for (struct entry *e = entries; e < entries + ENTRIES; ++e)
        if (e->file == NULL)
            return e;
    return NULL;
}

/* NULL when there is no room for it. */
static struct entry *open_one(void)
{
    struct set *s = &sets[pick(SETS)];
    int name = (int)pick(NAMES);
    struct entry *e = NULL, *other = free_entry();
    mln_file_t *file;

    if (other == NULL)
        return NULL;
    CHECK((file = mln_file_open(s->set, names[name].path)) != NULL);
    for (int i = 0; i < ENTRIES; ++i)
        if (entries[i].file != NULL && entries[i].set == s && entries[i].name == name)
            e = &entries[i];
    if (e != NULL && e->inode != names[name].inode) {
        leave_set(e);
        e = NULL;
    }
    if (e == NULL) {
        e = other;
        *e = (struct entry){.file = file, .set = s, .name = name, .inode = names[name].inode, .mark = ++marks};
        CHECK_INT(lseek(mln_file_fd(file), 0, SEEK_CUR), 0);
        CHECK_INT(lseek(mln_file_fd(file), e->mark, SEEK_SET), e->mark);
    }
    CHECK_PTR(file, e->file);
    CHECK_INT(file->size, inodes[e->inode].size);
    ++e->users;
    keep_to_limit(s);
    check_file(e);
    return e;
}

/* What is left when one user has closed it. */
static void closed(struct entry *e)
{
    if (--e->users > 0)
        return;
    if (e->set == NULL) {
        e->file = NULL;
    } else {
        e->unused_since = ++closes;
        keep_to_limit(e->set);
    }
}

static void open_file(void)
{
    struct entry **use = &uses[pick(USES)];

    if (*use == NULL)
        *use = open_one();
    errno = 0;
    CHECK_PTR(mln_file_open(sets[0].set, pick(2) ? "/" : "/nowhere"), NULL);
    CHECK(errno == EISDIR || errno == ENOENT);
    CHECK_PTR(pick(2) ? mln_file_open(NULL, "/") : mln_file_open(sets[0].set, NULL), NULL);
    CHECK_INT(errno, EINVAL);
}

static void end_use(struct entry **use)
{
    check_file(*use);
    mln_file_close((*use)->file);
    closed(*use);
    *use = NULL;
}

/* One, or many. */
static void close_file(void)
{
    struct entry **use = &uses[pick(USES)], **end = pick(3) ? use + 1 : uses + USES;

    mln_file_close(NULL);
    for (; use < end; ++use)
        if (*use != NULL)
            end_use(use);
}

static void change_file(void)
{
    struct name *n = &names[pick(NAMES)];
    struct inode *i = &inodes[n->inode];
    char bytes[3000];
    int fd;

    if (n_inodes < INODES && pick(2)) {
        fd = make_inode();
        CHECK_INT(dup3(fd, n->fd, O_CLOEXEC), n->fd);
        close(fd);
        n->inode = n_inodes - 1;
    } else if (i->pinned == 0) {
        i->size = pick(sizeof bytes);
        i->content = random_number(&whims);
        fill(bytes, i->size, i->content);
        CHECK_INT(ftruncate(n->fd, 0), 0);
        CHECK_INT(pwrite(n->fd, bytes, i->size, 0), i->size);
    }
}

static void end_set(struct set *s)
{
    mln_fileset_destroy(s->set);
    for (struct entry *e = entries; e < entries + ENTRIES; ++e)
        if (e->file != NULL && e->set == s)
            leave_set(e);
}

static void begin_set(struct set *s)
{
    s->most = pick(5);
    CHECK((s->set = mln_fileset_init(s->most)) != NULL);
}

static void renew_set(void)
{
    struct set *s = &sets[pick(SETS)];

    mln_fileset_destroy(NULL);
    end_set(s);
    begin_set(s);
}

static void begin_files(void)
{
    for (struct name *n = names; n < names + NAMES; ++n) {
        n->fd = make_inode();
        n->inode = n_inodes - 1;
        snprintf(n->path, sizeof n->path, "/proc/self/fd/%d", n->fd);
    }
    for (int i = 0; i < SETS; ++i)
        begin_set(&sets[i]);
}

static void end_files(void)
{
    for (int i = 0; i < USES; ++i)
        if (uses[i] != NULL)
            end_use(&uses[i]);
    for (int i = 0; i < SETS; ++i)
        end_set(&sets[i]);
    for (int i = 0; i < NAMES; ++i)
        close(names[i].fd);
}

/* ---- connections ---- */

/* A node of a queue. */
struct piece {
    mln_chain_t *node;
    struct bytes bytes;         /* of its data, those that there are */
    size_t size, left;          /* of its data; left: not sent */
    int marked;
    int error;                  /* that sending comes upon behind its bytes; 0: none */
    size_t charge, file_charge; /* what it takes of the pool, with what its file takes */
    struct entry *entry;        /* the file that its data are in, if it is one of a set */
};

struct queue {
    struct piece *pieces;
    int n, room;
};

/* Of a connection; one without a descriptor has queues, too. */
struct end {
    mln_tcp_conn_t conn;
    struct queue queues[4];  /* by type */
    struct bytes under_way;  /* what this end has sent, and nobody has received */
    struct end *source;      /* whose bytes come here: those of the other end, or of this one where a child sends them back */
    pid_t child;             /* at the other end; 0: there is none */
};

static struct end ends[ENDS];
static const int types[] = {M_C_SEND, M_C_RECV, M_C_SENT};

static struct end *some_end(void)
{
    return &ends[pick(ENDS)];
}

static int some_type(void)
{
    return types[pick(3)];
}

static int is_blocking(const struct end *e)
{
    return e->conn.sockfd >= 0 && (fcntl(e->conn.sockfd, F_GETFL) & O_NONBLOCK) == 0;
}

static void push(struct queue *q, const struct piece *p)
{
    if (q->n == q->room) {
        q->room = 2 * q->room + 16;
        CHECK((q->pieces = realloc(q->pieces, (size_t)q->room * sizeof *q->pieces)) != NULL);
    }
    q->pieces[q->n++] = *p;
}

static struct piece shift(struct queue *q)
{
    struct piece p = q->pieces[0];

    memmove(q->pieces, q->pieces + 1, (size_t)--q->n * sizeof *q->pieces);
    return p;
}

static void check_piece(const struct piece *p)
{
    const mln_buf_t *b = p->node->buf;
    char bytes[30000];

    CHECK_INT(mln_buf_size(b), p->size);
    CHECK_INT(mln_buf_left_size(b), p->left);
    if (b == NULL || p->bytes.n == 0 || (b->shadow != NULL && p->left == 0)) /* its file may be gone, with what comes behind it */
        return;
    if (b->in_file) {
        CHECK_INT(pread(mln_file_fd(b->file), bytes, p->bytes.n, b->file_pos), p->bytes.n);
        check_bytes(bytes, p->bytes.at, p->bytes.n);
    } else {
        check_bytes(b->pos, p->bytes.at, p->bytes.n);
    }
}

static void check_queue(struct end *e, int type)
{
    const struct queue *q = &e->queues[type];
    mln_chain_t *node = EITHER(mln_tcp_conn_head(&e->conn, type), mln_tcp_conn_get_head(&e->conn, type)), *last = NULL;
    int empty = type == M_C_SEND ? mln_tcp_conn_send_empty(&e->conn)
                                 : type == M_C_RECV ? mln_tcp_conn_recv_empty(&e->conn) : mln_tcp_conn_sent_empty(&e->conn);

    for (int i = 0; i < q->n; ++i, last = node, node = node->next) {
        CHECK_PTR(node, q->pieces[i].node);
        CHECK_INT(mln_buf_left_size(node->buf), q->pieces[i].left);
    }
    CHECK_PTR(node, NULL);
    CHECK_PTR(EITHER(mln_tcp_conn_tail(&e->conn, type), mln_tcp_conn_get_tail(&e->conn, type)), last);
    CHECK_INT(!!empty, q->n == 0);
    if (q->n > 0)
        check_piece(&q->pieces[pick((unsigned)q->n)]);
}

static void check_queues(struct end *e)
{
    for (int i = 0; i < 3; ++i)
        check_queue(e, types[i]);
}

/* ---- what is appended ---- */

static void *must_take(mln_alloc_t *pool, size_t size)
{
    void *block = mln_alloc_m(pool, size);

    CHECK(block != NULL);
    return block;
}

static void make_node(struct piece *p, mln_alloc_t *pool)
{
    size_t before = available();

    *p = (struct piece){.node = pick(2) ? mln_chain_new_with_buf(pool) : mln_chain_new(pool)};
    CHECK(p->node != NULL && p->node->next == NULL);
    if (p->node->buf == NULL)
        CHECK((p->node->buf = mln_buf_new(pool)) != NULL);
    p->charge = before - available();
}

static void set_memory(struct piece *p, unsigned char *at, size_t size)
{
    mln_buf_t *b = p->node->buf;

    b->pos = b->left_pos = at;
    b->last = b->end = at + size;
    b->in_memory = 1;
    p->bytes = copy_bytes(at, size);
}

/* The data begin somewhere in a block, or where the block does: then it need not be named. */
static void set_block_of(struct piece *p, mln_alloc_t *pool, const void *bytes, size_t size)
{
    size_t before = pick(2) ? pick(20) : 0;
    unsigned char *block = must_take(pool, before + size);

    memcpy(block + before, bytes, size);
    set_memory(p, block + before, size);
    if (before > 0 || pick(2))
        p->node->buf->start = block;
}

static void set_mapping(struct piece *p, const void *bytes, size_t size)
{
    size_t before = pick(5000);
    unsigned char *block = mmap(NULL, before + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(block != MAP_FAILED);
    memcpy(block + before, bytes, size);
    set_memory(p, block + before, size);
    p->node->buf->start = block;
    p->node->buf->mmap = 1;
}

static void set_file(struct piece *p, mln_file_t *file, size_t from, const void *bytes, size_t size)
{
    mln_buf_t *b = p->node->buf;

    b->file = file;
    b->file_pos = b->file_left_pos = (mln_off_t)from;
    b->file_last = (mln_off_t)(from + size);
    b->in_file = 1;
    p->bytes = copy_bytes(bytes, size);
}

static void set_file_of_set(struct piece *p)
{
    struct entry *entry = open_one();
    size_t size, from;
    char bytes[3000];

    if (entry == NULL)
        return;
    size = inodes[entry->inode].size;
    from = size > 0 ? pick((unsigned)size) : 0;
    fill(bytes, size, inodes[entry->inode].content);
    set_file(p, entry->file, from, bytes + from, size - from);
    ++inodes[entry->inode].pinned;
    p->entry = entry;
}

/* One or two pieces, which share a file. */
static int set_temporary(struct piece *p, mln_alloc_t *pool, const char *bytes, size_t size)
{
    size_t from = pick(2) ? pick(5000) : 0, first = size, before = available();
    mln_file_t *file = EITHER(mln_file_tmp_open(pool), mln_file_open_tmp(pool));
    struct piece *last = p;

    CHECK(file != NULL);
    ++temporaries;
    CHECK_INT(pwrite(mln_file_fd(file), bytes, size, (off_t)from), size);
    if (pick(2)) {
        first = pick((unsigned)size);
        make_node(++last, pool);
        before -= last->charge;
        set_file(last, file, from + first, bytes + first, size - first);
        p->node->buf->shadow = last->node->buf;
    }
    set_file(p, file, from, bytes, first);
    if (pick(8) == 0) { /* the file has less than the buffer says */
        last->node->buf->file_last += 1 + (mln_off_t)pick(100);
        last->error = ENODATA;
    }
    last->file_charge = before - available();
    return (int)(last - p) + 1;
}

/* The result is how many they are. */
static int make_pieces(struct piece *p, mln_alloc_t *pool)
{
    static unsigned char lasting[5000];
    size_t size = 1 + (pick(4) ? pick(50) : pick(pick(20) ? 5000 : 30000));
    char bytes[30000];

    fill(bytes, size, random_number(&whims));
    make_node(p, pool);
    switch (pick(10)) {
    case 0: /* without a buffer */
        mln_buf_pool_release(p->node->buf);
        p->node->buf = NULL;
        break;
    case 1: /* without data */
        set_memory(p, pick(2) ? must_take(pool, 0) : NULL, 0);
        break;
    case 2: /* with data that are not released */
        fill(lasting, sizeof lasting, seed);
        p->node->buf->temporary = 1;
        set_memory(p, lasting + pick(100), size < 4900 ? size : 4900);
        break;
    case 3:
        set_mapping(p, bytes, size);
        break;
    case 4:
        set_file_of_set(p);
        break;
    case 5: /* without a file */
        if (pick(8) > 0)
            break;
        set_file(p, NULL, 0, NULL, 0);
        p->node->buf->file_last = 10;
        p->error = EBADF;
        break;
    case 6:
        return set_temporary(p, pool, bytes, size);
    default:
        set_block_of(p, pool, bytes, size);
    }
    return 1;
}

/* A chain and what is in it; the result is how many pieces. */
static int make_chain(struct end *e, struct piece pieces[MOST], mln_chain_t **head, mln_chain_t **tail)
{
    mln_alloc_t *pool = pick(2) ? common : EITHER(mln_tcp_conn_pool_get(&e->conn), mln_tcp_conn_get_pool(&e->conn));
    int many = pick(30) == 0, least = many ? MOST - 4 : 1 + (int)pick(3), n = 0;

    *head = *tail = NULL;
    while (n < least) {
        struct piece *p = &pieces[n], *last;
        size_t before = available();

        if (many) {
            unsigned char byte = (unsigned char)pick(256);

            make_node(p, pool);
            set_block_of(p, pool, &byte, 1);
            ++n;
        } else {
            n += make_pieces(p, pool);
        }
        last = &pieces[n - 1];
        if (last->node->buf != NULL && pick(many ? MOST : 3) == 0)
            last->marked = last->node->buf->last_in_chain = 1;
        last->charge = before - available() - (last != p ? p->charge : 0);
        for (; p <= last; ++p) {
            p->left = p->size = (size_t)mln_buf_size(p->node->buf);
            used += p->charge;
            mln_chain_add(head, tail, p->node);
        }
    }
    return n;
}

/* What a node that is about to be released takes with it. */
static void forget(struct piece *p)
{
    const mln_buf_t *b = p->node->buf;

    used -= p->charge;
    if (p->entry != NULL) {
        --inodes[p->entry->inode].pinned;
        closed(p->entry);
    } else if (b != NULL && b->in_file && b->shadow == NULL && b->file != NULL) {
        --temporaries;
    }
    drop_bytes(&p->bytes);
}

static void forget_all(struct queue *q)
{
    for (int i = 0; i < q->n; ++i)
        forget(&q->pieces[i]);
    q->n = 0;
}

static void release_queue(struct end *e, int type)
{
    forget_all(&e->queues[type]);
    mln_chain_pool_release_all(mln_tcp_conn_remove(&e->conn, type));
}

/* Whether files of sets are in it: the order in which they are closed counts. */
static int holds_entries(const struct queue *q)
{
    for (int i = 0; i < q->n; ++i)
        if (q->pieces[i].entry != NULL)
            return 1;
    return 0;
}

/* ---- sending ---- */

static void await_nothing(struct end *e)
{
    CHECK_INT(mln_tcp_conn_set_nonblock(&e->conn, 1), 0);
}

/* Notes that so many bytes more of a piece were sent. */
static void note_sent(struct end *e, struct piece *p, size_t n)
{
    CHECK(p->size - p->left + n <= p->bytes.n);
    if (n > 0)
        add_bytes(&e->under_way, p->bytes.at + (p->size - p->left), n);
    p->left -= n;
}

/* What one call sends that waits: what is in memory, up to a mark or a file, of 256 pieces. 0: nothing, or some of a file. */
static size_t sent_by_one_call(const struct queue *q)
{
    size_t size = 0;
    int n = 0;

    for (const struct piece *p = q->pieces; p < q->pieces + q->n && n < 256; ++p) {
        if (p->left > 0 && p->node->buf->in_file)
            break;
        size += p->left;
        n += p->left > 0;
        if (p->marked)
            break;
    }
    return size;
}

/* Sends what is in the queue, the end of which is this chain if that has not been appended yet. */
static void transmit(struct end *e, mln_chain_t *chain)
{
    struct queue *q = &e->queues[M_C_SEND];
    size_t size = 0, before = e->under_way.n, at_once;
    int result, failed, finished = 0, waits, n = q->n;
    mln_chain_t *head;

    for (int i = 0; i < q->n; ++i)
        size += q->pieces[i].left;
    /* It could wait for ever: to a tiny buffer a few bytes are many, if each comes with a call of its own. */
    if (is_blocking(e) && e->child == 0 && (size > 1000 || e->under_way.n > 0))
        await_nothing(e);
    waits = is_blocking(e);
    at_once = sent_by_one_call(q);
    result = chain != NULL || pick(2) ? mln_tcp_conn_send_chain(&e->conn, chain) : mln_tcp_conn_send(&e->conn);
    failed = result == M_C_ERROR ? errno : 0;
    head = mln_tcp_conn_head(&e->conn, M_C_SEND);
    while (q->n > 0 && q->pieces[0].node != head && !finished) {
        struct piece p = shift(q);

        note_sent(e, &p, p.left);
        push(&e->queues[M_C_SENT], &p);
        finished = p.marked;
    }
    if (q->n > 0 && !finished) {
        struct piece *p = &q->pieces[0];
        size_t left = (size_t)mln_buf_left_size(p->node->buf);

        CHECK(left > 0 && left <= p->left);
        note_sent(e, p, p->left - left);
        if (e->conn.sockfd < 0)
            CHECK_INT(failed, EBADF);
        else if (failed != 0)
            CHECK(p->error == failed && p->size - p->left == p->bytes.n);
        else
            CHECK(e->under_way.n > before || (!waits && (e->under_way.n > 0)));
    } else {
        CHECK_INT(failed, 0);
    }
    if (waits && n > 0 && at_once > 0)
        CHECK_INT(e->under_way.n - before, at_once);
    if (failed == 0)
        CHECK_INT(result, finished ? M_C_FINISH : M_C_NOTYET);
    check_queues(e);
    if (failed == EBADF || failed == ENODATA) /* it would be in the way for ever */
        release_queue(e, M_C_SEND);
}

static void send_pieces(void)
{
    struct end *e = some_end();

    if (e->under_way.n < IN_FLIGHT)
        transmit(e, NULL);
}

static void append_pieces(void)
{
    static struct piece pieces[MOST];
    struct end *e = some_end();
    int type = pick(4) ? M_C_SEND : some_type(), n;
    mln_chain_t *head, *tail;

    if (e->queues[type].n > MANY || e->under_way.n >= IN_FLIGHT)
        return;
    n = make_chain(e, pieces, &head, &tail);
    mln_tcp_conn_append_chain(&e->conn, NULL, NULL, type);
    mln_tcp_conn_append(&e->conn, NULL, type);
    errno = 0;
    mln_tcp_conn_append_chain(&e->conn, head, tail, pick(2) ? 0 : 4);
    CHECK_INT(errno, EINVAL);
    for (int i = 0; i < n; ++i)
        push(&e->queues[type], &pieces[i]);
    if (type == M_C_SEND && pick(4) == 0) {
        transmit(e, head);
    } else if (pick(2)) {
        mln_tcp_conn_append_chain(&e->conn, head, pick(2) ? tail : NULL, type);
    } else {
        for (mln_chain_t *next; head != NULL; head = next) {
            next = head->next;
            head->next = NULL;
            mln_tcp_conn_append(&e->conn, head, type);
        }
    }
    check_queues(e);
}

/* ---- receiving ---- */

/* Whether the last piece received has a file of its own that more can be put into. */
static int can_follow(const struct queue *q)
{
    const mln_buf_t *b = q->n > 0 ? q->pieces[q->n - 1].node->buf : NULL;

    return b != NULL && b->in_file && !b->temporary && b->shadow == NULL && b->file != NULL && b->file->is_tmp;
}

/* The piece before, in whose file the next one is. */
static void pass_on(struct piece *from, struct piece *to)
{
    static const char zeros[100];
    const mln_buf_t *a = from->node->buf, *b = to->node->buf;

    CHECK(a->shadow == b && a->file == b->file);
    CHECK_INT(b->file_pos, a->file_last);
    add_bytes(&from->bytes, zeros, from->size - from->bytes.n); /* where the file was too short there is a hole now */
    from->error = 0;
    to->charge = to->file_charge = from->file_charge;
    from->charge -= from->file_charge;
    from->file_charge = 0;
}

/* Receives, and takes in what came: *n is in how many pieces. */
static int receive(struct end *e, mln_u32_t flag, int *n)
{
    struct queue *q = &e->queues[M_C_RECV];
    struct bytes *expected = &e->source->under_way;
    int in_file = flag != M_C_TYPE_MEMORY, shares_file = flag == (M_C_TYPE_FILE | M_C_TYPE_FOLLOW) && can_follow(q);
    int result = mln_tcp_conn_recv(&e->conn, flag);
    mln_chain_t *node = q->n > 0 ? q->pieces[q->n - 1].node->next : mln_tcp_conn_head(&e->conn, M_C_RECV);
    size_t done = 0;

    for (*n = 0; node != NULL; node = node->next, ++*n) {
        const mln_buf_t *b = node->buf;
        size_t size = (size_t)mln_buf_size(b);
        struct piece p = {.node = node, .size = size, .left = size};

        CHECK(b->last_buf && !b->temporary && !b->mmap && !b->last_in_chain);
        CHECK(b->in_file == (unsigned)in_file && b->in_memory == (unsigned)!in_file);
        CHECK(size > 0 && size <= (in_file ? 8192 : 4096) && done + size <= expected->n);
        p.bytes = copy_bytes(expected->at + done, size);
        done += size;
        if (in_file && shares_file)
            pass_on(&q->pieces[q->n - 1], &p);
        else if (in_file)
            ++temporaries;
        shares_file = 1;
        push(q, &p);
    }
    for (int i = q->n - *n; i < q->n; ++i)
        check_piece(&q->pieces[i]);
    CHECK(*n == 0 || q->pieces[q->n - 1].node->buf->shadow == NULL);
    if (done > 0)
        memmove(expected->at, expected->at + done, expected->n - done);
    expected->n -= done;
    check_queues(e);
    return result;
}

static mln_u32_t some_flag(void)
{
    static const mln_u32_t flags[] = {M_C_TYPE_MEMORY, M_C_TYPE_FILE, M_C_TYPE_FILE | M_C_TYPE_FOLLOW};

    return flags[pick(3)];
}

static void receive_pieces(void)
{
    struct end *e = some_end();
    mln_u32_t flag = some_flag();
    int waits = is_blocking(e), result, n;

    if (e->queues[M_C_RECV].n > MANY || (waits && e->source->under_way.n == 0)) /* it would wait for ever */
        return;
    CHECK_INT(mln_tcp_conn_recv(&e->conn, pick(2) ? 0 : M_C_TYPE_MEMORY | M_C_TYPE_FILE), M_C_ERROR);
    CHECK_INT(errno, EINVAL);
    errno = 0;
    result = receive(e, flag, &n);
    if (e->conn.sockfd < 0) {
        CHECK_INT(result, M_C_ERROR);
        CHECK_INT(errno, EBADF);
    } else {
        CHECK_INT(result, M_C_NOTYET);
    }
    if (waits)
        CHECK_INT(n, 1);
    else if (e->child == 0)
        CHECK_INT(e->source->under_way.n, 0);
}

/* ---- queues ---- */

static void take_pieces(void)
{
    struct end *e = some_end();
    int type = some_type(), to = some_type();
    struct queue *q = &e->queues[type];
    mln_chain_t *node, *tail = mln_tcp_conn_tail(&e->conn, type);
    struct piece p;

    errno = 0;
    CHECK_PTR(pick(2) ? mln_tcp_conn_pop(&e->conn, 0) : pick(2) ? mln_tcp_conn_remove(&e->conn, 4) : mln_tcp_conn_head(&e->conn, -1), NULL);
    CHECK_INT(errno, EINVAL);
    switch (pick(6)) {
    case 0:
        mln_tcp_conn_move_sent(&e->conn);
        while (e->queues[M_C_SEND].n > 0) {
            p = shift(&e->queues[M_C_SEND]);
            push(&e->queues[M_C_SENT], &p);
        }
        break;
    case 1:
        release_queue(e, type);
        break;
    case 2:
        node = mln_tcp_conn_remove(&e->conn, type);
        CHECK_PTR(node, q->n > 0 ? q->pieces[0].node : NULL);
        mln_tcp_conn_append_chain(&e->conn, node, pick(2) ? tail : NULL, to);
        for (int n = q->n; n > 0; --n) {
            p = shift(q);
            push(&e->queues[to], &p);
        }
        break;
    default:
        node = mln_tcp_conn_pop(&e->conn, type);
        CHECK_PTR(node, q->n > 0 ? q->pieces[0].node : NULL);
        if (node == NULL)
            break;
        CHECK_PTR(node->next, NULL);
        p = shift(q);
        if (pick(2) && (node->buf == NULL || node->buf->shadow == NULL)) { /* one with a shadow is of use in its place alone */
            push(&e->queues[to], &p);
            mln_tcp_conn_append(&e->conn, node, to);
        } else {
            forget(&p);
            if (pick(2)) {
                mln_buf_pool_release(node->buf);
                node->buf = NULL;
            }
            if (!faulty("keep"))
                mln_chain_pool_release(node);
        }
    }
    mln_chain_pool_release(NULL);
    mln_chain_pool_release_all(NULL);
    mln_buf_pool_release(NULL);
    check_queues(e);
}

/* What does not fit into a pool is refused, and nothing of it is left. */
static void run_short(void)
{
    mln_alloc_t *pool = mln_alloc_init(NULL, 1 + pick(200));
    size_t before = mln_alloc_available_capacity(pool);
    mln_chain_t *node;
    mln_buf_t *b;
    mln_file_t *file;

    errno = ENOMEM;
    node = pick(2) ? mln_chain_new_with_buf(pool) : mln_chain_new(pool);
    CHECK(node != NULL || errno == ENOMEM);
    b = mln_buf_new(pool);
    CHECK(b != NULL || errno == ENOMEM);
    file = mln_file_tmp_open(pool);
    CHECK(file != NULL || errno == ENOMEM);
    mln_chain_pool_release(node);
    mln_buf_pool_release(b);
    mln_file_close(file);
    CHECK_INT(mln_alloc_available_capacity(pool), before);
    mln_alloc_destroy(pool);
}

/* ---- descriptors ---- */

static void set_descriptor(struct end *e, int fd)
{
    EITHER(mln_tcp_conn_fd_set(&e->conn, fd), mln_tcp_conn_set_fd(&e->conn, fd));
    CHECK_INT(EITHER(mln_tcp_conn_fd_get(&e->conn), mln_tcp_conn_get_fd(&e->conn)), fd);
    CHECK_INT(e->conn.nonblock, fd >= 0 && (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
}

static void limit_buffers(int fd)
{
    int size = (int)pick(pick(2) ? 1000 : 100000);

    CHECK_INT(setsockopt(fd, SOL_SOCKET, pick(2) ? SO_SNDBUF : SO_RCVBUF, &size, sizeof size), 0);
}

static void change_descriptor(void)
{
    enum { NOWHERE = 1000000 };
    struct end *e = some_end();
    int fd = e->conn.sockfd, nonblock = (int)pick(2), copy;

    if (pick(2) || fd < 0) {
        CHECK_INT(mln_tcp_conn_set_nonblock(&e->conn, nonblock * (1 + (int)pick(9))), 0);
        CHECK_INT(e->conn.nonblock, nonblock);
        CHECK(fd < 0 || is_blocking(e) == !nonblock);
        return;
    }
    switch (pick(4)) {
    case 0:
        limit_buffers(fd);
        break;
    case 1: /* behind the back of the connection; to a descriptor that appends the kernel does not copy a file by itself */
        CHECK_INT(fcntl(fd, F_SETFL, (nonblock ? O_NONBLOCK : 0) | (pick(2) ? O_APPEND : 0)), 0);
        break;
    case 2:
        CHECK((copy = fcntl(fd, F_DUPFD_CLOEXEC, 0)) >= 0);
        set_descriptor(e, copy);
        close(fd);
        break;
    default:
        mln_tcp_conn_fd_set(&e->conn, NOWHERE);
        CHECK_INT(mln_tcp_conn_set_nonblock(&e->conn, nonblock), -1);
        CHECK_INT(errno, EBADF);
        CHECK_INT(e->conn.nonblock, 0);
        set_descriptor(e, -1);
        set_descriptor(e, fd);
    }
}

/* ---- connections that begin and end ---- */

static int at_first; /* open files */

/* How many descriptors are sockets, files without a name, or a folder that cannot be opened as a file. */
static int open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    CHECK(dir != NULL);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char target[300];
        ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);

        target[n > 0 ? n : 0] = '\0';
        count += strncmp(target, "socket:", 7) == 0 || strstr(target, " (deleted)") != NULL || strcmp(target, "/") == 0;
    }
    closedir(dir);
    return count;
}

static void release_everything(int copies);

/* In a child: sends back what comes, until the other end is closed, or closed for sending. */
__attribute__((noreturn)) static void serve(int fd)
{
    mln_tcp_conn_t conn;
    int result = M_C_NOTYET;

    CHECK_INT(mln_tcp_conn_init(&conn, fd), 0);
    while (result != M_C_CLOSED || !mln_tcp_conn_send_empty(&conn) || !mln_tcp_conn_recv_empty(&conn)) {
        struct pollfd p = {fd, result == M_C_CLOSED ? 0 : POLLIN, 0};
        int sent;

        if (!mln_tcp_conn_send_empty(&conn))
            p.events |= POLLOUT;
        CHECK(poll(&p, 1, mln_tcp_conn_recv_empty(&conn) ? -1 : 0) >= 0);
        CHECK_INT(mln_tcp_conn_set_nonblock(&conn, 1), 0);
        if (result != M_C_CLOSED && (result = mln_tcp_conn_recv(&conn, some_flag())) == M_C_ERROR)
            break;
        if (pick(3)) /* or later, so that something is in a file that can be gone on with */
            mln_tcp_conn_append_chain(&conn, mln_tcp_conn_remove(&conn, M_C_RECV), NULL, M_C_SEND);
        if ((sent = mln_tcp_conn_send(&conn)) == M_C_ERROR)
            break;
        CHECK_INT(sent, M_C_NOTYET); /* there are no marks */
        mln_chain_pool_release_all(mln_tcp_conn_remove(&conn, M_C_SENT));
    }
    CHECK(result == M_C_CLOSED || errno == ECONNRESET || errno == EPIPE);
    mln_tcp_conn_destroy(&conn);
    close(fd);
    CHECK_INT(open_files(), at_first);
    _exit(0);
}

static void begin_pair(struct end *pair)
{
    unsigned kind = pick(4);
    int fds[2] = {-1, -1};
    pid_t child = 0;
    char done;

    if (kind > 0) {
        CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        limit_buffers(fds[0]);
        limit_buffers(fds[1]);
    }
    if (kind == 1) {
        CHECK((child = fork()) >= 0);
        if (child == 0) {
            close(fds[0]);
            release_everything(1);
            CHECK_INT(write(fds[1], "", 1), 1);
            serve(fds[1]);
        }
        CHECK_INT(read(fds[0], &done, 1), 1); /* now files may change */
        close(fds[1]);
        fds[1] = -1;
    }
    for (int i = 0; i < 2; ++i) {
        struct end *e = &pair[i];

        CHECK_INT(mln_tcp_conn_init(&e->conn, fds[i]), 0);
        e->source = child != 0 ? e : &pair[!i];
        e->child = i == 0 ? child : 0;
        check_queues(e);
    }
}

static void reap(pid_t child)
{
    int status;

    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
}

/* What is under way to an end arrives, and then the other end is closed. */
static void hear_out(struct end *e)
{
    struct end *other = &ends[(e - ends) ^ 1];
    int result;

    CHECK_INT(mln_tcp_conn_set_nonblock(&e->conn, e->child == 0), 0);
    CHECK_INT(shutdown(e->child == 0 ? other->conn.sockfd : e->conn.sockfd, SHUT_WR), 0);
    do {
        int n;

        result = receive(e, some_flag(), &n);
        CHECK(result == M_C_CLOSED || (result == M_C_NOTYET && e->child != 0));
    } while (result != M_C_CLOSED);
    CHECK_INT(e->source->under_way.n, 0);
}

static void end_of(struct end *e)
{
    int fd = e->conn.sockfd;

    for (int i = 0; i < 3; ++i) {
        struct queue *q = &e->queues[types[i]];

        if (pick(2) || holds_entries(q))
            release_queue(e, types[i]);
        forget_all(q); /* they go with the connection */
        free(q->pieces);
        *q = (struct queue){NULL, 0, 0};
    }
    drop_bytes(&e->under_way);
    mln_tcp_conn_destroy(&e->conn);
    mln_tcp_conn_destroy(&e->conn);
    if (fd >= 0)
        close(fd);
}

/* copy: of a connection that is the parent's. */
static void end_pair(struct end *pair, int copy)
{
    for (int i = 0; i < 2; ++i)
        if (!copy && pair[i].conn.sockfd >= 0 && pick(2))
            hear_out(&pair[i]);
    for (int i = 0; i < 2; ++i)
        end_of(&pair[i]);
    if (!copy && pair->child != 0)
        reap(pair->child);
}

static void renew_connection(void)
{
    struct end *pair = &ends[pick(ENDS / 2) * 2];

    mln_tcp_conn_destroy(NULL);
    end_pair(pair, 0);
    begin_pair(pair);
}

/* ---- everything ---- */

/* After every step: all that is cheap to look at, and something of the rest. */
static void look(void)
{
    int open = at_first + NAMES + temporaries;

    for (int i = 0; i < ENTRIES; ++i)
        open += entries[i].file != NULL;
    for (int i = 0; i < ENDS; ++i)
        open += ends[i].conn.sockfd >= 0;
    CHECK_INT(open_files(), open);
    CHECK_INT(available(), CAPACITY - used);
    check_queues(some_end());
}

static void release_everything(int copies)
{
    for (int i = 0; i < ENDS; i += 2)
        if (ends[i].conn.pool != NULL)
            end_pair(&ends[i], copies);
    end_files();
    CHECK_INT(available(), CAPACITY);
    mln_alloc_destroy(common);
}

/* The bit of a kind in the mask is that of its place. */
static void (*const kinds[])(void) = {
    append_pieces, send_pieces, receive_pieces, take_pieces, change_descriptor, renew_connection, run_short, open_file, close_file,
    change_file, renew_set,
};

int main(int argc, char **argv)
{
    begin_random(argc, argv, 1000, sizeof kinds / sizeof *kinds);
    signal(SIGPIPE, SIG_IGN);
    at_first = open_files();
    CHECK((common = mln_alloc_init(NULL, CAPACITY)) != NULL);
    begin_files();
    for (int i = 0; i < ENDS; i += 2)
        begin_pair(&ends[i]);
    while (steps > 0) {
        kinds[next_kind()]();
        look();
    }
    release_everything(0);
    CHECK_INT(open_files(), at_first);
    CHECK_INT(child_count(), 0);
    return 0;
}
