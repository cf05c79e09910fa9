/* ModelProto -> graph and facts. */
#include "onnx/reader.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/reader_impl.h"

/* Memory that reading may take: a fixed part (densified tensors, small files) and one in proportion
 * to the file, so that a small hostile file cannot exhaust the machine. */
#define LIMIT_FIXED_BYTES ((size_t)256 << 20)
enum { LIMIT_PER_BYTE = 64 };

const char *onnx_text(onnx_reader *r, hone_string s) {
    return hone_arena_strdup(r->arena, s.data, s.len);
}

void onnx_read_pair(hone_pb *m, const hone_pb_field *f, hone_string *key, hone_string *value) {
    hone_pb sub = hone_pb_sub(m, f);
    *key = *value = (hone_string){"", 0};
    hone_pb_field e;
    while (hone_pb_next(&sub, &e)) {
        if (e.number == 1)
            *key = hone_pb_string(&sub, &e);
        else if (e.number == 2)
            *value = hone_pb_string(&sub, &e);
    }
    hone_pb_join(m, &sub);
}

hone_string onnx_function_key(onnx_reader *r, hone_string domain, hone_string name,
                              hone_string overload) {
    if (domain.len == 7 && memcmp(domain.data, "ai.onnx", 7) == 0)
        domain.len = 0;
    hone_string parts[3] = {domain, name, overload};
    size_t len = domain.len + name.len + overload.len + 2, at = 0;
    char *key = hone_arena_alloc(&r->scratch, len);
    if (!key)
        return (hone_string){NULL, 0};
    for (int i = 0; i < 3; ++i) {
        if (parts[i].len)
            memcpy(key + at, parts[i].data, parts[i].len);
        at += parts[i].len + 1; /* separated by NUL */
    }
    return (hone_string){key, len};
}

hone_status onnx_read_imports(onnx_reader *r, hone_pb *m, const hone_pb_field *f,
                              onnx_imports *to) {
    hone_pb sub = hone_pb_sub(m, f);
    hone_string domain = {"", 0};
    hone_onnx_import_row row = {"", 0};
    hone_pb_field e;
    while (hone_pb_next(&sub, &e)) {
        if (e.number == 1)
            domain = hone_pb_string(&sub, &e);
        else if (e.number == 2)
            row.version = hone_pb_int(&sub, &e);
    }
    HONE_TRY(sub.status);
    row.domain = onnx_text(r, domain);
    if (!row.domain)
        return onnx_no_memory(m);
    if (strcmp(row.domain, "ai.onnx") == 0)
        row.domain = "";
    if (row.version < 0 || row.version > INT32_MAX)
        return hone_pb_fail(m, HONE_E_FORMAT, "opset version %" PRId64, row.version);
    if (row.domain[0] == '\0' && row.version > NEWEST_OPSET)
        return hone_pb_fail(m, HONE_E_UNSUPPORTED,
                            "opset %" PRId64 " is newer than the newest known one, %d; export the "
                            "model for an older opset",
                            row.version, NEWEST_OPSET);
    if (to->n >= MAX_ATTRIBUTES)
        return hone_pb_fail(m, HONE_E_UNSUPPORTED, "more than %d opset imports", MAX_ATTRIBUTES);
    if (!HONE_PUSH(r->arena, to->rows, to->n, to->cap, row))
        return onnx_no_memory(m);
    return HONE_OK;
}

int onnx_opset_of(const onnx_reader *r, const onnx_scope *s, const char *domain) {
    const onnx_imports *tables[2] = {s->frame ? &s->frame->function->imports : &r->imports,
                                     &r->imports};
    for (int t = 0; t < 2; ++t) {
        for (int i = 0; i < tables[t]->n; ++i) {
            if (strcmp(tables[t]->rows[i].domain, domain) == 0 && tables[t]->rows[i].version > 0)
                return (int)tables[t]->rows[i].version;
        }
    }
    return 1; /* the first models had no imports */
}

static hone_status read_metadata(onnx_reader *r, hone_pb *m, const hone_pb_field *f,
                                 hone_onnx_pair **list) {
    hone_string key, value;
    onnx_read_pair(m, f, &key, &value);
    hone_onnx_pair pair = {onnx_text(r, key), onnx_text(r, value)};
    hone_onnx_facts *facts = &r->facts;
    if (!pair.key || !pair.value ||
        !HONE_PUSH(r->arena, *list, facts->n_metadata, facts->cap_metadata, pair))
        return onnx_no_memory(m);
    return m->status;
}

static hone_status read_text(onnx_reader *r, hone_pb *m, const hone_pb_field *f, const char **out) {
    *out = onnx_text(r, hone_pb_string(m, f));
    return *out ? m->status : onnx_no_memory(m);
}

/* Everything but the graph, which needs the rest to be known. */
static hone_status read_facts(onnx_reader *r, hone_pb m, hone_pb *graph, bool *has_graph) {
    hone_onnx_pair *metadata = NULL;
    hone_pb_field f;
    hone_status status = HONE_OK;
    while (status == HONE_OK && hone_pb_next(&m, &f)) {
        switch (f.number) {
        case 1:
            r->facts.ir_version = hone_pb_int(&m, &f);
            break;
        case 2:
            status = read_text(r, &m, &f, &r->facts.producer_name);
            break;
        case 3:
            status = read_text(r, &m, &f, &r->facts.producer_version);
            break;
        case 4:
            status = read_text(r, &m, &f, &r->facts.domain);
            break;
        case 5:
            r->facts.model_version = hone_pb_int(&m, &f);
            break;
        case 6:
            status = read_text(r, &m, &f, &r->facts.doc);
            break;
        case 7:
            if (*has_graph)
                return hone_pb_fail(&m, HONE_E_FORMAT, "a model with two graphs");
            *graph = hone_pb_sub(&m, &f);
            *has_graph = true;
            break;
        case 8:
            status = onnx_read_imports(r, &m, &f, &r->imports);
            break;
        case 14:
            status = read_metadata(r, &m, &f, &metadata);
            break;
        case 25:
            status = onnx_read_function(r, hone_pb_sub(&m, &f));
            break;
        default:
            break;
        }
    }
    r->facts.imports = r->imports.rows;
    r->facts.n_imports = r->imports.n;
    r->facts.metadata = metadata;
    return status == HONE_OK ? m.status : status;
}

static hone_status read_model(onnx_reader *r, hone_pb m, hone_graph *g) {
    bool has_graph = false;
    hone_pb graph;
    HONE_TRY(read_facts(r, m, &graph, &has_graph));
    if (!has_graph)
        return hone_fail(r->err, HONE_E_FORMAT, "not an ONNX model: no graph inside");
    onnx_scope root = {.g = g};
    g->opset = onnx_opset_of(r, &root, "");
    HONE_TRY(onnx_read_graph(r, NULL, NULL, graph, g));
    return hone_graph_index(g);
}

hone_status hone_onnx_read_model(const uint8_t *bytes, size_t n, const char *dir, hone_graph **out,
                                 hone_onnx_facts *facts, hone_error *err) {
    *out = NULL;
    if (n == 0)
        return hone_fail(err, HONE_E_FORMAT, "not an ONNX model: no bytes");
    hone_error ignored;
    if (!err)
        err = &ignored; /* readers name the node in it */
    hone_graph *g = hone_graph_create();
    if (!g)
        return hone_fail(err, HONE_E_NOMEM, "out of memory");
    size_t limit;
    if (!hone_mul_size(n, LIMIT_PER_BYTE, &limit) ||
        !hone_add_size(limit, LIMIT_FIXED_BYTES, &limit))
        limit = 0;
    g->arena->limit_bytes = limit;
    onnx_reader r = {.arena = g->arena, .source = {g->arena, dir, NULL}, .err = err};
    r.facts.producer_name = r.facts.producer_version = r.facts.domain = r.facts.doc = "";
    hone_arena_init(&r.scratch, limit);
    r.functions.arena = r.symbols.arena = &r.scratch;
    hone_pb m;
    hone_pb_init(&m, bytes, n, err);
    hone_status status = read_model(&r, m, g);
    hone_arena_deinit(&r.scratch);
    g->arena->limit_bytes = 0;
    if (status != HONE_OK) {
        hone_graph_destroy(g);
        return status;
    }
    if (facts)
        *facts = r.facts;
    *out = g;
    return HONE_OK;
}

hone_status hone_onnx_read(const uint8_t *bytes, size_t n, const char *dir, hone_graph **out,
                           hone_error *err) {
    return hone_onnx_read_model(bytes, n, dir, out, NULL, err);
}
