/*
 * func.c - the callbacks of functions that are watched (mln_func.h).
 */
#include "mln_func.h"

static mln_func_entry_cb_t entry_callback;
static mln_func_exit_cb_t exit_callback;

void mln_func_entry_callback_set(mln_func_entry_cb_t cb)
{
    __atomic_store_n(&entry_callback, cb, __ATOMIC_RELEASE);
}

mln_func_entry_cb_t mln_func_entry_callback_get(void)
{
    return __atomic_load_n(&entry_callback, __ATOMIC_ACQUIRE);
}

void mln_func_exit_callback_set(mln_func_exit_cb_t cb)
{
    __atomic_store_n(&exit_callback, cb, __ATOMIC_RELEASE);
}

mln_func_exit_cb_t mln_func_exit_callback_get(void)
{
    return __atomic_load_n(&exit_callback, __ATOMIC_ACQUIRE);
}
