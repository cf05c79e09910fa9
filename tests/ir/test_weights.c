/* Memory of constants: what a graph refers to stays, from anywhere in it; the rest goes. */
#include "ir/weights.h"

#include <string.h>

#include "check.h"
#include "ir/op.h"

enum { BYTES = 1 << 18, COUNT = BYTES / 4 };

/* A constant of its own block, filled with a number. */
static hone_value *constant(hone_graph *g, const char *name, int fill) {
    hone_tensor *t = HONE_NEW(g->arena, hone_tensor);
    void *data = hone_graph_data(g, BYTES);
    CHECK(t && data && (uintptr_t)data % 64 == 0);
    memset(data, fill, BYTES);
    *t = hone_tensor_view(HONE_DTYPE_F32, 1, (const int64_t[]){COUNT}, data);
    return hone_graph_constant(g, name, t);
}

static bool holds(const hone_tensor *t, int fill) {
    const unsigned char *p = t->data;
    for (size_t i = 0; i < hone_tensor_bytes(t); ++i) {
        if (p[i] != fill)
            return false;
    }
    return true;
}

static hone_node *add(hone_graph *g, hone_value *a, hone_value *b, hone_value *out) {
    hone_value *in[2] = {a, b};
    hone_node *n = hone_node_create(g, hone_op_find("", "Add"), "add", in, 2, &out, 1);
    CHECK(n && hone_graph_append(g, n));
    return n;
}

int main(void) {
    hone_graph *g = hone_graph_create();
    hone_value *a = constant(g, "a", 1), *b = constant(g, "b", 2);
    (void)constant(g, "unused", 3);
    hone_value *y = hone_graph_value(g, "y");
    hone_node *n = add(g, a, b, y);

    /* A view into the middle of a block, as an attribute of a node in a subgraph. */
    hone_value *whole = constant(g, "whole", 4);
    hone_tensor *part = HONE_NEW(g->arena, hone_tensor);
    *part = hone_tensor_view(HONE_DTYPE_F32, 1, (const int64_t[]){8},
                             (char *)whole->constant->data + BYTES / 2);
    hone_graph *sub = hone_graph_sub(g);
    hone_value *inner = constant(sub, "inner", 5), *z = hone_graph_value(sub, "z");
    hone_node *inside = add(sub, inner, inner, z);
    CHECK(hone_attr_set(sub, inside,
                        &(hone_attr){.name = "t", .kind = HONE_ATTR_TENSOR, .n = 1, .t = part}));
    CHECK(hone_attr_set(g, n,
                        &(hone_attr){.name = "body", .kind = HONE_ATTR_GRAPH, .n = 1, .g = sub}));

    hone_graph_sweep(sub); /* sweeps the root */
    CHECK(holds(a->constant, 1) && holds(b->constant, 2) && holds(part, 4) &&
          holds(inner->constant, 5));
    /* New memory is zeroed, also where it takes the place of what went. */
    const unsigned char *fresh = hone_graph_data(g, BYTES);
    CHECK(fresh && fresh[0] == 0 && fresh[BYTES - 1] == 0);
    CHECK(hone_graph_data(g, 0) && hone_graph_data(g, 100));
    CHECK(!hone_graph_data(g, SIZE_MAX));
    n->in[0] = b;
    hone_graph_sweep(g);
    CHECK(holds(b->constant, 2) && holds(part, 4));
    hone_graph_destroy(g);
    return CHECK_RESULT();
}
