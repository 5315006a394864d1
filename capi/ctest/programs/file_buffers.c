/*
 * file_buffers.c - temporary files and sets of files, and buffers in files: sent wherever they stand in a queue, and received.
 */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "mln_connection.h"
#include "mln_path.h"

#define MARKED 1

static char folder[256];
static char path_buffer[512];
static mln_tcp_conn_t here, there;

static char *path_of(const char *name)
{
    snprintf(path_buffer, sizeof path_buffer, "%s/%s", folder, name);
    return path_buffer;
}

static char *folder_hook(void)
{
    return folder;
}

static char *missing_folder_hook(void)
{
    static char missing[300];
    snprintf(missing, sizeof missing, "%s/missing", folder);
    return missing;
}

static int files_in_folder(void)
{
    DIR *dir = opendir(folder);
    int count = 0;

    CHECK(dir != NULL);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");
    CHECK(file != NULL);
    CHECK(fputs(text, file) >= 0);
    CHECK_INT(fclose(file), 0);
}

/* The byte at an offset of every file that is sent. */
static char file_byte(size_t i)
{
    return (char)(i * 13 + i / 509);
}

/* ---- temporary files ---- */

static void check_temporary(mln_file_t *file, const char *below)
{
    struct stat status, where;

    CHECK(file != NULL);
    CHECK_INT(file->is_tmp, 1);
    CHECK_INT(fstat(mln_file_fd(file), &status), 0);
    CHECK_INT(stat(below, &where), 0);
    CHECK(status.st_dev == where.st_dev);
    CHECK_INT(status.st_nlink, 0);
    CHECK_INT(status.st_mode & 07777, 0600);
    CHECK_INT(fcntl(file->fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    CHECK_INT(pwrite(file->fd, "abc", 3, 0), 3);
    CHECK_INT(pread(file->fd, path_buffer, 10, 0), 3);
}

static void temporary_files_have_no_name(void)
{
    mln_alloc_t *pool = mln_alloc_init(NULL, 10000), *full = mln_alloc_init(NULL, 1);
    char *tmpdir = getenv("TMPDIR") != NULL ? strdup(getenv("TMPDIR")) : NULL;
    int before = fd_count();
    mln_file_t *file;

    mln_path_hook_set(m_p_tmpfile, folder_hook);
    file = mln_file_tmp_open(pool);
    check_temporary(file, folder);
    CHECK_INT(files_in_folder(), 0);
    CHECK_INT(fd_count(), before + 1);
    mln_file_close(file);
    CHECK_INT(fd_count(), before);
    CHECK_INT(mln_alloc_available_capacity(pool), 10000);

    /* There is no such folder: TMPDIR, else /tmp. */
    mln_path_hook_set(m_p_tmpfile, missing_folder_hook);
    setenv("TMPDIR", folder, 1);
    file = mln_file_open_tmp(pool);
    check_temporary(file, folder);
    mln_file_close(file);
    setenv("TMPDIR", missing_folder_hook(), 1);
    file = mln_file_open_tmp(pool);
    check_temporary(file, "/tmp");
    mln_file_close(file);
    unsetenv("TMPDIR");
    file = mln_file_open_tmp(pool);
    check_temporary(file, "/tmp");
    mln_file_close(file);
    if (tmpdir != NULL)
        setenv("TMPDIR", tmpdir, 1);
    free(tmpdir);
    mln_path_hook_set(m_p_tmpfile, folder_hook);

    CHECK_PTR(mln_file_tmp_open(full), NULL);
    CHECK_INT(errno, ENOMEM);
    mln_file_close(NULL);
    CHECK_INT(fd_count(), before);
    mln_alloc_destroy(full);
    mln_alloc_destroy(pool);
}

/* ---- sets ---- */

static void a_set_opens_a_path_once(void)
{
    int before = fd_count();
    mln_fileset_t *fs = mln_fileset_init(2);
    mln_file_t *a, *again, *replaced;

    write_file("a", "first");
    a = mln_file_open(fs, path_of("a"));
    CHECK(a != NULL);
    CHECK_INT(a->size, 5);
    CHECK_INT(a->is_tmp, 0);
    CHECK(a->mtime > 0 && a->ctime > 0 && a->atime > 0);
    CHECK_STR((char *)a->file_path->data, path_of("a"));
    CHECK_INT(fcntl(a->fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    again = mln_file_open(fs, path_of("a"));
    CHECK_PTR(again, a);
    CHECK_INT(a->refer_cnt, 2);
    CHECK_INT(fd_count(), before + 1);
    mln_file_close(again);
    mln_file_close(a);
    CHECK_INT(fd_count(), before + 1); /* kept for the next user */
    write_file("a", "longer now");
    again = mln_file_open(fs, path_of("a"));
    CHECK_PTR(again, a);
    CHECK_INT(a->size, 10);

    /* Another file by the same path; who has the old one keeps it. */
    write_file("b", "second");
    CHECK_INT(rename(path_of("b"), strcat(strcpy(path_buffer + 256, folder), "/a")), 0);
    replaced = mln_file_open(fs, path_of("a"));
    CHECK(replaced != NULL && replaced != a);
    CHECK_INT(replaced->size, 6);
    CHECK_INT(pread(a->fd, path_buffer, 10, 0), 10);
    CHECK_INT(memcmp(path_buffer, "longer now", 10), 0);
    CHECK_INT(fd_count(), before + 2);
    mln_file_close(a);
    CHECK_INT(fd_count(), before + 1);
    mln_file_close(replaced);

    /* The path leads nowhere. */
    CHECK_INT(unlink(path_of("a")), 0);
    CHECK_PTR(mln_file_open(fs, path_of("a")), NULL);
    CHECK_INT(errno, ENOENT);
    CHECK_INT(fd_count(), before);
    CHECK_PTR(mln_file_open(fs, folder), NULL);
    CHECK_INT(errno, EISDIR);
    CHECK_INT(mkfifo(path_of("fifo"), 0600), 0);
    a = mln_file_open(fs, path_of("fifo")); /* does not wait for a writer */
    CHECK(a != NULL);
    mln_file_close(a);
    CHECK_INT(unlink(path_of("fifo")), 0);
    CHECK_PTR(mln_file_open(fs, NULL), NULL);
    CHECK_PTR(mln_file_open(NULL, folder), NULL);
    CHECK_INT(errno, EINVAL);
    mln_fileset_destroy(fs);
    mln_fileset_destroy(NULL);
    CHECK_INT(fd_count(), before);
}

static void a_set_closes_the_longest_unused(void)
{
    enum { FILES = 50, KEPT = 10 };
    int before = fd_count(), i;
    mln_fileset_t *fs = mln_fileset_init(KEPT);
    mln_file_t *files[FILES], *file;
    char name[20];

    for (i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "set%d", i);
        write_file(name, name);
        CHECK((files[i] = mln_file_open(fs, path_of(name))) != NULL);
    }
    CHECK_INT(fd_count(), before + FILES); /* all in use */
    for (i = 0; i < FILES; i++)
        mln_file_close(files[i]);
    CHECK_INT(fd_count(), before + KEPT);

    /* Using the oldest of those that stayed makes it the youngest. */
    snprintf(name, sizeof name, "set%d", FILES - KEPT);
    CHECK_PTR((file = mln_file_open(fs, path_of(name))), files[FILES - KEPT]);
    mln_file_close(file);
    CHECK((file = mln_file_open(fs, path_of("set0"))) != NULL);
    CHECK_INT(fd_count(), before + KEPT);
    CHECK_PTR(mln_file_open(fs, path_of(name)), files[FILES - KEPT]);

    /* Users of two files outlive the set. */
    mln_fileset_destroy(fs);
    CHECK_INT(fd_count(), before + 2);
    CHECK_INT(pread(file->fd, path_buffer, 4, 0), 4);
    CHECK_INT(memcmp(path_buffer, "set0", 4), 0);
    mln_file_close(file);
    mln_file_close(files[FILES - KEPT]);
    CHECK_INT(fd_count(), before);
    for (i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "set%d", i);
        CHECK_INT(unlink(path_of(name)), 0);
    }
}

/* ---- sending ---- */

static void connect_pair(int nonblock)
{
    int fds[2];

    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    CHECK_INT(mln_tcp_conn_init(&here, fds[0]), 0);
    CHECK_INT(mln_tcp_conn_init(&there, fds[1]), 0);
    CHECK_INT(mln_tcp_conn_set_nonblock(&here, nonblock), 0);
    CHECK_INT(mln_tcp_conn_set_nonblock(&there, 1), 0);
}

static void close_pair(void)
{
    int fds[2];

    fds[0] = mln_tcp_conn_fd_get(&here);
    fds[1] = mln_tcp_conn_fd_get(&there);
    mln_tcp_conn_destroy(&here);
    mln_tcp_conn_destroy(&there);
    CHECK_INT(close(fds[0]), 0);
    CHECK_INT(close(fds[1]), 0);
}

static void queue_memory(const char *text, int marked)
{
    mln_chain_t *node = mln_chain_new_with_buf(here.pool);
    mln_buf_t *b = node->buf;

    b->start = b->pos = b->left_pos = (mln_u8ptr_t)text;
    b->last = b->end = b->pos + strlen(text);
    b->in_memory = b->temporary = 1;
    b->last_in_chain = marked ? 1 : 0;
    mln_tcp_conn_append(&here, node, M_C_SEND);
}

/* A buffer with the bytes from `from` to `to` of a file of its own. */
static mln_buf_t *queue_file(size_t from, size_t to, int marked)
{
    mln_chain_t *node = mln_chain_new_with_buf(here.pool);
    mln_buf_t *b = node->buf;
    char *bytes = (char *)malloc(to + 1);

    CHECK(bytes != NULL);
    CHECK((b->file = mln_file_tmp_open(here.pool)) != NULL);
    for (size_t i = 0; i < to; i++)
        bytes[i] = file_byte(i);
    CHECK_INT(write(b->file->fd, bytes, to), to);
    free(bytes);
    b->file_pos = b->file_left_pos = (mln_off_t)from;
    b->file_last = (mln_off_t)to;
    b->in_file = 1;
    b->last_in_chain = marked ? 1 : 0;
    mln_tcp_conn_append(&here, node, M_C_SEND);
    return b;
}

/* All that has arrived, from the beginning; grows. */
static char *received;
static size_t received_size;

static void receive(void)
{
    mln_chain_t *node;

    CHECK_INT(mln_tcp_conn_recv(&there, M_C_TYPE_MEMORY), M_C_NOTYET);
    while ((node = mln_tcp_conn_pop(&there, M_C_RECV)) != NULL) {
        size_t n = (size_t)mln_buf_size(node->buf);
        CHECK((received = (char *)realloc(received, received_size + n)) != NULL);
        memcpy(received + received_size, node->buf->pos, n);
        received_size += n;
        mln_chain_pool_release(node);
    }
}

static size_t expected_at;

static void expect_text(const char *text)
{
    CHECK(received_size >= expected_at + strlen(text));
    CHECK_INT(memcmp(received + expected_at, text, strlen(text)), 0);
    expected_at += strlen(text);
}

static void expect_file(size_t from, size_t to)
{
    CHECK(received_size >= expected_at + (to - from));
    for (size_t i = from; i < to; i++)
        CHECK_INT(received[expected_at++], file_byte(i));
}

static void expect_no_more(void)
{
    CHECK_INT(expected_at, received_size);
    received_size = expected_at = 0;
}

/* Sends until a result other than NOTYET, or until all is sent; the other end reads in between. */
static int send_all(void)
{
    int result;

    while ((result = mln_tcp_conn_send(&here)) == M_C_NOTYET && !mln_tcp_conn_send_empty(&here))
        receive();
    receive();
    return result;
}

static void files_are_sent_wherever_they_stand(int nonblock)
{
    int before = fd_count();

    connect_pair(nonblock);
    /* Alone at the head. */
    queue_file(10, 2000, MARKED);
    CHECK_INT(mln_tcp_conn_send(&here), M_C_FINISH);
    receive();
    expect_file(10, 2000);
    expect_no_more();

    /* Behind, between and before memory; two in a row; an empty one. */
    queue_memory("head ", 0);
    queue_file(0, 5000, 0);
    queue_memory(" middle ", 0);
    queue_memory("too ", 0);
    queue_file(100, 300, 0);
    queue_file(5, 5, 0);
    queue_file(1, 20000, 0);
    queue_memory(" tail", MARKED);
    queue_file(0, 10, MARKED);
    queue_file(7, 7, MARKED);
    CHECK_INT(send_all(), M_C_FINISH);
    expect_text("head ");
    expect_file(0, 5000);
    expect_text(" middle too ");
    expect_file(100, 300);
    expect_file(1, 20000);
    expect_text(" tail");
    expect_no_more();
    CHECK_INT(mln_tcp_conn_send(&here), M_C_FINISH);
    receive();
    expect_file(0, 10);
    expect_no_more();
    CHECK_INT(mln_tcp_conn_send(&here), M_C_FINISH);
    CHECK(mln_tcp_conn_send_empty(&here));
    mln_chain_pool_release_all(mln_tcp_conn_remove(&here, M_C_SENT));
    CHECK_INT(fd_count(), before + 2);
    close_pair();
    CHECK_INT(fd_count(), before);
}

static void a_large_file_is_sent_piece_by_piece(void)
{
    enum { SIZE = 2000000 };
    mln_buf_t *b;
    int calls = 0, result;

    connect_pair(1);
    queue_memory("head", 0);
    b = queue_file(1000, SIZE, MARKED);
    queue_memory("not yet", MARKED);
    while ((result = mln_tcp_conn_send(&here)) == M_C_NOTYET) {
        CHECK(mln_buf_left_size(b) > 0);
        receive();
        CHECK_INT(received_size, 4 + b->file_left_pos - 1000);
        calls++;
    }
    CHECK_INT(result, M_C_FINISH);
    CHECK(calls > 1);
    CHECK_INT(mln_buf_left_size(b), 0);
    receive();
    expect_text("head");
    expect_file(1000, SIZE);
    expect_no_more();
    close_pair();
}

static void a_file_that_was_truncated_is_an_error(void)
{
    mln_buf_t *b;

    connect_pair(1);
    b = queue_file(0, 10000, MARKED);
    CHECK_INT(ftruncate(b->file->fd, 4000), 0);
    CHECK_INT(mln_tcp_conn_send(&here), M_C_ERROR);
    CHECK_INT(errno, ENODATA);
    receive();
    expect_file(0, 4000);
    expect_no_more();
    CHECK_INT(b->file_left_pos, 4000);
    mln_chain_pool_release_all(mln_tcp_conn_remove(&here, M_C_SEND));

    b = queue_file(0, 10, MARKED);
    mln_file_close(b->file);
    b->file = NULL;
    CHECK_INT(mln_tcp_conn_send(&here), M_C_ERROR);
    CHECK_INT(errno, EBADF);
    close_pair();
}

/* The kernel's sendfile refuses a descriptor that is opened for appending. */
static void where_sendfile_cannot_a_file_is_copied(void)
{
    enum { SIZE = 100000 };
    char *bytes = (char *)malloc(SIZE);
    int fd = open(path_of("log"), O_CREAT | O_RDWR | O_APPEND, 0600), result;

    CHECK(fd != -1 && bytes != NULL);
    CHECK_INT(mln_tcp_conn_init(&here, fd), 0);
    queue_file(0, SIZE, MARKED);
    while ((result = mln_tcp_conn_send(&here)) == M_C_NOTYET)
        ;
    CHECK_INT(result, M_C_FINISH);
    CHECK_INT(pread(fd, bytes, SIZE, 0), SIZE);
    for (size_t i = 0; i < SIZE; i++)
        CHECK_INT(bytes[i], file_byte(i));
    mln_tcp_conn_destroy(&here);
    CHECK_INT(close(fd), 0);
    CHECK_INT(unlink(path_of("log")), 0);
    free(bytes);
}

/* ---- receiving ---- */

static void check_received_files(size_t offset, int pieces)
{
    mln_chain_t *node;
    char byte;

    for (node = mln_tcp_conn_head(&there, M_C_RECV); node != NULL; node = node->next) {
        mln_buf_t *b = node->buf;
        CHECK(b->in_file == 1 && b->in_memory == 0 && b->last_buf == 1 && b->file != NULL);
        CHECK_INT(b->file_left_pos, b->file_pos);
        CHECK(mln_buf_size(b) > 0 && mln_buf_size(b) <= 8192);
        /* An older one points to the newer one that shares its file. */
        CHECK_PTR(b->shadow, node->next != NULL && node->next->buf->file == b->file ? node->next->buf : NULL);
        for (mln_off_t i = b->file_pos; i < b->file_last; i++) {
            CHECK_INT(pread(b->file->fd, &byte, 1, i), 1);
            CHECK_INT(byte, file_byte(offset++));
        }
        pieces--;
    }
    CHECK_INT(pieces, 0);
}

static void data_are_received_into_files(void)
{
    enum { SIZE = 20000, MORE = 1000 };
    int before = fd_count();

    connect_pair(0);
    CHECK_INT(mln_tcp_conn_recv(&there, M_C_TYPE_FILE), M_C_NOTYET);
    CHECK(mln_tcp_conn_recv_empty(&there));
    CHECK_INT(fd_count(), before + 2);

    queue_file(0, SIZE, MARKED);
    CHECK_INT(mln_tcp_conn_send(&here), M_C_FINISH);
    mln_chain_pool_release_all(mln_tcp_conn_remove(&here, M_C_SENT));
    CHECK_INT(mln_tcp_conn_recv(&there, M_C_TYPE_FILE), M_C_NOTYET);
    check_received_files(0, 3);
    CHECK_INT(fd_count(), before + 3); /* one file for one call */

    /* A further call: another file; or the same one, if that is asked for. */
    queue_file(SIZE, SIZE + MORE, MARKED);
    CHECK_INT(mln_tcp_conn_send(&here), M_C_FINISH);
    CHECK_INT(mln_tcp_conn_recv(&there, M_C_TYPE_FILE | M_C_TYPE_FOLLOW), M_C_NOTYET);
    check_received_files(0, 4);
    CHECK_PTR(mln_tcp_conn_tail(&there, M_C_RECV)->buf->file, mln_tcp_conn_head(&there, M_C_RECV)->buf->file);
    queue_file(SIZE + MORE, SIZE + 2 * MORE, MARKED);
    CHECK_INT(mln_tcp_conn_send(&here), M_C_FINISH);
    mln_chain_pool_release_all(mln_tcp_conn_remove(&here, M_C_SENT));
    CHECK_INT(mln_tcp_conn_recv(&there, M_C_TYPE_FILE), M_C_NOTYET);
    check_received_files(0, 5);
    CHECK_INT(fd_count(), before + 4);

    /* Received buffers can be passed on, and released from the first to the last. */
    mln_tcp_conn_append_chain(&there, mln_tcp_conn_remove(&there, M_C_RECV), NULL, M_C_SEND);
    CHECK_INT(mln_tcp_conn_send(&there), M_C_NOTYET);
    CHECK(mln_tcp_conn_send_empty(&there));
    mln_chain_pool_release_all(mln_tcp_conn_remove(&there, M_C_SENT));
    CHECK_INT(fd_count(), before + 2);

    /* Blocking: one piece. Then the end. */
    CHECK_INT(mln_tcp_conn_recv(&here, M_C_TYPE_FILE), M_C_NOTYET);
    CHECK_INT(mln_buf_size(mln_tcp_conn_head(&here, M_C_RECV)->buf), 8192);
    CHECK_INT(shutdown(mln_tcp_conn_fd_get(&there), SHUT_WR), 0);
    CHECK_INT(mln_tcp_conn_set_nonblock(&here, 1), 0);
    CHECK_INT(mln_tcp_conn_recv(&here, M_C_TYPE_FILE | M_C_TYPE_FOLLOW), M_C_CLOSED);
    mln_tcp_conn_append_chain(&there, mln_tcp_conn_remove(&here, M_C_RECV), NULL, M_C_RECV);
    check_received_files(0, 3);
    mln_tcp_conn_append_chain(&here, mln_tcp_conn_remove(&there, M_C_RECV), NULL, M_C_RECV);
    close_pair();
    CHECK_INT(fd_count(), before);
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    int before = fd_count();

    snprintf(folder, sizeof folder, "%s/file_buffers.XXXXXX", tmp != NULL ? tmp : "/tmp");
    CHECK(mkdtemp(folder) != NULL);
    temporary_files_have_no_name();
    a_set_opens_a_path_once();
    a_set_closes_the_longest_unused();
    files_are_sent_wherever_they_stand(0);
    files_are_sent_wherever_they_stand(1);
    a_large_file_is_sent_piece_by_piece();
    a_file_that_was_truncated_is_an_error();
    where_sendfile_cannot_a_file_is_copied();
    data_are_received_into_files();
    free(received);
    mln_path_hook_set(m_p_tmpfile, NULL);
    CHECK_INT(fd_count(), before);
    CHECK_INT(rmdir(folder), 0);
    return 0;
}
