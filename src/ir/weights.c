#include "ir/weights.h"

#include <stdlib.h>
#include <string.h>

#include "base/pages.h"

enum { SMALL = 1 << 17 }; /* goes to the arena */

typedef struct block {
    unsigned char *data;
    size_t bytes;
    bool is_used;
} block;

/* Blocks by address; shared by a graph and its subgraphs. */
struct hone_weights {
    block *blocks;
    int n, cap;
};

static void free_all(void *arg) {
    hone_weights *w = arg;
    for (int i = 0; i < w->n; ++i)
        hone_pages_unmap(w->blocks[i].data, w->blocks[i].bytes);
    free(w->blocks);
    w->n = 0;
}

hone_weights *hone_weights_create(hone_arena *arena) {
    hone_weights *w = HONE_NEW(arena, hone_weights);
    return w && hone_arena_defer(arena, free_all, w) ? w : NULL;
}

/* Index of the first block that ends behind `p`. */
static int lower_bound(const hone_weights *w, const void *p) {
    int low = 0, high = w->n;
    while (low < high) {
        int middle = low + (high - low) / 2;
        const block *b = &w->blocks[middle];
        if ((uintptr_t)b->data + b->bytes <= (uintptr_t)p)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void *hone_graph_data(hone_graph *g, size_t bytes) {
    hone_weights *w = g->weights;
    if (bytes < SMALL) {
        unsigned char *p = hone_arena_alloc(g->arena, bytes + 63);
        return p ? p + (64 - (uintptr_t)p % 64) % 64 : NULL;
    }
    if (w->n == w->cap) {
        int cap = w->cap ? 2 * w->cap : 64;
        block *grown = realloc(w->blocks, (size_t)cap * sizeof *grown);
        if (!grown)
            return NULL;
        w->blocks = grown;
        w->cap = cap;
    }
    unsigned char *data = hone_pages_map(bytes);
    if (!data)
        return NULL;
    int at = lower_bound(w, data);
    memmove(w->blocks + at + 1, w->blocks + at, (size_t)(w->n - at) * sizeof *w->blocks);
    w->blocks[at] = (block){.data = data, .bytes = bytes};
    ++w->n;
    return data;
}

/* ---- sweeping ---------------------------------------------------------------------------------
 */

static void mark_tensor(hone_weights *w, const hone_tensor *t) {
    if (!t || t->kind != HONE_KIND_TENSOR)
        return;
    int at = lower_bound(w, t->data);
    if (at < w->n && (uintptr_t)t->data >= (uintptr_t)w->blocks[at].data)
        w->blocks[at].is_used = true;
}

static void mark_value(hone_weights *w, const hone_value *v) {
    for (; v; v = v->outer) {
        mark_tensor(w, v->constant);
        mark_tensor(w, v->initial);
    }
}

static void mark_graph(hone_weights *w, const hone_graph *g);

static void mark_attr(hone_weights *w, const hone_attr *a) {
    if (a->kind == HONE_ATTR_TENSOR)
        mark_tensor(w, a->t);
    else if (a->kind == HONE_ATTR_GRAPH)
        mark_graph(w, a->g);
    for (int i = 0; a->kind == HONE_ATTR_TENSORS && i < a->n; ++i)
        mark_tensor(w, a->tensors[i]);
    for (int i = 0; a->kind == HONE_ATTR_GRAPHS && i < a->n; ++i)
        mark_graph(w, a->graphs[i]);
}

static void mark_graph(hone_weights *w, const hone_graph *g) {
    for (int i = 0; i < g->n_inputs; ++i)
        mark_value(w, g->inputs[i]);
    for (int i = 0; i < g->n_outputs; ++i)
        mark_value(w, g->outputs[i]);
    for (int i = 0; i < g->n_nodes; ++i) {
        const hone_node *n = g->nodes[i];
        for (int k = 0; k < n->n_in; ++k)
            mark_value(w, n->in[k]);
        for (int k = 0; k < n->n_attrs; ++k)
            mark_attr(w, &n->attrs[k]);
    }
}

void hone_graph_sweep(hone_graph *g) {
    hone_weights *w = g->weights;
    while (g->parent)
        g = g->parent;
    for (int i = 0; i < w->n; ++i)
        w->blocks[i].is_used = false;
    mark_graph(w, g);
    int n = 0;
    for (int i = 0; i < w->n; ++i) {
        if (w->blocks[i].is_used)
            w->blocks[n++] = w->blocks[i];
        else
            hone_pages_unmap(w->blocks[i].data, w->blocks[i].bytes);
    }
    w->n = n;
}
