/* The context of legalisation: permutations carried on values, tensors, operators. */
#include "tflite/legal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FP16_MIN_COUNT = 64 }; /* smaller constants stay as they are */

void tfl_refuse(tfl_legal *l, const hone_node *n, const char *reason, const char *cure,
                const char *format, ...) {
    char text[500];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    l->is_refused = true;
    if (!hone_findings_add(l->findings, HONE_ERROR, reason, hone_node_label(n), n->op_name, cure,
                           "%s", text))
        l->is_out_of_memory = true;
}

void *tfl_alloc(tfl_legal *l, size_t n, size_t size) {
    void *p = hone_arena_array(l->model.arena, n, size);
    if (!p)
        l->is_out_of_memory = true;
    return p;
}

/* ---- permutations -----------------------------------------------------------------------------
 */

void tfl_identity(int rank, int *perm) {
    for (int i = 0; i < rank; ++i)
        perm[i] = i;
}

bool tfl_is_identity(const int *perm, int rank) {
    for (int i = 0; i < rank; ++i) {
        if (perm[i] != i)
            return false;
    }
    return true;
}

void tfl_channels_last(int rank, int *perm) {
    for (int i = 0; i < rank; ++i)
        perm[i] = i == 0 ? 0 : i == rank - 1 ? 1 : i + 1;
}

int tfl_position(const int *perm, int rank, int axis) {
    for (int i = 0; i < rank; ++i) {
        if (perm[i] == axis)
            return i;
    }
    return axis;
}

/* ---- tensors ----------------------------------------------------------------------------------
 */

int tfl_type_of(hone_dtype d) {
    switch (d) {
    case HONE_DTYPE_F32:
    case HONE_DTYPE_F16:
    case HONE_DTYPE_BF16:
        return TFL_F32;
    case HONE_DTYPE_I64:
        return TFL_I64;
    case HONE_DTYPE_I32:
        return TFL_I32;
    case HONE_DTYPE_I16:
        return TFL_I16;
    case HONE_DTYPE_I8:
        return TFL_I8;
    case HONE_DTYPE_U8:
        return TFL_U8;
    case HONE_DTYPE_BOOL:
        return TFL_BOOL;
    default:
        return -1;
    }
}

static int new_tensor(tfl_legal *l, const char *name, tfl_type type, int rank,
                      const int32_t *dims) {
    int t = tfl_model_tensor(&l->model, name, type, rank, dims);
    if (t < 0)
        l->is_out_of_memory = true;
    return t;
}

int tfl_temp(tfl_legal *l, tfl_type type, int rank, const int32_t *dims) {
    const char *name = hone_arena_printf(l->model.arena, "hone/%d", l->model.n_tensors);
    return new_tensor(l, name ? name : "", type, rank, dims);
}

int tfl_result(tfl_legal *l, int rank, const int32_t *dims) {
    int t = tfl_temp(l, l->is_integer ? l->target.type : TFL_F32, rank, dims);
    if (t >= 0 && l->is_integer)
        l->model.tensors[t].quant = l->target.quant;
    return t;
}

int tfl_shaped_like(tfl_legal *l, int tensor, int rank, const int32_t *dims) {
    if (tensor < 0)
        return -1;
    tfl_tensor like = l->model.tensors[tensor];
    int t = tfl_temp(l, like.type, rank, dims);
    if (t >= 0)
        l->model.tensors[t].quant = like.quant;
    return t;
}

int tfl_like(tfl_legal *l, int tensor) {
    if (tensor < 0)
        return -1;
    tfl_tensor t = l->model.tensors[tensor];
    return tfl_shaped_like(l, tensor, t.rank, t.dims);
}

static int64_t count_of(int rank, const int32_t *dims) {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i)
        n *= dims[i];
    return n;
}

/* Half precision in the file, widened when it runs; -1 when a value would not survive. */
static int halved(tfl_legal *l, int rank, const int32_t *dims, const float *v) {
    int64_t n = count_of(rank, dims);
    uint16_t *half = tfl_alloc(l, (size_t)n, sizeof *half);
    if (!half)
        return -1;
    for (int64_t i = 0; i < n; ++i) {
        half[i] = hone_f16_from_f32(v[i]);
        if ((half[i] & 0x7c00) == 0x7c00)
            return -1;
    }
    int stored = tfl_temp(l, TFL_F16, rank, dims), wide = tfl_temp(l, TFL_F32, rank, dims);
    if (stored < 0 || wide < 0)
        return -1;
    l->model.tensors[stored].data = half;
    l->model.tensors[stored].bytes = (size_t)n * sizeof *half;
    tfl_op1(l, TFL_DEQUANTIZE, stored, wide);
    return wide;
}

int tfl_const(tfl_legal *l, tfl_type type, int rank, const int32_t *dims, const void *data) {
    if (!data)
        return -1;
    if (l->is_fp16 && type == TFL_F32 && rank > 1 && count_of(rank, dims) >= FP16_MIN_COUNT) {
        int wide = halved(l, rank, dims, data);
        if (wide >= 0)
            return wide;
    }
    int t = tfl_temp(l, type, rank, dims);
    if (t >= 0) {
        l->model.tensors[t].data = data;
        l->model.tensors[t].bytes = (size_t)count_of(rank, dims) * tfl_type_bytes(type);
    }
    return t;
}

int tfl_const_i32s(tfl_legal *l, const int32_t *v, int n) {
    int32_t *copy = tfl_alloc(l, (size_t)n, sizeof *copy), dim = n;
    if (copy && n)
        memcpy(copy, v, (size_t)n * sizeof *v);
    return tfl_const(l, TFL_I32, 1, &dim, copy);
}

int tfl_const_i32(tfl_legal *l, int32_t v) {
    int32_t *copy = tfl_alloc(l, 1, sizeof *copy);
    if (copy)
        *copy = v;
    return tfl_const(l, TFL_I32, 0, NULL, copy);
}

int tfl_const_f32(tfl_legal *l, float v) {
    float *copy = tfl_alloc(l, 1, sizeof *copy);
    if (copy)
        *copy = v;
    return tfl_const(l, TFL_F32, 0, NULL, copy);
}

/* ---- quantisation -----------------------------------------------------------------------------
 */

int64_t tfl_quantised(tfl_type type, const tfl_quant *q, double real) {
    int64_t low = type == TFL_U8 ? 0 : type == TFL_I8 ? INT8_MIN : INT16_MIN;
    int64_t high = type == TFL_U8 ? UINT8_MAX : type == TFL_I8 ? INT8_MAX : INT16_MAX;
    float steps = roundf((float)real / q->scale[0]);
    int64_t v = !(steps > -1e9f) ? INT32_MIN : steps > 1e9f ? INT32_MAX : (int64_t)steps;
    v += q->zero_point[0];
    return v < low ? low : v > high ? high : v;
}

/* A plain integer, within the type's range. */
static int const_integer(tfl_legal *l, tfl_type type, float v) {
    int bits = 8 * (int)tfl_type_bytes(type) - (type != TFL_U8);
    double high = ldexp(1, bits < 53 ? bits : 53) - 1, low = type == TFL_U8 ? 0 : -high - 1;
    int64_t *copy = tfl_alloc(l, 1, sizeof *copy);
    double within = (double)v < low ? low : (double)v > high ? high : (double)v;
    if (copy)
        *copy = (int64_t)within; /* the low bytes are first, as in the file */
    return tfl_const(l, type, 0, NULL, copy);
}

int tfl_const_like(tfl_legal *l, int tensor, float v) {
    if (tensor < 0)
        return -1;
    tfl_tensor like = l->model.tensors[tensor];
    if (like.quant.n != 1)
        return like.type == TFL_F32 ? tfl_const_f32(l, v) : const_integer(l, like.type, v);
    int16_t *copy = tfl_alloc(l, 1, sizeof *copy);
    int64_t stored = tfl_quantised(like.type, &like.quant, v);
    if (copy && like.type == TFL_I16)
        *copy = (int16_t)stored;
    else if (copy)
        memcpy(copy, &(uint8_t){(uint8_t)stored}, 1);
    int t = tfl_const(l, like.type, 0, NULL, copy);
    if (t >= 0)
        l->model.tensors[t].quant = like.quant;
    return t;
}

bool tfl_has_quant(const tfl_legal *l, int tensor, const tfl_stored *s) {
    const tfl_tensor *t = &l->model.tensors[tensor];
    return t->type == s->type && t->quant.n == 1 && s->quant.n == 1 &&
           t->quant.scale[0] == s->quant.scale[0] &&
           t->quant.zero_point[0] == s->quant.zero_point[0];
}

const float *tfl_floats(tfl_legal *l, const hone_value *v) {
    const hone_tensor *t = v ? v->constant : NULL;
    if (!t)
        return NULL;
    int64_t n = hone_tensor_count(t);
    float *f = tfl_alloc(l, (size_t)n, sizeof *f);
    for (int64_t i = 0; f && i < n; ++i)
        f[i] = (float)hone_load_f64(t->dtype, t->data, i);
    return f;
}

const int64_t *tfl_ints(tfl_legal *l, const hone_value *v, int *n) {
    const hone_tensor *t = v ? v->constant : NULL;
    *n = 0;
    if (!t)
        return NULL;
    int64_t count = hone_tensor_count(t);
    int64_t *ints = tfl_alloc(l, (size_t)count, sizeof *ints);
    for (int64_t i = 0; ints && i < count; ++i)
        ints[i] = hone_load_i64(t->dtype, t->data, i);
    *n = ints ? (int)count : 0;
    return ints;
}

/* ---- operators --------------------------------------------------------------------------------
 */

tfl_operator *tfl_op(tfl_legal *l, int code, const int *in, int n_in, int out) {
    if (out < 0)
        return NULL;
    tfl_operator *op = tfl_model_operator(&l->model, code, in, n_in, &out, 1);
    if (!op)
        l->is_out_of_memory = true;
    return op;
}

tfl_operator *tfl_op1(tfl_legal *l, int code, int in, int out) {
    return tfl_op(l, code, &in, 1, out);
}

tfl_operator *tfl_op2(tfl_legal *l, int code, int a, int b, int out) {
    int in[2] = {a, b};
    return tfl_op(l, code, in, 2, out);
}

void tfl_no_activation(tfl_operator *op) {
    tfl_option_byte(op, 0, TFL_ACT_NONE);
}

static bool has_activation_first(int code) {
    return code == TFL_ADD || code == TFL_SUB || code == TFL_MUL || code == TFL_DIV;
}

int tfl_apply1(tfl_legal *l, int code, int in) {
    int out = tfl_like(l, in);
    tfl_op1(l, code, in, out);
    return out;
}

int tfl_apply2(tfl_legal *l, int code, int a, int b) {
    int out = tfl_like(l, a);
    tfl_operator *op = tfl_op2(l, code, a, b, out);
    if (has_activation_first(code))
        tfl_no_activation(op);
    return out;
}

int tfl_reshape(tfl_legal *l, int tensor, int rank, const int32_t *dims) {
    int n_open = 0;
    for (int i = 0; i < rank; ++i)
        n_open += dims[i] < 0;
    l->is_too_open |= n_open > 1;
    if (tensor < 0)
        return -1;
    int out = tfl_shaped_like(l, tensor, rank, dims);
    tfl_op2(l, TFL_RESHAPE, tensor, tfl_const_i32s(l, dims, rank), out);
    return out;
}

/* Where the operator keeps its activation; -1: it has none. */
static int activation_field(int code) {
    switch (code) {
    case TFL_CONV_2D:
    case TFL_DEPTHWISE_CONV_2D:
        return code == TFL_CONV_2D ? 3 : 4;
    case TFL_AVERAGE_POOL_2D:
    case TFL_MAX_POOL_2D:
        return 5;
    case TFL_FULLY_CONNECTED:
        return 0;
    default:
        return has_activation_first(code) ? 0 : -1;
    }
}

bool tfl_fuse_activation(tfl_legal *l, const hone_value *v, int activation) {
    const tfl_form *form = v->n_uses == 1 && v->id >= 0 ? l->forms[v->id] : NULL;
    if (!form || form->tensor < 0 || l->model.tensors[form->tensor].producer < 0 ||
        (l->model.tensors[form->tensor].type == TFL_F32) == l->is_integer)
        return false;
    tfl_operator *op = &l->model.operators[l->model.tensors[form->tensor].producer];
    int field = activation_field(op->code);
    tfl_option *o = field >= 0 ? tfl_option_find(op, field) : NULL;
    if (!o || o->i != TFL_ACT_NONE)
        return false;
    o->i = activation;
    return true;
}

/* ---- values -----------------------------------------------------------------------------------
 */

int tfl_rank(const hone_value *v) {
    return v->type.rank;
}

static void dims_of(const hone_value *v, const int *perm, int32_t *dims) {
    for (int i = 0; i < v->type.rank; ++i) {
        int64_t d = v->type.dims[perm ? perm[i] : i];
        dims[i] = d < 0 ? -1 : (int32_t)d;
    }
}

static bool is_float(const hone_value *v) {
    return tfl_type_of(v->type.dtype) == TFL_F32;
}

/* The value whose forms the node being converted reads and makes in v's place. */
static const hone_value *seen(const tfl_legal *l, const hone_value *v) {
    const hone_value *in = l->stored[v->id].in;
    return l->is_integer && in ? in : v;
}

/* A value that is stored as integers in forms of its own has forms of floats beside them. */
static bool can_read(const tfl_legal *l, const hone_value *v, const tfl_form *f) {
    if (!is_float(v) || l->stored[v->id].in != v || f->tensor < 0)
        return true;
    return (l->model.tensors[f->tensor].type == TFL_F32) != l->is_integer;
}

static const tfl_form *first_form(const tfl_legal *l, const hone_value *v) {
    const tfl_form *f = l->forms[v->id];
    while (f && !can_read(l, v, f))
        f = f->next;
    return f;
}

const hone_tensor *tfl_contents(const tfl_legal *l, const hone_value *v) {
    const hone_value *in = l->stored[v->id].in;
    bool is_stored_constant = l->is_integer && in == v && v->producer && is_float(v) &&
                              strcmp(v->producer->op_name, "DequantizeLinear") == 0;
    return is_stored_constant ? v->producer->in[0]->constant : seen(l, v)->constant;
}

static void add_form(tfl_legal *l, const hone_value *v, int tensor, const int *perm) {
    tfl_form *f = tfl_alloc(l, 1, sizeof *f);
    if (!f)
        return;
    f->tensor = tensor;
    if (perm)
        memcpy(f->perm, perm, (size_t)v->type.rank * sizeof *perm);
    else
        tfl_identity(v->type.rank, f->perm);
    tfl_form **at = &l->forms[v->id];
    while (*at)
        at = &(*at)->next;
    *at = f;
}

void tfl_alias(tfl_legal *l, const hone_value *v, int tensor, const int *perm) {
    if (tensor < 0)
        return;
    add_form(l, v, tensor, perm);
    const tfl_tensor *t = &l->model.tensors[tensor];
    if (l->is_integer && is_float(v) && t->quant.n && !l->stored[v->id].in)
        l->stored[v->id] = (tfl_stored){.in = v, .type = t->type, .quant = t->quant};
}

int tfl_give(tfl_legal *l, const hone_value *v, const int *perm) {
    int32_t dims[TFL_MAX_RANK];
    bool is_target = l->is_integer && is_float(v);
    dims_of(v, perm, dims);
    tfl_type type = is_target ? l->target.type : (tfl_type)tfl_type_of(v->type.dtype);
    int t = new_tensor(l, v->name, type, v->type.rank, dims);
    if (t >= 0 && is_target)
        l->model.tensors[t].quant = l->target.quant;
    else if (t >= 0 && !is_float(v))
        l->model.tensors[t].quant = l->stored[v->id].quant;
    tfl_alias(l, v, t, perm);
    return t;
}

/* A value that a refused node should have made: something to go on with. */
static tfl_form *placeholder(tfl_legal *l, const hone_value *v) {
    tfl_give(l, v, NULL);
    return l->forms[v->id];
}

void tfl_order(tfl_legal *l, const hone_value *v, int *perm) {
    v = seen(l, v);
    const tfl_form *f = first_form(l, v);
    if (!f && l->stored[v->id].in) /* to be dequantised: in the order of what is stored */
        f = l->forms[l->stored[v->id].in->id];
    if (f && !tfl_contents(l, v))
        memcpy(perm, f->perm, (size_t)v->type.rank * sizeof *perm);
    else
        tfl_identity(v->type.rank, perm);
}

/* ---- constants in another order ---------------------------------------------------------------
 */

typedef struct copier {
    const hone_tensor *from;
    tfl_type type;
    void *to;
} copier;

static void copy_element(const copier *c, int64_t to, int64_t from) {
    size_t bytes = tfl_type_bytes(c->type);
    if (c->type == TFL_F32 && c->from->dtype != HONE_DTYPE_F32)
        ((float *)c->to)[to] = (float)hone_load_f64(c->from->dtype, c->from->data, from);
    else
        memcpy((char *)c->to + (size_t)to * bytes,
               (const char *)c->from->data + (size_t)from * bytes, bytes);
}

static void copy_permuted(const copier *c, const int *perm) {
    const hone_tensor *t = c->from;
    int64_t stride[TFL_MAX_RANK], at[TFL_MAX_RANK] = {0}, step = 1, from = 0;
    for (int i = t->rank - 1; i >= 0; --i) {
        stride[i] = step;
        step *= t->dims[i];
    }
    for (int64_t to = 0; to < step; ++to) {
        copy_element(c, to, from);
        for (int i = t->rank - 1; i >= 0; --i) {
            from += stride[perm[i]];
            if (++at[i] < t->dims[perm[i]])
                break;
            from -= stride[perm[i]] * t->dims[perm[i]];
            at[i] = 0;
        }
    }
}

static int constant_in_order(tfl_legal *l, const hone_value *v, const int *perm) {
    const hone_tensor *t = tfl_contents(l, v);
    tfl_type type = (tfl_type)tfl_type_of(t->dtype);
    int32_t dims[TFL_MAX_RANK];
    dims_of(v, perm, dims);
    bool as_it_is =
        tfl_is_identity(perm, t->rank) && (type != TFL_F32 || t->dtype == HONE_DTYPE_F32);
    copier c = {.from = t, .type = type, .to = t->data};
    if (!as_it_is) {
        c.to = tfl_alloc(l, (size_t)hone_tensor_count(t) + 1, tfl_type_bytes(type));
        if (!c.to)
            return -1;
        copy_permuted(&c, perm);
    }
    int tensor = tfl_const(l, type, t->rank, dims, c.to);
    if (tensor >= 0 && type != TFL_F32 && l->stored[v->id].quant.n == 1)
        l->model.tensors[tensor].quant = l->stored[v->id].quant;
    return tensor;
}

/* ---- values in another order ------------------------------------------------------------------
 */

/* Only dims of size 1 change their place: the bytes stay as they are. */
static bool moves_units_only(const hone_value *v, const int *from, const int *to) {
    int rank = v->type.rank, i = 0, k = 0;
    for (;;) {
        while (i < rank && v->type.dims[from[i]] == 1)
            ++i;
        while (k < rank && v->type.dims[to[k]] == 1)
            ++k;
        if (i == rank || k == rank)
            return i == rank && k == rank;
        if (from[i++] != to[k++])
            return false;
    }
}

static int reordered(tfl_legal *l, const hone_value *v, const tfl_form *f, const int *perm) {
    int rank = v->type.rank;
    int32_t dims[TFL_MAX_RANK], order[TFL_MAX_RANK];
    dims_of(v, perm, dims);
    if (moves_units_only(v, f->perm, perm))
        return tfl_reshape(l, f->tensor, rank, dims);
    for (int i = 0; i < rank; ++i)
        order[i] = tfl_position(f->perm, rank, perm[i]);
    int out = tfl_shaped_like(l, f->tensor, rank, dims);
    tfl_op2(l, TFL_TRANSPOSE, f->tensor, tfl_const_i32s(l, order, rank), out);
    return out;
}

/* Floats made of what is stored. */
static int dequantised(tfl_legal *l, const hone_value *v, const int *perm) {
    l->is_integer = true;
    int stored = tfl_take(l, v, perm);
    l->is_integer = false;
    if (stored < 0)
        return -1;
    tfl_tensor t = l->model.tensors[stored];
    int out = new_tensor(l, v->name, TFL_F32, t.rank, t.dims);
    tfl_op1(l, TFL_DEQUANTIZE, stored, out);
    return out;
}

/* The tensor with the quantisation of the node's result. */
static int rescaled(tfl_legal *l, int tensor) {
    if (tensor < 0 || !l->is_integer || !l->rescales || tfl_has_quant(l, tensor, &l->target))
        return tensor;
    tfl_tensor t = l->model.tensors[tensor];
    int out = tfl_result(l, t.rank, t.dims);
    tfl_op1(l, TFL_QUANTIZE, tensor, out);
    return out;
}

static int take(tfl_legal *l, const hone_value *v, const int *wanted) {
    int perm[TFL_MAX_RANK];
    size_t bytes = (size_t)v->type.rank * sizeof *perm;
    if (wanted)
        memcpy(perm, wanted, bytes);
    else
        tfl_identity(v->type.rank, perm);
    const tfl_form *first = first_form(l, v);
    for (const tfl_form *f = first; f; f = f->next) {
        if (can_read(l, v, f) && memcmp(f->perm, perm, bytes) == 0)
            return f->tensor;
    }
    int tensor;
    if (tfl_contents(l, v)) {
        tensor = constant_in_order(l, v, perm);
    } else if (!first && is_float(v) && l->stored[v->id].in) {
        tensor = dequantised(l, v, perm);
    } else {
        if (!first && !(first = placeholder(l, v)))
            return -1;
        tensor = reordered(l, v, first, perm);
    }
    tfl_alias(l, v, tensor, perm);
    return tensor;
}

int tfl_take(tfl_legal *l, const hone_value *v, const int *wanted) {
    return rescaled(l, take(l, seen(l, v), wanted));
}

int tfl_take_padded(tfl_legal *l, const hone_value *v, int rank, const int *perm) {
    int own = v->type.rank, lead = rank - own;
    if (lead == 0)
        return tfl_take(l, v, perm);
    /* The order of v's own dims within the wanted order; the new ones have size 1. */
    int order[TFL_MAX_RANK], n = 0;
    int32_t dims[TFL_MAX_RANK];
    for (int i = 0; i < rank; ++i) {
        bool is_new = perm[i] < lead;
        int64_t d = is_new ? 1 : v->type.dims[perm[i] - lead];
        dims[i] = d < 0 ? -1 : (int32_t)d;
        if (!is_new)
            order[n++] = perm[i] - lead;
    }
    if (tfl_contents(l, v) && own == 0)
        return tfl_take(l, v, NULL);
    int tensor = tfl_take(l, v, order);
    if (tensor >= 0 && l->model.tensors[tensor].data) {
        tfl_tensor t = l->model.tensors[tensor];
        int padded = tfl_const(l, t.type, rank, dims, t.data);
        if (padded >= 0)
            l->model.tensors[padded].quant = t.quant;
        return padded;
    }
    return tfl_reshape(l, tensor, rank, dims);
}
