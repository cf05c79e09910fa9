/* Trilu, ReverseSequence, Col2Im. */
#include <inttypes.h>
#include <string.h>

#include "ops/strided.h"

/* ---- Trilu ------------------------------------------------------------------------------------
 */

/* The type of the input, which has two axes or more: Trilu and ReverseSequence. */
hone_status hone_infer_matrices(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    hone_infer_same(c, 0, 0);
    if (c->in[0].rank >= 0 && c->in[0].rank < 2)
        return hone_infer_fail(c, HONE_E_SHAPE, "the input has rank %d, not 2 or more",
                               c->in[0].rank);
    return HONE_OK;
}

hone_status hone_ref_trilu(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0), *k_in = hone_in(c, 1);
    hone_tensor *out = hone_out(c, 0);
    static const uint64_t zero[2] = {0, 0};
    int64_t k = k_in && hone_tensor_count(k_in) ? hone_load_i64(k_in->dtype, k_in->data, 0) : 0;
    bool is_upper = hone_attr_int(c->node, "upper", 1) != 0;
    int64_t rows = in->dims[in->rank - 2], cols = in->dims[in->rank - 1];
    int64_t matrices = hone_dims_count(in->dims, 0, in->rank - 2);
    HONE_TRY(hone_copy_data(c, out, in));
    /* Beyond the matrix every k is the same: keeps i + k from overflowing. */
    k = k > cols ? cols : k < -rows ? -rows : k;
    for (int64_t m = 0; m < matrices; ++m) {
        for (int64_t i = 0; i < rows; ++i) {
            int64_t edge = is_upper ? i + k : i + k + 1; /* first kept, or first dropped, column */
            edge = edge < 0 ? 0 : edge > cols ? cols : edge;
            int64_t from = is_upper ? 0 : edge, to = is_upper ? edge : cols;
            for (int64_t col = from; col < to; ++col) {
                int64_t at = (m * rows + i) * cols + col;
                if (out->dtype == HONE_DTYPE_STRING)
                    ((hone_string *)out->data)[at] = (hone_string){"", 0};
                else
                    hone_copy_elems(out->dtype, out->data, at, zero, 0, 1);
            }
        }
    }
    return HONE_OK;
}

/* ---- ReverseSequence --------------------------------------------------------------------------
 */

hone_status hone_ref_reverse_sequence(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0), *lens = hone_in(c, 1);
    hone_tensor *out = hone_out(c, 0);
    int64_t batch = hone_attr_int(c->node, "batch_axis", 1),
            time = hone_attr_int(c->node, "time_axis", 0);
    batch = batch < 0 ? batch + in->rank : batch;
    time = time < 0 ? time + in->rank : time;
    if (batch < 0 || time < 0 || batch >= in->rank || time >= in->rank || batch == time)
        return hone_op_fail(c, HONE_E_SHAPE,
                            "batch_axis and time_axis must be two axes of the input");
    if (hone_tensor_count(lens) != in->dims[batch])
        return hone_op_fail(c, HONE_E_SHAPE, "%" PRId64 " lengths for a batch of %" PRId64,
                            hone_tensor_count(lens), in->dims[batch]);
    hone_strided w = {.rank = in->rank};
    int64_t stride[HONE_MAX_RANK];
    hone_row_major(in->rank, in->dims, stride);
    for (int64_t b = 0; b < in->dims[batch]; ++b) {
        int64_t len = hone_load_i64(lens->dtype, lens->data, b);
        if (len < 0 || len > in->dims[time])
            return hone_op_fail(c, HONE_E_RUNTIME,
                                "length %" PRId64 " of row %" PRId64 " is outside the axis", len,
                                b);
        /* The first `len` steps backwards, the rest as they are. */
        for (int part = 0; part < 2; ++part) {
            memcpy(w.dims, in->dims, sizeof in->dims);
            memcpy(w.src_stride, stride, sizeof stride);
            memcpy(w.dst_stride, stride, sizeof stride);
            w.dims[batch] = 1;
            w.dims[time] = part == 0 ? len : in->dims[time] - len;
            w.dst_offset = b * stride[batch] + (part ? len * stride[time] : 0);
            w.src_offset =
                part ? w.dst_offset : b * stride[batch] + (len ? len - 1 : 0) * stride[time];
            if (part == 0)
                w.src_stride[time] = -stride[time];
            HONE_TRY(hone_strided_copy(c, out, in, &w));
        }
    }
    return HONE_OK;
}

/* ---- Col2Im -----------------------------------------------------------------------------------
 */

enum { COL_MAX = HONE_MAX_RANK - 2 };

typedef struct col2im {
    int n; /* spatial axes */
    int64_t image[COL_MAX], block[COL_MAX], stride[COL_MAX], dilation[COL_MAX], pad[2 * COL_MAX];
    int64_t count[COL_MAX]; /* positions of the block along each axis */
} col2im;

static void read_list(const hone_node *n, const char *name, int count, int64_t missing,
                      int64_t *out) {
    const int64_t *v;
    int got = hone_attr_ints(n, name, &v);
    for (int i = 0; i < count; ++i)
        out[i] = i < got ? v[i] : missing;
}

static bool read_col2im(const hone_node *node, const hone_tensor *image, const hone_tensor *block,
                        col2im *p) {
    int64_t n = hone_tensor_count(image);
    if (n < 1 || n > COL_MAX || hone_tensor_count(block) != n)
        return false;
    p->n = (int)n;
    read_list(node, "strides", p->n, 1, p->stride);
    read_list(node, "dilations", p->n, 1, p->dilation);
    read_list(node, "pads", 2 * p->n, 0, p->pad);
    for (int i = 0; i < p->n; ++i) {
        p->image[i] = hone_load_i64(image->dtype, image->data, i);
        p->block[i] = hone_load_i64(block->dtype, block->data, i);
        const int64_t limit = INT32_MAX;
        if (p->image[i] < 1 || p->block[i] < 1 || p->stride[i] < 1 || p->dilation[i] < 1 ||
            p->pad[i] < 0 || p->pad[p->n + i] < 0 || p->image[i] > limit || p->block[i] > limit ||
            p->dilation[i] > limit || p->pad[i] > limit || p->pad[p->n + i] > limit)
            return false;
        int64_t span =
            p->image[i] + p->pad[i] + p->pad[p->n + i] - p->dilation[i] * (p->block[i] - 1) - 1;
        if (span < 0)
            return false;
        p->count[i] = span / p->stride[i] + 1;
    }
    return true;
}

hone_status hone_infer_col2im(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return HONE_OK;
    const hone_tensor *image = hone_infer_value(c, 1), *block = hone_infer_value(c, 2);
    hone_infer_set(c, 0, c->in[0].dtype, -1, NULL);
    if (!image || !block || c->in[0].rank < 0)
        return HONE_OK;
    col2im p;
    if (c->in[0].rank != 3 || !read_col2im(c->node, image, block, &p))
        return hone_infer_fail(c, HONE_E_SHAPE,
                               "image_shape, block_shape and attributes do not fit");
    int64_t dims[HONE_MAX_RANK] = {c->in[0].dims[0], HONE_DIM_UNKNOWN};
    int64_t elements = hone_dims_count(p.block, 0, p.n);
    if (c->in[0].dims[1] >= 0) {
        if (elements <= 0 || c->in[0].dims[1] % elements)
            return hone_infer_fail(c, HONE_E_SHAPE, "dim 1 is no multiple of the block's elements");
        dims[1] = c->in[0].dims[1] / elements;
    }
    if (c->in[0].dims[2] >= 0 && c->in[0].dims[2] != hone_dims_count(p.count, 0, p.n))
        return hone_infer_fail(c, HONE_E_SHAPE, "dim 2 is not the number of block positions");
    memcpy(dims + 2, p.image, (size_t)p.n * sizeof *dims);
    hone_infer_set(c, 0, c->in[0].dtype, p.n + 2, dims);
    return HONE_OK;
}

/* Image offset of block element e at block position l; -1 in the padding. */
static int64_t image_offset(const col2im *p, int64_t e, int64_t l) {
    int64_t offset = 0, step = 1;
    for (int d = p->n - 1; d >= 0; --d) {
        int64_t at = l % p->count[d] * p->stride[d] + e % p->block[d] * p->dilation[d] - p->pad[d];
        if (at < 0 || at >= p->image[d])
            return -1;
        offset += at * step;
        step *= p->image[d];
        l /= p->count[d];
        e /= p->block[d];
    }
    return offset;
}

hone_status hone_ref_col2im(hone_op_ctx *c) {
    const hone_tensor *in = hone_in(c, 0);
    hone_tensor *out = hone_out(c, 0);
    col2im p;
    if (!read_col2im(c->node, hone_in(c, 1), hone_in(c, 2), &p))
        return hone_op_fail(c, HONE_E_SHAPE, "image_shape, block_shape and attributes do not fit");
    int64_t elements = hone_dims_count(p.block, 0, p.n),
            positions = hone_dims_count(p.count, 0, p.n);
    int64_t pixels = hone_dims_count(p.image, 0, p.n), planes = out->dims[0] * out->dims[1];
    for (int64_t i = 0, n = hone_tensor_count(out); i < n; ++i)
        hone_store_f64(out->dtype, out->data, i, 0);
    for (int64_t plane = 0; plane < planes; ++plane) {
        for (int64_t e = 0; e < elements; ++e) {
            for (int64_t l = 0; l < positions; ++l) {
                int64_t at = image_offset(&p, e, l);
                if (at < 0)
                    continue;
                at += plane * pixels;
                double x =
                    hone_load_f64(in->dtype, in->data, (plane * elements + e) * positions + l);
                hone_store_f64(out->dtype, out->data, at,
                               hone_load_f64(out->dtype, out->data, at) + x);
            }
        }
    }
    return HONE_OK;
}
