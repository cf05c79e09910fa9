/* Attributes of nodes: look-up and change. */
#include <string.h>

#include "ir/graph.h"

const hone_attr *hone_attr_find(const hone_node *n, const char *name) {
    for (int i = 0; i < n->n_attrs; ++i) {
        if (strcmp(n->attrs[i].name, name) == 0)
            return &n->attrs[i];
    }
    return NULL;
}

static const hone_attr *find_kind(const hone_node *n, const char *name, hone_attr_kind kind) {
    const hone_attr *a = hone_attr_find(n, name);
    return a && a->kind == kind ? a : NULL;
}

int64_t hone_attr_int(const hone_node *n, const char *name, int64_t missing) {
    const hone_attr *a = find_kind(n, name, HONE_ATTR_INT);
    return a ? a->i : missing;
}

float hone_attr_float(const hone_node *n, const char *name, float missing) {
    const hone_attr *a = find_kind(n, name, HONE_ATTR_FLOAT);
    return a ? a->f : missing;
}

const char *hone_attr_string(const hone_node *n, const char *name, const char *missing) {
    const hone_attr *a = find_kind(n, name, HONE_ATTR_STRING);
    return a ? a->s.data : missing;
}

int hone_attr_ints(const hone_node *n, const char *name, const int64_t **v) {
    const hone_attr *a = find_kind(n, name, HONE_ATTR_INTS);
    *v = a ? a->ints : NULL;
    return a ? a->n : 0;
}

int hone_attr_floats(const hone_node *n, const char *name, const float **v) {
    const hone_attr *a = find_kind(n, name, HONE_ATTR_FLOATS);
    *v = a ? a->floats : NULL;
    return a ? a->n : 0;
}

int hone_attr_strings(const hone_node *n, const char *name, const hone_string **v) {
    const hone_attr *a = find_kind(n, name, HONE_ATTR_STRINGS);
    *v = a ? a->strings : NULL;
    return a ? a->n : 0;
}

const hone_tensor *hone_attr_tensor(const hone_node *n, const char *name) {
    const hone_attr *a = find_kind(n, name, HONE_ATTR_TENSOR);
    return a ? a->t : NULL;
}

hone_graph *hone_attr_graph(const hone_node *n, const char *name) {
    const hone_attr *a = find_kind(n, name, HONE_ATTR_GRAPH);
    return a ? a->g : NULL;
}

bool hone_attr_set(hone_graph *g, hone_node *n, const hone_attr *a) {
    for (int i = 0; i < n->n_attrs; ++i) {
        if (strcmp(n->attrs[i].name, a->name) == 0) {
            n->attrs[i] = *a;
            return true;
        }
    }
    hone_attr *all = HONE_NEW_ARRAY(g->arena, hone_attr, n->n_attrs + 1);
    const char *name = hone_arena_strdup(g->arena, a->name, strlen(a->name));
    if (!all || !name)
        return false;
    if (n->n_attrs)
        memcpy(all, n->attrs, (size_t)n->n_attrs * sizeof *all);
    all[n->n_attrs] = *a;
    all[n->n_attrs].name = name;
    n->attrs = all;
    n->n_attrs++;
    return true;
}

bool hone_attr_set_int(hone_graph *g, hone_node *n, const char *name, int64_t v) {
    return hone_attr_set(g, n, &(hone_attr){.name = name, .kind = HONE_ATTR_INT, .n = 1, .i = v});
}

bool hone_attr_set_float(hone_graph *g, hone_node *n, const char *name, float v) {
    return hone_attr_set(g, n, &(hone_attr){.name = name, .kind = HONE_ATTR_FLOAT, .n = 1, .f = v});
}

bool hone_attr_set_string(hone_graph *g, hone_node *n, const char *name, const char *v) {
    hone_string s = {hone_arena_strdup(g->arena, v, strlen(v)), strlen(v)};
    return s.data &&
           hone_attr_set(g, n,
                         &(hone_attr){.name = name, .kind = HONE_ATTR_STRING, .n = 1, .s = s});
}

bool hone_attr_set_ints(hone_graph *g, hone_node *n, const char *name, const int64_t *v, int n_v) {
    int64_t *copy = HONE_NEW_ARRAY(g->arena, int64_t, n_v);
    if (!copy)
        return false;
    for (int i = 0; i < n_v; ++i)
        copy[i] = v[i];
    return hone_attr_set(
        g, n, &(hone_attr){.name = name, .kind = HONE_ATTR_INTS, .n = n_v, .ints = copy});
}

bool hone_attr_set_floats(hone_graph *g, hone_node *n, const char *name, const float *v, int n_v) {
    float *copy = HONE_NEW_ARRAY(g->arena, float, n_v);
    if (!copy)
        return false;
    for (int i = 0; i < n_v; ++i)
        copy[i] = v[i];
    return hone_attr_set(
        g, n, &(hone_attr){.name = name, .kind = HONE_ATTR_FLOATS, .n = n_v, .floats = copy});
}

void hone_attr_remove(hone_node *n, const char *name) {
    for (int i = 0; i < n->n_attrs; ++i) {
        if (strcmp(n->attrs[i].name, name) == 0) {
            n->attrs[i] = n->attrs[--n->n_attrs];
            return;
        }
    }
}
