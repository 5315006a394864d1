/*
 * eras_today.c - every name of today's era: it compiles with the prototypes that programs of today rely on, it links, and what is
 * safe to call does what it does.
 */
#include "check.h"

#include "mln_alloc.h"
#include "mln_chain.h"
#include "mln_conf.h"
#include "mln_connection.h"
#include "mln_event.h"
#include "mln_fheap.h"
#include "mln_file.h"
#include "mln_fork.h"
#include "mln_framework.h"
#include "mln_func.h"
#include "mln_hash.h"
#include "mln_ipc.h"
#include "mln_lex.h"
#include "mln_log.h"
#include "mln_path.h"
#include "mln_prime_generator.h"
#include "mln_rbtree.h"
#include "mln_string.h"
#include "mln_thread.h"
#include "mln_tools.h"
#include "mln_types.h"
#include "mln_utils.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>

/* ---- constants ---- */

static void constants_have_their_values(void)
{
    CHECK(M_EV_RECV == 0x1 && M_EV_SEND == 0x2 && M_EV_ERROR == 0x4 && M_EV_RSE_MASK == 0x7 && M_EV_ONESHOT == 0x8);
    CHECK(M_EV_NONBLOCK == 0x10 && M_EV_BLOCK == 0x20 && M_EV_APPEND == 0x40 && M_EV_CLR == 0x80 && M_EV_FD_MASK == 0xff);
    CHECK(M_EV_UNLIMITED == -1 && M_EV_UNMODIFIED == -2);
    CHECK(M_C_SEND == 1 && M_C_RECV == 2 && M_C_SENT == 3);
    CHECK(M_C_FINISH == 1 && M_C_NOTYET == 2 && M_C_ERROR == 3 && M_C_CLOSED == 4);
    CHECK(M_C_TYPE_MEMORY == 1 && M_C_TYPE_FILE == 2 && M_C_TYPE_FOLLOW == 8);
    CHECK(CONF_NONE == 0 && CONF_STR == 1 && CONF_CHAR == 2 && CONF_BOOL == 3 && CONF_INT == 4 && CONF_FLOAT == 5);
    CHECK(M_PST_DFL == 0 && M_PST_SUP == 1 && M_PET_DFL == 0 && M_PET_EXE == 1);
    CHECK(STATE_IDLE == 0 && STATE_LENGTH == 1 && M_F_TYPELEN == 4 && M_F_LENLEN == 4);
    CHECK(M_IPC_HASH_BUCKETS == 64 && M_IPC_HASH_MASK == 63 && M_IPC_TYPE_CONF == 1);
    CHECK(none == 0 && report == 1 && debug == 2 && warn == 3 && error == 4);
    CHECK(m_p_install == 0 && m_p_conf == 1 && m_p_tmpfile == 2 && m_p_pid == 3 && m_p_log == 4 && m_p_null == 5);
    CHECK(m_p_melang_lib == 6 && m_p_melang_dylib == 7);
    CHECK(M_TOOLS_TIME_UTC == 0 && M_TOOLS_TIME_GENERALIZEDTIME == 1);
    CHECK(ITC_REQUEST != ITC_RESPONSE && THREAD_RESTART != THREAD_DEFAULT);
}

/* ---- prototypes: an assignment that does not fit is a warning, and that an error ---- */

struct prototypes {
    void (*alloc_destroy)(mln_alloc_t *);
    void *(*alloc_m)(mln_alloc_t *, mln_size_t);
    void *(*alloc_c)(mln_alloc_t *, mln_size_t);
    void *(*alloc_re)(mln_alloc_t *, void *, mln_size_t);
    void (*alloc_free)(void *);
    mln_size_t (*alloc_available_capacity)(mln_alloc_t *);
    mln_buf_t *(*buf_new)(mln_alloc_t *);
    mln_chain_t *(*chain_new)(mln_alloc_t *);
    mln_chain_t *(*chain_new_with_buf)(mln_alloc_t *);
    void (*buf_pool_release)(mln_buf_t *);
    void (*chain_pool_release)(mln_chain_t *);
    void (*chain_pool_release_all)(mln_chain_t *);
    int (*tcp_conn_init)(mln_tcp_conn_t *, int);
    void (*tcp_conn_destroy)(mln_tcp_conn_t *);
    void (*tcp_conn_append_chain)(mln_tcp_conn_t *, mln_chain_t *, mln_chain_t *, int);
    void (*tcp_conn_append)(mln_tcp_conn_t *, mln_chain_t *, int);
    mln_chain_t *(*tcp_conn_head)(mln_tcp_conn_t *, int);
    mln_chain_t *(*tcp_conn_tail)(mln_tcp_conn_t *, int);
    mln_chain_t *(*tcp_conn_remove)(mln_tcp_conn_t *, int);
    mln_chain_t *(*tcp_conn_pop)(mln_tcp_conn_t *, int);
    void (*tcp_conn_fd_set)(mln_tcp_conn_t *, int);
    int (*tcp_conn_set_nonblock)(mln_tcp_conn_t *, int);
    void (*tcp_conn_move_sent)(mln_tcp_conn_t *);
    int (*tcp_conn_send_chain)(mln_tcp_conn_t *, mln_chain_t *);
    int (*tcp_conn_send)(mln_tcp_conn_t *);
    int (*tcp_conn_recv)(mln_tcp_conn_t *, mln_u32_t);
    mln_event_t *(*event_new)(void);
    void (*event_free)(mln_event_t *);
    void (*event_dispatch)(mln_event_t *);
    int (*event_fd_set)(mln_event_t *, int, mln_u32_t, int, void *, ev_fd_handler);
    void (*event_fd_timeout_handler_set)(mln_event_t *, int, void *, ev_fd_handler);
    mln_event_timer_t *(*event_timer_set)(mln_event_t *, mln_u32_t, void *, ev_tm_handler);
    void (*event_timer_cancel)(mln_event_t *, mln_event_timer_t *);
    void (*event_callback_set)(mln_event_t *, dispatch_callback, void *);
    int (*fork_prepare)(void);
    int (*fork_workers)(void);
    int (*fork_spawn)(enum proc_state_type, mln_s8ptr_t *, mln_u32_t, mln_event_t *);
    int (*fork_restart)(mln_event_t *);
    int (*fork_iterate)(mln_event_t *, fork_iterate_handler, void *);
    mln_tcp_conn_t *(*fork_master_connection_get)(void);
    void (*fork_master_events_set)(mln_event_t *);
    void (*fork_worker_events_set)(mln_event_t *);
    void (*resource_clear_handler_set)(clr_handler, void *);
    int (*master_ipc_handler_set)(mln_u32_t, ipc_handler, void *);
    int (*worker_ipc_handler_set)(mln_u32_t, ipc_handler, void *);
    void (*socketpair_close)(mln_event_t *, mln_fork_t *, int);
    void (*ipc_fd_handler_master)(mln_event_t *, int, void *);
    void (*ipc_fd_handler_worker)(mln_event_t *, int, void *);
    int (*ipc_master_send)(mln_event_t *, mln_u32_t, void *, mln_size_t, mln_fork_t *);
    int (*ipc_worker_send)(mln_event_t *, mln_u32_t, void *, mln_size_t);
    mln_ipc_cb_t *(*ipc_handler_register)(mln_u32_t, ipc_handler, ipc_handler, void *, void *);
    void (*ipc_handler_unregister)(mln_ipc_cb_t *);
    int (*ipc_set_process_handlers)(void);
    int (*framework_init)(struct mln_framework_attr *);
    int (*conf_load)(void);
    int (*conf_reload)(void);
    void (*conf_free)(void);
    void (*conf_dump)(void);
    mln_conf_t *(*conf)(void);
    int (*conf_is_empty)(mln_conf_t *);
    mln_conf_hook_t *(*conf_hook_set)(reload_handler, void *);
    void (*conf_hook_unset)(mln_conf_hook_t *);
    void (*conf_hook_free)(void);
    mln_u32_t (*conf_arg_num)(mln_conf_cmd_t *);
    void (*log_destroy)(void);
    int (*log_reload)(void *);
    int (*log_writen)(void *, mln_size_t);
    int (*log_fd)(void);
    char *(*log_dir_path)(void);
    char *(*log_logfile_path)(void);
    char *(*log_pid_path)(void);
    void (*log_logger_set)(mln_logger_t);
    mln_logger_t (*log_logger_get)(void);
    char *(*path)(void);
    char *(*path_null)(void);
    char *(*path_conf)(void);
    char *(*path_tmpfile)(void);
    char *(*path_pid)(void);
    char *(*path_log)(void);
    char *(*path_melang_lib)(void);
    char *(*path_melang_dylib)(void);
    void (*path_hook_set)(mln_path_type_t, mln_path_hook_t);
    int (*boot_params)(int, char **);
    int (*daemon)(void);
    int (*sys_limit_modify)(void);
    void (*time2utc)(time_t, struct utctime *);
    mln_file_t *(*file_tmp_open)(mln_alloc_t *);
    void (*file_close)(mln_file_t *);
    mln_fileset_t *(*fileset_init)(mln_size_t);
    void (*fileset_destroy)(mln_fileset_t *);
    void (*func_entry_callback_set)(mln_func_entry_cb_t);
    mln_func_entry_cb_t (*func_entry_callback_get)(void);
    void (*func_exit_callback_set)(mln_func_exit_cb_t);
    mln_func_exit_cb_t (*func_exit_callback_get)(void);
    int (*load_thread)(mln_event_t *);
    int (*thread_create)(mln_event_t *, char *, mln_thread_stype_t, mln_thread_entrance_t, int, char **);
    void (*thread_clear_msg)(mln_thread_msg_t *);
    void (*thread_exit)(int);
    void (*thread_kill)(mln_string_t *);
    void (*thread_cleanup_set)(void (*)(void *), void *);
    void (*thread_module_set)(mln_thread_module_t *, mln_size_t);
};

static const struct prototypes library = {
    mln_alloc_destroy, mln_alloc_m, mln_alloc_c, mln_alloc_re, mln_alloc_free, mln_alloc_available_capacity, mln_buf_new,
    mln_chain_new, mln_chain_new_with_buf, mln_buf_pool_release, mln_chain_pool_release, mln_chain_pool_release_all,
    mln_tcp_conn_init, mln_tcp_conn_destroy, mln_tcp_conn_append_chain, mln_tcp_conn_append, mln_tcp_conn_head, mln_tcp_conn_tail,
    mln_tcp_conn_remove, mln_tcp_conn_pop, mln_tcp_conn_fd_set, mln_tcp_conn_set_nonblock, mln_tcp_conn_move_sent,
    mln_tcp_conn_send_chain, mln_tcp_conn_send, mln_tcp_conn_recv, mln_event_new, mln_event_free, mln_event_dispatch,
    mln_event_fd_set, mln_event_fd_timeout_handler_set, mln_event_timer_set, mln_event_timer_cancel, mln_event_callback_set,
    mln_fork_prepare, mln_fork, mln_fork_spawn, mln_fork_restart, mln_fork_iterate, mln_fork_master_connection_get,
    mln_fork_master_events_set, mln_fork_worker_events_set, mln_fork_resource_clear_handler_set, mln_fork_master_ipc_handler_set,
    mln_fork_worker_ipc_handler_set, mln_fork_socketpair_close_handler, mln_ipc_fd_handler_master, mln_ipc_fd_handler_worker,
    mln_ipc_master_send_prepare, mln_ipc_worker_send_prepare, mln_ipc_handler_register, mln_ipc_handler_unregister,
    mln_ipc_set_process_handlers, mln_framework_init, mln_conf_load, mln_conf_reload, mln_conf_free, mln_conf_dump, mln_conf,
    mln_conf_is_empty, mln_conf_hook_set, mln_conf_hook_unset, mln_conf_hook_free, mln_conf_arg_num, mln_log_destroy,
    mln_log_reload, mln_log_writen, mln_log_fd, mln_log_dir_path, mln_log_logfile_path, mln_log_pid_path, mln_log_logger_set,
    mln_log_logger_get, mln_path, mln_path_null, mln_path_conf, mln_path_tmpfile, mln_path_pid, mln_path_log, mln_path_melang_lib,
    mln_path_melang_dylib, mln_path_hook_set, mln_boot_params, mln_daemon, mln_sys_limit_modify, mln_time2utc, mln_file_tmp_open,
    mln_file_close, mln_fileset_init, mln_fileset_destroy, mln_func_entry_callback_set, mln_func_entry_callback_get,
    mln_func_exit_callback_set, mln_func_exit_callback_get, mln_load_thread, mln_thread_create, mln_thread_clear_msg,
    mln_thread_exit, mln_thread_kill, mln_thread_cleanup_set, mln_thread_module_set,
};

static void every_function_is_there(void)
{
    void *addresses[sizeof library / sizeof(void *)];
    size_t i;

    memcpy(addresses, &library, sizeof addresses);
    for (i = 0; i < sizeof addresses / sizeof addresses[0]; i++)
        CHECK(addresses[i] != NULL);
}

/* ---- types ---- */

/* As a program declares its own: variables, members, parameters. */
struct program {
    mln_spin_t spin;
    mln_string_t string;
    mln_alloc_t *pool;
    mln_file_t file;
    mln_buf_t buf;
    mln_chain_t chain;
    mln_tcp_conn_t conn;
    mln_event_t *ev;
    mln_event_desc_t *desc;
    mln_event_timer_t *timer;
    enum mln_event_type event_type;
    ev_fd_handler on_fd;
    ev_tm_handler on_timer;
    dispatch_callback on_iteration;
    mln_fork_t worker;
    struct mln_fork_s *same_worker;
    struct mln_fork_attr start;
    enum proc_state_type stype;
    enum proc_exec_type etype;
    mln_ipc_handler_t handler;
    mln_ipc_cb_t registration;
    ipc_handler on_message;
    clr_handler on_fork;
    fork_iterate_handler on_worker;
    mln_conf_t conf;
    mln_conf_domain_t domain;
    mln_conf_cmd_t command;
    mln_conf_item_t item;
    mln_conf_item_type_t item_type;
    mln_conf_hook_t hook;
    mln_conf_domain_cb_t on_domain;
    mln_conf_cmd_cb_t on_command;
    mln_conf_item_cb_t on_item;
    mln_conf_item_update_cb_t on_update;
    reload_handler on_reload;
    mln_log_t log;
    mln_log_level_t level;
    mln_logger_t logger;
    mln_boot_t word;
    boot_param on_word;
    struct utctime date;
    struct mln_framework_attr attr;
    mln_framework_init_t on_init;
    mln_framework_process_t on_start;
    mln_path_type_t path_type;
    mln_path_hook_t path_hook;
    mln_func_entry_cb_t on_entry;
    mln_func_exit_cb_t on_exit;
    mln_thread_msg_t msg;
    mln_thread_module_t module;
    mln_thread_t *thread;
    mln_thread_stype_t thread_stype;
    mln_thread_entrance_t entrance;
};

static void structures_have_their_fields(void)
{
    struct program p;

    memset(&p, 0, sizeof p);
    CHECK_INT(p.worker.msg_buf_size, 0);
    CHECK(p.registration.next == NULL && p.registration.prev == NULL && p.registration.master_handler == NULL);
    CHECK(p.registration.worker_handler == NULL && p.registration.master_data == NULL && p.registration.worker_data == NULL);
    CHECK(p.registration.type == 0);
    CHECK(p.attr.argc == 0 && p.attr.argv == NULL && p.attr.global_init == NULL && p.attr.main_thread == NULL);
    CHECK(p.attr.master_process == NULL && p.attr.worker_process == NULL);
    CHECK(p.conf.search == NULL && p.conf.insert == NULL && p.conf.remove == NULL && p.conf.cb == NULL);
    CHECK(p.domain.search == NULL && p.domain.insert == NULL && p.domain.remove == NULL);
    CHECK(p.command.search == NULL && p.command.update == NULL);
    CHECK(p.log.fd == 0 && p.log.in_daemon == 0 && p.log.init == 0 && p.log.level == none && p.log.dir_path == NULL);
    CHECK(p.log.pid_path == NULL && p.log.log_path == NULL);
    CHECK(p.conn.nonblock == 0);
}

/* ---- strings and pools ---- */

static void strings_and_pools(void)
{
    mln_alloc_t *pool = mln_alloc_init(NULL, 0), *small = mln_alloc_init(pool, 100);
    mln_string_t s, literal = mln_string("abc"), *copy;
    mln_u8ptr_t bytes;

    CHECK(pool != NULL && small != NULL);
    CHECK(mln_alloc_available_capacity(small) == 100);
    CHECK(mln_alloc_m(small, 101) == NULL && mln_alloc_m(small, 50) != NULL);
    CHECK(mln_alloc_available_capacity(small) == 50);
    CHECK(mln_alloc_available_capacity(pool) == (mln_size_t)-1);
    mln_alloc_destroy(small);

    CHECK_PTR(mln_string_set(&s, "text"), &s);
    CHECK_PTR(mln_string_nset(&s, "text", 2), &s);
    CHECK_INT(s.len, 2);
    copy = mln_string_new("text");
    CHECK_INT(mln_string_const_strcmp(copy, "text"), 0);
    CHECK_PTR(mln_string_ref(copy), copy);
    mln_string_free(copy);
    mln_string_free(copy);
    mln_string_free(mln_string_const_ndup((char *)"text", 2));
    mln_string_free(mln_string_pool_const_ndup(pool, (char *)"text", 2));
    mln_string_free(mln_string_alloc(10));
    mln_string_free(mln_string_pool_alloc(pool, 10));
    mln_string_free(mln_string_concat(&s, &literal, &literal));
    mln_string_free(mln_string_pool_concat(pool, &s, &literal, NULL));
    CHECK((bytes = (mln_u8ptr_t)malloc(4)) != NULL);
    memcpy(bytes, "abc", 4);
    copy = mln_string_buf_new(bytes, 3);
    CHECK_INT(mln_string_strcmp(copy, &literal), 0);
    mln_string_free(copy);
    bytes = (mln_u8ptr_t)mln_alloc_m(pool, 4);
    mln_string_free(mln_string_pool_buf_new(pool, bytes, 3));
    mln_alloc_destroy(pool);
}

/* ---- what is left: macros, and functions that programs call with less exact types than these ---- */

static void connections(void)
{
    mln_tcp_conn_t conn;
    int fds[2];

    CHECK_INT(pipe2(fds, O_NONBLOCK), 0);
    CHECK_INT(mln_tcp_conn_init(&conn, fds[0]), 0);
    CHECK_INT(conn.nonblock, 1);
    CHECK_INT(mln_tcp_conn_fd_get(&conn), fds[0]);
    CHECK_INT(mln_tcp_conn_set_nonblock(&conn, 0), 0);
    CHECK_INT(conn.nonblock, 0);
    mln_tcp_conn_fd_set(&conn, fds[1]);
    CHECK_INT(conn.nonblock, 1);
    CHECK(mln_tcp_conn_pool_get(&conn) != NULL);
    CHECK(mln_tcp_conn_head(&conn, M_C_SEND) == NULL && mln_tcp_conn_tail(&conn, M_C_SENT) == NULL);
    mln_tcp_conn_move_sent(&conn);
    CHECK_INT(mln_tcp_conn_send_chain(&conn, NULL), M_C_NOTYET);
    CHECK(mln_tcp_conn_send_empty(&conn) && mln_tcp_conn_recv_empty(&conn) && mln_tcp_conn_sent_empty(&conn));
    mln_tcp_conn_destroy(&conn);
    CHECK_INT(mln_socket_close(fds[0]), 0);
    CHECK_INT(mln_socket_close(fds[1]), 0);
}

static void break_or_go_on(mln_event_t *ev, void *data)
{
    if (data == NULL)
        mln_event_break_set(ev);
    else
        mln_event_break_reset(ev);
}

static void a_break_lasts(void)
{
    mln_event_t *ev = mln_event_new();
    mln_event_timer_t *timer;

    CHECK(ev != NULL);
    CHECK((timer = mln_event_timer_set(ev, 3600000, NULL, break_or_go_on)) != NULL);
    mln_event_timer_cancel(ev, timer);
    CHECK(mln_event_timer_set(ev, 1, NULL, break_or_go_on) != NULL);
    mln_event_dispatch(ev);
    mln_event_dispatch(ev); /* returns at once */
    mln_event_break_reset(ev);
    CHECK(mln_event_timer_set(ev, 1, NULL, break_or_go_on) != NULL);
    mln_event_dispatch(ev);
    mln_event_free(ev);
    CHECK(mln_event_signal_set(SIGUSR1, SIG_IGN) == SIG_DFL);
    CHECK(mln_event_signal_set(SIGUSR1, SIG_DFL) == SIG_IGN);
}

static char missing[] = "no_such_domain";

static void configuration_and_log(void)
{
    mln_conf_cmd_t *commands[1];

    CHECK_INT(mln_conf_load(), 0);
    CHECK(mln_conf_is_empty(mln_conf()));
    CHECK(mln_conf_is_empty(NULL));
    CHECK_INT(mln_conf_cmd_num(mln_conf(), missing), 0);
    mln_conf_cmds(mln_conf(), missing, commands);
    CHECK_INT(mln_log_init(NULL), 0);
    CHECK_INT(mln_log_init(mln_conf()), 0);
    CHECK_INT(mln_log_fd(), 2);
    CHECK_INT(mln_log_in_daemon(), 0);
    CHECK(mln_log_logger_get() != NULL);
    mln_log(none, "a line of the log\n");
    mln_log(none, "a line of the log: %S\n", (mln_string_t *)NULL);
    _mln_sys_log(none, __FILE__, __FUNCTION__, __LINE__, (char *)"and one more\n");
    CHECK_INT(g_log.level, none);
    mln_conf_free();
}

static int sum(int a, int b);
MLN_FUNC(, int, sum, (int a, int b), (a, b), { return a + b; })
MLN_FUNC_VOID(static, void, add, (int *a, int b), (a, b), { *a = sum(*a, b); })

static void macros(void)
{
    struct program p;
    int n = 1;
    mln_spin_t spin;

    add(&n, 2);
    CHECK_INT(n, 3);
    CHECK_PTR(mln_container_of(&p.conn, struct program, conn), &p);
    CHECK_INT(mln_offsetof(struct program, spin), 0);
    ASSERT(n == 3);
    CHECK_INT(mln_spin_init(&spin), 0);
    mln_spin_lock(&spin);
    CHECK(mln_spin_trylock(&spin) != 0);
    mln_spin_unlock(&spin);
    mln_spin_destroy(&spin);
    CHECK(mln_isalpha('a') && mln_isdigit('0') && mln_isascii('a') && mln_isprint('a') && mln_iswhitespace(' '));
}

/* ---- threads ---- */

static int entrance(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return 0;
}

static void append(void *text)
{
    strcat((char *)text, "cleaned up");
}

static void *ended_by_exit(void *text)
{
    mln_thread_cleanup_set(append, text);
    mln_thread_exit(7);
}

static void *ended_by_return(void *text)
{
    mln_thread_cleanup_set(append, text);
    return NULL;
}

static void *ended_without(void *text)
{
    mln_thread_cleanup_set(append, text);
    mln_thread_cleanup_set(NULL, NULL);
    return NULL;
}

static void expect_thread(void *(*function)(void *), void *result, const char *expected)
{
    char text[50] = "";
    pthread_t thread;
    void *got;

    CHECK_INT(pthread_create(&thread, NULL, function, text), 0);
    CHECK_INT(pthread_join(thread, &got), 0);
    CHECK_PTR(got, result);
    CHECK_STR(text, expected);
}

static void threads_are_refused(void)
{
    static char alias[] = "thread";
    char *argv[] = {alias, NULL};

    errno = 0;
    CHECK_INT(mln_thread_create(NULL, alias, THREAD_DEFAULT, entrance, 1, argv), -1);
    CHECK_INT(errno, ENOTSUP);
    expect_thread(ended_by_exit, (void *)7, "cleaned up");
    expect_thread(ended_by_return, NULL, "cleaned up");
    expect_thread(ended_without, NULL, "");
}

static void say_goodbye(void *text)
{
    fputs((char *)text, stderr);
    _exit(0);
}

int main(void)
{
    constants_have_their_values();
    every_function_is_there();
    structures_have_their_fields();
    strings_and_pools();
    connections();
    a_break_lasts();
    configuration_and_log();
    macros();
    threads_are_refused();
    mln_thread_cleanup_set(say_goodbye, (void *)"the main thread ends, and the process with it\n");
    mln_thread_exit(1);
}
