#include "check.h"

int main(void)
{
    FILE *file = fopen("forgotten", "w");
    CHECK(file != NULL);
    fclose(file);
    return 0;
}
