#include "tflite/model.h"

#include <string.h>

const tfl_model *tfl_model_subgraph(const tfl_model *m, int i) {
    return i == 0 ? m : m->called[i - 1];
}

int tfl_model_tensor(tfl_model *m, const char *name, tfl_type type, int rank, const int32_t *dims) {
    tfl_tensor t = {.name = name, .type = type, .rank = rank, .producer = -1};
    for (int i = 0; i < rank; ++i)
        t.dims[i] = dims[i];
    if (!HONE_PUSH(m->arena, m->tensors, m->n_tensors, m->cap_tensors, t))
        return -1;
    return m->n_tensors - 1;
}

static const int *copy_list(hone_arena *arena, const int *v, int n) {
    int *copy = HONE_NEW_ARRAY(arena, int, n);
    if (copy && n)
        memcpy(copy, v, (size_t)n * sizeof *v);
    return copy;
}

tfl_operator *tfl_model_operator(tfl_model *m, int code, const int *in, int n_in, const int *out,
                                 int n_out) {
    tfl_operator op = {.code = code,
                       .version = 1,
                       .in = copy_list(m->arena, in, n_in),
                       .n_in = n_in,
                       .out = copy_list(m->arena, out, n_out),
                       .n_out = n_out};
    if (!op.in || !op.out ||
        !HONE_PUSH(m->arena, m->operators, m->n_operators, m->cap_operators, op))
        return NULL;
    for (int i = 0; i < n_out; ++i) {
        if (out[i] >= 0)
            m->tensors[out[i]].producer = m->n_operators - 1;
    }
    return &m->operators[m->n_operators - 1];
}

static void add_option(tfl_operator *op, tfl_option o) {
    if (op && op->n_options < TFL_MAX_OPTIONS)
        op->options[op->n_options++] = o;
}

void tfl_option_byte(tfl_operator *op, int id, int v) {
    add_option(op, (tfl_option){.id = id, .kind = TFL_OPTION_BYTE, .i = v});
}

void tfl_option_i32(tfl_operator *op, int id, int32_t v) {
    add_option(op, (tfl_option){.id = id, .kind = TFL_OPTION_I32, .i = v});
}

void tfl_option_f32(tfl_operator *op, int id, float v) {
    add_option(op, (tfl_option){.id = id, .kind = TFL_OPTION_F32, .f = v});
}

void tfl_option_i32s(tfl_operator *op, int id, const int32_t *v, int n) {
    add_option(op, (tfl_option){.id = id, .kind = TFL_OPTION_I32S, .list = v, .n = n});
}

tfl_option *tfl_option_find(tfl_operator *op, int id) {
    for (int i = 0; i < op->n_options; ++i) {
        if (op->options[i].id == id)
            return &op->options[i];
    }
    return NULL;
}

size_t tfl_type_bytes(tfl_type t) {
    switch (t) {
    case TFL_F32:
    case TFL_I32:
    case TFL_U32:
        return 4;
    case TFL_I64:
    case TFL_F64:
    case TFL_U64:
        return 8;
    case TFL_F16:
    case TFL_I16:
    case TFL_U16:
        return 2;
    case TFL_U8:
    case TFL_I8:
    case TFL_BOOL:
        return 1;
    default:
        return 0;
    }
}
