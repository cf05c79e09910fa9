/* Operators that move elements and make shapes. */
#include <inttypes.h>
#include <string.h>

#include "tflite/legal_ops.h"

static const char *CURE_STATIC = "fix the dims of the inputs with --shape";

static bool type_dims(const hone_value *v, int32_t *dims, int max_open) {
    int open = 0;
    for (int i = 0; i < v->type.rank; ++i) {
        open += v->type.dims[i] < 0;
        dims[i] = v->type.dims[i] < 0 ? -1 : (int32_t)v->type.dims[i];
    }
    return open <= max_open;
}

/* ---- reshaping --------------------------------------------------------------------------------
 */

/* Dims [in0, in1) of the operand become dims [out0, out1) of the result: as few as possible with
 * the same number of elements. */
typedef struct regroup {
    int in0, in1, out0, out1;
} regroup;

static bool same_open_dim(int64_t a, int64_t b) {
    return a < 0 && a == b && a != HONE_DIM_UNKNOWN;
}

/* Number of groups; 0: the dims are not known well enough. */
static int find_groups(const hone_type *x, const hone_type *y, regroup *groups) {
    int n = 0, i = 0, k = 0;
    while (i < x->rank || k < y->rank) {
        regroup *g = &groups[n++];
        int64_t a = 1, b = 1;
        *g = (regroup){i, i, k, k};
        if (i < x->rank && k < y->rank && same_open_dim(x->dims[i], y->dims[k])) {
            g->in1 = ++i;
            g->out1 = ++k;
            continue;
        }
        if (i < x->rank)
            a = x->dims[i++];
        if (k < y->rank)
            b = y->dims[k++];
        while (a != b && a > 0 && b > 0 && (a < b ? i < x->rank : k < y->rank)) {
            if (a < b)
                a *= x->dims[i++];
            else
                b *= y->dims[k++];
        }
        if (a != b || a <= 0)
            return 0;
        g->in1 = i;
        g->out1 = k;
    }
    return n;
}

/* Do the group's dims lie side by side, in ascending order? Those of size 1 may lie anywhere. */
static bool is_contiguous(const hone_type *x, const int *perm, const regroup *g) {
    int next = -1;
    for (int i = 0; i < x->rank; ++i) {
        int d = perm[i];
        bool is_inside = d >= g->in0 && d < g->in1 && x->dims[d] != 1;
        if (x->dims[d] == 1 || (next < 0 && !is_inside))
            continue;
        if (next < 0)
            next = g->in0;
        while (next < g->in1 && x->dims[next] == 1)
            ++next;
        if (next >= g->in1)
            return !is_inside;
        if (d != next++)
            return false;
    }
    return true;
}

/* The order in which the result lies when the operand is not moved. False: it must be. */
static bool keep_order(const hone_type *x, const hone_type *y, const int *perm, int *out) {
    regroup groups[2 * TFL_MAX_RANK];
    bool is_placed[2 * TFL_MAX_RANK] = {false};
    int n = find_groups(x, y, groups), count = 0;
    for (int g = 0; g < n; ++g) {
        if (!is_contiguous(x, perm, &groups[g]))
            return false;
    }
    for (int i = 0; i < x->rank; ++i) {
        for (int g = 0; g < n; ++g) {
            bool is_first = perm[i] >= groups[g].in0 && perm[i] < groups[g].in1 &&
                            (x->dims[perm[i]] != 1 || groups[g].in1 == groups[g].in0 + 1);
            for (int k = groups[g].out0; is_first && !is_placed[g] && k < groups[g].out1; ++k)
                out[count++] = k;
            is_placed[g] |= is_first;
        }
    }
    for (int g = 0; g < n; ++g) { /* dims of size 1 that come from nowhere */
        for (int k = groups[g].out0; !is_placed[g] && k < groups[g].out1; ++k)
            out[count++] = k;
    }
    return n > 0 && count == y->rank;
}

void tfl_legal_reshape(tfl_legal *l, const hone_node *n) {
    int32_t dims[TFL_MAX_RANK], moved[TFL_MAX_RANK];
    int perm[TFL_MAX_RANK], out[TFL_MAX_RANK], rank = tfl_rank(n->out[0]);
    if (!type_dims(n->out[0], dims, 1)) {
        tfl_refuse(l, n, "dynamic-size", CURE_STATIC, "several dims of the result are not known");
        return;
    }
    tfl_order(l, n->in[0], perm);
    if (!keep_order(&n->in[0]->type, &n->out[0]->type, perm, out)) {
        tfl_identity(tfl_rank(n->in[0]), perm);
        tfl_identity(rank, out);
    }
    for (int i = 0; i < rank; ++i)
        moved[i] = dims[out[i]];
    int t = tfl_reshape(l, tfl_take(l, n->in[0], perm), rank, moved);
    if (t >= 0)
        l->model.tensors[t].name = n->out[0]->name;
    tfl_alias(l, n->out[0], t, out);
}

/* Only the order that the value carries changes. */
void tfl_legal_transpose(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], out[TFL_MAX_RANK], rank = tfl_rank(n->in[0]);
    const int64_t *order;
    int count = hone_attr_ints(n, "perm", &order);
    tfl_order(l, n->in[0], perm);
    int x = tfl_take(l, n->in[0], perm);
    for (int i = 0; i < rank; ++i) {
        for (int k = 0; k < rank; ++k) {
            int from = count == rank ? (int)order[k] : rank - 1 - k;
            if (from == perm[i])
                out[i] = k;
        }
    }
    tfl_alias(l, n->out[0], x, out);
}

void tfl_legal_concat(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], rank = tfl_rank(n->out[0]);
    int64_t axis = hone_attr_int(n, "axis", 0);
    int *in = tfl_alloc(l, (size_t)n->n_in, sizeof *in);
    tfl_identity(rank, perm);
    for (int i = n->n_in - 1; i >= 0; --i) {
        if (!tfl_contents(l, n->in[i]))
            tfl_order(l, n->in[i], perm);
    }
    for (int i = 0; in && i < n->n_in; ++i)
        in[i] = tfl_take(l, n->in[i], perm);
    int out = tfl_give(l, n->out[0], perm);
    tfl_operator *op = in ? tfl_op(l, TFL_CONCATENATION, in, n->n_in, out) : NULL;
    tfl_option_i32(op, 0, tfl_position(perm, rank, (int)(axis < 0 ? axis + rank : axis)));
    tfl_option_byte(op, 1, TFL_ACT_NONE);
}

void tfl_legal_split(tfl_legal *l, const hone_node *n) {
    int perm[TFL_MAX_RANK], rank = tfl_rank(n->in[0]);
    int64_t axis = hone_attr_int(n, "axis", 0);
    axis = axis < 0 ? axis + rank : axis;
    tfl_order(l, n->in[0], perm);
    int32_t *sizes = tfl_alloc(l, (size_t)n->n_out, sizeof *sizes);
    int *out = tfl_alloc(l, (size_t)n->n_out, sizeof *out);
    for (int i = 0; sizes && out && i < n->n_out; ++i) {
        int64_t size = n->out[i] ? n->out[i]->type.dims[axis] : -1;
        if (size < 0) {
            tfl_refuse(l, n, "dynamic-size", CURE_STATIC, "the size of part %d is not known", i);
            return;
        }
        sizes[i] = (int32_t)size;
        out[i] = tfl_give(l, n->out[i], perm);
    }
    if (!sizes || !out)
        return;
    int in[3] = {tfl_take(l, n->in[0], perm), tfl_const_i32s(l, sizes, n->n_out),
                 tfl_const_i32(l, tfl_position(perm, rank, (int)axis))};
    tfl_operator *op = tfl_model_operator(&l->model, TFL_SPLIT_V, in, 3, out, n->n_out);
    if (!op)
        l->is_out_of_memory = true;
    tfl_option_i32(op, 0, n->n_out);
}

/* ---- slices -----------------------------------------------------------------------------------
 */

typedef struct slices {
    int64_t begin[TFL_MAX_RANK], step[TFL_MAX_RANK];
    bool cuts[TFL_MAX_RANK];
} slices;

static bool read_slices(tfl_legal *l, const hone_node *n, slices *s) {
    int rank = tfl_rank(n->in[0]), n_begin, n_end, n_axes = 0, n_steps = 0;
    const int64_t *begin = tfl_ints(l, n->in[1], &n_begin), *end = tfl_ints(l, n->in[2], &n_end);
    const int64_t *axes = n->n_in > 3 ? tfl_ints(l, n->in[3], &n_axes) : NULL;
    const int64_t *steps = n->n_in > 4 ? tfl_ints(l, n->in[4], &n_steps) : NULL;
    *s = (slices){.begin = {0}};
    for (int i = 0; i < rank; ++i)
        s->step[i] = 1;
    if (!begin || !end || n_begin != n_end)
        return false;
    for (int i = 0; i < n_begin; ++i) {
        int64_t a = axes ? axes[i] : i, step = steps ? steps[i] : 1;
        a = a < 0 ? a + rank : a;
        int64_t size = n->in[0]->type.dims[a], from = begin[i];
        if (step < 1 || (size < 0 && (from < 0 || from > INT32_MAX || end[i] < INT32_MAX)))
            return false;
        if (from < 0)
            from = from + size < 0 ? 0 : from + size;
        s->begin[a] = size >= 0 && from > size ? size : from;
        s->step[a] = step < INT32_MAX ? step : INT32_MAX; /* beyond any dim */
        s->cuts[a] = true;
    }
    return true;
}

void tfl_legal_slice(tfl_legal *l, const hone_node *n) {
    slices s;
    int perm[TFL_MAX_RANK], rank = tfl_rank(n->in[0]);
    int32_t begin[TFL_MAX_RANK], size[TFL_MAX_RANK], end[TFL_MAX_RANK], step[TFL_MAX_RANK];
    int32_t open_ends = 0;
    bool has_steps = false;
    if (!read_slices(l, n, &s)) {
        tfl_refuse(l, n, "unsupported-form", "use constant bounds and positive steps",
                   "the slice has bounds that are not known, or goes backwards");
        return;
    }
    tfl_order(l, n->in[0], perm);
    for (int i = 0; i < rank; ++i) {
        int a = perm[i];
        int64_t d = n->out[0]->type.dims[a];
        begin[i] = (int32_t)s.begin[a];
        step[i] = (int32_t)s.step[a];
        size[i] = d < 0 ? -1 : (int32_t)d;
        end[i] = d < 0 ? 0 : (int32_t)(s.begin[a] + (d - 1) * s.step[a] + 1);
        open_ends |= d < 0 ? 1 << i : 0;
        has_steps |= s.step[a] != 1;
    }
    int x = tfl_take(l, n->in[0], perm), out = tfl_give(l, n->out[0], perm);
    int in[4] = {x, tfl_const_i32s(l, begin, rank), tfl_const_i32s(l, has_steps ? end : size, rank),
                 has_steps ? tfl_const_i32s(l, step, rank) : -1};
    tfl_operator *op =
        tfl_op(l, has_steps ? TFL_STRIDED_SLICE : TFL_SLICE, in, has_steps ? 4 : 3, out);
    if (has_steps)
        tfl_option_i32(op, 1, open_ends);
}

/* ---- padding ----------------------------------------------------------------------------------
 */

/* PAD fills with 0, stored as the zero point where the tensor is quantised. -1: that is what the
 * node does. */
static int pad_value(tfl_legal *l, const hone_node *n, int x) {
    const hone_value *v = n->n_in > 2 ? n->in[2] : NULL;
    if (x < 0)
        return -1;
    if (l->is_integer) {
        float real = v ? (float)hone_load_f64(v->constant->dtype, v->constant->data, 0) : 0;
        return real == 0 ? -1 : tfl_const_like(l, x, real);
    }
    tfl_tensor t = l->model.tensors[x];
    int value = v ? tfl_take(l, v, NULL) : -1;
    if (!v && t.quant.n == 1)
        value = tfl_const(l, t.type, 0, NULL, tfl_alloc(l, 1, 8));
    if (value >= 0 && l->model.tensors[value].type == t.type)
        l->model.tensors[value].quant = t.quant;
    return value;
}

void tfl_legal_pad(tfl_legal *l, const hone_node *n) {
    const char *mode = hone_attr_string(n, "mode", "constant");
    bool is_constant = strcmp(mode, "constant") == 0, is_reflect = strcmp(mode, "reflect") == 0;
    int perm[TFL_MAX_RANK], rank = tfl_rank(n->in[0]), n_pads, n_axes = 0;
    const int64_t *given = tfl_ints(l, n->in[1], &n_pads);
    const int64_t *axes = n->n_in > 3 ? tfl_ints(l, n->in[3], &n_axes) : NULL;
    int32_t *pads = tfl_alloc(l, 2 * (size_t)rank + 1, sizeof *pads), shape[2] = {rank, 2};
    int half = n_pads / 2;
    bool is_fit = given && pads && (axes ? half == n_axes : half == rank);
    if (!is_fit || (!is_constant && !is_reflect)) {
        tfl_refuse(l, n, "unsupported-form", "use constant padding, of mode constant or reflect",
                   "padding of this form (mode %s) has no equivalent", mode);
        return;
    }
    tfl_order(l, n->in[0], perm);
    for (int i = 0; i < half; ++i) {
        int64_t a = axes ? axes[i] : i;
        int at = tfl_position(perm, rank, (int)(a < 0 ? a + rank : a));
        if (given[i] < 0 || given[i + half] < 0) {
            tfl_refuse(l, n, "unsupported-form", "use Slice to cut", "negative padding");
            return;
        }
        pads[2 * at] = (int32_t)given[i];
        pads[2 * at + 1] = (int32_t)given[i + half];
    }
    int in[3] = {tfl_take(l, n->in[0], perm), tfl_const(l, TFL_I32, 2, shape, pads), -1};
    if (is_constant)
        in[2] = pad_value(l, n, in[0]);
    int code = !is_constant ? TFL_MIRROR_PAD : in[2] >= 0 ? TFL_PADV2 : TFL_PAD;
    tfl_operator *op = tfl_op(l, code, in, code == TFL_PADV2 ? 3 : 2, tfl_give(l, n->out[0], perm));
    if (!is_constant)
        tfl_option_byte(op, 0, TFL_REFLECT);
}

/* ---- repetition, constants --------------------------------------------------------------------
 */

void tfl_legal_expand(tfl_legal *l, const hone_node *n) {
    int32_t dims[TFL_MAX_RANK];
    if (!type_dims(n->out[0], dims, 0)) {
        tfl_refuse(l, n, "dynamic-size", CURE_STATIC, "the shape to expand to is not known");
        return;
    }
    int x = tfl_take(l, n->in[0], NULL);
    tfl_op2(l, TFL_BROADCAST_TO, x, tfl_const_i32s(l, dims, tfl_rank(n->out[0])),
            tfl_give(l, n->out[0], NULL));
}

void tfl_legal_tile(tfl_legal *l, const hone_node *n) {
    int32_t times[TFL_MAX_RANK];
    int count, rank = tfl_rank(n->in[0]);
    const int64_t *given = tfl_ints(l, n->in[1], &count);
    if (count != rank) {
        tfl_refuse(l, n, "variable-shape", "export with constant repeats",
                   "the repeats are no constants");
        return;
    }
    for (int i = 0; i < rank; ++i)
        times[i] = (int32_t)given[i];
    int x = tfl_take(l, n->in[0], NULL);
    tfl_op2(l, TFL_TILE, x, tfl_const_i32s(l, times, rank), tfl_give(l, n->out[0], NULL));
}

void tfl_legal_shape(tfl_legal *l, const hone_node *n) {
    int64_t start = hone_attr_int(n, "start", 0), end = hone_attr_int(n, "end", INT64_MAX);
    if (start != 0 || end < tfl_rank(n->in[0])) {
        tfl_refuse(l, n, "unsupported-form", CURE_STATIC, "a part of a shape");
        return;
    }
    int x = tfl_take(l, n->in[0], NULL);
    tfl_option_byte(tfl_op1(l, TFL_SHAPE, x, tfl_give(l, n->out[0], NULL)), 0, TFL_I64);
}

void tfl_legal_constant_of_shape(tfl_legal *l, const hone_node *n) {
    const hone_tensor *value = hone_attr_tensor(n, "value");
    int type = tfl_type_of(n->out[0]->type.dtype);
    void *data = tfl_alloc(l, 1, 8);
    if (data && value)
        memcpy(data, value->data, tfl_type_bytes((tfl_type)type));
    int dims = tfl_take(l, n->in[0], NULL);
    tfl_op2(l, TFL_FILL, dims, tfl_const(l, (tfl_type)type, 0, NULL, data),
            tfl_give(l, n->out[0], NULL));
}

void tfl_legal_range(tfl_legal *l, const hone_node *n) {
    int in[3];
    for (int i = 0; i < 3; ++i)
        in[i] = tfl_take(l, n->in[i], NULL);
    tfl_op(l, TFL_RANGE, in, 3, tfl_give(l, n->out[0], NULL));
}

/* ---- by index ---------------------------------------------------------------------------------
 */

/* Indices below 0 count from the end. */
static int wrapped(tfl_legal *l, const hone_value *v, int64_t size) {
    int x = tfl_take(l, v, NULL), is_low = tfl_like(l, x);
    char *zero = tfl_alloc(l, 1, 8), *step = tfl_alloc(l, 1, 8);
    if (is_low < 0 || !zero || !step)
        return -1;
    tfl_type type = l->model.tensors[x].type;
    memcpy(step, &size, 8); /* the low half is first, as in the file */
    l->model.tensors[is_low].type = TFL_BOOL;
    tfl_op2(l, TFL_LESS, x, tfl_const(l, type, 0, NULL, zero), is_low);
    int moved = tfl_apply2(l, TFL_ADD, x, tfl_const(l, type, 0, NULL, step));
    int in[3] = {is_low, moved, x}, out = tfl_like(l, x);
    tfl_op(l, TFL_SELECT_V2, in, 3, out);
    return out;
}

/* Indices into a table of results for signed bytes. */
static bool are_of_bytes(const hone_value *v) {
    const hone_node *n = v->producer;
    return n && strcmp(n->op_name, "Cast") == 0 && n->in[0]->type.dtype == HONE_DTYPE_I8;
}

/* Indices without negative ones, which the runtime does not know; -1: refused. */
static int indices(tfl_legal *l, const hone_node *n, int64_t size) {
    const hone_value *v = n->in[1];
    int count;
    const int64_t *given = tfl_ints(l, v, &count);
    if (!given)
        return are_of_bytes(v) && size > 0 ? wrapped(l, v, size) : tfl_take(l, v, NULL);
    int32_t *fixed = tfl_alloc(l, (size_t)count + 1, sizeof *fixed), dims[TFL_MAX_RANK];
    for (int i = 0; fixed && i < count; ++i) {
        if (given[i] < 0 && size < 0) {
            tfl_refuse(l, n, "dynamic-size", CURE_STATIC, "a negative index into an open dim");
            return -1;
        }
        fixed[i] = (int32_t)(given[i] < 0 ? given[i] + size : given[i]);
    }
    type_dims(v, dims, TFL_MAX_RANK);
    return tfl_const(l, TFL_I32, tfl_rank(v), dims, fixed);
}

void tfl_legal_gather(tfl_legal *l, const hone_node *n) {
    int64_t axis = hone_attr_int(n, "axis", 0);
    int rank = tfl_rank(n->in[0]);
    axis = axis < 0 ? axis + rank : axis;
    int at = indices(l, n, n->in[0]->type.dims[axis]), x = tfl_take(l, n->in[0], NULL);
    if (at < 0)
        return;
    tfl_operator *op = tfl_op2(l, TFL_GATHER, x, at, tfl_give(l, n->out[0], NULL));
    tfl_option_i32(op, 0, (int32_t)axis);
}

void tfl_legal_gather_nd(tfl_legal *l, const hone_node *n) {
    int count;
    const int64_t *given = tfl_ints(l, n->in[1], &count);
    bool has_negative = false;
    for (int i = 0; i < count; ++i)
        has_negative |= given[i] < 0;
    if (hone_attr_int(n, "batch_dims", 0) || has_negative) {
        tfl_refuse(l, n, "unsupported-form", "use batch_dims 0 and indices from 0",
                   "gathering by batches or from the end has no equivalent");
        return;
    }
    int x = tfl_take(l, n->in[0], NULL), at = tfl_take(l, n->in[1], NULL);
    tfl_op2(l, TFL_GATHER_ND, x, at, tfl_give(l, n->out[0], NULL));
}

void tfl_legal_one_hot(tfl_legal *l, const hone_node *n) {
    int count;
    const int64_t *depth = tfl_ints(l, n->in[1], &count);
    const hone_tensor *values = n->in[2]->constant;
    tfl_type type = (tfl_type)tfl_type_of(n->in[0]->type.dtype);
    if (count != 1 || !values || (type != TFL_I32 && type != TFL_I64)) {
        tfl_refuse(l, n, "unsupported-form", "use integer indices, a constant depth and values",
                   "one-hot vectors of this form have no equivalent");
        return;
    }
    tfl_type of = (tfl_type)tfl_type_of(values->dtype);
    size_t bytes = tfl_type_bytes(of);
    const char *pair = of == TFL_F32 ? (const char *)tfl_floats(l, n->in[2]) : values->data;
    if (!pair)
        return;
    int in[4] = {wrapped(l, n->in[0], depth[0]), tfl_const_i32(l, (int32_t)depth[0]),
                 tfl_const(l, of, 0, NULL, pair + bytes), tfl_const(l, of, 0, NULL, pair)};
    tfl_operator *op = tfl_op(l, TFL_ONE_HOT, in, 4, tfl_give(l, n->out[0], NULL));
    int axis = (int)hone_attr_int(n, "axis", -1);
    tfl_option_i32(op, 0, axis == tfl_rank(n->out[0]) - 1 ? -1 : axis);
}
