/* The check: read, adapt node by node, then look at operators, types and shapes. */
#include "engine/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/internal.h"
#include "onnx/adapt.h"
#include "onnx/names.h"
#include "onnx/reader.h"
#include "tflite/import.h"

#define CURE_DAMAGED "export the model again, or check it with onnx.checker: no runtime can read it"

/* ---- nodes that fail --------------------------------------------------------------------------
 */

typedef struct reason {
    hone_status status;
    const char *code, *cure;
} reason;

static const reason reasons[] = {
    {HONE_E_FORMAT, "malformed-node",
     "export the model again: the node breaks the operator's specification"},
    {HONE_E_TYPE, "type-conflict", "insert a Cast in the model, or correct the declared type"},
    {HONE_E_SHAPE, "shape-conflict", "correct the shapes that reach this node"},
    {HONE_E_UNSUPPORTED, "unsupported-form",
     "export with another opset or other options, so that the node takes a form that hone has"},
};

typedef struct checker {
    hone_findings *f;
    hone_names failed; /* labels of nodes whose outputs are unknown because they failed */
} checker;

static void on_failure(void *arg, const hone_graph *g, const hone_node *n, const hone_error *err) {
    checker *c = arg;
    const reason *r = &reasons[0];
    (void)g;
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; ++i) {
        if (reasons[i].status == err->code)
            r = &reasons[i];
    }
    hone_findings_add(c->f, HONE_ERROR, r->code, hone_node_label(n), n->op_name, r->cure, "%s",
                      err->message);
    if (!hone_names_put(&c->failed, hone_text(hone_node_label(n)), c))
        return; /* out of memory: at worst a note too many */
}

/* ---- operators and types ----------------------------------------------------------------------
 */

static const hone_op_def *same_name(const char *name) {
    int n;
    const hone_op_def *ops = hone_op_table(&n);
    for (int i = 0; i < n; ++i) {
        if (strcmp(ops[i].name, name) == 0)
            return &ops[i];
    }
    return NULL;
}

static void check_operator(const hone_node *n, hone_findings *f) {
    const char *domain = n->domain[0] ? n->domain : "ai.onnx";
    const hone_op_def *other = same_name(n->op_name);
    const char *cure =
        "write the node with operators of docs/operators.md, or export with another opset";
    if (other)
        hone_findings_add(f, HONE_ERROR, "unsupported-operator", hone_node_label(n), n->op_name,
                          cure, "operator %s of domain %s is not supported; domain %s has one",
                          n->op_name, domain, other->domain[0] ? other->domain : "ai.onnx");
    else
        hone_findings_add(f, HONE_ERROR, "unsupported-operator", hone_node_label(n), n->op_name,
                          cure, "operator %s of domain %s is not supported", n->op_name, domain);
}

static void list_types(uint32_t set, char *buf, size_t size) {
    size_t at = 0;
    buf[0] = '\0';
    for (int d = 1; d < HONE_DTYPE_COUNT && at < size; ++d) {
        if ((set >> d) & 1u)
            at += (size_t)snprintf(buf + at, size - at, "%s%s", at ? ", " : "",
                                   hone_dtype_name((hone_dtype)d));
    }
}

static void check_types(const hone_node *n, hone_findings *f) {
    const hone_value *v = n->n_in ? n->in[0] : n->n_out ? n->out[0] : NULL;
    if (!v || v->type.kind != HONE_KIND_TENSOR || !v->type.dtype || !n->op->types ||
        hone_dtype_in(v->type.dtype, n->op->types))
        return;
    char types[400];
    list_types(n->op->types, types, sizeof types);
    hone_findings_add(f, HONE_ERROR, "unsupported-type", hone_node_label(n), n->op_name,
                      "insert a Cast to one of these types", "'%.120s' is %s, %s takes: %s",
                      v->name, hone_dtype_name(v->type.dtype), n->op_name, types);
}

static void check_use(const hone_node *n, hone_findings *f) {
    for (int i = 0; i < n->n_out; ++i) {
        if (n->out[i] && n->out[i]->n_uses > 0)
            return;
    }
    hone_findings_add(f, HONE_NOTE, "unused-node", hone_node_label(n), n->op_name,
                      "nothing: 'hone optimize' drops it", "nothing uses what the node computes");
}

/* ---- dynamic dims -----------------------------------------------------------------------------
 */

static bool is_unknown(const hone_type *t) {
    if (t->kind == HONE_KIND_NONE)
        return true;
    if (t->kind != HONE_KIND_TENSOR)
        return false;
    bool unknown = t->rank < 0;
    for (int d = 0; d < t->rank; ++d)
        unknown |= t->dims[d] == HONE_DIM_UNKNOWN;
    return unknown;
}

static void check_input_dims(const hone_graph *g, hone_findings *f) {
    for (int i = 0; i < g->n_inputs; ++i) {
        const hone_value *v = g->inputs[i];
        bool is_dynamic = v->type.kind == HONE_KIND_TENSOR && !hone_type_is_static(&v->type);
        char type[300];
        if (is_dynamic)
            hone_findings_add(f, HONE_NOTE, "dynamic-input", v->name, "input",
                              "fix the dims with --shape when they never change: the engine gets "
                              "faster and smaller",
                              "input '%.120s' is %s: its dims are known only at the run", v->name,
                              hone_type_describe(g, &v->type, type, sizeof type));
    }
}

/* The first input whose contents decide a shape and are not known, if there is one. */
static const hone_value *deciding_input(const hone_node *n) {
    for (int i = 1; i < n->n_in; ++i) {
        const hone_value *v = n->in[i];
        if (v && !v->constant && !v->type.contents && v->type.dtype == HONE_DTYPE_I64)
            return v;
    }
    return NULL;
}

static void explain_dynamic(const hone_graph *g, const hone_node *n, const hone_value *out,
                            hone_findings *f) {
    static const char cure[] = "nothing when this is meant; else make the sizes constants in the "
                               "export, or fix the input's dims with --shape";
    char type[300], why[300];
    const hone_value *v = deciding_input(n);
    hone_type_describe(g, &out->type, type, sizeof type);
    if (n->op->flags & HONE_OP_CONTROL)
        snprintf(why, sizeof why, "it depends on which subgraphs of %s run", n->op_name);
    else if (n->op->flags & HONE_OP_DYNAMIC)
        snprintf(why, sizeof why, "how much %s gives depends on the data", n->op_name);
    else if (v)
        snprintf(why, sizeof why, "it depends on the contents of '%.100s', computed by %.100s (%s)",
                 v->name, v->producer ? hone_node_label(v->producer) : "the caller",
                 v->producer ? v->producer->op_name : "an input");
    else
        snprintf(why, sizeof why, "its inputs' dims do not tell");
    hone_findings_add(f, HONE_NOTE, "dynamic-shape", hone_node_label(n), n->op_name, cure,
                      "'%.120s' is %s: %s", out->name, type, why);
}

/* The nodes with which it starts: shapes known going in, unknown coming out. */
static void check_dynamic(const hone_graph *g, const hone_node *n, checker *c) {
    if (hone_names_get(&c->failed, hone_text(hone_node_label(n))))
        return;
    for (int i = 0; i < n->n_in; ++i) {
        if (n->in[i] && is_unknown(&n->in[i]->type))
            return;
    }
    for (int i = 0; i < n->n_out; ++i) {
        if (n->out[i] && is_unknown(&n->out[i]->type)) {
            explain_dynamic(g, n, n->out[i], c->f);
            return;
        }
    }
}

/* ---- declared against found -------------------------------------------------------------------
 */

typedef struct declared {
    const hone_graph *graph;
    const hone_value *value;
    hone_type type;
} declared;

typedef struct declarations {
    declared *item;
    int n, cap;
} declarations;

static bool remember(const hone_graph *g, hone_arena *arena, declarations *list) {
    for (int i = 0; i < g->n_values; ++i) {
        const hone_value *v = g->values[i];
        declared d = {g, v, v->type};
        bool counts =
            v->type.kind == HONE_KIND_TENSOR && v->type.rank >= 0 && !v->constant && !v->outer;
        if (counts && !HONE_PUSH(arena, list->item, list->n, list->cap, d))
            return false;
    }
    for (int i = 0; i < g->n_nodes; ++i) {
        for (int k = 0; k < g->nodes[i]->n_attrs; ++k) {
            const hone_attr *a = &g->nodes[i]->attrs[k];
            if (a->kind == HONE_ATTR_GRAPH && !remember(a->g, arena, list))
                return false;
        }
    }
    return true;
}

static bool contradicts(const hone_type *a, const hone_type *b) {
    if (b->kind != HONE_KIND_TENSOR || b->rank < 0)
        return false;
    bool differs = a->rank != b->rank;
    for (int d = 0; !differs && d < a->rank; ++d)
        differs = a->dims[d] >= 0 && b->dims[d] >= 0 && a->dims[d] != b->dims[d];
    return differs;
}

static void check_declarations(const declarations *list, hone_findings *f) {
    for (int i = 0; i < list->n; ++i) {
        const declared *d = &list->item[i];
        const hone_node *n = d->value->producer;
        char was[200], is[200];
        if (n && contradicts(&d->type, &d->value->type))
            hone_findings_add(f, HONE_WARNING, "stale-shape", hone_node_label(n), n->op_name,
                              "export again, or ignore it: hone goes by what the node computes",
                              "'%.120s' is declared as %s, but the node gives %s", d->value->name,
                              hone_type_describe(d->graph, &d->type, was, sizeof was),
                              hone_type_describe(d->graph, &d->value->type, is, sizeof is));
    }
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static void check_graph(const hone_graph *g, checker *c) {
    for (int i = 0; i < g->n_nodes; ++i) {
        const hone_node *n = g->nodes[i];
        if (n->op) {
            check_types(n, c->f);
            check_dynamic(g, n, c);
        } else {
            check_operator(n, c->f);
        }
        check_use(n, c->f);
        for (int k = 0; k < n->n_attrs; ++k) {
            if (n->attrs[k].kind == HONE_ATTR_GRAPH)
                check_graph(n->attrs[k].g, c);
        }
    }
}

static hone_status check_read(hone_graph *g, hone_findings *f, hone_error *err) {
    declarations list = {0};
    checker c = {.f = f, .failed = {.arena = &f->arena}};
    if (!remember(g, &f->arena, &list))
        return hone_fail(err, HONE_E_NOMEM, "no memory for the check");
    HONE_TRY(hone_onnx_align(g, HONE_ONNX_SMALL, NULL, err));
    HONE_TRY(hone_onnx_adapt_all(g, on_failure, &c, err));
    if (hone_graph_index(g) != HONE_OK)
        return hone_fail(err, HONE_E_NOMEM, "no memory for the check");
    check_input_dims(g, f);
    check_graph(g, &c);
    check_declarations(&list, f);
    return HONE_OK;
}

/* The reader names everything that is not supported in one message. */
static hone_status check_signature(const hone_file_map *map, const char *key, hone_findings *f,
                                   hone_error *err) {
    hone_model *model = NULL;
    hone_error failure = {.offset = -1};
    hone_status status =
        hone_model_parse_signature(map->data, map->n_bytes, NULL, key, &model, &failure);
    if (status == HONE_E_NOMEM) {
        *err = failure;
        return status;
    }
    bool is_unsupported = status == HONE_E_UNSUPPORTED, ok = true;
    if (status != HONE_OK)
        ok = hone_findings_add(f, HONE_ERROR, is_unsupported ? "unsupported-model" : "malformed",
                               failure.node, failure.op,
                               is_unsupported ? "convert the model without them" : CURE_DAMAGED,
                               "%s", failure.message);
    hone_model_destroy(model);
    return ok ? HONE_OK : hone_fail(err, HONE_E_NOMEM, "no memory for the check");
}

/* A file may hold several graphs; a damaged one is described once. */
static hone_status check_tflite(const hone_file_map *map, hone_findings *f, hone_error *err) {
    const char *const *keys;
    int n_keys = 0;
    HONE_TRY(check_signature(map, NULL, f, err));
    if (hone_tflite_signatures(map->data, map->n_bytes, &f->arena, &keys, &n_keys, NULL) != HONE_OK)
        return HONE_OK;
    for (int i = 1; i < n_keys && f->n == 0; ++i)
        HONE_TRY(check_signature(map, keys[i], f, err));
    return HONE_OK;
}

static hone_status check_bytes(const hone_file_map *map, const char *dir, hone_findings *f,
                               hone_error *err) {
    hone_graph *g;
    hone_error failure = {.offset = -1};
    hone_status status = hone_onnx_read_model(map->data, map->n_bytes, dir, &g, NULL, &failure);
    if (status == HONE_E_NOMEM) {
        *err = failure;
        return status;
    }
    if (status != HONE_OK) {
        hone_check_names(map->data, map->n_bytes, f);
        bool is_unsupported = status == HONE_E_UNSUPPORTED;
        if (f->n == 0)
            hone_findings_add(f, HONE_ERROR, is_unsupported ? "unsupported-model" : "malformed",
                              failure.node, failure.op, CURE_DAMAGED, "%s", failure.message);
        return HONE_OK;
    }
    status = check_read(g, f, err);
    hone_graph_destroy(g);
    return status;
}

/* Structure and checksums; what the graph computes was checked when it was built. */
static hone_status check_engine(const hone_file_map *map, hone_findings *out, hone_error *err) {
    hone_error bad = {.offset = -1};
    hone_status status = hone_engine_check(map->data, map->n_bytes, &bad);
    if (status == HONE_OK)
        return HONE_OK;
    bool ok = status == HONE_E_VERSION
                  ? hone_findings_add(out, HONE_ERROR, "other-version", bad.node, bad.op,
                                      "build the engine again from its model", "%s", bad.message)
                  : hone_findings_add(out, HONE_ERROR, "malformed", bad.node, bad.op,
                                      "build the engine again, or copy the file again", "%s",
                                      bad.message);
    return ok ? HONE_OK : hone_fail(err, HONE_E_NOMEM, "no memory for the check");
}

hone_status hone_check_file(const char *path, hone_findings *out, hone_error *err) {
    hone_error unused;
    hone_file_map map;
    *out = (hone_findings){.n = 0};
    hone_arena_init(&out->arena, 0);
    err = err ? err : &unused;
    const char *slash = strrchr(path, '/');
    const char *dir = !slash ? "."
                      : slash == path
                          ? "/"
                          : hone_arena_strdup(&out->arena, path, (size_t)(slash - path));
    if (!dir)
        return hone_fail(err, HONE_E_NOMEM, "no memory for the check");
    HONE_TRY(hone_file_map_open(path, &map, err));
    hone_status status = hone_engine_is_file(map.data, map.n_bytes) ? check_engine(&map, out, err)
                         : hone_tflite_is_model(map.data, map.n_bytes)
                             ? check_tflite(&map, out, err)
                             : check_bytes(&map, dir, out, err);
    hone_file_map_close(&map);
    return status;
}
