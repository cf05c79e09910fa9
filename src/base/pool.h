/* A small thread pool: parallel loops over task indices. Every thread begins with a run of
 * neighbouring tasks; loops over the same data should number their tasks in the same order.
 *
 * Results must not depend on the number of threads: a task's work depends on its index only. */
#ifndef HONE_BASE_POOL_H
#define HONE_BASE_POOL_H

#include "base/status.h"

typedef struct hone_pool hone_pool;

/** task in [0, n_tasks); worker in [0, n_threads): index of per-thread scratch. */
typedef void (*hone_task_fn)(void *arg, int64_t task, int worker);

/** n_threads counts the calling thread; 0 asks for hone_default_threads(). */
HONE_NODISCARD hone_status hone_pool_create(int n_threads, hone_pool **out, hone_error *err);
void hone_pool_destroy(hone_pool *pool);
/** 1 for a NULL pool. */
int hone_pool_threads(const hone_pool *pool);
/** Runs fn for every task and waits. A NULL pool, or one task, runs in the caller. Not reentrant:
 * a nested call from a task runs in that task's thread. One caller at a time. */
void hone_pool_run(hone_pool *pool, int64_t n_tasks, hone_task_fn fn, void *arg);

#endif
