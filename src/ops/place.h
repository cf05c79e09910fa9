/* Element movement that is right for every type: strings get bytes of their own. */
#ifndef HONE_OPS_PLACE_H
#define HONE_OPS_PLACE_H

#include "ir/op.h"

/** dst[di .. di+n) = src[si .. si+n); dst has counted storage when it has strings. */
static inline hone_status hone_place(hone_op_ctx *c, hone_tensor *dst, int64_t di,
                                     const hone_tensor *src, int64_t si, int64_t n) {
    if (dst->dtype != HONE_DTYPE_STRING) {
        hone_copy_elems(dst->dtype, dst->data, di, src->data, si, n);
        return HONE_OK;
    }
    const hone_string *s = src->data;
    for (int64_t i = 0; i < n; ++i)
        HONE_TRY(hone_string_set(dst, di + i, s[si + i].data, s[si + i].len, c->err));
    return HONE_OK;
}

/** Output o becomes a handle of t (kind NONE: an empty optional). */
static inline hone_status hone_put(hone_op_ctx *c, int o, const hone_tensor *t) {
    hone_tensor *out = hone_out(c, o);
    if (!out)
        return HONE_OK;
    hone_tensor_release(out);
    return hone_tensor_keep(c->alloc, out, t, c->err);
}

/** Output o becomes a sequence with room for n elements. */
static inline hone_status hone_put_sequence(hone_op_ctx *c, int o, int64_t n) {
    hone_tensor *out = hone_out(c, o);
    hone_tensor_release(out);
    *out = (hone_tensor){.kind = HONE_KIND_SEQUENCE, .rank = 1, .dims = {n}};
    hone_status status = hone_tensor_alloc(c->alloc, out, c->err);
    if (status != HONE_OK)
        *out = (hone_tensor){.kind = HONE_KIND_NONE};
    return status;
}

#endif
