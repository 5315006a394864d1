/*
 * entry.c - the table of this copy's Go entry points: the one private symbol by which one copy of the library finds
 * another.
 */
#include "copy.h"
#include "engine.h"
#include "_cgo_export.h"

#ifndef MLN_BUILD
#define MLN_BUILD "development"
#endif

__attribute__((visibility("default"))) extern const struct engine_table _mln_engine;

const struct engine_table _mln_engine = {
    .build = MLN_BUILD,
    .orders = &engine_orders,
    .configure = engineConfigure,
    .conf_parse = engineConfParse,
    .loop_new = engineLoopNew,
    .loop_free = engineLoopFree,
    .loop_next = engineLoopNext,
    .poller_open = enginePollerOpen,
    .fd_set = engineFDSet,
    .fd_known = engineFDKnown,
    .fd_clear = engineFDClear,
    .fd_on_timeout = engineFDOnTimeout,
    .timer_set = engineTimerSet,
    .timer_cancel = engineTimerCancel,
    .channel_attach = engineChannelAttach,
    .channel_detach = engineChannelDetach,
    .channel_receive = engineChannelReceive,
    .channel_want_write = engineChannelWantWrite,
    .worker_watch = engineWorkerWatch,
    .worker_expire = engineWorkerExpire,
    .worker_silent = engineWorkerSilent,
    .worker_retry = engineWorkerRetry,
    .worker_forget = engineWorkerForget,
    .workers_stop = engineWorkersStop,
};
