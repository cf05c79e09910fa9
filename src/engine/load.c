/* File -> engine. Every byte is checked: lengths against what is left of the section, references
 * against the lists they point into, constants against the data section. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/impls.h"
#include "base/inflate.h"
#include "engine/format.h"
#include "engine/internal.h"

typedef struct loader {
    const uint8_t *at, *end; /* of the graph section */
    const uint8_t *section;
    const uint8_t *data;
    uint64_t data_bytes;
    hone_arena *arena;
    int depth;
    hone_error *err;
} loader;

static hone_status bad(const loader *l, const char *what) {
    return hone_fail_at(l->err, l->at - l->section, HONE_E_FORMAT,
                        "the engine file is damaged: %s; build it again", what);
}

static hone_status no_memory(const loader *l) {
    return hone_fail(l->err, HONE_E_NOMEM, "no memory to load the engine");
}

/* ---- primitives -------------------------------------------------------------------------------
 */

static hone_status get(loader *l, void *out, size_t n) {
    if ((size_t)(l->end - l->at) < n)
        return bad(l, "it ends too early");
    memcpy(out, l->at, n);
    l->at += n;
    return HONE_OK;
}

static hone_status get_i64(loader *l, int64_t *v) {
    *v = 0;
    return get(l, v, sizeof *v);
}

/* A number in [low, high]. */
static hone_status get_in(loader *l, int64_t low, int64_t high, int64_t *v) {
    HONE_TRY(get_i64(l, v));
    return *v < low || *v > high ? bad(l, "a number is out of range") : HONE_OK;
}

/* A count of things that take at least one byte each. */
static hone_status get_count(loader *l, int *n) {
    int64_t v = 0, left = l->end - l->at;
    *n = 0;
    HONE_TRY(get_in(l, 0, left < INT32_MAX ? left : INT32_MAX, &v));
    *n = (int)v;
    return HONE_OK;
}

static hone_status get_string(loader *l, const char **text, size_t *len) {
    int n;
    HONE_TRY(get_count(l, &n));
    if (n > l->end - l->at)
        return bad(l, "a text ends too late");
    *text = hone_arena_strdup(l->arena, (const char *)l->at, (size_t)n);
    l->at += n;
    if (len)
        *len = (size_t)n;
    return *text ? HONE_OK : no_memory(l);
}

/* ---- tensors and types ------------------------------------------------------------------------
 */

static hone_status get_strings(loader *l, int64_t n, hone_tensor *t) {
    if (n > l->end - l->at)
        return bad(l, "more strings than bytes");
    hone_string *s = HONE_NEW_ARRAY(l->arena, hone_string, n);
    if (!s)
        return no_memory(l);
    for (int64_t i = 0; i < n; ++i)
        HONE_TRY(get_string(l, &s[i].data, &s[i].len));
    t->data = s;
    return HONE_OK;
}

static hone_status get_tensor(loader *l, const hone_tensor **out) {
    int64_t dtype, rank, dims[HONE_MAX_RANK], offset;
    HONE_TRY(get_in(l, 1, HONE_DTYPE_COUNT - 1, &dtype));
    HONE_TRY(get_in(l, 0, HONE_MAX_RANK, &rank));
    for (int64_t i = 0; i < rank; ++i)
        HONE_TRY(get_in(l, 0, INT64_MAX, &dims[i]));
    if (!hone_dims_fit((int)rank, dims))
        return bad(l, "a constant is too large");
    int64_t n = hone_dims_count(dims, 0, (int)rank);
    hone_tensor *t = HONE_NEW(l->arena, hone_tensor);
    if (!t)
        return no_memory(l);
    *out = t;
    *t = hone_tensor_view((hone_dtype)dtype, (int)rank, dims, NULL);
    if (dtype == HONE_DTYPE_STRING)
        return get_strings(l, n, t);
    HONE_TRY(get_i64(l, &offset));
    size_t bytes = hone_dtype_bytes((hone_dtype)dtype, n);
    if (offset < 0 || offset % HONE_ENGINE_ALIGN || (uint64_t)offset > l->data_bytes ||
        bytes > l->data_bytes - (uint64_t)offset || (n > 0 && bytes == 0))
        return bad(l, "a constant lies outside the data section");
    *t = hone_tensor_view((hone_dtype)dtype, (int)rank, dims, l->data + offset);
    return HONE_OK;
}

/* A dim that is no number: unknown, or a symbol of the graph's table. */
static hone_status get_type(loader *l, const hone_graph *g, hone_type *t) {
    int64_t kind, optional, dtype, rank, has_elem;
    HONE_TRY(get_in(l, 0, HONE_KIND_MAP, &kind));
    HONE_TRY(get_in(l, 0, 1, &optional));
    HONE_TRY(get_in(l, 0, HONE_DTYPE_COUNT - 1, &dtype));
    HONE_TRY(get_in(l, -1, HONE_MAX_RANK, &rank));
    *t = (hone_type){.kind = (hone_kind)kind,
                     .optional = optional != 0,
                     .dtype = (hone_dtype)dtype,
                     .rank = (int)rank};
    for (int64_t i = 0; i < rank; ++i)
        HONE_TRY(get_in(l, -1 - (int64_t)g->symbols->n, INT64_MAX, &t->dims[i]));
    HONE_TRY(get_in(l, 0, 1, &has_elem));
    if (!has_elem)
        return HONE_OK;
    if (++l->depth > HONE_ENGINE_MAX_DEPTH)
        return bad(l, "types are nested too deeply");
    hone_type *elem = HONE_NEW(l->arena, hone_type);
    if (!elem)
        return no_memory(l);
    HONE_TRY(get_type(l, g, elem));
    --l->depth;
    t->elem = elem;
    return HONE_OK;
}

/* ---- the graph --------------------------------------------------------------------------------
 */

static hone_status get_graph(loader *l, hone_graph *g);

static hone_status get_value(loader *l, hone_graph *g) {
    const char *name;
    int64_t flags, outer, next;
    HONE_TRY(get_string(l, &name, NULL));
    hone_value *v = hone_graph_value(g, name);
    if (!v)
        return no_memory(l);
    HONE_TRY(get_type(l, g, &v->type));
    HONE_TRY(get_in(l, 0, 3, &flags));
    HONE_TRY(get_in(l, 0, INT32_MAX, &next));
    v->next = (int)next;
    HONE_TRY(get_in(l, -1, g->parent ? g->parent->n_values - 1 : -1, &outer));
    v->outer = outer >= 0 ? g->parent->values[outer] : NULL;
    if (flags & 1)
        HONE_TRY(get_tensor(l, &v->constant));
    if (flags & 2)
        HONE_TRY(get_tensor(l, &v->initial));
    return HONE_OK;
}

static hone_status get_list(loader *l, const hone_graph *g, bool may_omit, hone_value ***list,
                            int *n) {
    HONE_TRY(get_count(l, n));
    *list = HONE_NEW_ARRAY(l->arena, hone_value *, *n);
    if (!*list)
        return no_memory(l);
    for (int i = 0; i < *n; ++i) {
        int64_t id;
        HONE_TRY(get_in(l, may_omit ? -1 : 0, g->n_values - 1, &id));
        (*list)[i] = id < 0 ? NULL : g->values[id];
    }
    return HONE_OK;
}

static hone_status get_attr_item(loader *l, hone_graph *g, hone_attr *a, int i, void *items) {
    hone_string *string = a->kind == HONE_ATTR_STRINGS ? (hone_string *)items + i : &a->s;
    hone_type *type;
    switch (a->kind) {
    case HONE_ATTR_FLOAT:
        return get(l, &a->f, sizeof a->f);
    case HONE_ATTR_FLOATS:
        return get(l, (float *)items + i, sizeof(float));
    case HONE_ATTR_INT:
        return get_i64(l, &a->i);
    case HONE_ATTR_INTS:
        return get_i64(l, (int64_t *)items + i);
    case HONE_ATTR_STRING:
    case HONE_ATTR_STRINGS:
        return get_string(l, &string->data, &string->len);
    case HONE_ATTR_TENSOR:
        return get_tensor(l, &a->t);
    case HONE_ATTR_TENSORS:
        return get_tensor(l, (const hone_tensor **)items + i);
    case HONE_ATTR_GRAPH:
    case HONE_ATTR_GRAPHS: {
        hone_graph *sub = hone_graph_sub(g);
        if (!sub)
            return no_memory(l);
        if (a->kind == HONE_ATTR_GRAPH)
            a->g = sub;
        else
            ((hone_graph **)items)[i] = sub;
        return get_graph(l, sub);
    }
    case HONE_ATTR_TYPE:
        type = HONE_NEW(l->arena, hone_type);
        a->type = type;
        return type ? get_type(l, g, type) : no_memory(l);
    }
    return bad(l, "an attribute has an unknown kind");
}

static hone_status get_attr(loader *l, hone_graph *g, hone_attr *a) {
    int64_t kind;
    HONE_TRY(get_string(l, &a->name, NULL));
    HONE_TRY(get_in(l, 1, HONE_ATTR_TYPE, &kind));
    HONE_TRY(get_count(l, &a->n));
    a->kind = (hone_attr_kind)kind;
    bool is_plural = a->kind >= HONE_ATTR_FLOATS && a->kind <= HONE_ATTR_GRAPHS;
    if (!is_plural && a->n != 1)
        return bad(l, "an attribute has a count that is not possible");
    /* The widest item is a string. */
    void *items = is_plural ? hone_arena_array(l->arena, (size_t)a->n, sizeof(hone_string)) : NULL;
    if (is_plural) {
        if (!items)
            return no_memory(l);
        a->ints = items; /* all plural kinds share this pointer's place */
    }
    for (int i = 0; i < a->n; ++i)
        HONE_TRY(get_attr_item(l, g, a, i, items));
    return HONE_OK;
}

static hone_status get_node(loader *l, hone_graph *g) {
    hone_node *n = HONE_NEW(l->arena, hone_node);
    const char *kernel;
    if (!n)
        return no_memory(l);
    HONE_TRY(get_string(l, &n->domain, NULL));
    HONE_TRY(get_string(l, &n->op_name, NULL));
    HONE_TRY(get_string(l, &n->name, NULL));
    HONE_TRY(get_string(l, &n->origin, NULL));
    HONE_TRY(get_string(l, &kernel, NULL));
    HONE_TRY(get_list(l, g, true, &n->in, &n->n_in));
    HONE_TRY(get_list(l, g, true, &n->out, &n->n_out));
    HONE_TRY(get_count(l, &n->n_attrs));
    n->attrs = HONE_NEW_ARRAY(l->arena, hone_attr, n->n_attrs);
    if (!n->attrs)
        return no_memory(l);
    for (int i = 0; i < n->n_attrs; ++i)
        HONE_TRY(get_attr(l, g, &n->attrs[i]));
    n->op = hone_op_find(n->domain, n->op_name);
    if (!n->op) {
        hone_fail(l->err, HONE_E_VERSION,
                  "this build of hone has no operator %s.%s; build the engine again", n->domain,
                  n->op_name);
        return hone_fail_node(l->err, HONE_E_VERSION, n->name, n->op_name);
    }
    /* A kernel this CPU or build lacks: the reference kernel computes the same. */
    n->impl = kernel[0] ? hone_impl_find(kernel) : NULL;
    return hone_graph_append(g, n) ? HONE_OK : no_memory(l);
}

static hone_status get_graph(loader *l, hone_graph *g) {
    int64_t opset;
    int n;
    if (++l->depth > HONE_ENGINE_MAX_DEPTH)
        return bad(l, "subgraphs are nested too deeply");
    HONE_TRY(get_string(l, &g->name, NULL));
    HONE_TRY(get_in(l, 0, INT32_MAX, &opset));
    g->opset = (int)opset;
    HONE_TRY(get_count(l, &n));
    for (int i = 0; i < n; ++i)
        HONE_TRY(get_value(l, g));
    HONE_TRY(get_list(l, g, false, &g->inputs, &g->n_inputs));
    HONE_TRY(get_list(l, g, false, &g->outputs, &g->n_outputs));
    g->cap_inputs = g->n_inputs;
    g->cap_outputs = g->n_outputs;
    HONE_TRY(get_count(l, &n));
    for (int i = 0; i < n; ++i)
        HONE_TRY(get_node(l, g));
    --l->depth;
    return HONE_OK;
}

static hone_status get_shapes(loader *l, hone_engine *e) {
    HONE_TRY(get_count(l, &e->n_shapes));
    e->shapes = HONE_NEW_ARRAY(l->arena, hone_shape_range, e->n_shapes);
    if (!e->shapes)
        return no_memory(l);
    for (int i = 0; i < e->n_shapes; ++i) {
        hone_shape_range *r = &e->shapes[i];
        int64_t rank;
        HONE_TRY(get_string(l, &r->input, NULL));
        HONE_TRY(get_in(l, 0, HONE_MAX_RANK, &rank));
        r->rank = (int)rank;
        for (int d = 0; d < r->rank; ++d) {
            HONE_TRY(get_i64(l, &r->min[d]));
            HONE_TRY(get_i64(l, &r->opt[d]));
            HONE_TRY(get_i64(l, &r->max[d]));
        }
    }
    return HONE_OK;
}

static hone_status get_layout(loader *l, hone_mem_layout *layout) {
    int64_t total, bytes, first, last, offset;
    HONE_TRY(get_in(l, 0, INT64_MAX, &total));
    HONE_TRY(get_count(l, &layout->n));
    hone_mem_block *blocks = HONE_NEW_ARRAY(l->arena, hone_mem_block, layout->n);
    if (!blocks)
        return no_memory(l);
    for (int i = 0; i < layout->n; ++i) {
        HONE_TRY(get_in(l, 0, INT64_MAX, &bytes));
        HONE_TRY(get_in(l, 0, INT32_MAX, &first));
        HONE_TRY(get_in(l, first, INT32_MAX, &last));
        HONE_TRY(get_in(l, 0, INT64_MAX, &offset));
        blocks[i] = (hone_mem_block){(size_t)bytes, (int)first, (int)last, (size_t)offset};
    }
    layout->blocks = blocks;
    layout->total_bytes = (size_t)total;
    return hone_mem_layout_is_safe(layout) ? HONE_OK
                                           : bad(l, "a buffer lies outside the memory plan");
}

static hone_status get_isa(loader *l, hone_isa *isa) {
    const char *name;
    HONE_TRY(get_string(l, &name, NULL));
    int found = hone_isa_parse(name);
    if (found < 0)
        return hone_fail(l->err, HONE_E_VERSION,
                         "the engine is built for '%s', an instruction set that this hone does not "
                         "know; build it again",
                         name);
    *isa = (hone_isa)found;
    return HONE_OK;
}

static hone_status get_engine(loader *l, hone_engine *e) {
    int64_t is_reference, max_ram, n_threads;
    int n;
    HONE_TRY(get_in(l, 0, 1, &is_reference));
    HONE_TRY(get_in(l, 0, INT64_MAX, &max_ram));
    HONE_TRY(get_isa(l, &e->isa));
    HONE_TRY(get_in(l, 0, INT32_MAX, &n_threads));
    e->n_threads = (int)n_threads;
    e->is_reference = is_reference != 0;
    e->max_ram_bytes = (size_t)max_ram;
    HONE_TRY(get_count(l, &n));
    for (int i = 0; i < n; ++i) {
        const char *name;
        HONE_TRY(get_string(l, &name, NULL));
        if (hone_symbol(e->graph, name) != i)
            return bad(l, "a symbol occurs twice");
    }
    HONE_TRY(get_graph(l, e->graph));
    HONE_TRY(get_shapes(l, e));
    HONE_TRY(get_layout(l, &e->layout));
    if (hone_graph_index(e->graph) != HONE_OK)
        return no_memory(l);
    return hone_graph_verify(e->graph, l->err);
}

/* ---- the file ---------------------------------------------------------------------------------
 */

bool hone_engine_is_file(const uint8_t *bytes, size_t n) {
    return n >= 8 && memcmp(bytes, HONE_ENGINE_MAGIC, 8) == 0;
}

static hone_status check_header(const uint8_t *bytes, size_t n, hone_engine_header *h,
                                hone_error *err) {
    if (n < sizeof *h || !hone_engine_is_file(bytes, n))
        return hone_fail(err, HONE_E_FORMAT, "this is no engine file; 'hone build' makes one");
    memcpy(h, bytes, sizeof *h);
    if (h->version != HONE_ENGINE_VERSION || h->byte_order != 0x01020304)
        return hone_fail(err, HONE_E_VERSION,
                         "the engine file has format version %" PRIu32
                         ", this hone reads version %d on this byte order; build it again",
                         h->version, HONE_ENGINE_VERSION);
    if (h->graph_offset > n || h->graph_bytes > n - h->graph_offset || h->data_offset > n ||
        h->data_bytes > n - h->data_offset || h->data_offset % HONE_ENGINE_ALIGN)
        return hone_fail(err, HONE_E_FORMAT,
                         "the engine file is cut off or damaged; build it again");
    if (hone_crc32(0, bytes + h->graph_offset, (size_t)h->graph_bytes) != h->graph_crc)
        return hone_fail(err, HONE_E_FORMAT,
                         "the checksum of the engine's graph is wrong; build it again");
    return HONE_OK;
}

hone_status hone_engine_parse(const uint8_t *bytes, size_t n, hone_engine **out, hone_error *err) {
    hone_engine_header h;
    *out = NULL;
    HONE_TRY(check_header(bytes, n, &h, err));
    hone_engine *e = calloc(1, sizeof *e);
    if (!e || !(e->graph = hone_graph_create())) {
        free(e);
        return hone_fail(err, HONE_E_NOMEM, "no memory to load the engine");
    }
    const uint8_t *section = bytes + h.graph_offset;
    loader l = {.at = section,
                .end = section + h.graph_bytes,
                .section = section,
                .data = bytes + h.data_offset,
                .data_bytes = h.data_bytes,
                .arena = e->graph->arena,
                .err = err};
    hone_status status = get_engine(&l, e);
    if (status != HONE_OK) {
        hone_engine_destroy(e);
        return status;
    }
    *out = e;
    return HONE_OK;
}

hone_status hone_engine_check(const uint8_t *bytes, size_t n, hone_error *err) {
    hone_engine_header h;
    hone_engine *e;
    HONE_TRY(hone_engine_parse(bytes, n, &e, err));
    hone_engine_destroy(e);
    HONE_TRY(check_header(bytes, n, &h, err));
    if (hone_crc32(0, bytes + h.data_offset, (size_t)h.data_bytes) != h.data_crc)
        return hone_fail(err, HONE_E_FORMAT,
                         "the checksum of the engine's weights is wrong; build it again");
    return HONE_OK;
}

hone_status hone_engine_load(const char *path, hone_engine **out, hone_error *err) {
    hone_file_map map;
    *out = NULL;
    HONE_TRY(hone_file_map_open(path, &map, err));
    hone_status status = hone_engine_parse(map.data, map.n_bytes, out, err);
    if (status != HONE_OK)
        hone_file_map_close(&map);
    else
        (*out)->map = map;
    return status;
}

hone_status hone_engine_open(const char *path, const hone_build_options *options, hone_engine **out,
                             hone_error *err) {
    hone_file_map map;
    hone_model *model;
    *out = NULL;
    HONE_TRY(hone_file_map_open(path, &map, err));
    bool is_engine = hone_engine_is_file(map.data, map.n_bytes);
    hone_file_map_close(&map);
    const char *signature = options ? options->signature : NULL;
    if (is_engine && signature)
        return hone_fail(
            err, HONE_E_ARGUMENT,
            "an engine is built of one signature: build it again with signature %.100s", signature);
    if (is_engine)
        return hone_engine_load(path, out, err);
    HONE_TRY(hone_model_open_signature(path, signature, &model, err));
    hone_status status = hone_engine_build(model, options, out, err);
    if (status != HONE_OK)
        hone_model_destroy(model);
    else
        (*out)->model = model;
    return status;
}
