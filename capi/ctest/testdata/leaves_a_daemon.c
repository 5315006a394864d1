#include "check.h"

int main(void)
{
    CHECK_INT(daemon(1, 0), 0);
    for (int i = 0; i < 2; i++)
        if (fork() == 0)
            for (;;)
                pause();
    for (;;)
        pause();
}
