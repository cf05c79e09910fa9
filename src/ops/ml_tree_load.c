/* Reading and checking tree ensembles. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/ml_tree.h"

/* A list of numbers from `name` (floats) or `name`_as_tensor (doubles); count 0 when absent. */
typedef struct number_list {
    const float *floats;
    const hone_tensor *tensor;
    int64_t n;
} number_list;

static number_list read_numbers(const hone_node *n, const char *name) {
    char text[64];
    number_list l = {0};
    l.n = hone_attr_floats(n, name, &l.floats);
    if (l.n)
        return l;
    snprintf(text, sizeof text, "%s_as_tensor", name);
    l.tensor = hone_attr_tensor(n, text);
    l.n = l.tensor ? hone_tensor_count(l.tensor) : 0;
    return l;
}

static double number_at(const number_list *l, int64_t i) {
    return l->floats ? (double)l->floats[i] : hone_load_f64(l->tensor->dtype, l->tensor->data, i);
}

/* ---- checks -----------------------------------------------------------------------------------
 */

static hone_status bad(hone_op_ctx *c, const char *what) {
    return hone_op_fail(c, HONE_E_FORMAT, "bad tree ensemble: %s", what);
}

/* Remove nodes without parents one by one; what is left when there are none has a cycle. */
static hone_status check_acyclic(hone_op_ctx *c, const hone_trees *t) {
    int32_t n = t->n_nodes;
    int32_t *parents = hone_op_scratch(c, ((size_t)n * 2 + 1) * sizeof *parents);
    if (!parents)
        return HONE_E_NOMEM;
    int32_t *queue = parents + n, head = 0, tail = 0;
    memset(parents, 0, (size_t)n * sizeof *parents);
    for (int32_t i = 0; i < n; ++i) {
        if (t->node[i].mode != HONE_TREE_LEAF) {
            parents[t->node[i].yes]++;
            parents[t->node[i].no]++;
        }
    }
    for (int32_t i = 0; i < n; ++i) {
        if (parents[i] == 0)
            queue[tail++] = i;
    }
    while (head < tail) {
        const hone_tree_node *at = &t->node[queue[head++]];
        if (at->mode == HONE_TREE_LEAF)
            continue;
        if (--parents[at->yes] == 0)
            queue[tail++] = at->yes;
        if (--parents[at->no] == 0)
            queue[tail++] = at->no;
    }
    return tail == n ? HONE_OK : bad(c, "nodes form a cycle");
}

static hone_status set_feature(hone_op_ctx *c, hone_trees *t, hone_tree_node *node, int64_t f) {
    if (node->mode == HONE_TREE_LEAF)
        return HONE_OK;
    if (f < 0 || f > INT32_MAX - 1)
        return bad(c, "a feature index is out of range");
    node->feature = (int32_t)f;
    if (node->feature > t->max_feature)
        t->max_feature = node->feature;
    return HONE_OK;
}

static hone_status set_vote(hone_op_ctx *c, hone_trees *t, int32_t i, double weight,
                            int64_t target) {
    if (target < 0 || target >= t->n_targets)
        return bad(c, "a target index is out of range");
    t->vote[i] = (hone_tree_vote){weight, (int32_t)target};
    return HONE_OK;
}

static hone_status check_targets(hone_op_ctx *c, int64_t n) {
    return n > 0 && n < INT32_MAX ? HONE_OK : bad(c, "the number of targets is out of range");
}

/* ---- nodes with ids (regressor, classifier) ---------------------------------------------------
 */

typedef struct node_key {
    int64_t tree, id;
    int32_t index;
} node_key;

static int by_tree_and_id(const void *a, const void *b) {
    const node_key *x = a, *y = b;
    if (x->tree != y->tree)
        return x->tree < y->tree ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* Position of a key in the sorted list, or -1. */
static int32_t find_key(const node_key *keys, int32_t n, int64_t tree, int64_t id) {
    const node_key want = {tree, id, 0};
    int32_t low = 0, high = n;
    while (low < high) {
        int32_t mid = low + (high - low) / 2;
        if (by_tree_and_id(&keys[mid], &want) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low < n && keys[low].tree == tree && keys[low].id == id ? low : -1;
}

static int parse_mode(hone_string s) {
    static const char *const names[] = {"BRANCH_LEQ", "BRANCH_LT",  "BRANCH_GTE",    "BRANCH_GT",
                                        "BRANCH_EQ",  "BRANCH_NEQ", "BRANCH_MEMBER", "LEAF"};
    for (int i = 0; i <= HONE_TREE_LEAF; ++i) {
        if (i != HONE_TREE_MEMBER && strlen(names[i]) == s.len &&
            memcmp(names[i], s.data, s.len) == 0)
            return i;
    }
    return -1;
}

typedef struct id_attrs {
    const int64_t *tree, *id, *feature, *yes, *no, *nan;
    const hone_string *mode;
    number_list value;
    int n, n_nan;
} id_attrs;

static bool read_ids(const hone_node *n, id_attrs *a) {
    a->n = hone_attr_ints(n, "nodes_treeids", &a->tree);
    a->n_nan = hone_attr_ints(n, "nodes_missing_value_tracks_true", &a->nan);
    a->value = read_numbers(n, "nodes_values");
    return a->n > 0 && hone_attr_ints(n, "nodes_nodeids", &a->id) == a->n &&
           hone_attr_ints(n, "nodes_featureids", &a->feature) == a->n &&
           hone_attr_ints(n, "nodes_truenodeids", &a->yes) == a->n &&
           hone_attr_ints(n, "nodes_falsenodeids", &a->no) == a->n &&
           hone_attr_strings(n, "nodes_modes", &a->mode) == a->n && a->value.n == a->n &&
           (a->n_nan == 0 || a->n_nan == a->n);
}

static hone_status sort_keys(hone_op_ctx *c, const id_attrs *a, node_key *keys) {
    bool sorted = true;
    for (int32_t i = 0; i < a->n; ++i) {
        keys[i] = (node_key){a->tree[i], a->id[i], i};
        sorted &= i == 0 || by_tree_and_id(&keys[i - 1], &keys[i]) < 0;
    }
    if (!sorted)
        qsort(keys, (size_t)a->n, sizeof *keys, by_tree_and_id);
    for (int32_t i = 1; i < a->n; ++i) {
        if (by_tree_and_id(&keys[i - 1], &keys[i]) == 0)
            return bad(c, "a node id is used twice in a tree");
    }
    return HONE_OK;
}

/* Nodes in the order of the sorted keys, so that a tree is contiguous. */
static hone_status fill_nodes(hone_op_ctx *c, const id_attrs *a, const node_key *keys,
                              hone_trees *t) {
    for (int32_t i = 0; i < a->n; ++i) {
        int32_t from = keys[i].index;
        int mode = parse_mode(a->mode[from]);
        hone_tree_node *node = &t->node[i];
        if (mode < 0)
            return bad(c, "unknown nodes_modes");
        *node = (hone_tree_node){.value = number_at(&a->value, from),
                                 .mode = (uint8_t)mode,
                                 .nan_is_true = a->n_nan && a->nan[from] != 0};
        if (mode != HONE_TREE_LEAF) {
            node->yes = find_key(keys, a->n, keys[i].tree, a->yes[from]);
            node->no = find_key(keys, a->n, keys[i].tree, a->no[from]);
            if (node->yes < 0 || node->no < 0)
                return bad(c, "a child node does not exist");
        }
        HONE_TRY(set_feature(c, t, node, a->feature[from]));
    }
    return HONE_OK;
}

/* Roots: the nodes that are no node's child. */
static hone_status find_roots(hone_op_ctx *c, hone_trees *t) {
    unsigned char *is_child = hone_op_scratch(c, (size_t)t->n_nodes + 1);
    t->root = hone_op_scratch(c, ((size_t)t->n_nodes + 1) * sizeof *t->root);
    if (!is_child || !t->root)
        return HONE_E_NOMEM;
    memset(is_child, 0, (size_t)t->n_nodes);
    for (int32_t i = 0; i < t->n_nodes; ++i) {
        if (t->node[i].mode != HONE_TREE_LEAF)
            is_child[t->node[i].yes] = is_child[t->node[i].no] = 1;
    }
    for (int32_t i = 0; i < t->n_nodes; ++i) {
        if (!is_child[i])
            t->root[t->n_roots++] = i;
    }
    return HONE_OK;
}

/* Votes grouped by leaf: count, then place. */
static hone_status fill_votes(hone_op_ctx *c, const char *prefix, const node_key *keys,
                              hone_trees *t) {
    char name[4][32];
    const int64_t *tree, *id, *target;
    const char *const suffix[] = {"treeids", "nodeids", "ids", "weights"};
    for (int i = 0; i < 4; ++i)
        snprintf(name[i], sizeof name[i], "%s_%s", prefix, suffix[i]);
    number_list weight = read_numbers(c->node, name[3]);
    int n = hone_attr_ints(c->node, name[0], &tree);
    if (hone_attr_ints(c->node, name[1], &id) != n ||
        hone_attr_ints(c->node, name[2], &target) != n || weight.n != n)
        return bad(c, "the vote attributes have different lengths");
    t->n_votes = n;
    t->vote = hone_op_scratch(c, ((size_t)n + 1) * sizeof *t->vote);
    int32_t *leaf = hone_op_scratch(c, ((size_t)n + 1) * sizeof *leaf);
    if (!t->vote || !leaf)
        return HONE_E_NOMEM;
    for (int i = 0; i < n; ++i) {
        leaf[i] = find_key(keys, t->n_nodes, tree[i], id[i]);
        if (leaf[i] < 0)
            return bad(c, "a vote names a node that does not exist");
        t->node[leaf[i]].last++;
    }
    int32_t at = 0;
    for (int32_t i = 0; i < t->n_nodes; ++i) {
        int32_t count = t->node[i].last;
        t->node[i].first = t->node[i].last = at;
        at += count;
    }
    for (int i = 0; i < n; ++i)
        HONE_TRY(set_vote(c, t, t->node[leaf[i]].last++, number_at(&weight, i), target[i]));
    return HONE_OK;
}

hone_status hone_trees_load(hone_op_ctx *c, const char *votes_prefix, int64_t n_targets,
                            hone_trees *t) {
    id_attrs a;
    *t = (hone_trees){.n_targets = n_targets, .max_feature = -1, .sum = HONE_TREE_SUM};
    HONE_TRY(check_targets(c, n_targets));
    if (!read_ids(c->node, &a))
        return bad(c, "the nodes_* attributes are missing or have different lengths");
    t->n_nodes = a.n;
    t->node = hone_op_scratch(c, (size_t)a.n * sizeof *t->node);
    node_key *keys = hone_op_scratch(c, (size_t)a.n * sizeof *keys);
    if (!t->node || !keys)
        return HONE_E_NOMEM;
    HONE_TRY(sort_keys(c, &a, keys));
    HONE_TRY(fill_nodes(c, &a, keys, t));
    HONE_TRY(check_acyclic(c, t));
    HONE_TRY(find_roots(c, t));
    return fill_votes(c, votes_prefix, keys, t);
}

/* ---- nodes with positions (TreeEnsemble) ------------------------------------------------------
 */

typedef struct position_attrs {
    const int64_t *feature, *yes, *no, *yes_leaf, *no_leaf, *nan, *target, *root;
    const hone_tensor *mode, *split, *weight, *members;
    int n, n_nan, n_leaves, n_roots;
} position_attrs;

static bool read_positions(const hone_node *n, position_attrs *a) {
    a->n = hone_attr_ints(n, "nodes_featureids", &a->feature);
    a->n_nan = hone_attr_ints(n, "nodes_missing_value_tracks_true", &a->nan);
    a->mode = hone_attr_tensor(n, "nodes_modes");
    a->split = hone_attr_tensor(n, "nodes_splits");
    a->weight = hone_attr_tensor(n, "leaf_weights");
    a->members = hone_attr_tensor(n, "membership_values");
    a->n_leaves = hone_attr_ints(n, "leaf_targetids", &a->target);
    a->n_roots = hone_attr_ints(n, "tree_roots", &a->root);
    return a->n > 0 && a->n < INT32_MAX / 2 && a->n_leaves < INT32_MAX / 2 && a->mode && a->split &&
           a->weight && a->mode->dtype == HONE_DTYPE_U8 && hone_tensor_count(a->mode) == a->n &&
           hone_tensor_count(a->split) == a->n && hone_tensor_count(a->weight) == a->n_leaves &&
           hone_attr_ints(n, "nodes_truenodeids", &a->yes) == a->n &&
           hone_attr_ints(n, "nodes_falsenodeids", &a->no) == a->n &&
           hone_attr_ints(n, "nodes_trueleafs", &a->yes_leaf) == a->n &&
           hone_attr_ints(n, "nodes_falseleafs", &a->no_leaf) == a->n &&
           (a->n_nan == 0 || a->n_nan == a->n);
}

/* Interior nodes keep their positions; leaf k becomes node n + k. -1 when out of range. */
static int32_t child_at(const position_attrs *a, int64_t at, bool is_leaf) {
    if (at < 0 || at >= (is_leaf ? a->n_leaves : a->n))
        return -1;
    return (int32_t)(is_leaf ? a->n + at : at);
}

/* The next set of members, which ends at a NaN or at the end of the list. */
static hone_status take_members(hone_op_ctx *c, const position_attrs *a, hone_tree_node *node,
                                int64_t *at) {
    int64_t n = a->members ? hone_tensor_count(a->members) : 0;
    if (*at >= n)
        return bad(c, "membership_values has too few sets");
    node->first = (int32_t)*at;
    while (*at < n && !isnan(hone_load_f64(a->members->dtype, a->members->data, *at)))
        ++*at;
    node->last = (int32_t)*at;
    ++*at;
    return HONE_OK;
}

static hone_status fill_positions(hone_op_ctx *c, const position_attrs *a, hone_trees *t) {
    int64_t at_member = 0;
    for (int32_t i = 0; i < a->n; ++i) {
        hone_tree_node *node = &t->node[i];
        uint8_t mode = ((const uint8_t *)a->mode->data)[i];
        if (mode > HONE_TREE_MEMBER)
            return bad(c, "unknown nodes_modes");
        *node = (hone_tree_node){.value = hone_load_f64(a->split->dtype, a->split->data, i),
                                 .mode = mode,
                                 .nan_is_true = a->n_nan && a->nan[i] != 0,
                                 .yes = child_at(a, a->yes[i], a->yes_leaf[i] != 0),
                                 .no = child_at(a, a->no[i], a->no_leaf[i] != 0)};
        if (node->yes < 0 || node->no < 0)
            return bad(c, "a child node does not exist");
        HONE_TRY(set_feature(c, t, node, a->feature[i]));
        if (mode == HONE_TREE_MEMBER)
            HONE_TRY(take_members(c, a, node, &at_member));
    }
    for (int32_t i = 0; i < a->n_leaves; ++i) {
        t->node[a->n + i] = (hone_tree_node){.mode = HONE_TREE_LEAF, .first = i, .last = i + 1};
        HONE_TRY(
            set_vote(c, t, i, hone_load_f64(a->weight->dtype, a->weight->data, i), a->target[i]));
    }
    return HONE_OK;
}

hone_status hone_trees_load_5(hone_op_ctx *c, hone_trees *t) {
    position_attrs a;
    int64_t sum = hone_attr_int(c->node, "aggregate_function", HONE_TREE_SUM);
    if (!read_positions(c->node, &a) || sum < HONE_TREE_AVERAGE || sum > HONE_TREE_MAX)
        return bad(c, "attributes are missing or have different lengths");
    *t = (hone_trees){.n_targets = hone_attr_int(c->node, "n_targets", 0),
                      .max_feature = -1,
                      .n_nodes = a.n + a.n_leaves,
                      .n_votes = a.n_leaves,
                      .n_roots = a.n_roots,
                      .sum = (hone_tree_sum)sum};
    int64_t n_members = a.members ? hone_tensor_count(a.members) : 0;
    HONE_TRY(check_targets(c, t->n_targets));
    if (n_members > INT32_MAX)
        return bad(c, "membership_values is too long");
    t->node = hone_op_scratch(c, (size_t)t->n_nodes * sizeof *t->node);
    t->vote = hone_op_scratch(c, ((size_t)t->n_votes + 1) * sizeof *t->vote);
    t->root = hone_op_scratch(c, ((size_t)t->n_roots + 1) * sizeof *t->root);
    t->member = hone_op_scratch(c, ((size_t)n_members + 1) * sizeof *t->member);
    if (!t->node || !t->vote || !t->root || !t->member)
        return HONE_E_NOMEM;
    for (int64_t i = 0; i < n_members; ++i)
        t->member[i] = hone_load_f64(a.members->dtype, a.members->data, i);
    for (int32_t i = 0; i < t->n_roots; ++i) {
        if (a.root[i] < 0 || a.root[i] >= a.n)
            return bad(c, "a root does not exist");
        t->root[i] = (int32_t)a.root[i];
    }
    HONE_TRY(fill_positions(c, &a, t));
    return check_acyclic(c, t);
}
