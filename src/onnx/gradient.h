/* Reverse-mode differentiation: ai.onnx.preview.training.Gradient becomes the operators that
 * compute the derivatives.
 *
 * gradient.c walks the differentiated part of the graph; derivatives.c has a rule for each
 * operator, in terms of the builders below. These give NULL once something has failed, and take
 * NULL, so that rules are formulas; the failure is in hone_grad.status. */
#ifndef HONE_ONNX_GRADIENT_H
#define HONE_ONNX_GRADIENT_H

#include "onnx/adapt.h"
#include "onnx/names.h"

typedef struct hone_grad {
    hone_adapt *a;
    hone_status status;
    hone_names varies;    /* names of values that depend on the variables */
    hone_names adjoint;   /* name of such a value -> derivative of the result by it, so far */
    const hone_node *n;   /* the node that a rule looks at */
    hone_value *const *g; /* derivatives by its outputs; NULL: the result does not depend on it */
} hone_grad;

/** The derivative rule of the node's operator; NULL when none is known. A rule adds to the
 * derivatives by the node's inputs. */
typedef void (*hone_grad_rule)(hone_grad *d);
hone_grad_rule hone_grad_rule_of(const hone_node *n);

/** Add v to the derivative by input i of the node, whose shape it has. Nothing is added to inputs
 * that do not depend on the variables. */
void hone_grad_add(hone_grad *d, int i, hone_value *v);
/** As hone_grad_add; v has the shape that input i was broadcast to. */
void hone_grad_add_broadcast(hone_grad *d, int i, hone_value *v);
void hone_grad_fail(hone_grad *d, hone_status code, const char *format, ...) HONE_PRINTF(3, 4);

/* Builders. */
hone_value *hone_grad_op1(hone_grad *d, const char *op, hone_value *x);
hone_value *hone_grad_op2(hone_grad *d, const char *op, hone_value *x, hone_value *y);
hone_value *hone_grad_op3(hone_grad *d, const char *op, hone_value *x, hone_value *y,
                          hone_value *z);
/** A node of one output whose attributes are still to be set, for hone_grad_emit; NULL on failure.
 */
hone_node *hone_grad_node(hone_grad *d, const char *op, hone_value *const *in, int n_in);
hone_value *hone_grad_emit(hone_grad *d, hone_node *n);
/** As hone_grad_op2 (y may be NULL: one input), with an integer attribute. */
hone_value *hone_grad_with_int(hone_grad *d, const char *op, hone_value *x, hone_value *y,
                               const char *attr, int64_t v);
/** A scalar of the element type of `like`. */
hone_value *hone_grad_number(hone_grad *d, double v, const hone_value *like);
/** n int64; n -1: a scalar. */
hone_value *hone_grad_ints(hone_grad *d, const int64_t *v, int n);
/** A tensor of x's shape and type, filled with v. */
hone_value *hone_grad_full(hone_grad *d, hone_value *x, double v);
/** x reshaped as `like`. */
hone_value *hone_grad_reshape(hone_grad *d, hone_value *x, hone_value *like);
/** The index of each element of x in its flat order, in x's shape. */
hone_value *hone_grad_index(hone_grad *d, hone_value *x);
/** Zeros of x's shape, to which g is added at the flat indices `at`, of g's shape. */
hone_value *hone_grad_scatter(hone_grad *d, hone_value *x, hone_value *at, hone_value *g);

#endif
