/* Pooling: see kernels/pool.h. Global average is a reduction of [batch, positions, channels]. */
#include "kernels/pool.h"

/* Taps [*first, *last) of a window that starts at `start` and lie inside [0, size). */
static void pool_taps(int64_t start, int64_t n, int64_t dilation, int64_t size, int64_t *first,
                      int64_t *last) {
    int64_t room = size - start;
    *first = start < 0 ? (-start + dilation - 1) / dilation : 0;
    *last = room <= 0 ? 0 : (room + dilation - 1) / dilation;
    *last = *last < n ? *last : n;
    *first = *first < *last ? *first : *last;
}

static float pool_factor(const hone_pool2d *p, int64_t top, int64_t left, int64_t n_inside) {
    if (p->count_include_pad) {
        int64_t y0, y1, x0, x1;
        pool_taps(top + p->pad_top, p->kernel_h, p->dilation_h,
                  p->height + p->pad_top + p->pad_bottom, &y0, &y1);
        pool_taps(left + p->pad_left, p->kernel_w, p->dilation_w,
                  p->width + p->pad_left + p->pad_right, &x0, &x1);
        n_inside = (y1 - y0) * (x1 - x0);
    }
    return n_inside > 0 ? 1.0f / (float)n_inside : 0.0f;
}

#define POOL_ELEM       float
#define POOL_NAME(name) pool_##name
#define POOL_LOAD       vf_load
#define POOL_LOAD_N     vf_load_n
#define POOL_STORE      vf_store
#define POOL_STORE_N    vf_store_n
#include "pool_elem_tmpl.h"
#undef POOL_ELEM
#undef POOL_NAME
#undef POOL_LOAD
#undef POOL_LOAD_N
#undef POOL_STORE
#undef POOL_STORE_N

#define POOL_ELEM       uint16_t
#define POOL_NAME(name) pool_bf16_##name
#define POOL_LOAD       vf_load_bf16
#define POOL_LOAD_N     vf_load_bf16_n
#define POOL_STORE      vf_store_bf16
#define POOL_STORE_N    vf_store_bf16_n
#include "pool_elem_tmpl.h"
#undef POOL_ELEM
#undef POOL_NAME
#undef POOL_LOAD
#undef POOL_LOAD_N
#undef POOL_STORE
#undef POOL_STORE_N
