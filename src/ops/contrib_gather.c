/* com.microsoft GatherBlockQuantized (public operator documentation, ContribOperators.md); f32
 * arithmetic. */
#include <inttypes.h>

#include "ops/dense.h"

/* Elements that one stored element of `data` holds: uint8 data may pack several along its last
 * axis. */
static int64_t packing(const hone_node *n, hone_dtype d) {
    int64_t bits = hone_attr_int(n, "bits", 4);
    return d == HONE_DTYPE_U8 && (bits == 2 || bits == 4) ? 8 / bits : 1;
}

/* data, indices, scales, zero_points */
hone_status hone_infer_ms_gather_quantised(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x7));
    const hone_type *x = &c->in[0], *index = &c->in[1];
    hone_dtype d = hone_infer_has(c, 2) ? c->in[2].dtype : HONE_DTYPE_NONE;
    int64_t dims[HONE_MAX_RANK];
    int axis, quant_axis, n = 0;
    hone_infer_set(c, 0, d, -1, NULL);
    if (!hone_infer_has(c, 0) || !hone_infer_has(c, 1) || x->rank < 0 || index->rank < 0)
        return HONE_OK;
    HONE_TRY(hone_infer_axis(c, hone_attr_int(c->node, "gather_axis", 0), x->rank, false, &axis));
    HONE_TRY(hone_infer_axis(c, hone_attr_int(c->node, "quantize_axis", 1), x->rank, false,
                             &quant_axis));
    if (x->rank - 1 + index->rank > HONE_MAX_RANK || axis == quant_axis)
        return hone_infer_fail(c, HONE_E_SHAPE, "the axes do not fit the ranks");
    int64_t pack = packing(c->node, x->dtype);
    if (pack > 1 && (quant_axis != x->rank - 1 || axis == x->rank - 1))
        return hone_infer_fail(c, HONE_E_UNSUPPORTED,
                               "packed data must be quantised along its "
                               "last axis and gathered along another");
    for (int i = 0; i < x->rank; ++i) {
        for (int k = 0; i == axis && k < index->rank; ++k)
            dims[n++] = index->dims[k];
        if (i != axis)
            dims[n++] = i == x->rank - 1 && x->dims[i] >= 0 && x->dims[i] < INT64_MAX / 8
                            ? x->dims[i] * pack
                            : x->dims[i];
    }
    hone_infer_set(c, 0, d, n, dims);
    return HONE_OK;
}

typedef struct blocks {
    const hone_tensor *x, *scales, *zero;
    int64_t pack, size, bits, block, quant_axis;
    int64_t dims[HONE_MAX_RANK]; /* of the data, unpacked */
} blocks;

static float dequantise(const blocks *b, int64_t at) {
    int64_t scale = 0, stride = 1, rest = at;
    for (int i = b->x->rank - 1; i >= 0; --i) {
        int64_t index = rest % b->dims[i];
        rest /= b->dims[i];
        scale += (i == b->quant_axis ? index / b->block : index) * stride;
        stride *= b->scales->dims[i];
    }
    int64_t mask = (1 << b->bits) - 1, v, zero = 0;
    if (b->pack > 1) {
        const uint8_t *p = b->x->data;
        v = (p[at / b->pack] >> (at % b->pack * b->bits)) & mask;
    } else {
        v = hone_load_i64(b->x->dtype, b->x->data, at);
    }
    if (b->zero && b->pack > 1) {
        int64_t per_row = b->scales->dims[b->x->rank - 1];
        int64_t bytes = (per_row + b->pack - 1) / b->pack, col = scale % per_row;
        const uint8_t *p = b->zero->data;
        zero = (p[scale / per_row * bytes + col / b->pack] >> (col % b->pack * b->bits)) & mask;
    } else if (b->zero) {
        zero = hone_load_i64(b->zero->dtype, b->zero->data, scale);
    } else if (b->x->dtype == HONE_DTYPE_U8) {
        zero = (int64_t)1 << (b->bits - 1);
    }
    return (float)(v - zero) * (float)hone_load_f64(b->scales->dtype, b->scales->data, scale);
}

static hone_status set_blocks(hone_op_ctx *c, blocks *b) {
    *b = (blocks){.x = c->in[0],
                  .scales = c->in[2],
                  .zero = hone_in(c, 3),
                  .bits = hone_attr_int(c->node, "bits", 4),
                  .block = hone_attr_int(c->node, "block_size", 128),
                  .quant_axis = hone_attr_int(c->node, "quantize_axis", 1)};
    int rank = b->x->rank;
    b->pack = packing(c->node, b->x->dtype);
    b->quant_axis += b->quant_axis < 0 ? rank : 0;
    if (b->block < 1 || b->scales->rank != rank || (b->bits != 2 && b->bits != 4 && b->bits != 8))
        return hone_op_fail(c, HONE_E_FORMAT, "block_size, bits or scales are out of range");
    for (int i = 0; i < rank; ++i) {
        b->dims[i] = b->x->dims[i] * (i == rank - 1 ? b->pack : 1);
        int64_t want =
            i == b->quant_axis ? b->dims[i] / b->block + (b->dims[i] % b->block != 0) : b->dims[i];
        if (b->scales->dims[i] != want)
            return hone_op_fail(c, HONE_E_SHAPE, "dim %d of scales must be %" PRId64, i, want);
    }
    int64_t n = hone_tensor_count(b->scales);
    if (b->pack > 1) {
        int64_t per_row = b->scales->dims[rank - 1];
        n = per_row ? n / per_row * ((per_row + b->pack - 1) / b->pack) : 0;
    }
    if (b->zero && (hone_tensor_count(b->zero) != n || b->zero->dtype != b->x->dtype))
        return hone_op_fail(c, HONE_E_SHAPE,
                            "zero_points must have %" PRId64 " elements of the "
                            "data's type",
                            n);
    return HONE_OK;
}

hone_status hone_ref_ms_gather_quantised(hone_op_ctx *c) {
    const hone_tensor *index = c->in[1];
    hone_tensor *y = c->out[0];
    blocks b;
    HONE_TRY(set_blocks(c, &b));
    int64_t axis = hone_attr_int(c->node, "gather_axis", 0);
    axis += axis < 0 ? b.x->rank : 0;
    int64_t inner = hone_dims_count(b.dims, (int)axis + 1, b.x->rank);
    int64_t outer = hone_dims_count(b.dims, 0, (int)axis), n = hone_tensor_count(index);
    for (int64_t i = 0; i < n; ++i) {
        int64_t from = hone_load_i64(index->dtype, index->data, i);
        from += from < 0 ? b.dims[axis] : 0;
        if (from < 0 || from >= b.dims[axis])
            return hone_op_fail(c, HONE_E_RUNTIME, "index %" PRId64 " is outside a dim of %" PRId64,
                                from, b.dims[axis]);
        for (int64_t o = 0; o < outer; ++o)
            for (int64_t k = 0; k < inner; ++k)
                hone_store_f64(y->dtype, y->data, (o * n + i) * inner + k,
                               (double)dequantise(&b, (o * b.dims[axis] + from) * inner + k));
    }
    return HONE_OK;
}
