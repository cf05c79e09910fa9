/* What the families of import_*.c share. A failure is kept in im->status; builders then return
 * NULL, which they accept as input, so that a rule can be written without checks in between. */
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

enum { TFR_MAX_DEPTH = 12 }; /* subgraphs called by subgraphs */

typedef struct tfr_import tfr_import;
typedef struct tfr_rule {
    int code;
    void (*build)(tfr_import *im);
    tfr_view view;
    const char *onnx; /* the operator that it becomes, where the rule serves several */
} tfr_rule;

/* What one run leaves for the next: a resource variable, or a variable tensor of an operator. */
typedef struct tfr_var {
    const char *name;  /* of a resource; NULL: a tensor */
    int graph, tensor; /* the tensor; of resources one that shows type and shape, -1: none does */
    const hone_tensor *initial; /* what CALL_ONCE's subgraph gives; NULL: zeros */
    hone_value *input;          /* of the root graph, once something reads it */
} tfr_var;

/* Where operators are being put: the root graph, a branch of an If, the body of a Loop. */
typedef struct tfr_scope tfr_scope;
struct tfr_scope {
    tfr_scope
        *outer; /* NULL: the root; variables that a branch does not have are captured from it */
    hone_graph *g;
    hone_value **var; /* current values by variable; NULL: not touched yet */
    bool is_apart;    /* CALL_ONCE's: nothing comes from outside */
};

/* What the imports of all subgraphs of a file share. */
typedef struct tfr_shared {
    const tfr_import *root;
    tfr_var *vars;
    int n_vars;
    int **var_of;  /* by subgraph and tensor: 1 + the variable that it is, or is a handle of where
                      VAR_HANDLE made  it; 0: none */
    int n_inlined; /* subgraphs so far, for names */
} tfr_shared;

/* One subgraph on its way into a graph. */
struct tfr_import {
    hone_graph *g;
    const tfr_file *file;
    tfr_shared *shared;
    tfr_scope *scope;
    int depth; /* of subgraphs called by subgraphs */
    const tfr_graph *sub;
    hone_value **value; /* by tensor; NULL: not made yet */
    int *resource;      /* by tensor: 1 + the variable that it is a handle of; 0: none */
    const char **names; /* by tensor; unique */
    const tfr_op *op;   /* the current one, and its rule */
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

/** A node and its first output. `op` is a name of ai.onnx, or of ai.hone when it begins with Q and
 * an upper-case letter. */
hone_value *tfr_make(tfr_import *im, const char *op, hone_value *const *in, int n_in);
/** With several outputs. */
void tfr_make_many(tfr_import *im, const char *op, hone_value *const *in, int n_in,
                   hone_value **out, int n_out);
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
/** Output k is v, brought to the output's quantisation as the rule's view says; _raw: v as it is.
 */
void tfr_out(tfr_import *im, int k, hone_value *v);
void tfr_out_raw(tfr_import *im, int k, hone_value *v);

/* Options of the operator. */
int64_t tfr_option_byte(tfr_import *im, int id, int64_t missing);
int64_t tfr_option_i32(tfr_import *im, int id, int64_t missing);
float tfr_option_f32(tfr_import *im, int id, float missing);

/* import.c */
/** Names, values and operators of im->sub; inputs must have their values already, or be set by
 * `bind`. */
void tfr_import_ops(tfr_import *im);
/** The next output of im->g: v, or a copy where v is an output already or not an operator's. */
void tfr_add_output(tfr_import *im, hone_value *v);
bool tfr_is_named(const tfr_import *im, const char *name);
/** Where no operator is at hand. */
extern const tfr_op tfr_no_op;
/** Room for values and names by tensor; false: out of memory, im->status is set. */
bool tfr_import_begin(tfr_import *im, const char *suffix);
const tfr_rule *tfr_rule_of(int code);

/* import_state.c */
/** All variables of a file. */
void tfr_find_variables(tfr_import *root);
/** A scope for g within `outer`. */
bool tfr_scope_begin(tfr_import *im, tfr_scope *scope, tfr_scope *outer, hone_graph *g);
/** Value v as graph g, a subgraph of the one that has it, sees it. */
hone_value *tfr_capture(tfr_import *im, hone_graph *g, hone_value *v);
/** The current value of a variable in a scope, and a new one. */
hone_value *tfr_var_get(tfr_import *im, tfr_scope *scope, int var);
void tfr_var_set(tfr_import *im, int var, hone_value *v);
/** Input k is a variable tensor: the state that it holds now, as stored; and its new contents. */
hone_value *tfr_state_in(tfr_import *im, int k);
void tfr_state_out(tfr_import *im, int k, hone_value *v);
/** Outputs for the variables that changed; those that never do become constants. */
void tfr_finish_variables(tfr_import *root);
/** Bits of the variables that a subgraph and those that it calls may touch; `handles` by its
 * inputs. */
void tfr_touched(tfr_import *im, int graph, const int *handles, int n, bool *touched);
/** A copy in the graph's arena; NULL: out of memory. */
const hone_tensor *tfr_adopt(tfr_import *im, const hone_tensor *t);
/** Type of a variable: that of its first value, or of its tensor. */
bool tfr_var_type(tfr_import *im, int var, hone_type *type);

/* import_quant.c */
/** v as floats, where tensor t has a quantisation. */
hone_value *tfr_dequantise(tfr_import *im, hone_value *v, const tfr_tensor *t);
hone_value *tfr_quantise(tfr_import *im, hone_value *v, const tfr_tensor *t);
/** From one quantisation to another. */
hone_value *tfr_rescale(tfr_import *im, hone_value *v, const tfr_tensor *from,
                        const tfr_tensor *to);
/** As tfr_rescale, and within the range of an activation. */
hone_value *tfr_rescale_within(tfr_import *im, hone_value *v, const tfr_tensor *from,
                               const tfr_tensor *to, int64_t activation);
/** Attributes <name>_scale and <name>_zero from a tensor that has one scale. */
void tfr_param(tfr_import *im, hone_value *v, const char *name, const tfr_tensor *t);
/** Attributes low and high: the activation's range in the output's quantisation. */
void tfr_limits(tfr_import *im, hone_value *v, int64_t activation, const tfr_tensor *y);
/** Input 0 and output 0 (and input 1 when `both`) are quantised: the operator runs on integers. */
bool tfr_runs_on_integers(tfr_import *im, bool both);
/** A unary operator on 8 bits whose results a table holds; false: it is not one. */
bool tfr_build_by_table(tfr_import *im);

#endif
