// env: DIRECTIVE=kept
// expect-exit: 3
#include "check.h"

#include <sys/wait.h>

int main(int argc, char **argv)
{
    printf("first argument: %s\n", argc > 1 ? argv[1] : "none");
    printf("DIRECTIVE=%s\n", getenv("DIRECTIVE"));

    int before = fd_count();
    CHECK_INT(before, 3);
    FILE *file = fopen("made", "w");
    CHECK(file != NULL);
    CHECK_INT(fd_count(), before + 1);
    fclose(file);
    CHECK_INT(remove("made"), 0);

    CHECK_INT(child_count(), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    CHECK_INT(child_count(), 1);
    CHECK_INT(waitpid(child, NULL, 0), child);
    CHECK_INT(child_count(), 0);

    CHECK_STR(getenv("MLN_CONF"), NULL);
    CHECK_PTR(&before, &before);
    CHECK(now_ms() > 0);
    fflush(stdout);

    /* A process that ends by itself soon after the program is no leftover. */
    if (fork() == 0) {
        usleep(200000);
        _exit(0);
    }
    return 3;
}
