#include "tflite/versions.h"

#include <stdlib.h>

typedef bool (*condition)(const tfl_model *m, const tfl_operator *op);

static bool has_input(const tfl_model *m, const tfl_operator *op, tfl_type type) {
    for (int i = 0; i < op->n_in; ++i) {
        if (op->in[i] >= 0 && m->tensors[op->in[i]].type == type)
            return true;
    }
    return false;
}

static bool has_rank_above(const tfl_model *m, const tfl_operator *op, int rank) {
    for (int i = 0; i < op->n_in; ++i) {
        if (op->in[i] >= 0 && m->tensors[op->in[i]].rank > rank)
            return true;
    }
    return false;
}

/* An option's integer value, 0 when it is absent. */
static int32_t option(const tfl_operator *op, int id) {
    for (int i = 0; i < op->n_options; ++i) {
        if (op->options[i].id == id)
            return op->options[i].i;
    }
    return 0;
}

static bool always(const tfl_model *m, const tfl_operator *op) {
    return m && op;
}

static bool of_i8(const tfl_model *m, const tfl_operator *op) {
    return has_input(m, op, TFL_I8);
}

static bool of_i32(const tfl_model *m, const tfl_operator *op) {
    return has_input(m, op, TFL_I32);
}

static bool of_i64(const tfl_model *m, const tfl_operator *op) {
    return m->tensors[op->in[0]].type == TFL_I64;
}

static bool of_bool(const tfl_model *m, const tfl_operator *op) {
    return m->tensors[op->in[0]].type == TFL_BOOL;
}

static bool of_f16(const tfl_model *m, const tfl_operator *op) {
    return has_input(m, op, TFL_F16);
}

static bool of_i16(const tfl_model *m, const tfl_operator *op) {
    return m->tensors[op->out[0]].type == TFL_I16;
}

static bool above_4d(const tfl_model *m, const tfl_operator *op) {
    return has_rank_above(m, op, 4);
}

static bool above_5d(const tfl_model *m, const tfl_operator *op) {
    return has_rank_above(m, op, 5);
}

static bool by_channel(const tfl_model *m, const tfl_operator *op) {
    return m->tensors[op->in[0]].quant.n > 1 || m->tensors[op->out[0]].quant.n > 1;
}

/* A filter sees fewer channels than the input has. */
static bool grouped(const tfl_model *m, const tfl_operator *op) {
    return m->tensors[op->in[0]].dims[3] != m->tensors[op->in[1]].dims[3];
}

static bool dilated(const tfl_model *m, const tfl_operator *op) {
    (void)m;
    return option(op, 5) > 1 || option(op, 6) > 1;
}

static bool keeps_dims(const tfl_model *m, const tfl_operator *op) {
    (void)m;
    return option(op, 2) != 0;
}

static bool has_bias(const tfl_model *m, const tfl_operator *op) {
    (void)m;
    return op->n_in > 3;
}

static bool activated(const tfl_model *m, const tfl_operator *op) {
    (void)m;
    return option(op, 3) != 0;
}

static bool batched(const tfl_model *m, const tfl_operator *op) {
    (void)m;
    return option(op, 1) != 0;
}

static bool half_pixel(const tfl_model *m, const tfl_operator *op) {
    (void)m;
    return option(op, op->code == TFL_RESIZE_BILINEAR ? 3 : 1) != 0;
}

static bool aligned(const tfl_model *m, const tfl_operator *op) {
    (void)m;
    return option(op, 0) != 0;
}

static const struct version_row {
    int code, version;
    const char *runtime;
    condition applies;
} rows[] = {
#define VERSION(name, version, runtime, applies) {TFL_##name, version, runtime, applies},
#include "tflite/versions.def"
#undef VERSION
};

enum { N_ROWS = sizeof rows / sizeof rows[0] };

int tfl_operator_version(const tfl_model *m, const tfl_operator *op) {
    int version = 1;
    for (int i = 0; i < N_ROWS; ++i) {
        if (rows[i].code == op->code && rows[i].version > version && rows[i].applies(m, op))
            version = rows[i].version;
    }
    return version;
}

const char *tfl_runtime_version(int code, int version) {
    for (int i = 0; i < N_ROWS; ++i) {
        if (rows[i].code == code && rows[i].version == version)
            return rows[i].runtime;
    }
    return "1.5.0";
}

bool tfl_runtime_is_newer(const char *a, const char *b) {
    while (*a && *b) {
        char *end_a, *end_b;
        long x = strtol(a, &end_a, 10), y = strtol(b, &end_b, 10);
        if (x != y)
            return x > y;
        a = *end_a ? end_a + 1 : end_a;
        b = *end_b ? end_b + 1 : end_b;
    }
    return *a != '\0';
}
