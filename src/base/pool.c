/* Workers wait for a generation number to change, first spinning briefly, then asleep; tasks are
 * handed out by an atomic counter, so that an unlucky thread does not hold up the others. */
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Spins of a few nanoseconds each: about 20 microseconds, less than one wake-up costs twice. */
enum { SPINS = 4000, MAX_THREADS = 256 };

typedef struct worker {
    hone_pool *pool;
    pthread_t thread;
    int index;
} worker;

struct hone_pool {
    int n_threads;
    worker *workers; /* n_threads - 1 */
    int n_started;
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    _Atomic unsigned generation;
    atomic_int n_sleeping;
    atomic_bool is_stopping;
    hone_task_fn fn;
    void *arg;
    int64_t n_tasks;
    _Atomic int64_t next;
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

static void work(hone_pool *p, int index) {
    task_worker = index + 1;
    for (;;) {
        int64_t i = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (i >= p->n_tasks)
            break;
        p->fn(p->arg, i, index);
    }
    task_worker = 0;
}

static unsigned wait_for_work(hone_pool *p, unsigned seen) {
    for (int i = 0; i < SPINS; ++i) {
        unsigned g = atomic_load_explicit(&p->generation, memory_order_acquire);
        if (g != seen)
            return g;
        relax();
    }
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->n_sleeping, 1);
    unsigned g;
    while ((g = atomic_load(&p->generation)) == seen)
        pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->n_sleeping, 1);
    pthread_mutex_unlock(&p->lock);
    return g;
}

static void *worker_main(void *arg) {
    worker *w = arg;
    hone_pool *p = w->pool;
    unsigned seen = 0;
    for (;;) {
        seen = wait_for_work(p, seen);
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

static void next_generation(hone_pool *p) {
    atomic_fetch_add(&p->generation, 1);
    /* A worker counts itself asleep under the lock, before it looks at the generation again. */
    if (atomic_load(&p->n_sleeping) > 0) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
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
    p->n_tasks = n_tasks;
    atomic_store(&p->next, 0);
    atomic_store(&p->n_busy, p->n_threads - 1);
    next_generation(p);
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
    if (n_threads < 0 || n_threads > MAX_THREADS)
        return hone_fail(err, HONE_E_ARGUMENT, "%d threads: must be 0 (automatic) to %d", n_threads,
                         MAX_THREADS);
    hone_pool *p = calloc(1, sizeof *p);
    worker *workers = calloc((size_t)n_threads, sizeof *workers);
    if (!p || !workers) {
        free(p);
        free(workers);
        return hone_fail(err, HONE_E_NOMEM, "no memory for a thread pool");
    }
    p->n_threads = n_threads;
    p->workers = workers;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->done, NULL);
    for (int i = 0; i < n_threads - 1; ++i) {
        workers[i] = (worker){.pool = p, .index = i + 1};
        if (pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) != 0) {
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
    next_generation(p);
    for (int i = 0; i < p->n_started; ++i)
        pthread_join(p->workers[i].thread, NULL);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->wake);
    pthread_cond_destroy(&p->done);
    free(p->workers);
    free(p);
}

/* ---- how many threads -------------------------------------------------------------------------
 */

/* CPUs of the quota, rounded up; 0 when there is none. v2: "max 100000" or "150000 100000" in
 * cpu.max; v1: two files. */
static int quota_of(const char *quota_path, const char *period_path) {
    char text[64] = "";
    FILE *f = fopen(quota_path, "r");
    if (!f)
        return 0;
    bool ok = fgets(text, sizeof text, f) != NULL;
    fclose(f);
    if (!ok)
        return 0;
    char *rest;
    long quota = strtol(text, &rest, 10), period = strtol(rest, NULL, 10);
    if (period_path) {
        f = fopen(period_path, "r");
        if (!f)
            return 0;
        period = fgets(text, sizeof text, f) ? strtol(text, NULL, 10) : 0;
        fclose(f);
    }
    if (quota <= 0 || period <= 0)
        return 0;
    return (int)((quota + period - 1) / period);
}

/* The process's own cgroup, as /proc/self/cgroup names it ("0::/path"), and its parents: the
 * tightest quota on the way counts. */
static int quota_v2(void) {
    char line[512], path[512] = "/";
    FILE *f = fopen("/proc/self/cgroup", "r");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "0::", 3) == 0)
            snprintf(path, sizeof path, "%.*s", (int)strcspn(line + 3, "\n"), line + 3);
    }
    if (f)
        fclose(f);
    int least = 0;
    for (;;) {
        char file[600];
        snprintf(file, sizeof file, "/sys/fs/cgroup%s/cpu.max", strcmp(path, "/") ? path : "");
        int n = quota_of(file, NULL);
        if (n > 0 && (least == 0 || n < least))
            least = n;
        char *slash = strrchr(path, '/');
        if (!slash || path[1] == '\0')
            return least;
        if (slash == path)
            slash[1] = '\0';
        else
            *slash = '\0';
    }
}

int hone_default_threads(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) < n)
        n = CPU_COUNT(&set);
    int quota = quota_v2();
    if (quota == 0)
        quota =
            quota_of("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    if (quota > 0 && quota < n)
        n = quota;
    return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : (int)n;
}
