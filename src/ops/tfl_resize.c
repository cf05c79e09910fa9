/* QResizeBilinear: [n, h, w, c] to a new height and width (attribute size), with positions of 10
 * bits behind the point. Attributes: half_pixel, align_corners. Source:
 * tflite/kernels/internal/reference/resize_bilinear.h (LiteRT). */
#include "ops/tfl_quant.h"

enum { ONE = 1 << 10 };

/* Where output i lies: between two inputs. */
typedef struct between {
    int64_t low, high, fraction; /* of ONE; below 0 or above ONE at the edges */
} between;

static int64_t scale_of(int64_t in, int64_t out, bool is_aligned) {
    if (is_aligned && out > 1)
        return (ONE * (in - 1) + (out - 1) / 2) / (out - 1);
    return (ONE * in + out / 2) / out;
}

static between place(int64_t i, int64_t scale, bool is_half, int64_t in) {
    int64_t at = i * scale + (is_half ? scale / 2 - ONE / 2 : 0);
    between b = {at / ONE, (at + ONE - 1) / ONE, 0};
    b.low = b.low < 0 ? 0 : b.low;
    b.high = b.high > in - 1 ? in - 1 : b.high;
    b.low = b.low > in - 1 ? in - 1 : b.low; /* LiteRT would read behind the image */
    b.high = b.high < 0 ? 0 : b.high;
    b.fraction = at - ONE * b.low;
    return b;
}

hone_status hone_ref_tfl_resize(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0);
    hone_tensor *y = hone_out(c, 0);
    int64_t high = x->dims[1], wide = x->dims[2], depth = x->dims[3];
    int64_t rows = y->dims[1], columns = y->dims[2];
    bool is_half = hone_attr_int(c->node, "half_pixel", 0) != 0;
    bool is_aligned = hone_attr_int(c->node, "align_corners", 0) != 0;
    int32_t least, most;
    tfl_range(c->node, y->dtype, &least, &most);
    for (int64_t i = 0, n = hone_tensor_count(y); i < n; ++i) {
        int64_t channel = i % depth, ox = i / depth % columns, oy = i / depth / columns % rows;
        int64_t image = i / depth / columns / rows;
        between v = place(oy, scale_of(high, rows, is_aligned), is_half, high);
        between h = place(ox, scale_of(wide, columns, is_aligned), is_half, wide);
        const int64_t ys[2] = {v.low, v.high}, xs[2] = {h.low, h.high};
        const int64_t wy[2] = {ONE - v.fraction, v.fraction},
                      wx[2] = {ONE - h.fraction, h.fraction};
        int64_t sum = 0;
        for (int k = 0; k < 4; ++k) {
            int64_t at = ((image * high + ys[k / 2]) * wide + xs[k % 2]) * depth + channel;
            sum += tfl_load(x->dtype, x->data, at) * wy[k / 2] * wx[k % 2];
        }
        sum = (sum + (sum > 0 ? 1 << 19 : -(1 << 19))) / (1 << 20);
        tfl_store(y->dtype, y->data, i, (int32_t)tfl_clamp(sum, least, most));
    }
    return HONE_OK;
}

hone_status hone_infer_tfl_resize(hone_infer_ctx *c) {
    const int64_t *size;
    if (!hone_infer_has(c, 0) || c->in[0].rank < 0)
        return HONE_OK;
    HONE_TRY(tfl_check_type(c));
    const hone_type *x = &c->in[0];
    bool fits = x->rank == 4 && hone_attr_ints(c->node, "size", &size) == 2;
    for (int d = 0; fits && d < 2; ++d)
        fits = size[d] > 0 && size[d] <= INT32_MAX && x->dims[d + 1] != 0 &&
               x->dims[d + 1] <= INT32_MAX;
    if (!fits)
        return hone_infer_fail(c, HONE_E_SHAPE, "an image of rank 4 and a size are needed");
    hone_infer_set(c, 0, x->dtype, 4, (int64_t[]){x->dims[0], size[0], size[1], x->dims[3]});
    return HONE_OK;
}
