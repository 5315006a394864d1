/*
 * Has the library print what a fuzz test sends. What the requests are is told by the only argument.
 */
#include "driver.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "mln_conf.h"
#include "mln_log.h"
#include "mln_path.h"
#include "mln_tools.h"

/* ---- a format and its arguments ---- */

enum { ARGUMENTS = 3 };

struct argument {
    char kind; /* as in the union */
    union {
        int i;
        long l;
        double f;
        const void *p;
    };
    mln_string_t string;
};

static struct argument arguments[ARGUMENTS];

static char *take_text(uint32_t n)
{
    char *text = malloc((size_t)n + 1);

    CHECK(text != NULL);
    memcpy(text, take(n), n);
    text[n] = '\0';
    return text;
}

static void take_argument(struct argument *a)
{
    uint64_t bits;

    a->kind = *(const char *)take(1);
    memcpy(&bits, take(sizeof bits), sizeof bits);
    switch (a->kind) {
    case 'i':
        a->i = (int)bits;
        return;
    case 'l':
        a->l = (long)bits;
        return;
    case 'f':
        memcpy(&a->f, &bits, sizeof a->f);
        return;
    case 's': /* behind its size, as for S */
        a->p = take_text((uint32_t)bits);
        break;
    case 'S':
        a->string = (mln_string_t){.data = (mln_u8ptr_t)take_text((uint32_t)bits), .len = bits};
        a->p = &a->string;
        break;
    default:
        a->p = NULL;
    }
    a->kind = 'p';
}

/* C has no way to make a list of arguments, so every combination of their types is a call. */
#define CALL(kind_0, kind_1, kind_2) \
    if (arguments[0].kind == #kind_0[0] && arguments[1].kind == #kind_1[0] && arguments[2].kind == #kind_2[0]) \
        mln_sys_log(none, "", "", 0, at, arguments[0].kind_0, arguments[1].kind_1, arguments[2].kind_2);
#define CALL_1(kind_0, kind_1) CALL(kind_0, kind_1, i) CALL(kind_0, kind_1, l) CALL(kind_0, kind_1, f) CALL(kind_0, kind_1, p)
#define CALL_0(kind_0) CALL_1(kind_0, i) CALL_1(kind_0, l) CALL_1(kind_0, f) CALL_1(kind_0, p)

static void print_format(void)
{
    for (int i = 0; i < ARGUMENTS; ++i)
        take_argument(&arguments[i]);
    CALL_0(i) CALL_0(l) CALL_0(f) CALL_0(p)
    for (int i = 0; i < ARGUMENTS; ++i) {
        if (arguments[i].kind == 'p')
            free(arguments[i].p == &arguments[i].string ? (void *)arguments[i].string.data : (void *)arguments[i].p);
        memset(&arguments[i], 0, sizeof arguments[i]);
    }
}

/* ---- text that is somebody else's: here the name of a file ---- */

static char *requested_path(void)
{
    return request;
}

static void print_foreign(void)
{
    mln_path_hook_set(m_p_conf, requested_path);
    (void)mln_conf_reload();
}

/* ---- words on the command line: each is terminated, and the status of the process is all that comes back ---- */

static char *no_file(void)
{
    static char path[] = "/nonexistent/log";

    return path;
}

/* 42: none of the words is the library's. */
static void try_words(void)
{
    char *words[64] = {(char *)"text"};
    int n = 1, status;
    pid_t child;

    for (; at < request + size && n < 63; at += strlen(at) + 1)
        words[n++] = at;
    fflush(NULL);
    CHECK((child = fork()) >= 0);
    if (child == 0) {
        mln_path_hook_set(m_p_conf, no_file);
        mln_path_hook_set(m_p_log, no_file);
        status = mln_boot_params(n, words);
        _exit(status == 0 ? 42 : 99);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    forget_printed();
    printf("%d", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* ---- the content of a pid file: what --stop says about it comes back ---- */

static char *conf_file(void)
{
    static char path[] = "./melon.conf";

    return path;
}

/* No number names a process here: a test must not find one to signal. */
static void hide_processes(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ESRCH),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};

    CHECK_INT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_INT(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void try_pid(void)
{
    static const char conf[] = "log_path \"./app.log\";\n";
    char *words[] = {(char *)"text", (char *)"--stop"};
    int status;
    pid_t child;

    write_file("melon.conf", conf, sizeof conf - 1);
    write_file("melon.pid", request, size);
    CHECK((child = fork()) >= 0);
    if (child == 0) {
        hide_processes();
        mln_path_hook_set(m_p_conf, conf_file);
        (void)mln_boot_params(2, words);
        _exit(99);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

int main(int argc, char **argv)
{
    void (*act)(void) = NULL;

    CHECK_INT(argc, 2);
    if (strcmp(argv[1], "format") == 0)
        act = print_format;
    else if (strcmp(argv[1], "foreign") == 0)
        act = print_foreign;
    else if (strcmp(argv[1], "words") == 0)
        act = try_words;
    else if (strcmp(argv[1], "pid") == 0)
        act = try_pid;
    CHECK(act != NULL);
    /* Checks that fail are still seen. The library's words on the command line write to the stream, and are not wanted. */
    if (act != try_words && act != try_pid)
        CHECK((stderr = fdopen(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3), "w")) != NULL);
    serve(act);
    return 0;
}
