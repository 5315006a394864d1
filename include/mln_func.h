/**
 * @file mln_func.h
 * Functions whose entry and exit can be watched. Today's era.
 *
 * MLN_FUNC() defines an ordinary function. In a file that defines MLN_FUNC_FLAG before it includes any header of this
 * library, the function in addition calls one callback before and one after its body.
 */
#ifndef __MLN_FUNC_H
#define __MLN_FUNC_H

#ifdef __cplusplus
extern "C" {
#endif

/** Called before the body: source file, name of the function, line of its definition. */
typedef void (*mln_func_entry_cb_t)(const char *file, const char *func, int line);
/** Called after the body, with the same arguments. */
typedef void (*mln_func_exit_cb_t)(const char *file, const char *func, int line);

/**
 * Sets what is called on entry to functions that are watched. May be called from any process and thread, and counts for
 * all threads of the process. Today's era.
 *
 * @param cb the callback; NULL: none, which it is at first.
 */
void mln_func_entry_callback_set(mln_func_entry_cb_t cb);

/** @return the callback that mln_func_entry_callback_set() set, or NULL. Today's era. */
mln_func_entry_cb_t mln_func_entry_callback_get(void);

/** Sets what is called when a watched function returns; otherwise as mln_func_entry_callback_set(). Today's era. */
void mln_func_exit_callback_set(mln_func_exit_cb_t cb);

/** @return the callback that mln_func_exit_callback_set() set, or NULL. Today's era. */
mln_func_exit_cb_t mln_func_exit_callback_get(void);

#ifdef __cplusplus
}
#endif

/**
 * MLN_FUNC(scope, ret, name, params, args, body) defines `scope ret name params body`, where params is the parameter list in
 * parentheses, args the names of the parameters in parentheses and body a block. MLN_FUNC_VOID() is for functions without a
 * result, whose ret is void. The _CUSTOM variants take the two callbacks, each of which may be NULL, as first arguments,
 * and those are called instead of the ones that were set.
 */
#ifndef MLN_FUNC_FLAG

#define MLN_FUNC(scope, ret, name, params, args, ...) scope ret name params __VA_ARGS__
#define MLN_FUNC_VOID(scope, ret, name, params, args, ...) scope ret name params __VA_ARGS__
#define MLN_FUNC_CUSTOM(entry, exit, scope, ret, name, params, args, ...) scope ret name params __VA_ARGS__
#define MLN_FUNC_VOID_CUSTOM(entry, exit, scope, ret, name, params, args, ...) scope ret name params __VA_ARGS__

#else

#define MLN_FUNC(scope, ret, name, params, args, ...) \
    MLN_FUNC_CUSTOM(mln_func_entry_callback_get(), mln_func_exit_callback_get(), scope, ret, name, params, args, __VA_ARGS__)
#define MLN_FUNC_VOID(scope, ret, name, params, args, ...) \
    MLN_FUNC_VOID_CUSTOM(mln_func_entry_callback_get(), mln_func_exit_callback_get(), scope, ret, name, params, args, __VA_ARGS__)

/* The function is declared before its body, which may call it. */
#define MLN_FUNC_CUSTOM(entry, exit, scope, ret, name, params, args, ...) \
    scope ret name params; \
    static ret mln_func_body_##name params __VA_ARGS__ \
    scope ret name params \
    { \
        mln_func_entry_cb_t mln_func_entry = (entry); \
        mln_func_exit_cb_t mln_func_exit; \
        if (mln_func_entry) \
            mln_func_entry(__FILE__, #name, __LINE__); \
        ret mln_func_result = mln_func_body_##name args; \
        mln_func_exit = (exit); \
        if (mln_func_exit) \
            mln_func_exit(__FILE__, #name, __LINE__); \
        return mln_func_result; \
    }
#define MLN_FUNC_VOID_CUSTOM(entry, exit, scope, ret, name, params, args, ...) \
    scope ret name params; \
    static ret mln_func_body_##name params __VA_ARGS__ \
    scope ret name params \
    { \
        mln_func_entry_cb_t mln_func_entry = (entry); \
        mln_func_exit_cb_t mln_func_exit; \
        if (mln_func_entry) \
            mln_func_entry(__FILE__, #name, __LINE__); \
        mln_func_body_##name args; \
        mln_func_exit = (exit); \
        if (mln_func_exit) \
            mln_func_exit(__FILE__, #name, __LINE__); \
    }

#endif

#endif
