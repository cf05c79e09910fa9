/* Sequences and optionals (ONNX Sequence*, ConcatFromSequence, SplitToSequence, Optional*). */
#include <inttypes.h>
#include <string.h>

#include "ops/place.h"

/* More pieces than this are refused when they hold no elements: their number is bounded by nothing
 * else. */
enum { MAX_EMPTY_PIECES = 1 << 20 };

/* ---- types ------------------------------------------------------------------------------------
 */

static hone_status set_sequence(hone_infer_ctx *c, const hone_type *elem) {
    if (c->n_out < 1)
        return HONE_OK;
    hone_type *copy = NULL;
    if (elem && elem->kind != HONE_KIND_NONE && c->arena) {
        copy = HONE_NEW(c->arena, hone_type);
        if (!copy)
            return hone_infer_fail(c, HONE_E_NOMEM, "no memory for the type of a sequence");
        *copy = *elem;
        copy->contents = NULL;
        copy->n_contents = 0;
    }
    c->out[0] = (hone_type){.kind = HONE_KIND_SEQUENCE, .rank = -1, .elem = copy};
    return HONE_OK;
}

/* What is common to two element types: dims that differ become unknown. */
static hone_type merge_types(hone_type a, const hone_type *b) {
    if (a.kind != HONE_KIND_TENSOR || b->kind != HONE_KIND_TENSOR)
        return (hone_type){.kind = HONE_KIND_NONE, .rank = -1};
    if (a.rank != b->rank)
        a.rank = -1;
    for (int i = 0; i < a.rank; ++i) {
        if (a.dims[i] != b->dims[i])
            a.dims[i] = HONE_DIM_UNKNOWN;
    }
    return a;
}

static hone_status check_same_dtype(hone_infer_ctx *c, const hone_type *a, const hone_type *b) {
    if (a->kind == HONE_KIND_TENSOR && b->kind == HONE_KIND_TENSOR && a->dtype && b->dtype &&
        a->dtype != b->dtype)
        return hone_infer_fail(c, HONE_E_TYPE, "a sequence cannot hold both %s and %s",
                               hone_dtype_name(a->dtype), hone_dtype_name(b->dtype));
    return HONE_OK;
}

static const hone_type *elem_of(const hone_infer_ctx *c, int i) {
    return hone_infer_has(c, i) && c->in[i].kind == HONE_KIND_SEQUENCE ? c->in[i].elem : NULL;
}

static hone_status expect_sequence(hone_infer_ctx *c) {
    if (hone_infer_has(c, 0) && c->in[0].kind != HONE_KIND_SEQUENCE)
        return hone_infer_fail(c, HONE_E_TYPE, "input 0 must be a sequence");
    return HONE_OK;
}

hone_status hone_infer_seq_construct(hone_infer_ctx *c) {
    if (c->n_in < 1)
        return hone_infer_fail(c, HONE_E_FORMAT, "at least one input is needed");
    hone_type elem = c->in[0];
    for (int i = 1; i < c->n_in; ++i) {
        HONE_TRY(check_same_dtype(c, &elem, &c->in[i]));
        elem = merge_types(elem, &c->in[i]);
    }
    return set_sequence(c, &elem);
}

hone_status hone_infer_seq_empty(hone_infer_ctx *c) {
    int64_t d = hone_attr_int(c->node, "dtype", HONE_DTYPE_F32);
    if (d <= HONE_DTYPE_NONE || d >= HONE_DTYPE_COUNT)
        return hone_infer_fail(c, HONE_E_FORMAT, "dtype %" PRId64 " is no data type", d);
    hone_type elem = hone_type_tensor((hone_dtype)d, -1, NULL);
    return set_sequence(c, &elem);
}

hone_status hone_infer_seq_insert(hone_infer_ctx *c) {
    HONE_TRY(expect_sequence(c));
    const hone_type *elem = elem_of(c, 0);
    if (elem && hone_infer_has(c, 1)) {
        HONE_TRY(check_same_dtype(c, elem, &c->in[1]));
        hone_type merged = merge_types(*elem, &c->in[1]);
        return set_sequence(c, &merged);
    }
    return set_sequence(c, NULL);
}

hone_status hone_infer_seq_same(hone_infer_ctx *c) {
    HONE_TRY(expect_sequence(c));
    return set_sequence(c, elem_of(c, 0));
}

hone_status hone_infer_seq_at(hone_infer_ctx *c) {
    HONE_TRY(expect_sequence(c));
    const hone_type *elem = elem_of(c, 0);
    if (elem && c->n_out > 0)
        c->out[0] = *elem;
    return HONE_OK;
}

hone_status hone_infer_seq_length(hone_infer_ctx *c) {
    HONE_TRY(expect_sequence(c));
    hone_infer_set(c, 0, HONE_DTYPE_I64, 0, NULL);
    return HONE_OK;
}

hone_status hone_infer_seq_concat(hone_infer_ctx *c) {
    HONE_TRY(expect_sequence(c));
    const hone_type *elem = elem_of(c, 0);
    if (!elem || elem->kind != HONE_KIND_TENSOR)
        return HONE_OK;
    bool is_new = hone_attr_int(c->node, "new_axis", 0) != 0;
    int rank = elem->rank < 0 ? -1 : elem->rank + is_new;
    if (rank > HONE_MAX_RANK)
        return hone_infer_fail(c, HONE_E_UNSUPPORTED, "rank %d is beyond the limit", rank);
    int64_t dims[HONE_MAX_RANK];
    int axis = 0;
    if (rank >= 0)
        HONE_TRY(hone_infer_axis(c, hone_attr_int(c->node, "axis", 0), rank, false, &axis));
    for (int i = 0, from = 0; i < rank; ++i) {
        dims[i] = i == axis ? HONE_DIM_UNKNOWN : elem->dims[from];
        from += i != axis || !is_new;
    }
    hone_infer_set(c, 0, elem->dtype, rank, dims);
    return HONE_OK;
}

hone_status hone_infer_seq_split(hone_infer_ctx *c) {
    if (!hone_infer_has(c, 0))
        return set_sequence(c, NULL);
    hone_type elem = c->in[0];
    if (elem.rank >= 0) {
        int axis;
        HONE_TRY(hone_infer_axis(c, hone_attr_int(c->node, "axis", 0), elem.rank, false, &axis));
        elem.dims[axis] = HONE_DIM_UNKNOWN;
        bool has_split = c->n_in > 1 && c->node->in[1];
        if (!has_split && !hone_attr_int(c->node, "keepdims", 1)) {
            elem.rank--;
            memmove(elem.dims + axis, elem.dims + axis + 1,
                    (size_t)(elem.rank - axis) * sizeof elem.dims[0]);
        }
    }
    return set_sequence(c, &elem);
}

hone_status hone_infer_optional(hone_infer_ctx *c) {
    if (c->n_out < 1)
        return HONE_OK;
    const hone_attr *type = hone_attr_find(c->node, "type");
    if (hone_infer_has(c, 0))
        hone_infer_same(c, 0, 0);
    else if (type && type->kind == HONE_ATTR_TYPE)
        c->out[0] = *type->type;
    c->out[0].optional = true;
    return HONE_OK;
}

hone_status hone_infer_optional_get(hone_infer_ctx *c) {
    if (c->n_out < 1 || !hone_infer_has(c, 0))
        return HONE_OK;
    hone_infer_same(c, 0, 0);
    c->out[0].optional = false;
    return HONE_OK;
}

hone_status hone_infer_optional_has(hone_infer_ctx *c) {
    hone_infer_set(c, 0, HONE_DTYPE_BOOL, 0, NULL);
    return HONE_OK;
}

/* ---- values -----------------------------------------------------------------------------------
 */

static hone_status need_sequence(hone_op_ctx *c, const hone_tensor **seq) {
    *seq = hone_in(c, 0);
    if (!*seq || (*seq)->kind != HONE_KIND_SEQUENCE)
        return hone_op_fail(c, HONE_E_TYPE, "input 0 must be a sequence");
    return HONE_OK;
}

/* The scalar position input, normalised into [0, top]. */
static hone_status read_position(hone_op_ctx *c, int i, int64_t n, int64_t top, int64_t *out) {
    const hone_tensor *t = hone_in(c, i);
    if (t->kind != HONE_KIND_TENSOR || !hone_dtype_in(t->dtype, HONE_T_INT) ||
        hone_tensor_count(t) != 1)
        return hone_op_fail(c, HONE_E_TYPE, "the position must be one integer");
    int64_t at = hone_load_i64(t->dtype, t->data, 0);
    if (at < -n || at > top)
        return hone_op_fail(c, HONE_E_RUNTIME,
                            "position %" PRId64 " is outside a sequence of %" PRId64, at, n);
    *out = at < 0 ? at + n : at;
    return HONE_OK;
}

static hone_status append_items(hone_op_ctx *c, int64_t at, const hone_tensor *seq, int64_t from,
                                int64_t to) {
    for (int64_t i = from; i < to; ++i)
        HONE_TRY(
            hone_seq_set(c->alloc, hone_out(c, 0), at + i - from, hone_seq_at(seq, i), c->err));
    return HONE_OK;
}

hone_status hone_ref_seq_construct(hone_op_ctx *c) {
    HONE_TRY(hone_put_sequence(c, 0, c->n_in));
    for (int i = 0; i < c->n_in; ++i) {
        if (!hone_in(c, i))
            return hone_op_fail(c, HONE_E_RUNTIME, "input %d is empty", i);
        HONE_TRY(hone_seq_set(c->alloc, hone_out(c, 0), i, hone_in(c, i), c->err));
    }
    return HONE_OK;
}

hone_status hone_ref_seq_empty(hone_op_ctx *c) {
    return hone_put_sequence(c, 0, 0);
}

hone_status hone_ref_seq_insert(hone_op_ctx *c) {
    const hone_tensor *seq, *item = hone_in(c, 1);
    HONE_TRY(need_sequence(c, &seq));
    int64_t n = seq->dims[0], at = n;
    if (!item)
        return hone_op_fail(c, HONE_E_RUNTIME, "the tensor to insert is empty");
    if (n > 0 && hone_seq_at(seq, 0)->dtype != item->dtype)
        return hone_op_fail(c, HONE_E_TYPE, "%s cannot go into a sequence of %s",
                            hone_dtype_name(item->dtype),
                            hone_dtype_name(hone_seq_at(seq, 0)->dtype));
    if (hone_in(c, 2))
        HONE_TRY(read_position(c, 2, n, n, &at));
    HONE_TRY(hone_put_sequence(c, 0, n + 1));
    HONE_TRY(append_items(c, 0, seq, 0, at));
    HONE_TRY(hone_seq_set(c->alloc, hone_out(c, 0), at, item, c->err));
    return append_items(c, at + 1, seq, at, n);
}

hone_status hone_ref_seq_erase(hone_op_ctx *c) {
    const hone_tensor *seq;
    HONE_TRY(need_sequence(c, &seq));
    int64_t n = seq->dims[0], at = n - 1;
    if (n == 0)
        return hone_op_fail(c, HONE_E_RUNTIME, "nothing can be erased from an empty sequence");
    if (hone_in(c, 1))
        HONE_TRY(read_position(c, 1, n, n - 1, &at));
    HONE_TRY(hone_put_sequence(c, 0, n - 1));
    HONE_TRY(append_items(c, 0, seq, 0, at));
    return append_items(c, at, seq, at + 1, n);
}

hone_status hone_ref_seq_at(hone_op_ctx *c) {
    const hone_tensor *seq;
    HONE_TRY(need_sequence(c, &seq));
    if (!hone_in(c, 1))
        return hone_op_fail(c, HONE_E_RUNTIME, "the position is empty");
    int64_t at;
    HONE_TRY(read_position(c, 1, seq->dims[0], seq->dims[0] - 1, &at));
    return hone_put(c, 0, hone_seq_at(seq, at));
}

hone_status hone_ref_seq_length(hone_op_ctx *c) {
    const hone_tensor *seq;
    HONE_TRY(need_sequence(c, &seq));
    *(int64_t *)hone_out(c, 0)->data = seq->dims[0];
    return HONE_OK;
}

/* ---- ConcatFromSequence -----------------------------------------------------------------------
 */

/* Dims of the result; every element must fit. */
static hone_status concat_dims(hone_op_ctx *c, const hone_tensor *seq, bool is_new, int *axis,
                               int64_t *dims, int *rank) {
    const hone_tensor *first = hone_seq_at(seq, 0);
    if (first->kind != HONE_KIND_TENSOR)
        return hone_op_fail(c, HONE_E_TYPE, "only sequences of tensors can be concatenated");
    *rank = first->rank + is_new;
    int64_t a = hone_attr_int(c->node, "axis", 0);
    if (*rank > HONE_MAX_RANK || a < -*rank || a >= *rank)
        return hone_op_fail(c, HONE_E_SHAPE, "axis %" PRId64 " is outside rank %d", a, *rank);
    *axis = (int)(a < 0 ? a + *rank : a);
    for (int i = 0, from = 0; i < *rank; ++i) {
        dims[i] = i == *axis ? 0 : first->dims[from];
        from += i != *axis || !is_new;
    }
    for (int64_t k = 0; k < seq->dims[0]; ++k) {
        const hone_tensor *t = hone_seq_at(seq, k);
        bool fits =
            t->kind == HONE_KIND_TENSOR && t->dtype == first->dtype && t->rank == first->rank;
        for (int i = 0; fits && i < t->rank; ++i)
            fits = t->dims[i] == first->dims[i] || (!is_new && i == *axis);
        if (!fits)
            return hone_op_fail(c, HONE_E_SHAPE, "element %" PRId64 " does not fit element 0", k);
        if (__builtin_add_overflow(dims[*axis], is_new ? 1 : t->dims[*axis], &dims[*axis]))
            return hone_op_fail(c, HONE_E_SHAPE, "the result is too large");
    }
    return HONE_OK;
}

hone_status hone_ref_seq_concat(hone_op_ctx *c) {
    const hone_tensor *seq;
    HONE_TRY(need_sequence(c, &seq));
    if (seq->dims[0] == 0)
        return hone_op_fail(c, HONE_E_RUNTIME, "an empty sequence cannot be concatenated");
    bool is_new = hone_attr_int(c->node, "new_axis", 0) != 0;
    int axis = 0, rank = 0;
    int64_t dims[HONE_MAX_RANK];
    HONE_TRY(concat_dims(c, seq, is_new, &axis, dims, &rank));
    hone_tensor *out = hone_out(c, 0);
    hone_tensor_release(out);
    HONE_TRY(hone_op_alloc(c, 0, hone_seq_at(seq, 0)->dtype, rank, dims));
    if (hone_tensor_count(out) == 0)
        return HONE_OK;
    int64_t outer = hone_dims_count(dims, 0, axis);
    int64_t row = hone_dims_count(dims, axis, rank), at = 0;
    for (int64_t k = 0; k < seq->dims[0]; ++k) {
        const hone_tensor *t = hone_seq_at(seq, k);
        int64_t n = hone_tensor_count(t) / outer;
        for (int64_t o = 0; o < outer; ++o)
            HONE_TRY(hone_place(c, out, o * row + at, t, o * n, n));
        at += n;
    }
    return HONE_OK;
}

/* ---- SplitToSequence --------------------------------------------------------------------------
 */

typedef struct split_plan {
    int axis;
    int64_t n_pieces, step; /* step 0: lengths are read from `lengths` */
    const hone_tensor *lengths;
    bool drop_axis;
} split_plan;

static hone_status plan_split(hone_op_ctx *c, const hone_tensor *x, split_plan *p) {
    const hone_tensor *s = hone_in(c, 1);
    int64_t axis = hone_attr_int(c->node, "axis", 0);
    if (axis < -x->rank || axis >= x->rank)
        return hone_op_fail(c, HONE_E_SHAPE, "axis %" PRId64 " is outside rank %d", axis, x->rank);
    *p = (split_plan){.axis = (int)(axis < 0 ? axis + x->rank : axis), .step = 1};
    int64_t dim = x->dims[p->axis], sum = 0;
    if (s && (s->kind != HONE_KIND_TENSOR || !hone_dtype_in(s->dtype, HONE_T_INT) || s->rank > 1))
        return hone_op_fail(c, HONE_E_TYPE, "split must be an integer scalar or vector");
    if (s && s->rank == 1) {
        p->step = 0;
        p->lengths = s;
        p->n_pieces = s->dims[0];
        for (int64_t i = 0; i < p->n_pieces; ++i) {
            int64_t n = hone_load_i64(s->dtype, s->data, i);
            if (n < 0 || n > dim - sum)
                return hone_op_fail(c, HONE_E_RUNTIME, "split lengths do not add up to %" PRId64,
                                    dim);
            sum += n;
        }
        if (sum != dim)
            return hone_op_fail(c, HONE_E_RUNTIME,
                                "split lengths add up to %" PRId64 ", not %" PRId64, sum, dim);
    } else {
        if (s)
            p->step = hone_load_i64(s->dtype, s->data, 0);
        if (p->step <= 0)
            return hone_op_fail(c, HONE_E_RUNTIME, "split is %" PRId64 ", but must be positive",
                                p->step);
        p->n_pieces = dim / p->step + (dim % p->step != 0);
        p->drop_axis = !s && !hone_attr_int(c->node, "keepdims", 1);
    }
    if (p->n_pieces > MAX_EMPTY_PIECES && hone_tensor_count(x) == 0)
        return hone_op_fail(c, HONE_E_NOMEM, "too many empty pieces (%" PRId64 ")", p->n_pieces);
    return HONE_OK;
}

static hone_status make_piece(hone_op_ctx *c, const hone_tensor *x, const split_plan *p, int64_t at,
                              int64_t n, hone_tensor *piece) {
    *piece = hone_tensor_view(x->dtype, x->rank, x->dims, NULL);
    piece->dims[p->axis] = n;
    if (p->drop_axis) {
        piece->rank--;
        memmove(piece->dims + p->axis, piece->dims + p->axis + 1,
                (size_t)(piece->rank - p->axis) * sizeof piece->dims[0]);
    }
    HONE_TRY(hone_tensor_alloc(c->alloc, piece, c->err));
    if (hone_tensor_count(piece) == 0)
        return HONE_OK;
    int64_t outer = hone_dims_count(x->dims, 0, p->axis);
    int64_t inner = hone_dims_count(x->dims, p->axis + 1, x->rank);
    hone_status status = HONE_OK;
    for (int64_t o = 0; o < outer && status == HONE_OK; ++o)
        status =
            hone_place(c, piece, o * n * inner, x, (o * x->dims[p->axis] + at) * inner, n * inner);
    if (status != HONE_OK)
        hone_tensor_release(piece);
    return status;
}

hone_status hone_ref_seq_split(hone_op_ctx *c) {
    const hone_tensor *x = hone_in(c, 0);
    if (!x || x->kind != HONE_KIND_TENSOR)
        return hone_op_fail(c, HONE_E_TYPE, "input 0 must be a tensor");
    split_plan p = {0};
    HONE_TRY(plan_split(c, x, &p));
    HONE_TRY(hone_put_sequence(c, 0, p.n_pieces));
    int64_t at = 0, dim = x->dims[p.axis];
    for (int64_t i = 0; i < p.n_pieces; ++i) {
        int64_t n = p.step;
        if (p.lengths)
            n = hone_load_i64(p.lengths->dtype, p.lengths->data, i);
        else if (n > dim - at)
            n = dim - at;
        hone_tensor piece;
        HONE_TRY(make_piece(c, x, &p, at, n, &piece));
        hone_status status = hone_seq_set(c->alloc, hone_out(c, 0), i, &piece, c->err);
        hone_tensor_release(&piece);
        HONE_TRY(status);
        at += n;
    }
    return HONE_OK;
}

/* ---- optionals --------------------------------------------------------------------------------
 */

hone_status hone_ref_optional(hone_op_ctx *c) {
    static const hone_tensor nothing = {.kind = HONE_KIND_NONE};
    return hone_put(c, 0, hone_in(c, 0) ? hone_in(c, 0) : &nothing);
}

hone_status hone_ref_optional_get(hone_op_ctx *c) {
    if (!hone_in(c, 0))
        return hone_op_fail(c, HONE_E_RUNTIME, "the optional is empty");
    return hone_put(c, 0, hone_in(c, 0));
}

hone_status hone_ref_optional_has(hone_op_ctx *c) {
    const hone_tensor *t = hone_in(c, 0);
    *(bool *)hone_out(c, 0)->data = t && t->kind != HONE_KIND_NONE;
    return HONE_OK;
}
