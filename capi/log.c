/*
 * The log of a process: its state, and the public functions.
 *
 * Two things keep the state sound without a second lock. What a reload needs is prepared completely before anything
 * in the state changes, and the descriptor of an open log never changes its number: a new file is put under it.
 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "setting.h"

static char no_path[] = "";

static mln_log_t state = {
    .fd = STDERR_FILENO,
    .level = none,
    .dir_path = no_path,
    .pid_path = no_path,
    .log_path = no_path,
};

static void print_line(mln_log_t *log, mln_log_level_t level, const char *file, const char *func, int line, char *fmt,
                       va_list args);

static mln_logger_t logger = print_line;

/* The process that asked for the log, 0 if none did. A reload may find a configuration where there was none. */
static pid_t opener;

mln_log_t *mln_log_state(void)
{
    return &state;
}

/* ---- printing ---- */

static void print_line(mln_log_t *log, mln_log_level_t level, const char *file, const char *func, int line, char *fmt,
                       va_list args)
{
    if (level < __atomic_load_n(&log->level, __ATOMIC_RELAXED))
        return;
    struct log_record record;
    log_format(&record, level, file, func, line, fmt, args);
    log_output_record(log, &record);
    log_text_release(&record.text);
}

void mln_sys_log(mln_log_level_t level, const char *file, const char *func, int line, const char *msg, ...)
{
    /* What is dropped costs no lock. */
    if (__atomic_load_n(&logger, __ATOMIC_RELAXED) == print_line
        && level < __atomic_load_n(&state.level, __ATOMIC_RELAXED))
        return;

    int saved_errno = errno;
    va_list args;
    va_start(args, msg);
    log_lock();
    if (log_in_logger) {
        /* The custom logger logs, or a signal handler that interrupted it: never the same logger once more. */
        print_line(&state, level, file, func, line, (char *)msg, args);
    } else if (logger == print_line) {
        print_line(&state, level, file, func, line, (char *)msg, args);
    } else if (logger != NULL) {
        __atomic_store_n(&log_in_logger, true, __ATOMIC_RELAXED);
        logger(&state, level, file, func, line, (char *)msg, args);
        __atomic_store_n(&log_in_logger, false, __ATOMIC_RELAXED);
    }
    log_unlock();
    va_end(args);
    errno = saved_errno;
}

int mln_log_writen(void *buf, mln_size_t n)
{
    if (n > INT_MAX || (buf == NULL && n > 0)) {
        errno = EINVAL;
        return -1;
    }
    log_lock();
    int written = (int)log_output_bytes(&state, buf, n);
    log_unlock();
    return written;
}

void mln_log_logger_set(mln_logger_t new_logger)
{
    log_lock();
    __atomic_store_n(&logger, new_logger, __ATOMIC_RELAXED);
    log_unlock();
}

mln_logger_t mln_log_logger_get(void)
{
    return __atomic_load_n(&logger, __ATOMIC_RELAXED);
}

/* ---- opening, reopening, closing ---- */

static int level_from_conf(mln_conf_t *cf, mln_log_level_t *level)
{
    static const char *const names[] = {
        [none] = "none", [report] = "report", [debug] = "debug", [warn] = "warn", [error] = "error",
    };
    const char *name = "none";
    if (setting_string(cf, "log_level", &name) < 0)
        return -1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            *level = (mln_log_level_t)i;
            return 0;
        }
    }
    log_line(error, "log: log_level \"%s\" is unknown; it has to be none, report, debug, warn or error", name);
    return -1;
}

static char *path_or_none(char *path)
{
    return path == NULL ? no_path : path;
}

/* Puts new paths in force; the old ones are released only when nothing refers to them any more. */
static void set_paths(struct log_paths *paths)
{
    struct log_paths old = {.dir = state.dir_path, .file = state.log_path, .pid = state.pid_path};
    if (!state.init)
        old = (struct log_paths){0};
    state.dir_path = path_or_none(paths->dir);
    state.log_path = path_or_none(paths->file);
    state.pid_path = path_or_none(paths->pid);
    *paths = (struct log_paths){0};
    log_paths_free(&old);
}

static bool is_parent(pid_t pid)
{
    return pid > 0 && pid == getppid();
}

static int start_by_conf(mln_conf_t *cf, bool in_daemon, bool write_pid_file)
{
    struct log_paths paths = {0};
    mln_log_level_t level;

    if (!in_daemon && setting_switch(cf, "daemon", &in_daemon) < 0)
        return -1;
    if (level_from_conf(cf, &level) < 0 || log_paths_from_conf(cf, &paths) < 0)
        return -1;
    int fd = log_file_open(&paths);
    if (fd < 0) {
        log_paths_free(&paths);
        return -1;
    }
    pid_t holder = 0;
    int taken = write_pid_file ? log_pid_file_take(paths.pid, NULL, &holder) : 0;
    if (taken < 0) {
        close(fd);
        log_paths_free(&paths);
        return -1;
    }
    set_paths(&paths);
    state.fd = fd;
    state.in_daemon = in_daemon;
    __atomic_store_n(&state.level, level, __ATOMIC_RELAXED);
    state.init = 1;
    log_output_renew();
    log_pid_file_tell(state.pid_path);
    /* It may be a tool beside the program, or a worker that opens the log of its group anew: both have a log as ever. */
    if (taken > 0 && !is_parent(holder))
        log_pid_file_yield(state.pid_path, holder);
    return 0;
}

int log_start(mln_conf_t *cf, bool in_daemon, bool write_pid_file)
{
    int result = 0;
    log_lock();
    log_outlive_limit();
    if (!state.init) {
        if (!mln_conf_is_empty(cf))
            result = start_by_conf(cf, in_daemon, write_pid_file);
        opener = result == 0 ? getpid() : 0;
    }
    log_unlock();
    return result;
}

/*
 * Integers and pointers come through one argument. Nothing is ever mapped in the lowest and the highest page, so a value
 * in there is an integer of the seed era.
 */
int mln_log_open(uintptr_t configuration)
{
    if (configuration == 0)
        return log_start(mln_conf(), false, true);
    if (configuration < 4096 || configuration >= (uintptr_t)-4096)
        return log_start(mln_conf(), true, true);
    return log_start((mln_conf_t *)configuration, false, true);
}

int log_pid_file_write(pid_twin *twin)
{
    pid_t holder = 0;
    int result = 0;
    log_lock();
    if (state.init) {
        result = log_pid_file_is_taken(state.pid_path, twin, &holder) ? 1 : log_pid_file_take(state.pid_path, NULL, &holder);
        if (result > 0 && is_parent(holder)) { /* a group below another one, whose file it is */
            result = 0;
        } else if (result > 0 && twin != NULL && twin(holder)) {
            result = log_pid_file_refuse(state.pid_path, holder);
        } else if (result > 0) {
            log_pid_file_yield(state.pid_path, holder);
            result = 0;
        }
        log_pid_file_tell(state.pid_path);
    } else if (opener != 0) {
        opener = getpid();
    }
    log_unlock();
    return result;
}

int log_pid_file_leave(mln_conf_t *cf, pid_twin *twin)
{
    struct log_paths paths = {0};
    pid_t holder = 0;
    int result = 0;
    log_lock();
    log_pid_file_drop();
    if (!state.init && log_paths_from_conf(cf, &paths) < 0)
        result = -1;
    const char *path = state.init ? state.pid_path : paths.pid;
    if (result == 0 && log_pid_file_is_taken(path, twin, &holder) && !is_parent(holder) && twin(holder))
        result = log_pid_file_refuse(path, holder);
    log_paths_free(&paths);
    log_unlock();
    return result;
}

/* The paths in force, copied; for a rotation while there is no configuration. */
static int copy_paths(struct log_paths *paths)
{
    paths->dir = strdup(state.dir_path);
    paths->file = strdup(state.log_path);
    paths->pid = strdup(state.pid_path);
    if (paths->dir != NULL && paths->file != NULL && paths->pid != NULL)
        return 0;
    log_line(error, "log: no memory for the paths of the log");
    log_paths_free(paths);
    return -1;
}

static int reopen(mln_conf_t *cf)
{
    struct log_paths paths = {0};
    mln_log_level_t level = state.level;

    if (mln_conf_is_empty(cf)) {
        if (copy_paths(&paths) < 0)
            return -1;
    } else if (level_from_conf(cf, &level) < 0 || log_paths_from_conf(cf, &paths) < 0) {
        return -1;
    }
    int fd = log_file_open(&paths);
    if (fd < 0) {
        log_paths_free(&paths);
        return -1;
    }
    /* The same folder may have another name. */
    bool moves_pid_file = log_pid_file_is_ours() && strcmp(paths.pid, state.pid_path) != 0 && !log_pid_file_is_at(paths.pid);
    pid_t holder = 0;
    int taken = moves_pid_file ? log_pid_file_take(paths.pid, state.pid_path, &holder) : 0;
    if (taken > 0)
        taken = log_pid_file_refuse(paths.pid, holder);
    if (taken < 0) {
        close(fd);
        log_paths_free(&paths);
        return -1;
    }
    int replaced;
    while ((replaced = dup3(fd, state.fd, O_CLOEXEC)) < 0 && (errno == EINTR || errno == EBUSY))
        ;
    if (replaced < 0)
        log_line(error, "log: cannot put %s into use: %s", paths.file, strerror(errno));
    close(fd);
    if (replaced < 0) {
        if (moves_pid_file)
            (void)log_pid_file_take(state.pid_path, paths.pid, &holder);
        log_paths_free(&paths);
        return -1;
    }
    set_paths(&paths);
    log_output_renew();
    log_pid_file_tell(state.pid_path);
    __atomic_store_n(&state.level, level, __ATOMIC_RELAXED);
    return 0;
}

int mln_log_reload(void *data)
{
    (void)data;
    int result = 0;
    mln_conf_t *cf = mln_conf();
    log_lock();
    if (state.init)
        result = reopen(cf);
    else if (opener != 0 && !mln_conf_is_empty(cf))
        result = start_by_conf(cf, false, opener == getpid());
    log_unlock();
    return result;
}

void mln_log_destroy(void)
{
    struct log_paths none_left = {0};

    log_lock();
    int fd = state.fd;
    bool was_open = state.init;
    /* From here on nothing refers to the descriptor: its number may soon be somebody else's. */
    state.fd = STDERR_FILENO;
    set_paths(&none_left);
    state.init = 0;
    state.in_daemon = 0;
    log_output_renew();
    __atomic_store_n(&state.level, none, __ATOMIC_RELAXED);
    opener = 0;
    log_pid_file_drop();
    log_unlock();
    if (was_open)
        close(fd);
}

/* ---- what the state says ---- */

int mln_log_fd(void)
{
    return state.fd;
}

char *mln_log_dir_path(void)
{
    return state.dir_path;
}

char *mln_log_logfile_path(void)
{
    return state.log_path;
}

char *mln_log_pid_path(void)
{
    return state.pid_path;
}

int mln_log_get_fd(void)
{
    return mln_log_fd();
}

char *mln_log_get_dir_path(void)
{
    return mln_log_dir_path();
}

char *mln_log_get_log_path(void)
{
    return mln_log_logfile_path();
}

char *mln_log_get_pid_path(void)
{
    return mln_log_pid_path();
}
