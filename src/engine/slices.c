#include "engine/slices.h"

#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"

/* A node in both plans, and which values have the batch as first dim. */
typedef struct pair {
    const hone_plan *whole, *part;
    const hone_node *n;
    const bool *has_batch; /* by value id */
} pair;

static const hone_type *type_in(const pair *p, int i) {
    return &p->whole->types[p->n->in[i]->id];
}

static bool is_batched(const pair *p, int i) {
    return i < p->n->n_in && p->n->in[i] && p->has_batch[p->n->in[i]->id];
}

/* ---- rules: given that results have the batch as first dim, is each row made of its own?
 * ---------
 */

/* Only the first input has rows; others say how, and may differ between the plans (shapes). */
static bool first_only(const pair *p) {
    for (int i = 1; i < p->n->n_in; ++i) {
        if (is_batched(p, i))
            return false;
    }
    return is_batched(p, 0);
}

static bool product(const pair *p) {
    for (int i = 0; i < p->n->n_in; ++i) {
        bool is_row = i == 0 || i >= 3; /* data, residual, more data */
        if (p->n->in[i] && is_batched(p, i) != is_row)
            return false;
    }
    return true;
}

/* Operands line up at their ends: what has the batch has it in front, and others nothing there. */
static bool elementwise(const pair *p) {
    int rank = p->whole->types[p->n->out[0]->id].rank;
    for (int i = 0; i < p->n->n_in; ++i) {
        if (!p->n->in[i])
            continue;
        const hone_type *t = type_in(p, i);
        if (is_batched(p, i) ? t->rank != rank : t->rank == rank && t->dims[0] != 1)
            return false;
    }
    return true;
}

static int axis_of(const pair *p, int otherwise) {
    int axis = (int)hone_attr_int(p->n, "axis", otherwise);
    return axis < 0 ? axis + type_in(p, 0)->rank : axis;
}

static bool joined(const pair *p) {
    for (int i = 0; i < p->n->n_in; ++i) {
        if (!is_batched(p, i))
            return false;
    }
    return axis_of(p, 0) != 0;
}

static bool split(const pair *p) {
    return first_only(p) && axis_of(p, 0) != 0;
}

static bool softmax(const pair *p) {
    return first_only(p) && axis_of(p, -1) != 0;
}

static bool transposed(const pair *p) {
    const int64_t *perm;
    return first_only(p) && hone_attr_ints(p->n, "perm", &perm) > 0 && perm[0] == 0;
}

/* Kinds that work on each row by itself whenever their result has as many rows as their input. */
static const struct {
    const char *domain, *op;
    bool (*rule)(const pair *p);
    bool reads_shapes; /* inputs from 1 on are shapes, which follow the batch */
} kinds[] = {
    {"hone", "Conv", product, false},
    {"hone", "ConvTranspose", product, false},
    {"hone", "Eltwise", elementwise, false},
    {"hone", "Gemm", product, false},
    {"hone", "GroupNorm", first_only, false},
    {"hone", "Pool", first_only, false},
    {"", "Cast", first_only, false},
    {"", "Concat", joined, false},
    {"", "DepthToSpace", first_only, false},
    {"", "Flatten", first_only, false},
    {"", "GlobalAveragePool", first_only, false},
    {"", "GlobalMaxPool", first_only, false},
    {"", "Identity", first_only, false},
    {"", "ReduceMax", first_only, false},
    {"", "ReduceMean", first_only, false},
    {"", "ReduceMin", first_only, false},
    {"", "ReduceSum", first_only, false},
    {"", "Reshape", first_only, true},
    {"", "Resize", first_only, true},
    {"", "Softmax", softmax, false},
    {"", "SpaceToDepth", first_only, false},
    {"", "Split", split, false},
    {"", "Squeeze", first_only, false},
    {"", "Transpose", transposed, false},
    {"", "Unsqueeze", first_only, false},
};

enum { N_KINDS = sizeof kinds / sizeof *kinds };

/* Index into kinds, N_KINDS for the element-wise operators of ai.onnx, -1: none. */
static int kind_of(const hone_node *n) {
    for (int i = 0; i < N_KINDS; ++i) {
        if (strcmp(kinds[i].domain, n->domain) == 0 && strcmp(kinds[i].op, n->op_name) == 0)
            return i;
    }
    return n->domain[0] == '\0' && n->op->flags & HONE_OP_ELEMENTWISE ? N_KINDS : -1;
}

/* Shape arithmetic, which plans have computed. */
static bool makes_integers(const hone_node *n) {
    for (int i = 0; i < n->n_out; ++i) {
        if (n->out[i] && n->out[i]->type.dtype != HONE_DTYPE_I64 &&
            n->out[i]->type.dtype != HONE_DTYPE_I32)
            return false;
    }
    return true;
}

int64_t hone_slices_batch(const hone_graph *g, const hone_type *inputs) {
    int64_t batch = g->n_inputs && inputs[0].rank > 0 ? inputs[0].dims[0] : 1;
    for (int i = 0; i < g->n_inputs; ++i) {
        const hone_type *t = &inputs[i];
        if (t->kind != HONE_KIND_TENSOR || t->dtype == HONE_DTYPE_STRING || t->rank < 1 ||
            hone_dtype_bytes(t->dtype, 2) != 2 * hone_dtype_bytes(t->dtype, 1) ||
            t->dims[0] != batch)
            return 1;
    }
    for (int i = 0; i < g->n_values && batch > 1; ++i) {
        if (g->values[i]->outer)
            return 1;
    }
    for (int i = 0; i < g->n_nodes && batch > 1; ++i) {
        if (kind_of(g->nodes[i]) < 0 && !makes_integers(g->nodes[i]))
            return 1;
    }
    return batch > 1 ? batch : 1;
}

/* ---- cost -------------------------------------------------------------------------------------
 */

static int64_t bytes_of(const hone_plan *plan, const hone_value *v, bool is_constant) {
    int st = v ? plan->storage_of[v->id] : -1;
    if (st < 0 || (plan->storages[st].kind == HONE_STORAGE_CONST) != is_constant)
        return 0;
    return (int64_t)hone_tensor_bytes(&plan->slots[v->id]);
}

int64_t hone_slices_size(const hone_plan *whole, int64_t batch) {
    const int64_t cache = hone_cpu_l3_bytes();
    int64_t weights = 0, most = 0; /* bytes: of all steps, activations of the widest one */
    int64_t lost = 0;              /* activations of steps that the cache does not hold */
    for (int s = 0; s < whole->n_steps; ++s) {
        const hone_node *n = whole->steps[s].node;
        int64_t wide = 0;
        for (int i = 0; i < n->n_in; ++i) {
            weights += bytes_of(whole, n->in[i], true);
            wide += bytes_of(whole, n->in[i], false);
        }
        for (int i = 0; i < n->n_out; ++i)
            wide += bytes_of(whole, n->out[i], false);
        most = wide > most ? wide : most;
        lost += wide > cache / 2 ? wide : 0;
    }
    int64_t size = batch - 1;
    while (size > 1 && (batch % size || most / batch * size > cache / 4))
        --size;
    /* Weights are read for each slice, unless they stay in the cache meanwhile. */
    bool stay = weights + most / batch * size <= cache;
    int64_t again = stay ? 0 : weights * (batch / size - 1);
    return lost > 2 * again ? size : batch;
}

/* ---- proof ------------------------------------------------------------------------------------
 */

/* The same but for the first dim, which is the batch's, or the same altogether. */
static bool types_agree(const hone_type *whole, const hone_type *part, int64_t batch, int64_t size,
                        bool has_batch) {
    int first = has_batch ? 1 : 0;
    if (!hone_type_is_static(whole) || !hone_type_is_static(part) || whole->dtype != part->dtype ||
        whole->rank != part->rank || whole->rank < first)
        return false;
    for (int d = first; d < whole->rank; ++d) {
        if (whole->dims[d] != part->dims[d])
            return false;
    }
    return !has_batch || (whole->dims[0] == batch && part->dims[0] == size);
}

/* A value without the batch is the same in both plans. */
static bool is_common(const pair *p, const hone_value *v) {
    const hone_tensor *a = &p->whole->slots[v->id], *b = &p->part->slots[v->id];
    int st = p->whole->storage_of[v->id], other = p->part->storage_of[v->id];
    if (v->constant)
        return true;
    if (st < 0 || other < 0 || p->whole->storages[st].kind != p->part->storages[other].kind)
        return false;
    if (p->whole->storages[st].kind != HONE_STORAGE_CONST)
        return true; /* made by a step from such values */
    return hone_tensor_bytes(a) == hone_tensor_bytes(b) &&
           memcmp(a->data, b->data, hone_tensor_bytes(a)) == 0;
}

static bool step_agrees(const pair *p, bool *has_batch, int64_t batch, int64_t size) {
    const hone_node *n = p->n;
    int kind = kind_of(n);
    bool any = false, reads_shapes = kind >= 0 && kind < N_KINDS && kinds[kind].reads_shapes;
    for (int i = 0; i < n->n_in; ++i) {
        any = any || is_batched(p, i);
        bool is_shape = reads_shapes && i > 0;
        if (n->in[i] && !is_batched(p, i) && !is_shape && !is_common(p, n->in[i]))
            return false;
    }
    for (int o = 0; o < n->n_out; ++o) {
        if (!n->out[o])
            continue;
        int id = n->out[o]->id;
        if (!types_agree(&p->whole->types[id], &p->part->types[id], batch, size, any))
            return false;
        has_batch[id] = any;
    }
    if (!any)
        return !(n->op->flags & HONE_OP_RANDOM);
    return kind >= 0 && (kind == N_KINDS ? elementwise(p) : kinds[kind].rule(p));
}

bool hone_slices_agree(const hone_plan *whole, const hone_plan *part, int64_t batch, int64_t size) {
    const hone_graph *g = whole->graph;
    bool *has_batch = calloc((size_t)g->n_values + 1, sizeof *has_batch);
    bool same = has_batch && whole->n_steps == part->n_steps;
    for (int i = 0; same && i < g->n_inputs; ++i)
        has_batch[g->inputs[i]->id] = true;
    for (int s = 0; same && s < whole->n_steps; ++s) {
        pair p = {whole, part, whole->steps[s].node, has_batch};
        same = part->steps[s].node == p.n && whole->steps[s].is_planned &&
               part->steps[s].is_planned && step_agrees(&p, has_batch, batch, size);
    }
    for (int i = 0; same && i < g->n_outputs; ++i)
        same = has_batch[g->outputs[i]->id] && part->storage_of[g->outputs[i]->id] >= 0;
    free(has_batch);
    return same;
}
