/* deadline: 300ms */
#include "check.h"

int main(void)
{
    fprintf(stderr, "before the hang\n");
    for (;;)
        pause();
}
