/* Tree ensembles: one form for TreeEnsemble, TreeEnsembleRegressor and TreeEnsembleClassifier. */
#ifndef HONE_OPS_ML_TREE_H
#define HONE_OPS_ML_TREE_H

#include "ops/ml_util.h"

/* The numbers are those of TreeEnsemble's nodes_modes; leaves are marked by their mode. */
typedef enum hone_tree_mode {
    HONE_TREE_LEQ = 0,
    HONE_TREE_LT,
    HONE_TREE_GTE,
    HONE_TREE_GT,
    HONE_TREE_EQ,
    HONE_TREE_NEQ,
    HONE_TREE_MEMBER,
    HONE_TREE_LEAF,
} hone_tree_mode;

typedef enum hone_tree_sum {
    HONE_TREE_AVERAGE = 0,
    HONE_TREE_SUM,
    HONE_TREE_MIN,
    HONE_TREE_MAX,
} hone_tree_sum;

typedef struct hone_tree_node {
    double value;    /* threshold */
    int32_t feature; /* MEMBER: the set is members[first .. last) */
    uint8_t mode;
    uint8_t nan_is_true;
    int32_t yes, no;     /* nodes */
    int32_t first, last; /* LEAF: votes; MEMBER: members */
} hone_tree_node;

typedef struct hone_tree_vote {
    double weight;
    int32_t target;
} hone_tree_vote;

typedef struct hone_trees {
    hone_tree_node *node;
    int32_t n_nodes;
    int32_t *root;
    int32_t n_roots;
    hone_tree_vote *vote;
    int32_t n_votes;
    double *member;
    int32_t max_feature; /* largest feature index in use, -1: none */
    int64_t n_targets;
    hone_tree_sum sum;
} hone_trees;

/** From the nodes_* attributes of the regressor and classifier; votes_prefix "target" or "class".
 * All indices are checked, and that no walk from a root can go on for ever. */
HONE_NODISCARD hone_status hone_trees_load(hone_op_ctx *c, const char *votes_prefix,
                                           int64_t n_targets, hone_trees *t);
/** From the attributes of TreeEnsemble (opset 5). */
HONE_NODISCARD hone_status hone_trees_load_5(hone_op_ctx *c, hone_trees *t);

/** The ensemble of any of the three operators' nodes, in the arena, for the `state` of its runs. */
HONE_NODISCARD hone_status hone_trees_prepare(const hone_node *n, hone_arena *arena,
                                              hone_trees **out, hone_error *err);

/** Sums of the votes for one row of features; has[i] tells whether target i got any. */
void hone_trees_row(const hone_trees *t, const double *x, double *score, unsigned char *has);

#endif
