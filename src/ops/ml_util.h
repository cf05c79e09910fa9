/* What the ai.onnx.ml operators share: rows of features, class labels, score transforms. */
#ifndef HONE_OPS_ML_UTIL_H
#define HONE_OPS_ML_UTIL_H

#include "ir/op.h"

/* The numbers are those of TreeEnsemble's post_transform. */
typedef enum hone_post {
    HONE_POST_NONE = 0,
    HONE_POST_SOFTMAX,
    HONE_POST_LOGISTIC,
    HONE_POST_SOFTMAX_ZERO,
    HONE_POST_PROBIT,
} hone_post;

/** The node's post_transform, by name or (TreeEnsemble) by number; false when it is none of them.
 */
bool hone_post_parse(const hone_node *n, hone_post *out);
/** Transform n scores in place. */
void hone_post_apply(hone_post p, double *s, int64_t n);
double hone_probit(double v);
double hone_logistic(double v);

/** How a classifier with one score writes the second class. */
typedef enum hone_second {
    HONE_SECOND_NONE,       /* not at all: the score is transformed alone */
    HONE_SECOND_COMPLEMENT, /* the score is a probability: 1 - s, s */
    HONE_SECOND_NEGATION,   /* the score is a margin: -s, s */
} hone_second;
/** s[0..n) to the scores to output, s having room for 2; returns their number. Where a score
 * becomes a pair, only LOGISTIC is applied to it, and PROBIT leaves it single: what ONNX Runtime
 * does. */
int64_t hone_post_scores(hone_post p, hone_second second, double *s, int64_t n);

typedef struct hone_labels {
    int n;
    const int64_t *ints;        /* either */
    const hone_string *strings; /* or */
} hone_labels;

/** Labels from the attribute of strings if it is there, else from the one of ints. */
hone_labels hone_labels_of(const hone_node *n, const char *ints, const char *strings);
hone_dtype hone_labels_dtype(const hone_labels *l);
/** Element i of t (may be NULL) = label k, or the number k when there is no such label. */
HONE_NODISCARD hone_status hone_labels_set(hone_op_ctx *c, hone_tensor *t, int64_t i,
                                           const hone_labels *l, int64_t k);

/** A [rows, cols] tensor, or [cols] as one row, of a type that these operators take. */
HONE_NODISCARD hone_status hone_rows_of(hone_op_ctx *c, const hone_tensor *t, int64_t *rows,
                                        int64_t *cols);
/** Number of rows for infer(); unknown when it is. */
int64_t hone_infer_rows(const hone_type *t);
/** out[k] = element (at + k) as double. */
void hone_load_row(const hone_tensor *t, int64_t at, int64_t n, double *out);

#endif
