/* Average and maximum pooling on integers: input [n, h, w, c]; padding is not counted. */
#include "ops/conv_shape.h"
#include "ops/tfl_quant.h"

typedef struct pool_job {
    const hone_tensor *x;
    hone_tensor *y;
    hone_window win;
    int32_t low, high;
    bool is_max;
    int64_t *sums; /* channels for each thread */
} pool_job;

/* The inputs of output (oy, ox) that exist, their number and, for each channel, sum or maximum. */
static int64_t collect(const pool_job *j, int64_t image, int64_t oy, int64_t ox, int64_t *sum) {
    const hone_window *w = &j->win;
    int64_t channels = j->x->dims[3], n = 0;
    int64_t top = oy * w->stride[0] - w->pad[0], left = ox * w->stride[1] - w->pad[1];
    int64_t bottom = tfl_clamp(top + w->kernel[0], 0, w->in[0]);
    int64_t right = tfl_clamp(left + w->kernel[1], 0, w->in[1]);
    for (int64_t iy = top < 0 ? 0 : top; iy < bottom; ++iy) {
        for (int64_t ix = left < 0 ? 0 : left; ix < right; ++ix) {
            int64_t at = ((image * w->in[0] + iy) * w->in[1] + ix) * channels;
            for (int64_t c = 0; c < channels; ++c) {
                int32_t v = tfl_load(j->x->dtype, j->x->data, at + c);
                if (j->is_max)
                    sum[c] = n == 0 || v > sum[c] ? v : sum[c];
                else
                    sum[c] = n == 0 ? v : sum[c] + v;
            }
            ++n;
        }
    }
    return n;
}

static void pool_row(void *arg, int64_t row, int worker) {
    const pool_job *j = arg;
    int64_t channels = j->x->dims[3], height = j->win.out[0], width = j->win.out[1];
    int64_t *sum = j->sums + worker * channels;
    for (int64_t ox = 0; ox < width; ++ox) {
        int64_t n = collect(j, row / height, row % height, ox, sum);
        for (int64_t c = 0; c < channels; ++c) {
            int64_t v = n ? sum[c] : 0;
            if (!j->is_max && n)
                v = v > 0 ? (v + n / 2) / n : (v - n / 2) / n;
            tfl_store(j->y->dtype, j->y->data, (row * width + ox) * channels + c,
                      (int32_t)tfl_clamp(v, j->low, j->high));
        }
    }
}

static hone_status run_pool(hone_op_ctx *c, bool is_max) {
    const hone_tensor *x = hone_in(c, 0);
    pool_job j = {.x = x, .y = hone_out(c, 0), .is_max = is_max};
    const char *wrong = hone_window_read(c->node, 2, x->dims + 1, NULL, &j.win);
    if (wrong)
        return hone_op_fail(c, HONE_E_SHAPE, "%s", wrong);
    if (hone_tensor_count(j.y) == 0)
        return HONE_OK;
    tfl_range(c->node, x->dtype, &j.low, &j.high);
    j.sums = hone_op_scratch(c, (size_t)x->dims[3] * (size_t)hone_pool_threads(c->pool) *
                                    sizeof *j.sums);
    if (!j.sums)
        return HONE_E_NOMEM;
    hone_op_parallel(c, x->dims[0] * j.win.out[0], pool_row, &j);
    return HONE_OK;
}

hone_status hone_ref_tfl_average_pool(hone_op_ctx *c) {
    return run_pool(c, false);
}

hone_status hone_ref_tfl_max_pool(hone_op_ctx *c) {
    return run_pool(c, true);
}

hone_status hone_infer_tfl_pool(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0) || c->in[0].rank < 0)
        return HONE_OK;
    HONE_TRY(tfl_check_type(c));
    const hone_type *x = &c->in[0];
    if (x->rank != 4)
        return hone_infer_fail(c, HONE_E_SHAPE, "the input has rank %d, not 4", x->rank);
    hone_window win;
    const char *wrong = hone_window_read(c->node, 2, x->dims + 1, NULL, &win);
    if (wrong)
        return hone_infer_fail(c, HONE_E_SHAPE, "%s", wrong);
    for (int d = 0; d < 2; ++d) {
        if (win.dilation[d] != 1)
            return hone_infer_fail(c, HONE_E_UNSUPPORTED, "pooling windows with gaps");
    }
    hone_infer_set(c, 0, x->dtype, 4, (int64_t[]){x->dims[0], win.out[0], win.out[1], x->dims[3]});
    return HONE_OK;
}
