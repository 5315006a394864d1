/*
 * eras_seed.c - every name of the seed era: it compiles with the prototypes that programs of that era rely on, it links, and what is
 * safe to call does what it did.
 */
#include "check.h"

#include "mln_alloc.h"
#include "mln_chain.h"
#include "mln_conf.h"
#include "mln_connection.h"
#include "mln_core.h"
#include "mln_defs.h"
#include "mln_event.h"
#include "mln_fheap.h"
#include "mln_file.h"
#include "mln_fork.h"
#include "mln_global.h"
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

#include <errno.h>

/* ---- constants ---- */

static void constants_have_their_values(void)
{
    CHECK_INT(M_EV_RECV, 0x1);
    CHECK_INT(M_EV_SEND, 0x2);
    CHECK_INT(M_EV_ERROR, 0x4);
    CHECK_INT(M_EV_RSE_MASK, 0x7);
    CHECK_INT(M_EV_ONESHOT, 0x8);
    CHECK_INT(M_EV_NONBLOCK, 0x10);
    CHECK_INT(M_EV_BLOCK, 0x20);
    CHECK_INT(M_EV_APPEND, 0x40);
    CHECK_INT(M_EV_CLR, 0x80);
    CHECK_INT(M_EV_FD_MASK, 0xff);
    CHECK_INT(M_EV_SET, 0x100);
    CHECK_INT(M_EV_UNSET, 0x200);
    CHECK_INT(M_EV_UNLIMITED, -1);
    CHECK_INT(M_EV_UNMODIFIED, -2);
    CHECK_INT(M_EV_HASH_LEN, 64);
    CHECK_INT(M_EV_EPOLL_SIZE, 1024);
    CHECK(sizeof M_EV_RECV == sizeof(mln_u32_t));
    CHECK(M_EV_FD != M_EV_TM && M_EV_TM != M_EV_SIG);

    CHECK_INT(M_C_SEND, 1);
    CHECK_INT(M_C_RECV, 2);
    CHECK_INT(M_C_SENT, 3);
    CHECK_INT(M_C_FINISH, 1);
    CHECK_INT(M_C_NOTYET, 2);
    CHECK_INT(M_C_ERROR, 3);
    CHECK_INT(M_C_CLOSED, 4);
    CHECK_INT(M_C_TYPE_MEMORY, 1);
    CHECK_INT(M_C_TYPE_FILE, 2);
    CHECK_INT(M_C_TYPE_FOLLOW, 8);

    CHECK_INT(CONF_NONE, 0);
    CHECK_INT(CONF_STR, 1);
    CHECK_INT(CONF_CHAR, 2);
    CHECK_INT(CONF_BOOL, 3);
    CHECK_INT(CONF_INT, 4);
    CHECK_INT(CONF_FLOAT, 5);

    CHECK_INT(M_PST_DFL, 0);
    CHECK_INT(M_PST_SUP, 1);
    CHECK_INT(M_PET_DFL, 0);
    CHECK_INT(M_PET_EXE, 1);
    CHECK_INT(STATE_IDLE, 0);
    CHECK_INT(STATE_LENGTH, 1);
    CHECK_INT(M_F_TYPELEN, 4);
    CHECK_INT(M_F_LENLEN, 4);
    CHECK_INT(M_IPC_CONF_RELOAD, 1);

    CHECK(none < report && report < debug && debug < warn && warn < error && none == 0);
    CHECK_INT(M_LOG_PATH_LEN, 1024);
    CHECK_INT(M_TOOLS_TIME_UTC, 0);
    CHECK_INT(M_TOOLS_TIME_GENERALIZEDTIME, 1);
    CHECK(ITC_REQUEST != ITC_RESPONSE && THREAD_RESTART != THREAD_DEFAULT);
}

/* ---- prototypes: an assignment that does not fit is a warning, and that an error ---- */

struct prototypes {
    void (*alloc_destroy)(mln_alloc_t *);
    void *(*alloc_m)(mln_alloc_t *, mln_size_t);
    void *(*alloc_c)(mln_alloc_t *, mln_size_t);
    void *(*alloc_re)(mln_alloc_t *, void *, mln_size_t);
    void (*alloc_free)(void *);
    mln_buf_t *(*buf_new)(mln_alloc_t *);
    mln_chain_t *(*chain_new)(mln_alloc_t *);
    void (*buf_pool_release)(mln_buf_t *);
    void (*chain_pool_release)(mln_chain_t *);
    void (*chain_pool_release_all)(mln_chain_t *);
    int (*tcp_conn_init)(mln_tcp_conn_t *, int);
    void (*tcp_conn_destroy)(mln_tcp_conn_t *);
    void (*tcp_conn_append_chain)(mln_tcp_conn_t *, mln_chain_t *, mln_chain_t *, int);
    void (*tcp_conn_append)(mln_tcp_conn_t *, mln_chain_t *, int);
    mln_chain_t *(*tcp_conn_get_head)(mln_tcp_conn_t *, int);
    mln_chain_t *(*tcp_conn_get_tail)(mln_tcp_conn_t *, int);
    mln_chain_t *(*tcp_conn_remove)(mln_tcp_conn_t *, int);
    mln_chain_t *(*tcp_conn_pop)(mln_tcp_conn_t *, int);
    int (*tcp_conn_send)(mln_tcp_conn_t *);
    int (*tcp_conn_recv)(mln_tcp_conn_t *, mln_u32_t);
    mln_event_t *(*event_init)(mln_u32_t);
    void (*event_destroy)(mln_event_t *);
    void (*event_dispatch)(mln_event_t *);
    int (*event_set_fd)(mln_event_t *, int, mln_u32_t, int, void *, ev_fd_handler);
    void (*event_set_fd_timeout_handler)(mln_event_t *, int, void *, ev_fd_handler);
    int (*event_set_timer)(mln_event_t *, mln_u32_t, void *, ev_tm_handler);
    int (*event_set_signal)(mln_event_t *, mln_u32_t, int, void *, ev_sig_handler);
    void (*event_set_break)(mln_event_t *);
    void (*event_set_callback)(mln_event_t *, dispatch_callback, void *);
    int (*pre_fork)(void);
    int (*fork_workers)(void);
    int (*fork_spawn)(enum proc_state_type, mln_s8ptr_t *, mln_u32_t, mln_event_t *);
    int (*fork_restart)(mln_event_t *);
    int (*fork_scan_all)(mln_event_t *, scan_handler, void *);
    mln_tcp_conn_t *(*fork_get_master_connection)(void);
    void (*fork_master_set_events)(mln_event_t *);
    void (*fork_worker_set_events)(mln_event_t *);
    void (*resource_clear_handler)(clr_handler, void *);
    void (*master_ipc_handler)(mln_ipc_handler_t *);
    void (*worker_ipc_handler)(mln_ipc_handler_t *);
    void (*socketpair_close)(mln_event_t *, mln_fork_t *, int);
    void (*ipc_fd_handler_master)(mln_event_t *, int, void *);
    void (*ipc_fd_handler_worker)(mln_event_t *, int, void *);
    int (*ipc_master_send)(mln_event_t *, mln_u32_t, void *, mln_size_t, mln_fork_t *);
    int (*ipc_worker_send)(mln_event_t *, mln_u32_t, void *, mln_size_t);
    void (*set_ipc_handlers)(void);
    int (*core_init)(struct mln_core_attr *);
    int (*conf_load)(void);
    int (*conf_reload)(void);
    void (*conf_free)(void);
    void (*conf_dump)(void);
    mln_conf_t *(*get_conf)(void);
    mln_conf_hook_t *(*conf_set_hook)(reload_handler, void *);
    void (*conf_unset_hook)(mln_conf_hook_t *);
    void (*conf_free_hook)(void);
    mln_u32_t (*conf_get_narg)(mln_conf_cmd_t *);
    void (*log_destroy)(void);
    int (*log_reload)(void *);
    int (*log_get_fd)(void);
    char *(*log_get_dir_path)(void);
    char *(*log_get_log_path)(void);
    char *(*log_get_pid_path)(void);
    char *(*path)(void);
    char *(*null_path)(void);
    char *(*melang_lib_path)(void);
    char *(*melang_dylib_path)(void);
    int (*boot_params)(int, char **);
    int (*daemon)(void);
    int (*sys_limit_modify)(void);
    void (*time2utc)(time_t, struct utctime *);
    mln_file_t *(*file_open_tmp)(mln_alloc_t *);
    void (*file_close)(mln_file_t *);
    mln_fileset_t *(*fileset_init)(mln_size_t);
    void (*fileset_destroy)(mln_fileset_t *);
    int (*load_thread)(mln_event_t *);
    void (*thread_clear_msg)(mln_thread_msg_t *);
    void (*thread_exit)(int);
    void (*thread_kill)(mln_string_t *);
    void (*thread_cleanup_set)(void (*)(void *), void *);
    void (*thread_module_set)(mln_thread_module_t *, mln_size_t);
};

static const struct prototypes library = {
    mln_alloc_destroy, mln_alloc_m, mln_alloc_c, mln_alloc_re, mln_alloc_free, mln_buf_new, mln_chain_new, mln_buf_pool_release,
    mln_chain_pool_release, mln_chain_pool_release_all, mln_tcp_conn_init, mln_tcp_conn_destroy, mln_tcp_conn_append_chain,
    mln_tcp_conn_append, mln_tcp_conn_get_head, mln_tcp_conn_get_tail, mln_tcp_conn_remove, mln_tcp_conn_pop, mln_tcp_conn_send,
    mln_tcp_conn_recv, mln_event_init, mln_event_destroy, mln_event_dispatch, mln_event_set_fd, mln_event_set_fd_timeout_handler,
    mln_event_set_timer, mln_event_set_signal, mln_event_set_break, mln_event_set_callback, mln_pre_fork, do_fork, mln_fork_spawn,
    mln_fork_restart, mln_fork_scan_all, mln_fork_get_master_connection, mln_fork_master_set_events, mln_fork_worker_set_events,
    mln_set_resource_clear_handler, mln_set_master_ipc_handler, mln_set_worker_ipc_handler, mln_socketpair_close_handler,
    mln_ipc_fd_handler_master, mln_ipc_fd_handler_worker, mln_ipc_master_send_prepare, mln_ipc_worker_send_prepare,
    mln_set_ipc_handlers, mln_core_init, mln_conf_load, mln_conf_reload, mln_conf_free, mln_conf_dump, mln_get_conf,
    mln_conf_set_hook, mln_conf_unset_hook, mln_conf_free_hook, mln_conf_get_narg, mln_log_destroy, mln_log_reload, mln_log_get_fd,
    mln_log_get_dir_path, mln_log_get_log_path, mln_log_get_pid_path, mln_path, mln_null_path, mln_melang_lib_path,
    mln_melang_dylib_path, mln_boot_params, mln_daemon, mln_sys_limit_modify, mln_time2utc, mln_file_open_tmp, mln_file_close,
    mln_fileset_init, mln_fileset_destroy, mln_load_thread, mln_thread_clear_msg, mln_thread_exit, mln_thread_kill,
    mln_thread_cleanup_set, mln_thread_module_set,
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
    mln_u8_t u8;
    mln_s8_t s8;
    mln_u16_t u16;
    mln_s16_t s16;
    mln_u32_t u32;
    mln_s32_t s32;
    mln_u64_t u64;
    mln_s64_t s64;
    mln_u8ptr_t u8ptr;
    mln_s8ptr_t s8ptr;
    mln_u16ptr_t u16ptr;
    mln_s16ptr_t s16ptr;
    mln_u32ptr_t u32ptr;
    mln_s32ptr_t s32ptr;
    mln_u64ptr_t u64ptr;
    mln_s64ptr_t s64ptr;
    mln_size_t size;
    mln_off_t off;
    mln_uptr_t uptr;
    mln_sptr_t sptr;
    mln_uauto_t uauto;
    mln_sauto_t sauto;
    mln_lock_t lock;
    mln_string_t string;
    mln_alloc_t *pool;
    mln_file_t file;
    mln_fileset_t *fileset;
    mln_buf_t buf;
    mln_chain_t chain;
    mln_tcp_conn_t conn;
    mln_event_t *ev;
    mln_event_desc_t *desc;
    enum mln_event_type event_type;
    ev_fd_handler on_fd;
    ev_tm_handler on_timer;
    ev_sig_handler on_signal;
    dispatch_callback on_iteration;
    mln_fork_t worker;
    struct mln_fork_s *same_worker;
    struct mln_fork_attr start;
    enum proc_state_type stype;
    enum proc_exec_type etype;
    mln_ipc_handler_t handler;
    ipc_handler on_message;
    clr_handler on_fork;
    scan_handler on_worker;
    mln_conf_t conf;
    mln_conf_domain_t domain;
    mln_conf_cmd_t command;
    mln_conf_item_t item;
    mln_conf_hook_t hook;
    search_domain find_domain;
    search_cmd find_command;
    search_item find_item;
    reload_handler on_reload;
    mln_log_t log;
    enum log_level level;
    mln_boot_t word;
    boot_param on_word;
    struct utctime date;
    struct mln_core_attr attr;
    mln_core_init_t on_init;
    mln_core_worker_process_t on_worker_start;
    mln_thread_msg_t msg;
    mln_thread_module_t module;
    mln_thread_t *thread;
    tentrance entrance;
};

static void structures_have_their_fields(void)
{
    struct program p;

    memset(&p, 0, sizeof p);
    CHECK(p.worker.prev == NULL && p.worker.next == NULL && p.worker.args == NULL && p.worker.conn.pool == NULL);
    CHECK(p.worker.pid == 0 && p.worker.n_args == 0 && p.worker.state == STATE_IDLE && p.worker.msg_len == 0);
    CHECK(p.worker.msg_type == 0 && p.worker.error_bytes == 0 && p.worker.msg_content == NULL);
    CHECK(p.worker.etype == M_PET_DFL && p.worker.stype == M_PST_DFL);
    CHECK(p.start.args == NULL && p.start.n_args == 0 && p.start.fd == 0 && p.start.pid == 0);
    CHECK(p.start.etype == M_PET_DFL && p.start.stype == M_PST_DFL);
    CHECK(p.handler.handler == NULL && p.handler.data == NULL && p.handler.type == 0);
    CHECK(p.attr.argc == 0 && p.attr.argv == NULL && p.attr.global_init == NULL && p.attr.worker_process == NULL);
    CHECK(p.conf.lex == NULL && p.conf.domain == NULL && p.conf.search == NULL);
    CHECK(p.domain.search == NULL && p.domain.domain_name == NULL && p.domain.cmd == NULL);
    CHECK(p.command.cmd_name == NULL && p.command.search == NULL && p.command.arg_tbl == NULL && p.command.n_args == 0);
    CHECK(p.item.type == CONF_NONE && p.item.val.s == NULL && p.item.val.c == 0 && p.item.val.b == 0 && p.item.val.i == 0);
    CHECK(p.hook.reload == NULL && p.hook.data == NULL && p.hook.prev == NULL && p.hook.next == NULL);
    CHECK(p.word.boot_str == NULL && p.word.alias == NULL && p.word.handler == NULL && p.word.cnt == 0);
    CHECK(p.msg.dest == NULL && p.msg.src == NULL && p.msg.pfunc == NULL && p.msg.pdata == NULL && p.msg.sauto == 0);
    CHECK(p.msg.uauto == 0 && p.msg.c == 0 && sizeof p.msg.padding == 7 && p.msg.type == ITC_REQUEST && p.msg.need_clear == 0);
    CHECK(p.module.alias == NULL && p.module.thread_main == NULL);
    CHECK(p.date.year == 0 && p.date.month == 0 && p.date.day == 0 && p.date.hour == 0 && p.date.minute == 0);
    CHECK(p.date.second == 0 && p.date.week == 0);
}

/* ---- strings ---- */

static void strings(void)
{
    mln_alloc_t *pool = mln_alloc_init();
    mln_string_t literal = mln_string("abc"), other, *copy, *parts;

    CHECK(pool != NULL);
    mln_string_set(&other, "ABC");
    CHECK_INT(mln_string_strcmp(&literal, &literal), 0);
    CHECK_INT(mln_string_const_strcmp(&literal, "abc"), 0);
    CHECK_INT(mln_string_strcasecmp(&literal, &other), 0);
    CHECK_INT(mln_string_const_strcasecmp(&literal, "Abc"), 0);
    CHECK_INT(mln_string_strncmp(&literal, &literal, 2), 0);
    CHECK_INT(mln_string_const_strncmp(&literal, (char *)"abd", 2), 0);
    CHECK_INT(mln_string_strncasecmp(&literal, &other, 2), 0);
    CHECK_INT(mln_string_const_strncasecmp(&literal, (char *)"ABx", 2), 0);
    CHECK_INT(mln_string_strseqcmp(&literal, &literal), 0);
    mln_string_nset(&other, "bcd", 2);
    CHECK_PTR(mln_string_strstr(&literal, &other), (char *)literal.data + 1);
    CHECK_PTR(mln_string_const_strstr(&literal, (char *)"c"), (char *)literal.data + 2);
    CHECK_PTR(mln_string_kmp(&literal, &other), (char *)literal.data + 1);
    CHECK_PTR(mln_string_const_kmp(&literal, (char *)"c"), (char *)literal.data + 2);

    copy = mln_string_new("text");
    CHECK(copy != NULL && copy->len == 4);
    CHECK_PTR(mln_string_ref(copy), copy);
    mln_string_free(copy);
    CHECK_STR((char *)copy->data, "text");
    mln_string_free(copy);
    mln_string_free(mln_string_dup(&literal));
    mln_string_free(mln_string_const_ndup((char *)"text", 2));
    mln_string_free(mln_string_ref_dup(&literal));
    mln_string_free(mln_string_const_ref_dup((char *)"text"));
    mln_string_free(mln_string_strcat(&literal, &other));
    mln_string_free(mln_string_pool_new(pool, "text"));
    mln_string_free(mln_string_pool_dup(pool, &literal));
    mln_string_free(NULL);
    parts = mln_string_slice(&literal, "b");
    CHECK(parts != NULL && parts[0].len == 1 && parts[1].len == 1 && parts[2].len == 0);
    mln_string_slice_free(parts);
    mln_alloc_destroy(pool);
}

/* ---- what is left: macros, and functions that programs call with less exact types than these ---- */

static void buffers_and_connections(void)
{
    mln_alloc_t *pool = mln_alloc_init();
    mln_chain_t *head = NULL, *tail = NULL, *node = mln_chain_new(pool);
    mln_tcp_conn_t conn;

    CHECK(node != NULL);
    node->buf = mln_buf_new(pool);
    CHECK_INT(mln_buf_size(node->buf), 0);
    CHECK_INT(mln_buf_left_size(node->buf), 0);
    mln_chain_add(&head, &tail, node);
    CHECK(head == node && tail == node);
    mln_chain_pool_release_all(head);
    mln_alloc_destroy(pool);

    CHECK_INT(mln_tcp_conn_init(&conn, -1), 0);
    mln_tcp_conn_set_fd(&conn, 2);
    CHECK_INT(mln_tcp_conn_get_fd(&conn), 2);
    mln_tcp_conn_set_fd(&conn, -1);
    CHECK(mln_tcp_conn_get_pool(&conn) != NULL);
    CHECK(mln_tcp_conn_send_empty(&conn) && mln_tcp_conn_recv_empty(&conn) && mln_tcp_conn_sent_empty(&conn));
    mln_tcp_conn_destroy(&conn);
}

static mln_u32_t iterations;

static void end_loop(mln_event_t *ev, void *data)
{
    CHECK_PTR(data, &iterations);
    mln_event_set_break(ev);
}

static void count_iteration(mln_event_t *ev, void *data)
{
    (void)ev;
    ++*(mln_u32_t *)data;
}

static void a_loop_runs_again_after_a_break(void)
{
    mln_event_t *ev = mln_event_init(1);
    int i;

    CHECK(ev != NULL);
    mln_event_set_callback(ev, count_iteration, &iterations);
    for (i = 0; i < 3; i++) {
        iterations = 0;
        CHECK_INT(mln_event_set_timer(ev, 1, &iterations, end_loop), 0);
        mln_event_dispatch(ev);
        CHECK(iterations > 0);
    }
    mln_event_destroy(ev);
}

static void locks(void)
{
    mln_lock_t lock;

    CHECK_INT(MLN_LOCK_INIT(&lock), 0);
    MLN_LOCK(&lock);
    CHECK(MLN_TRYLOCK(&lock) != 0);
    MLN_UNLOCK(&lock);
    MLN_LOCK_DESTROY(&lock);
}

static void time_is_utc(void)
{
    struct utctime date;
    time_t moment;
    mln_string_t text = mln_string("20220401000000Z");

    mln_time2utc(0, &date);
    CHECK_INT(mln_utc2time(&date), 0);
    mln_utc_adjust(&date);
    CHECK_INT(date.year, 1970);
    CHECK_INT(mln_month_days(2024, 2), 29);
    CHECK_INT(mln_s2time(&moment, &text, M_TOOLS_TIME_GENERALIZEDTIME), 0);
    CHECK_INT(moment, 1648771200);
}

static char missing[] = "no_such_domain";

static void configuration_and_log(void)
{
    mln_conf_cmd_t *commands[1];

    CHECK_INT(mln_conf_load(), 0);
    CHECK(mln_get_conf() != NULL);
    CHECK_INT(mln_conf_get_ncmd(mln_get_conf(), missing), 0);
    mln_conf_get_cmds(mln_get_conf(), missing, commands);
    CHECK_INT(mln_log_init(0), 0);
    CHECK_INT(mln_log_get_fd(), 2);
    CHECK_STR(mln_log_get_dir_path(), "");
    mln_log(none, "a line of the log: %d\n", 1);
    _mln_sys_log(none, __FILE__, __FUNCTION__, __LINE__, (char *)"and one more\n");
    CHECK(mln_log_writen((void *)"\n", 1) == 1);
    CHECK_INT(g_log.level, none);
    mln_conf_free();
    CHECK(mln_get_conf() == NULL);
}

static int entrance(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return 0;
}

static void threads_are_refused(void)
{
    static char alias[] = "thread";
    mln_thread_module_t module = {alias, entrance};
    mln_thread_msg_t msg;
    mln_string_t name = mln_string("thread");

    mln_thread_module_set(&module, 1);
    errno = 0;
    CHECK_INT(mln_load_thread(NULL), -1);
    CHECK_INT(errno, ENOTSUP);
    errno = 0;
    CHECK_INT(mln_thread_create(NULL, NULL), -1); /* this era's two arguments: a thread and a loop */
    CHECK_INT(errno, ENOTSUP);
    mln_thread_kill(&name);
    memset(&msg, 0, sizeof msg);
    msg.dest = mln_string_new("to");
    msg.src = mln_string_new("from");
    mln_thread_clear_msg(&msg);
    CHECK(msg.dest == NULL && msg.src == NULL);
    mln_thread_clear_msg(&msg);
    mln_thread_clear_msg(NULL);
}

int main(void)
{
    constants_have_their_values();
    every_function_is_there();
    structures_have_their_fields();
    strings();
    buffers_and_connections();
    a_loop_runs_again_after_a_break();
    locks();
    time_is_utc();
    configuration_and_log();
    threads_are_refused();
    CHECK(mln_fork_get_master_connection() != NULL);
    CHECK_INT(mln_socket_close(dup(2)), 0);
    CHECK(strlen(MLN_AUTHOR) > 0);
    return 0;
}
