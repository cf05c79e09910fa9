#include "quant/observe.h"

#include <string.h>

bool hone_observe_outputs(hone_graph *g) {
    for (int i = 0; i < g->n_nodes; ++i) {
        for (int k = 0; k < g->nodes[i]->n_out; ++k) {
            hone_value *v = g->nodes[i]->out[k];
            if (!v || v->type.kind != HONE_KIND_TENSOR || v->type.dtype != HONE_DTYPE_F32 ||
                hone_graph_is_output(g, v))
                continue;
            if (!HONE_PUSH(g->arena, g->outputs, g->n_outputs, g->cap_outputs, v))
                return false;
        }
    }
    return true;
}

static hone_range *find(hone_ranges *r, const char *name) {
    for (int i = 0; i < r->n; ++i) {
        int at = (r->next + i) % r->n;
        if (strcmp(r->item[at].name, name) == 0) {
            r->next = at + 1;
            return &r->item[at];
        }
    }
    return NULL;
}

const hone_range *hone_range_of(hone_ranges *r, const char *name) {
    return find(r, name);
}

static hone_range *make(hone_ranges *r, const char *name, float first) {
    hone_range made = {.low = first, .high = first, .is_finite = true};
    made.name = hone_arena_strdup(&r->arena, name, strlen(name));
    if (!made.name || !HONE_PUSH(&r->arena, r->item, r->n, r->cap, made))
        return NULL;
    return &r->item[r->n - 1];
}

bool hone_observe(hone_ranges *r, const char *name, const hone_tensor *t) {
    int64_t n =
        t->kind == HONE_KIND_TENSOR && t->dtype == HONE_DTYPE_F32 ? hone_tensor_count(t) : 0;
    if (n == 0)
        return true;
    const float *v = t->data;
    hone_range *range = find(r, name);
    if (!range && !(range = make(r, name, v[0])))
        return false;
    float low = range->low, high = range->high, nothing = 0;
    for (int64_t i = 0; i < n; ++i) {
        low = v[i] < low ? v[i] : low;
        high = v[i] > high ? v[i] : high;
        nothing += v[i] * 0; /* NaN, once there is an infinity or a NaN */
    }
    range->low = low;
    range->high = high;
    range->is_finite &= nothing == 0;
    return true;
}
