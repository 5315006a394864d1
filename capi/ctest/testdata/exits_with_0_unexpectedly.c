// expect-exit: 7
int main(void)
{
    return 0;
}
