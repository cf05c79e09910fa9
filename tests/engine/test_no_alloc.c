/* A run allocates nothing once a plan exists, and its results do not depend on the thread count.
 * The linker routes the library's calls of the allocator through the wrappers below.

 * The model is the digit classifier: one float input [batch, 1, 28, 28], one output. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "hone/hone.h"

static atomic_int n_calls;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t alignment, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t alignment, size_t n);

void *__wrap_malloc(size_t n) {
    atomic_fetch_add(&n_calls, 1);
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size) {
    atomic_fetch_add(&n_calls, 1);
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n) {
    atomic_fetch_add(&n_calls, 1);
    return __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t alignment, size_t n) {
    atomic_fetch_add(&n_calls, 1);
    return __real_aligned_alloc(alignment, n);
}

enum { BATCH = 5, PIXELS = 28 * 28, CLASSES = 10, RUNS = 20 };

static float image[BATCH * PIXELS];

static void run_many(const hone_engine *engine, int n_threads, float *out) {
    hone_error err = {0};
    hone_session *s = NULL;
    hone_tensor in = {.kind = HONE_KIND_TENSOR,
                      .dtype = HONE_DTYPE_F32,
                      .rank = 4,
                      .dims = {BATCH, 1, 28, 28},
                      .data = image};
    float again[BATCH * CLASSES];
    CHECK(hone_session_create(engine, n_threads, &s, &err) == HONE_OK);
    CHECK(hone_session_set_input(s, 0, &in, &err) == HONE_OK);
    CHECK(hone_session_set_output(s, 0, out, sizeof again, &err) == HONE_OK);
    CHECK(hone_session_run(s, &err) == HONE_OK);
    CHECK(hone_session_set_output(s, 0, again, sizeof again, &err) == HONE_OK);
    int before = atomic_load(&n_calls);
    for (int i = 0; i < RUNS; ++i)
        CHECK(hone_session_run(s, &err) == HONE_OK);
    CHECK(atomic_load(&n_calls) == before);
    CHECK(memcmp(out, again, sizeof again) == 0);
    hone_session_destroy(s);
}

int main(void) {
    hone_error err = {0};
    hone_model *model = NULL;
    if (hone_model_open(DIGITS_MODEL, &model, &err) != HONE_OK) {
        fprintf(stderr, "test_no_alloc: %s\n", err.message);
        return 2;
    }
    for (int i = 0; i < BATCH * PIXELS; ++i)
        image[i] = (float)(i * 37 % 256);
    for (int optimize = 0; optimize <= 2; optimize += 2) {
        hone_build_options options;
        hone_engine *engine = NULL;
        float out[3][BATCH * CLASSES];
        static const int threads[3] = {1, 2, 4};
        hone_build_options_init(&options);
        options.optimize = optimize;
        CHECK(hone_engine_build(model, &options, &engine, &err) == HONE_OK);
        for (int t = 0; t < 3; ++t)
            run_many(engine, threads[t], out[t]);
        CHECK(memcmp(out[0], out[1], sizeof out[0]) == 0);
        CHECK(memcmp(out[0], out[2], sizeof out[0]) == 0);
        hone_engine_destroy(engine);
    }
    CHECK(atomic_load(&n_calls) > 0); /* the wrappers are in place */
    hone_model_destroy(model);
    return CHECK_RESULT();
}
