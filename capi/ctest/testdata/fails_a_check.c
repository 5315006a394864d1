/*
 * A program that fails an assertion.
 */
#include "check.h"

int main(void)
{
    CHECK_INT(2 + 2, 5);
    return 0;
}
