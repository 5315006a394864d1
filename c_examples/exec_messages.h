/*
 * exec_messages.h - what exec_master.c and exec_worker.c tell each other. Numbers up to 1024 are the library's.
 */
#ifndef EXEC_MESSAGES_H
#define EXEC_MESSAGES_H

enum {
    HELLO = 2001, /* worker: it has started; the payload is its name */
    SHOUT,        /* master: a text */
    SHOUTED,      /* worker: that text in capitals */
    FINISH        /* master: end, with status 0 */
};

#endif
