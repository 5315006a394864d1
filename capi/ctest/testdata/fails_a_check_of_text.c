#include "check.h"

int main(void)
{
    CHECK_STR("one", "two");
    return 0;
}
