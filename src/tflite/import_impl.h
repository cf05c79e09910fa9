/* What the families of import_*.c share. A failure is kept in im->status; builders then return NULL,
 * which they accept as input, so that a rule can be written without checks in between. */
#ifndef HONE_TFLITE_IMPORT_IMPL_H
#define HONE_TFLITE_IMPORT_IMPL_H

#include "ir/op.h"
#include "tflite/file.h"

/* How a rule sees quantised values. */
typedef enum tfr_view {
    TFR_FLOAT, /* as floats: dequantised when read, quantised when written */
    TFR_RAW,   /* as stored: operators that move values; the output is rescaled where it differs */
    TFR_OWN,   /* the rule takes care of it */
} tfr_view;

typedef struct tfr_import tfr_import;
typedef struct tfr_rule {
    int code;
    void (*build)(tfr_import *im);
    tfr_view view;
    const char *onnx; /* the operator that it becomes, where the rule serves several */
} tfr_rule;

struct tfr_import {
    hone_graph *g;
    const tfr_file *file;
    const tfr_graph *sub;
    hone_value **value;  /* by tensor; NULL: not made yet */
    const char **names;  /* by tensor; unique */
    const tfr_op *op;    /* the current one, and its rule */
    const tfr_rule *rule;
    hone_status status;
    hone_error *err;
};

extern const tfr_rule tfr_rules[];
extern const int tfr_n_rules;

/** Remember a failure at the current operator. */
void tfr_fail(tfr_import *im, hone_status code, const char *format, ...) HONE_PRINTF(3, 4);

/** Tensor of input or output k; NULL when it is omitted. */
const tfr_tensor *tfr_in_tensor(const tfr_import *im, int k);
const tfr_tensor *tfr_out_tensor(const tfr_import *im, int k);
bool tfr_is_quantised(const tfr_tensor *t);
/** Input k: as the rule's view has it; as floats; as stored. NULL when it is omitted. */
hone_value *tfr_in(tfr_import *im, int k);
hone_value *tfr_in_float(tfr_import *im, int k);
hone_value *tfr_in_raw(tfr_import *im, int k);
/** As tfr_in_raw, as int64 (indices, axes, shapes). */
hone_value *tfr_in_i64(tfr_import *im, int k);
/** Numbers of a constant integer input; -1 (and a failure) when it is not constant or too long. */
int tfr_in_ints(tfr_import *im, int k, int64_t *out, int max);

/** A node and its first output. `op` is a name of ai.onnx, or of ai.hone when it begins with Q and an
 * upper-case letter. */
hone_value *tfr_make(tfr_import *im, const char *op, hone_value *const *in, int n_in);
/** With several outputs. */
void tfr_make_many(tfr_import *im, const char *op, hone_value *const *in, int n_in, hone_value **out,
                   int n_out);
hone_value *tfr_unary(tfr_import *im, const char *op, hone_value *x);
hone_value *tfr_binary(tfr_import *im, const char *op, hone_value *a, hone_value *b);
/* Attributes of the node that made v. */
void tfr_int(tfr_import *im, hone_value *v, const char *name, int64_t i);
void tfr_float(tfr_import *im, hone_value *v, const char *name, float f);
void tfr_text_attr(tfr_import *im, hone_value *v, const char *name, const char *text);
void tfr_ints(tfr_import *im, hone_value *v, const char *name, const int64_t *list, int n);
hone_value *tfr_const_i64(tfr_import *im, const int64_t *v, int n); /* n -1: a scalar */
hone_value *tfr_const_f32(tfr_import *im, float v);
hone_value *tfr_transpose(tfr_import *im, hone_value *v, const int64_t *perm, int n);
hone_value *tfr_to_nchw(tfr_import *im, hone_value *v);
hone_value *tfr_to_nhwc(tfr_import *im, hone_value *v);
hone_value *tfr_reshape(tfr_import *im, hone_value *v, const int64_t *dims, int n);
hone_value *tfr_cast(tfr_import *im, hone_value *v, hone_dtype to);

/** Fused activation, a number of ActivationFunctionType. */
hone_value *tfr_activate(tfr_import *im, hone_value *v, int64_t activation);
/** Output k is v, brought to the output's quantisation as the rule's view says; _raw: v as it is. */
void tfr_out(tfr_import *im, int k, hone_value *v);
void tfr_out_raw(tfr_import *im, int k, hone_value *v);

/* Options of the operator. */
int64_t tfr_option_byte(tfr_import *im, int id, int64_t missing);
int64_t tfr_option_i32(tfr_import *im, int id, int64_t missing);
float tfr_option_f32(tfr_import *im, int id, float missing);

/* import_quant.c */
/** v as floats, where tensor t has a quantisation. */
hone_value *tfr_dequantise(tfr_import *im, hone_value *v, const tfr_tensor *t);
hone_value *tfr_quantise(tfr_import *im, hone_value *v, const tfr_tensor *t);
/** From one quantisation to another. */
hone_value *tfr_rescale(tfr_import *im, hone_value *v, const tfr_tensor *from, const tfr_tensor *to);
/** Attributes <name>_scale and <name>_zero from a tensor that has one scale. */
void tfr_param(tfr_import *im, hone_value *v, const char *name, const tfr_tensor *t);
/** Attributes low and high: the activation's range in the output's quantisation. */
void tfr_limits(tfr_import *im, hone_value *v, int64_t activation, const tfr_tensor *y);
/** Input 0 and output 0 (and input 1 when `both`) are quantised: the operator runs on integers. */
bool tfr_runs_on_integers(tfr_import *im, bool both);
/** A unary operator on 8 bits whose results a table holds; false: it is not one. */
bool tfr_build_by_table(tfr_import *im);

#endif
