/* Resizing: see kernels/resize.h. */
#include <string.h>

#include "kernels/resize.h"

VEC_INLINE vf lerp(vf a, vf b, vf w) {
    return vf_fma(w, vf_sub(b, a), a);
}

static void resize_linear_pixel(const float *a, const float *b, const float *c, const float *d,
                                float weight_x, float weight_y, int64_t n, float *y) {
    const vf wx = vf_set1(weight_x), wy = vf_set1(weight_y);
    int64_t i = 0;
    for (; i + VW <= n; i += VW) {
        vf top = lerp(vf_load(a + i), vf_load(b + i), wx);
        vf_store(y + i, lerp(top, lerp(vf_load(c + i), vf_load(d + i), wx), wy));
    }
    if (i < n) {
        int64_t k = n - i;
        vf top = lerp(vf_load_n(a + i, k), vf_load_n(b + i, k), wx);
        vf low = lerp(vf_load_n(c + i, k), vf_load_n(d + i, k), wx);
        vf_store_n(y + i, lerp(top, low, wy), k);
    }
}

static void resize_run(const hone_resize *p, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
        int64_t image = row / p->out_height, oy = row % p->out_height;
        const float *x = p->x + image * p->x_image, *top = x + p->y_lo[oy] * p->x_row;
        float *y = p->y + image * p->y_image + oy * p->y_row;
        for (int64_t ox = 0; ox < p->out_width; ++ox, y += p->y_pixel) {
            const float *a = top + p->x_lo[ox] * p->x_pixel;
            if (p->is_nearest) {
                memcpy(y, a, (size_t)p->channels * sizeof *y);
                continue;
            }
            int64_t right = (p->x_hi[ox] - p->x_lo[ox]) * p->x_pixel;
            int64_t down = (p->y_hi[oy] - p->y_lo[oy]) * p->x_row;
            resize_linear_pixel(a, a + right, a + down, a + down + right, p->x_weight[ox],
                                p->y_weight[oy], p->channels, y);
        }
    }
}
