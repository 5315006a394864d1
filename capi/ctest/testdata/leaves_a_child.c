#include "check.h"

int main(void)
{
    if (fork() == 0)
        for (;;)
            pause();
    return 0;
}
