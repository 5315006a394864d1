/*
 * demo.c - the main job in one program: a master and four workers that it forked.
 *
 *   1. global_init opens a listening socket and fills a table; every worker inherits both.
 *   2. The master broadcasts a question with mln_fork_scan_all(); every worker answers.
 *   3. One worker is killed; its successor is there at once, with the same inheritance.
 *   4. The configuration file changes, the master gets SIGUSR2, and everyone has the new value.
 *
 * Run it with `make demo`. It ends by itself, with status 0, and leaves no process behind.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mln_conf.h"
#include "mln_core.h"
#include "mln_fork.h"
#include "mln_path.h"

enum { WORKERS = 4, PRIMES = 1000 };

/* The messages of this program. Numbers up to 1024 are the library's. */
enum { READY = 2001, QUESTION, ANSWER, RELOADED };

struct answer {
    int port; /* of the inherited socket */
    int prime; /* from the inherited table */
};

static int listener = -1;
static int *primes;
static char folder[] = "/tmp/mln-demo-XXXXXX"; /* for configuration, log and pid file */
static char conf_file[sizeof folder + sizeof "/demo.conf"];

/* What the master knows. */
static int ready, answers, reloads;
static pid_t killed;

/* ---- before any fork ---- */

static int port_of(int fd)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;

    return getsockname(fd, (struct sockaddr *)&address, &length) == 0 ? ntohs(address.sin_port) : -1;
}

static int open_listener(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 16) != 0) {
        perror("demo: cannot listen");
        return -1;
    }
    return fd;
}

static void fill_table(void)
{
    int n = 0;

    for (int candidate = 2; n < PRIMES; ++candidate) {
        int i = 0;
        while (i < n && candidate % primes[i] != 0)
            ++i;
        if (i == n)
            primes[n++] = candidate;
    }
}

/* A configuration that this program may change. */
static int write_configuration(const char *greeting)
{
    FILE *file = fopen(conf_file, "w");

    if (file == NULL)
        return -1;
    fprintf(file, "framework on;\n"
                  "worker_proc %d;\n"
                  "log_level \"report\";\n"
                  "log_path \"%s/demo.log\";\n"
                  "greeting \"%s\";\n",
            WORKERS, folder, greeting);
    return fclose(file);
}

static const char *greeting(void)
{
    mln_conf_t *cf = mln_get_conf();
    mln_conf_domain_t *cd = cf->search(cf, "main");
    mln_conf_cmd_t *cc = cd->search(cd, "greeting");

    return (const char *)cc->search(cc, 1)->val.s->data;
}

/* ---- in the master ---- */

static int ask(mln_event_t *ev, mln_fork_t *f, void *data)
{
    return mln_ipc_master_send_prepare(ev, QUESTION, data, sizeof(int), f);
}

/* A new greeting in the file, and the signal that says so. */
static void change_configuration(void)
{
    if (write_configuration("good evening") != 0) {
        perror("demo: cannot change the configuration");
        exit(1);
    }
    printf("\n4. master %d: the greeting in the configuration file has changed; SIGUSR2\n", getpid());
    kill(getpid(), SIGUSR2);
}

static void on_ready(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;
    int which = 500;

    (void)buf;
    (void)len;
    (void)udata;
    if (++ready < WORKERS) {
        printf("   worker %d is ready\n", f->pid);
        return;
    }
    printf("   worker %d is ready\n", f->pid);
    if (ready == WORKERS) {
        printf("\n2. master %d asks everybody: which port is yours, and what is prime number %d?\n", getpid(), which);
        mln_fork_scan_all(ev, ask, &which);
        return;
    }
    printf("   so %d has a successor, %d\n", killed, f->pid);
    change_configuration();
}

static void on_answer(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;
    struct answer answer;

    (void)ev;
    (void)udata;
    if (len != sizeof answer)
        return;
    memcpy(&answer, buf, sizeof answer);
    printf("   worker %d: port %d, prime number 500 is %d\n", f->pid, answer.port, answer.prime);
    if (++answers < WORKERS)
        return;
    killed = f->pid;
    printf("\n3. master %d kills worker %d with SIGKILL\n", getpid(), killed);
    kill(killed, SIGKILL);
}

static void on_reloaded(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    mln_fork_t *f = f_ptr;

    (void)udata;
    printf("   worker %d has reloaded: the greeting is \"%.*s\"\n", f->pid, (int)len, (char *)buf);
    if (++reloads < WORKERS)
        return;
    printf("   master %d has reloaded: the greeting is \"%s\"\n", getpid(), greeting());
    mln_event_set_break(ev);
}

/* ---- in a worker ---- */

static void on_question(mln_event_t *ev, void *f_ptr, void *buf, mln_u32_t len, void **udata)
{
    struct answer answer = {.port = port_of(listener)};
    int which;

    (void)f_ptr;
    (void)udata;
    if (len != sizeof which)
        return;
    memcpy(&which, buf, sizeof which);
    answer.prime = primes[which - 1];
    mln_ipc_worker_send_prepare(ev, ANSWER, &answer, sizeof answer);
}

static int tell_greeting(void *data)
{
    const char *text = greeting();

    return mln_ipc_worker_send_prepare(data, RELOADED, (void *)text, strlen(text));
}

static void worker_process(mln_event_t *ev)
{
    mln_conf_set_hook(tell_greeting, ev);
    mln_ipc_worker_send_prepare(ev, READY, NULL, 0);
}

/* ---- the program ---- */

/* Handlers that are set before the fork are inherited, too. */
static mln_ipc_handler_t in_master[] = {{on_ready, NULL, READY}, {on_answer, NULL, ANSWER}, {on_reloaded, NULL, RELOADED}};
static mln_ipc_handler_t in_worker = {on_question, NULL, QUESTION};

static int global_init(void)
{
    if ((listener = open_listener()) < 0 || (primes = calloc(PRIMES, sizeof *primes)) == NULL)
        return -1;
    fill_table();
    for (size_t i = 0; i < sizeof in_master / sizeof in_master[0]; ++i)
        mln_set_master_ipc_handler(&in_master[i]);
    mln_set_worker_ipc_handler(&in_worker);
    printf("1. master %d listens on port %d, has a table of %d primes, and forks %d workers\n", getpid(),
           port_of(listener), PRIMES, WORKERS);
    return 0;
}

static char *configuration(void)
{
    return conf_file;
}

static void clean_up(void)
{
    static const char *const files[] = {"demo.conf", "demo.log", "melon.pid"};
    char path[sizeof folder + 32];

    for (size_t i = 0; i < sizeof files / sizeof files[0]; ++i) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        unlink(path);
    }
    rmdir(folder);
}

int main(int argc, char *argv[])
{
    struct mln_core_attr attr = {
        .argc = argc, .argv = argv, .global_init = global_init, .worker_process = worker_process};
    const pid_t master = getpid();
    int result;

    if (mkdtemp(folder) == NULL) {
        perror("demo: cannot make a folder");
        return 1;
    }
    snprintf(conf_file, sizeof conf_file, "%s/demo.conf", folder);
    if (write_configuration("good morning") != 0) {
        perror("demo: cannot write the configuration");
        return 1;
    }
    mln_path_hook_set(m_p_conf, configuration);
    result = mln_core_init(&attr);
    if (getpid() != master)
        return result;
    clean_up();
    if (result != 0 || reloads != WORKERS)
        return 1;
    printf("\nThat is all: the master breaks its loop, and the workers end with it.\n");
    return 0;
}
