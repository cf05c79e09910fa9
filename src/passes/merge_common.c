/* Common subexpressions: of two nodes with the same operator, inputs and attributes, the later
 * one's outputs become the earlier one's. Equal constants are merged first. */
#include <stdlib.h>
#include <string.h>

#include "passes/match.h"
#include "passes/pass.h"

/* Constants larger than this are compared by address only: hashing weights would touch the file. */
enum { CONST_LIMIT_BYTES = 4096, N_BUCKETS = 1 << 12 };

typedef struct entry {
    struct entry *next;
    uint64_t hash;
    hone_node *node;
    hone_value *constant;
} entry;

typedef struct table {
    entry *bucket[N_BUCKETS];
} table;

static uint64_t mix(uint64_t h, const void *data, size_t n) {
    const unsigned char *p = data;
    for (size_t i = 0; i < n; ++i)
        h = (h ^ p[i]) * 1099511628211u; /* FNV-1a */
    return h;
}

static bool same_tensor(const hone_tensor *a, const hone_tensor *b) {
    if (a == b)
        return true;
    if (a->kind != HONE_KIND_TENSOR || b->kind != HONE_KIND_TENSOR || a->dtype != b->dtype ||
        a->dtype == HONE_DTYPE_STRING || !hone_same_dims(a, b))
        return false;
    size_t bytes = hone_tensor_bytes(a);
    return a->data == b->data ||
           (bytes <= CONST_LIMIT_BYTES && memcmp(a->data, b->data, bytes) == 0);
}

static bool same_attr(const hone_attr *a, const hone_attr *b) {
    if (a->kind != b->kind || a->n != b->n)
        return false;
    switch (a->kind) {
    case HONE_ATTR_FLOAT:
        return memcmp(&a->f, &b->f, sizeof a->f) == 0;
    case HONE_ATTR_INT:
        return a->i == b->i;
    case HONE_ATTR_STRING:
        return hone_string_equal(a->s, b->s);
    case HONE_ATTR_TENSOR:
        return same_tensor(a->t, b->t);
    case HONE_ATTR_FLOATS:
        return memcmp(a->floats, b->floats, (size_t)a->n * sizeof *a->floats) == 0;
    case HONE_ATTR_INTS:
        return memcmp(a->ints, b->ints, (size_t)a->n * sizeof *a->ints) == 0;
    default:
        return false;
    }
}

static bool same_node(const hone_node *a, const hone_node *b) {
    if (a->op != b->op || a->n_in != b->n_in || a->n_out != b->n_out || a->n_attrs != b->n_attrs)
        return false;
    for (int i = 0; i < a->n_in; ++i) {
        if (a->in[i] != b->in[i])
            return false;
    }
    for (int i = 0; i < a->n_out; ++i) {
        if (!a->out[i] != !b->out[i])
            return false;
    }
    for (int i = 0; i < a->n_attrs; ++i) {
        const hone_attr *other = hone_attr_find(b, a->attrs[i].name);
        if (!other || !same_attr(&a->attrs[i], other))
            return false;
    }
    return true;
}

static uint64_t node_hash(const hone_node *n) {
    uint64_t h = mix(14695981039346656037u, &n->op, sizeof n->op);
    h = mix(h, &n->n_in, sizeof n->n_in);
    for (int i = 0; i < n->n_in; ++i)
        h = mix(h, &n->in[i], sizeof n->in[i]);
    return h;
}

static uint64_t const_hash(const hone_tensor *t) {
    uint64_t h = mix(1, &t->dtype, sizeof t->dtype);
    h = mix(h, t->dims, (size_t)t->rank * sizeof t->dims[0]);
    size_t bytes = hone_tensor_bytes(t);
    return bytes <= CONST_LIMIT_BYTES && t->dtype != HONE_DTYPE_STRING
               ? mix(h, t->data, bytes)
               : mix(h, &t->data, sizeof t->data);
}

static entry *add(table *t, hone_arena *a, uint64_t hash) {
    entry *e = HONE_NEW(a, entry);
    if (!e)
        return NULL;
    e->hash = hash;
    e->next = t->bucket[hash % N_BUCKETS];
    t->bucket[hash % N_BUCKETS] = e;
    return e;
}

static hone_status merge_constants(hone_graph *g, table *t, hone_arena *a, int *n_changes) {
    for (int i = 0; i < g->n_values; ++i) {
        hone_value *v = g->values[i];
        if (!v->constant || v->constant->kind != HONE_KIND_TENSOR || hone_graph_is_output(g, v) ||
            v->n_uses == 0)
            continue;
        uint64_t hash = const_hash(v->constant);
        entry *e = t->bucket[hash % N_BUCKETS];
        while (e &&
               !(e->constant && e->hash == hash && same_tensor(e->constant->constant, v->constant)))
            e = e->next;
        if (e) {
            hone_graph_replace_uses(g, v, e->constant);
            ++*n_changes;
            continue;
        }
        if (!(e = add(t, a, hash)))
            return HONE_E_NOMEM;
        e->constant = v;
    }
    return HONE_OK;
}

static bool makes_output(const hone_graph *g, const hone_node *n) {
    for (int i = 0; i < n->n_out; ++i) {
        if (n->out[i] && hone_graph_is_output(g, n->out[i]))
            return true;
    }
    return false;
}

static hone_status merge_nodes(hone_graph *g, table *t, hone_arena *a, int *n_changes) {
    for (int i = 0; i < g->n_nodes; ++i) {
        hone_node *n = g->nodes[i];
        if (!n->op || n->op->flags & (HONE_OP_RANDOM | HONE_OP_CONTROL) || makes_output(g, n))
            continue;
        uint64_t hash = node_hash(n);
        entry *e = t->bucket[hash % N_BUCKETS];
        while (e && !(e->node && e->hash == hash && same_node(e->node, n)))
            e = e->next;
        if (!e) {
            if (!(e = add(t, a, hash)))
                return HONE_E_NOMEM;
            e->node = n;
            continue;
        }
        for (int k = 0; k < n->n_out; ++k) {
            if (n->out[k])
                hone_graph_replace_uses(g, n->out[k], e->node->out[k]);
        }
        g->nodes[i] = NULL;
        ++*n_changes;
    }
    hone_graph_compact(g);
    return HONE_OK;
}

hone_status hone_pass_merge_common(hone_graph *g, int *n_changes, hone_error *err) {
    hone_arena temp;
    hone_arena_init(&temp, 0);
    table *constants = HONE_NEW(&temp, table), *nodes = HONE_NEW(&temp, table);
    hone_status status = constants && nodes ? HONE_OK : HONE_E_NOMEM;
    if (status == HONE_OK)
        status = merge_constants(g, constants, &temp, n_changes);
    if (status == HONE_OK)
        status = merge_nodes(g, nodes, &temp, n_changes);
    hone_arena_deinit(&temp);
    return status == HONE_OK ? HONE_OK : hone_fail(err, status, "no memory to merge nodes");
}
