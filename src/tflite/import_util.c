/* Builders for the rules of import_*.c. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tflite/import_impl.h"

static void no_memory(tfr_import *im) {
    if (im->status == HONE_OK)
        im->status = hone_fail(im->err, HONE_E_NOMEM,
                               "importing the model takes more memory than its size allows");
}

void tfr_fail(tfr_import *im, hone_status code, const char *format, ...) {
    if (im->status != HONE_OK)
        return;
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    int out = im->op->n_out > 0 ? im->op->out[0] : -1;
    im->status = hone_fail(im->err, code, "%s %s: %s", tfr_op_name(im->op->code),
                           out >= 0 ? im->names[out] : "", text);
    hone_fail_node(im->err, code, out >= 0 ? im->names[out] : "", tfr_op_name(im->op->code));
}

/* ---- inputs -----------------------------------------------------------------------------------
 */

const tfr_tensor *tfr_in_tensor(const tfr_import *im, int k) {
    int t = k >= 0 && k < im->op->n_in ? im->op->in[k] : -1;
    return t < 0 ? NULL : &im->sub->tensors[t];
}

const tfr_tensor *tfr_out_tensor(const tfr_import *im, int k) {
    int t = k < im->op->n_out ? im->op->out[k] : -1;
    return t < 0 ? NULL : &im->sub->tensors[t];
}

bool tfr_is_quantised(const tfr_tensor *t) {
    uint32_t types =
        HONE_T(I8) | HONE_T(U8) | HONE_T(I16) | HONE_T(I4) | HONE_T(U4) | HONE_T(I2) | HONE_T(I32);
    return t && (t->quant.n_scales > 0 || t->quant.block > 0) && hone_dtype_in(t->dtype, types);
}

static hone_value *constant(tfr_import *im, const tfr_tensor *t) {
    static const char nothing[1];
    hone_tensor *c = HONE_NEW(im->g->arena, hone_tensor);
    if (!c)
        return no_memory(im), NULL;
    *c = hone_tensor_view(t->dtype, t->rank, t->dims, t->data ? t->data : nothing);
    hone_value *v = hone_graph_constant(im->g, "constant", c);
    if (!v)
        no_memory(im);
    return v;
}

hone_value *tfr_in_raw(tfr_import *im, int k) {
    const tfr_tensor *t = tfr_in_tensor(im, k);
    if (im->status != HONE_OK || !t)
        return NULL;
    int i = im->op->in[k];
    bool is_empty = t->dtype != HONE_DTYPE_NONE && hone_dims_count(t->dims, 0, t->rank) == 0;
    if (!im->value[i] && (t->data || is_empty)) {
        im->value[i] = constant(im, t);
        if (im->value[i])
            im->value[i]->name = im->names[i];
    }
    if (!im->value[i])
        tfr_fail(im, HONE_E_FORMAT, "input %d (%s) is used before it is made", k, im->names[i]);
    return im->value[i];
}

hone_value *tfr_in_float(tfr_import *im, int k) {
    hone_value *v = tfr_in_raw(im, k);
    const tfr_tensor *t = tfr_in_tensor(im, k);
    if (!v)
        return NULL;
    if (tfr_is_quantised(t))
        return tfr_dequantise(im, v, t);
    if (t->data && hone_dtype_in(t->dtype, HONE_T(F16) | HONE_T(BF16)))
        return tfr_cast(im, v, HONE_DTYPE_F32);
    return v;
}

hone_value *tfr_in(tfr_import *im, int k) {
    return im->rule->view == TFR_FLOAT ? tfr_in_float(im, k) : tfr_in_raw(im, k);
}

hone_value *tfr_in_i64(tfr_import *im, int k) {
    const tfr_tensor *t = tfr_in_tensor(im, k);
    hone_value *v = tfr_in_raw(im, k);
    if (!v || t->dtype == HONE_DTYPE_I64)
        return v;
    int64_t list[64];
    int64_t n = hone_dims_count(t->dims, 0, t->rank);
    if (!t->data || t->dtype != HONE_DTYPE_I32 || t->rank > 1 || n > 64)
        return tfr_cast(im, v, HONE_DTYPE_I64);
    int got = tfr_in_ints(im, k, list, 64);
    return got < 0 ? NULL : tfr_const_i64(im, list, t->rank == 0 ? -1 : got);
}

int tfr_in_ints(tfr_import *im, int k, int64_t *out, int max) {
    const tfr_tensor *t = tfr_in_tensor(im, k);
    if (im->status != HONE_OK)
        return -1;
    int64_t n = t ? hone_dims_count(t->dims, 0, t->rank) : 0;
    bool is_known = t && (t->data || n == 0) && hone_dtype_in(t->dtype, HONE_T(I32) | HONE_T(I64));
    if (!is_known || n > max) {
        tfr_fail(im, HONE_E_UNSUPPORTED, "input %d must be a constant of at most %d integers", k,
                 max);
        return -1;
    }
    for (int64_t i = 0; i < n; ++i) {
        int32_t narrow;
        if (t->dtype == HONE_DTYPE_I64) {
            memcpy(&out[i], (const char *)t->data + 8 * i, 8);
        } else {
            memcpy(&narrow, (const char *)t->data + 4 * i, 4);
            out[i] = narrow;
        }
    }
    return (int)n;
}

int64_t tfr_option_byte(tfr_import *im, int id, int64_t missing) {
    tfr_flat f = im->file->flat;
    int64_t v = tfr_i8(&f, im->op->options, id, missing);
    if (f.status != HONE_OK)
        im->status = f.status;
    return v;
}

int64_t tfr_option_i32(tfr_import *im, int id, int64_t missing) {
    tfr_flat f = im->file->flat;
    int64_t v = tfr_i32(&f, im->op->options, id, missing);
    if (f.status != HONE_OK)
        im->status = f.status;
    return v;
}

float tfr_option_f32(tfr_import *im, int id, float missing) {
    tfr_flat f = im->file->flat;
    float v = tfr_f32(&f, im->op->options, id, missing);
    if (f.status != HONE_OK)
        im->status = f.status;
    return v;
}

/* ---- nodes ------------------------------------------------------------------------------------
 */

static const char *node_name(tfr_import *im, const char *op) {
    int out = im->op->n_out > 0 ? im->op->out[0] : -1;
    return hone_arena_printf(im->g->arena, "%.60s_%.200s", op, out >= 0 ? im->names[out] : "");
}

void tfr_make_many(tfr_import *im, const char *op, hone_value *const *in, int n_in,
                   hone_value **out, int n_out) {
    for (int i = 0; i < n_out; ++i)
        out[i] = NULL;
    if (im->status != HONE_OK)
        return;
    bool is_own = op[0] == 'Q' && op[1] >= 'A' && op[1] <= 'Z';
    const hone_op_def *def = hone_op_find(is_own ? "ai.hone" : "", op);
    const char *name = node_name(im, op);
    if (!def || !name) {
        no_memory(im);
        return;
    }
    for (int i = 0; i < n_out; ++i) {
        out[i] = hone_graph_fresh(im->g, op);
        if (!out[i]) {
            no_memory(im);
            return;
        }
    }
    hone_node *n = hone_node_create(im->g, def, name, in, n_in, out, n_out);
    if (!n || !hone_graph_append(im->g, n))
        no_memory(im);
    if (im->g->opset < def->since && !is_own)
        im->g->opset = def->since;
}

hone_value *tfr_make(tfr_import *im, const char *op, hone_value *const *in, int n_in) {
    hone_value *out;
    tfr_make_many(im, op, in, n_in, &out, 1);
    return out;
}

hone_value *tfr_unary(tfr_import *im, const char *op, hone_value *x) {
    return tfr_make(im, op, &x, 1);
}

hone_value *tfr_binary(tfr_import *im, const char *op, hone_value *a, hone_value *b) {
    return tfr_make(im, op, (hone_value *[]){a, b}, 2);
}

void tfr_int(tfr_import *im, hone_value *v, const char *name, int64_t i) {
    if (im->status == HONE_OK && v && !hone_attr_set_int(im->g, v->producer, name, i))
        no_memory(im);
}

void tfr_float(tfr_import *im, hone_value *v, const char *name, float f) {
    if (im->status == HONE_OK && v && !hone_attr_set_float(im->g, v->producer, name, f))
        no_memory(im);
}

void tfr_text_attr(tfr_import *im, hone_value *v, const char *name, const char *text) {
    if (im->status == HONE_OK && v && !hone_attr_set_string(im->g, v->producer, name, text))
        no_memory(im);
}

void tfr_ints(tfr_import *im, hone_value *v, const char *name, const int64_t *list, int n) {
    if (im->status == HONE_OK && v && !hone_attr_set_ints(im->g, v->producer, name, list, n))
        no_memory(im);
}

hone_value *tfr_const_i64(tfr_import *im, const int64_t *v, int n) {
    hone_value *c = im->status == HONE_OK ? hone_graph_const_i64(im->g, "ints", v, n) : NULL;
    if (!c)
        no_memory(im);
    return c;
}

hone_value *tfr_const_f32(tfr_import *im, float v) {
    hone_value *c = im->status == HONE_OK ? hone_graph_const_f32(im->g, "number", v) : NULL;
    if (!c)
        no_memory(im);
    return c;
}

hone_value *tfr_transpose(tfr_import *im, hone_value *v, const int64_t *perm, int n) {
    hone_value *y = tfr_unary(im, "Transpose", v);
    tfr_ints(im, y, "perm", perm, n);
    return y;
}

hone_value *tfr_to_nchw(tfr_import *im, hone_value *v) {
    return tfr_transpose(im, v, (int64_t[]){0, 3, 1, 2}, 4);
}

hone_value *tfr_to_nhwc(tfr_import *im, hone_value *v) {
    return tfr_transpose(im, v, (int64_t[]){0, 2, 3, 1}, 4);
}

hone_value *tfr_reshape(tfr_import *im, hone_value *v, const int64_t *dims, int n) {
    return tfr_binary(im, "Reshape", v, tfr_const_i64(im, dims, n));
}

hone_value *tfr_cast(tfr_import *im, hone_value *v, hone_dtype to) {
    hone_value *y = tfr_unary(im, "Cast", v);
    tfr_int(im, y, "to", to);
    return y;
}

/* ---- outputs ----------------------------------------------------------------------------------
 */

hone_value *tfr_activate(tfr_import *im, hone_value *v, int64_t activation) {
    static const float low[] = {[TFL_ACT_RELU_N1_TO_1] = -1, [TFL_ACT_RELU6] = 0};
    static const float high[] = {[TFL_ACT_RELU_N1_TO_1] = 1, [TFL_ACT_RELU6] = 6};
    switch (activation) {
    case TFL_ACT_NONE:
        return v;
    case TFL_ACT_RELU:
        return tfr_unary(im, "Relu", v);
    case TFL_ACT_RELU_N1_TO_1:
    case TFL_ACT_RELU6:
        return tfr_make(im, "Clip",
                        (hone_value *[]){v, tfr_const_f32(im, low[activation]),
                                         tfr_const_f32(im, high[activation])},
                        3);
    case TFL_ACT_TANH:
        return tfr_unary(im, "Tanh", v);
    default:
        tfr_fail(im, HONE_E_UNSUPPORTED, "fused activation %d is not supported", (int)activation);
        return NULL;
    }
}

void tfr_out_raw(tfr_import *im, int k, hone_value *v) {
    int t = k < im->op->n_out ? im->op->out[k] : -1;
    if (im->status != HONE_OK || t < 0 || !v)
        return;
    if (im->value[t]) {
        tfr_fail(im, HONE_E_FORMAT, "output %d is written twice", k);
        return;
    }
    /* Values that have a tensor's name, inputs and constants stay what they are. */
    if (!v->producer || !strchr(v->name, '#'))
        v = tfr_unary(im, "Identity", v);
    if (!v)
        return;
    v->name = im->names[t];
    im->value[t] = v;
}

void tfr_add_output(tfr_import *im, hone_value *v) {
    if (v && (!v->producer || hone_graph_is_output(im->g, v)))
        v = tfr_unary(im, "Identity", v);
    if (im->status != HONE_OK || !v)
        return;
    if (!HONE_PUSH(im->g->arena, im->g->outputs, im->g->n_outputs, im->g->cap_outputs, v))
        no_memory(im);
}

void tfr_out(tfr_import *im, int k, hone_value *v) {
    const tfr_tensor *t = tfr_out_tensor(im, k), *x = tfr_in_tensor(im, 0);
    if (im->rule->view == TFR_FLOAT && tfr_is_quantised(t))
        v = tfr_quantise(im, v, t);
    if (im->rule->view == TFR_RAW && tfr_is_quantised(t) && tfr_is_quantised(x) &&
        t->dtype == x->dtype)
        v = tfr_rescale(im, v, x, t);
    tfr_out_raw(im, k, v);
}
