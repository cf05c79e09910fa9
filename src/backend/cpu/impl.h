/* What the kernels' prepare and run functions share. */
#ifndef HONE_BACKEND_CPU_IMPL_H
#define HONE_BACKEND_CPU_IMPL_H

#include "ir/op.h"
#include "kernels/vec.h"

/** Refuse the node: the reference kernel runs. `reason` is for --explain. */
#define HONE_REJECT_IF(condition, reason)                                                          \
    do {                                                                                           \
        if (condition)                                                                             \
            return hone_fail(c->err, HONE_E_UNSUPPORTED, "%s", reason);                            \
    } while (0)

static inline const hone_vec_kernels *hone_vec(void) {
    return hone_vec_kernels_for(hone_cpu_isa());
}
static inline bool hone_is_f32(const hone_type *t) {
    return t->kind == HONE_KIND_TENSOR && t->dtype == HONE_DTYPE_F32;
}
static inline bool hone_is_bf16(const hone_type *t) {
    return t->kind == HONE_KIND_TENSOR && t->dtype == HONE_DTYPE_BF16;
}
/** Elements of a static type. */
static inline int64_t hone_count(const hone_type *t) {
    return hone_dims_count(t->dims, 0, t->rank);
}
/** Split [0, n) over the threads in chunks of `grain`: fn(arg, begin, end, worker). */
typedef void (*hone_range_fn)(void *arg, int64_t begin, int64_t end, int worker);
void hone_parallel_range(hone_pool *pool, int64_t n, int64_t grain, hone_range_fn fn, void *arg);

#endif
