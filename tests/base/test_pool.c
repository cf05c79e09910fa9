/* The thread pool: every task runs once, in a worker within bounds that nobody else is, whatever
 * the number of threads and tasks; also after the workers have gone to sleep, which is soon. */
#include "base/pool.h"

#include <stdatomic.h>
#include <stdint.h>
#include <sys/resource.h>
#include <time.h>

#include "base/cpu.h"
#include "base/threads.h"
#include "check.h"

enum { MAX_TASKS = 1000, MAX_WORKERS = 8 };

typedef struct trial {
    hone_pool *pool;
    int n_threads;
    atomic_int runs[MAX_TASKS], inner[MAX_TASKS], users[MAX_WORKERS];
    atomic_int n_wrong;
} trial;

static void enter(trial *t, int worker) {
    if (worker < 0 || worker >= t->n_threads || atomic_fetch_add(&t->users[worker], 1) != 0)
        atomic_fetch_add(&t->n_wrong, 1);
}

static void leave(trial *t, int worker) {
    atomic_fetch_sub(&t->users[worker], 1);
}

static void count(void *arg, int64_t task, int worker) {
    trial *t = arg;
    enter(t, worker);
    atomic_fetch_add(&t->runs[task], 1);
    leave(t, worker);
}

static void count_inner(void *arg, int64_t task, int worker) {
    trial *t = arg;
    enter(t, worker);
    atomic_fetch_add(&t->inner[task], 1);
    leave(t, worker);
}

static void nest(void *arg, int64_t task, int worker) {
    trial *t = arg;
    (void)worker;
    atomic_fetch_add(&t->runs[task], 1);
    hone_pool_run(t->pool, 3, count_inner, t); /* as the same worker */
}

static void check_loop(hone_pool *pool, int64_t n_tasks) {
    static trial t;
    t = (trial){.pool = pool, .n_threads = hone_pool_threads(pool)};
    hone_pool_run(pool, n_tasks, count, &t);
    bool is_once = true;
    for (int64_t i = 0; i < MAX_TASKS; ++i)
        is_once = is_once && atomic_load(&t.runs[i]) == (i < n_tasks);
    CHECK(is_once);
    CHECK(atomic_load(&t.n_wrong) == 0);
}

static void check_nested(hone_pool *pool) {
    static trial t;
    t = (trial){.pool = pool, .n_threads = hone_pool_threads(pool)};
    hone_pool_run(pool, 50, nest, &t);
    for (int i = 0; i < 50; ++i)
        CHECK(atomic_load(&t.runs[i]) == 1);
    for (int i = 0; i < 3; ++i)
        CHECK(atomic_load(&t.inner[i]) == 50);
    CHECK(atomic_load(&t.n_wrong) == 0);
}

static void check_pool(int n_threads) {
    hone_pool *pool = NULL;
    CHECK(hone_pool_create(n_threads, &pool, NULL) == HONE_OK);
    CHECK(hone_pool_threads(pool) == n_threads);
    for (int64_t n = 0; n < 20; ++n)
        check_loop(pool, n);
    check_loop(pool, MAX_TASKS);
    for (int i = 0; i < 3; ++i) {
        nanosleep(&(struct timespec){0, 3000000}, NULL); /* until the workers sleep */
        check_loop(pool, 100);
    }
    check_nested(pool);
    hone_pool_destroy(pool);
}

static double cpu_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void pause_ms(long ms) {
    nanosleep(&(struct timespec){0, ms * 1000000}, NULL);
}

/* A pool that has nothing to do takes no CPU time. */
static void check_idle(void) {
    hone_pool *pool = NULL;
    CHECK(hone_pool_create(4, &pool, NULL) == HONE_OK);
    check_loop(pool, MAX_TASKS);
    pause_ms(20);
    double before = cpu_ms();
    pause_ms(300);
    CHECK(cpu_ms() - before < 3);
    hone_pool_destroy(pool);
}

static long voluntary_switches(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_nvcsw : 0;
}

static void nothing(void *arg, int64_t task, int worker) {
    (void)arg;
    (void)task;
    (void)worker;
}

/* A loop of two tasks wakes one of many sleeping workers: every worker that wakes goes to sleep
 * again, which the system counts. */
static void check_wakes_few(void) {
    enum { LOOPS = 20 };
    hone_pool *pool = NULL;
    CHECK(hone_pool_create(8, &pool, NULL) == HONE_OK);
    pause_ms(20);
    long before = voluntary_switches();
    for (int i = 0; i < LOOPS; ++i) {
        hone_pool_run(pool, 2, nothing, NULL);
        pause_ms(3);
    }
    CHECK(voluntary_switches() - before < LOOPS * 5);
    hone_pool_destroy(pool);
}

int main(void) {
    check_idle();
    check_wakes_few();
    for (int n = 1; n <= 4; ++n)
        check_pool(n);
    check_loop(NULL, 7);
    hone_pool_destroy(NULL);
    CHECK(hone_default_threads() >= 1);
    hone_pool *pool = NULL;
    CHECK(hone_pool_create(-1, &pool, NULL) == HONE_E_ARGUMENT && !pool);
    for (int i = 0; i < HONE_ISA_COUNT; ++i)
        CHECK(hone_isa_parse(hone_isa_name((hone_isa)i)) == i);
    CHECK(hone_isa_parse("avx9000") == -1);
    CHECK(hone_cpu_l1d_bytes() > 0 && hone_cpu_l2_bytes() > 0);
    return CHECK_RESULT();
}
