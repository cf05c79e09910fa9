/* Every worker waits for a ticket of its own, first spinning briefly, then asleep; a loop of few
 * tasks wakes as few workers.
 *
 * Each thread has a share of a loop's tasks, one after the other: the n-th share of one loop mostly
 * reads what the n-th of the loop before has written, which is still in that core's caches. Who is
 * done helps the others from the ends of their shares, so that an unlucky thread does not hold up
 * the loop. */
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/threads.h"

/* Spins of a few nanoseconds each: about 20 microseconds, less than one wake-up costs twice. */
enum { SPINS = 4000 };

/* The tasks that one thread has still to do. Who lowers n_left takes a task: the owner the first,
 * others the last. */
typedef struct share {
    _Alignas(64) _Atomic int64_t n_left;
    _Atomic int64_t end;
    int64_t begin; /* the owner's */
} share;

/* One for each thread but the caller's. */
typedef struct worker {
    hone_pool *pool;
    pthread_t thread;
    int index;
    _Atomic unsigned ticket; /* changes when there is work, or the pool stops */
    atomic_bool is_asleep;
    pthread_mutex_t lock;
    pthread_cond_t wake;
} worker;

struct hone_pool {
    int n_threads;
    worker *workers; /* n_threads - 1 */
    int n_started;
    pthread_mutex_t lock;
    pthread_cond_t done;
    atomic_bool is_stopping;
    hone_task_fn fn;
    void *arg;
    share *shares;     /* n_threads */
    int n_shares;      /* of the current loop */
    atomic_int n_busy; /* workers that have not finished the current loop */
    atomic_bool is_caller_waiting;
};

/* Index of the worker whose task this thread is running, plus 1; 0: none. */
static _Thread_local int task_worker;

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    sched_yield();
#endif
}

static bool takes(share *s) {
    return atomic_load_explicit(&s->n_left, memory_order_relaxed) > 0 &&
           atomic_fetch_sub_explicit(&s->n_left, 1, memory_order_relaxed) > 0;
}

static void work(hone_pool *p, int index) {
    share *own = &p->shares[index];
    task_worker = index + 1;
    while (takes(own))
        p->fn(p->arg, own->begin++, index);
    for (int i = 1; i < p->n_shares; ++i) {
        share *other = &p->shares[(index + i) % p->n_shares];
        while (takes(other))
            p->fn(p->arg, atomic_fetch_sub_explicit(&other->end, 1, memory_order_relaxed) - 1,
                  index);
    }
    task_worker = 0;
}

static void share_out(hone_pool *p, int64_t n_tasks, int n_shares) {
    p->n_shares = n_shares;
    for (int i = 0; i < n_shares; ++i) {
        share *s = &p->shares[i];
        int64_t rest = n_tasks % n_shares, size = n_tasks / n_shares;
        s->begin = size * i + (i < rest ? i : rest);
        size += i < rest;
        atomic_store_explicit(&s->n_left, size, memory_order_relaxed);
        atomic_store_explicit(&s->end, s->begin + size, memory_order_relaxed);
    }
}

static unsigned wait_for_work(worker *w, unsigned seen) {
    for (int i = 0; i < SPINS; ++i) {
        unsigned ticket = atomic_load_explicit(&w->ticket, memory_order_acquire);
        if (ticket != seen)
            return ticket;
        relax();
    }
    pthread_mutex_lock(&w->lock);
    atomic_store(&w->is_asleep, true);
    unsigned ticket;
    while ((ticket = atomic_load(&w->ticket)) == seen)
        pthread_cond_wait(&w->wake, &w->lock);
    atomic_store(&w->is_asleep, false);
    pthread_mutex_unlock(&w->lock);
    return ticket;
}

static void *worker_main(void *arg) {
    worker *w = arg;
    hone_pool *p = w->pool;
    unsigned seen = 0;
    for (;;) {
        seen = wait_for_work(w, seen);
        if (atomic_load(&p->is_stopping))
            return NULL;
        work(p, w->index);
        if (atomic_fetch_sub(&p->n_busy, 1) == 1 && atomic_load(&p->is_caller_waiting)) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->done);
            pthread_mutex_unlock(&p->lock);
        }
    }
}

/* A worker says that it sleeps before it looks at its ticket again, so that either it sees the new
 * ticket or it is seen asleep here. */
static void call(worker *w) {
    atomic_fetch_add(&w->ticket, 1);
    if (atomic_load(&w->is_asleep)) {
        pthread_mutex_lock(&w->lock);
        pthread_cond_signal(&w->wake);
        pthread_mutex_unlock(&w->lock);
    }
}

static void wait_for_workers(hone_pool *p) {
    for (int i = 0; i < SPINS; ++i) {
        if (atomic_load_explicit(&p->n_busy, memory_order_acquire) == 0)
            return;
        relax();
    }
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->is_caller_waiting, true);
    while (atomic_load(&p->n_busy) > 0)
        pthread_cond_wait(&p->done, &p->lock);
    atomic_store(&p->is_caller_waiting, false);
    pthread_mutex_unlock(&p->lock);
}

void hone_pool_run(hone_pool *p, int64_t n_tasks, hone_task_fn fn, void *arg) {
    if (!p || p->n_threads == 1 || n_tasks <= 1 || task_worker) {
        int index = task_worker ? task_worker - 1 : 0;
        for (int64_t i = 0; i < n_tasks; ++i)
            fn(arg, i, index);
        return;
    }
    p->fn = fn;
    p->arg = arg;
    int n_helpers = n_tasks < p->n_threads ? (int)n_tasks - 1 : p->n_threads - 1;
    share_out(p, n_tasks, n_helpers + 1);
    atomic_store(&p->n_busy, n_helpers);
    for (int i = 0; i < n_helpers; ++i)
        call(&p->workers[i]);
    work(p, 0);
    wait_for_workers(p);
}

int hone_pool_threads(const hone_pool *p) {
    return p ? p->n_threads : 1;
}

hone_status hone_pool_create(int n_threads, hone_pool **out, hone_error *err) {
    *out = NULL;
    if (n_threads == 0)
        n_threads = hone_default_threads();
    if (n_threads < 0 || n_threads > HONE_MAX_THREADS)
        return hone_fail(err, HONE_E_ARGUMENT, "%d threads: must be 0 (automatic) to %d", n_threads,
                         HONE_MAX_THREADS);
    hone_pool *p = calloc(1, sizeof *p);
    worker *workers = calloc((size_t)n_threads, sizeof *workers);
    share *shares = aligned_alloc(_Alignof(share), (size_t)n_threads * sizeof *shares);
    if (!p || !workers || !shares) {
        free(p);
        free(workers);
        free(shares);
        return hone_fail(err, HONE_E_NOMEM, "no memory for a thread pool");
    }
    p->n_threads = n_threads;
    p->workers = workers;
    p->shares = shares;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->done, NULL);
    for (int i = 0; i < n_threads - 1; ++i) {
        workers[i].pool = p;
        workers[i].index = i + 1;
        pthread_mutex_init(&workers[i].lock, NULL);
        pthread_cond_init(&workers[i].wake, NULL);
        if (pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) != 0) {
            pthread_mutex_destroy(&workers[i].lock);
            pthread_cond_destroy(&workers[i].wake);
            hone_pool_destroy(p);
            return hone_fail(err, HONE_E_NOMEM, "thread %d of %d could not be started", i + 1,
                             n_threads);
        }
        p->n_started++;
    }
    *out = p;
    return HONE_OK;
}

void hone_pool_destroy(hone_pool *p) {
    if (!p)
        return;
    atomic_store(&p->is_stopping, true);
    for (int i = 0; i < p->n_started; ++i)
        call(&p->workers[i]);
    for (int i = 0; i < p->n_started; ++i) {
        pthread_join(p->workers[i].thread, NULL);
        pthread_mutex_destroy(&p->workers[i].lock);
        pthread_cond_destroy(&p->workers[i].wake);
    }
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->done);
    free(p->workers);
    free(p->shares);
    free(p);
}
