/* Models: versions, imports, files. */
#include "onnx/writer.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "onnx/writer_impl.h"

enum { OLDEST_OPSET = 17, MAX_DOMAINS = 64 };
/* Protobuf messages end at 2 GB; nodes and names need some room too. */
#define EMBEDDED_MAX_BYTES ((uint64_t)1900 << 20)

typedef struct imports {
    const char *domain[MAX_DOMAINS];
    int version[MAX_DOMAINS];
    int n;
} imports;

static void need(imports *m, const char *domain, int version) {
    int i = 0;
    while (i < m->n && strcmp(m->domain[i], domain) != 0)
        ++i;
    if (i == MAX_DOMAINS)
        return;
    if (i == m->n) {
        m->domain[m->n++] = domain;
        m->version[i] = 1;
    }
    if (m->version[i] < version)
        m->version[i] = version;
}

/* The opset in which operators began to take the type. */
static int opset_of_type(hone_dtype d) {
    if (d == HONE_DTYPE_U2 || d == HONE_DTYPE_I2)
        return 25;
    if (d == HONE_DTYPE_F8E8M0)
        return 24;
    if (d == HONE_DTYPE_F4E2M1)
        return 23;
    if (d == HONE_DTYPE_BF16)
        return 22;
    if (d == HONE_DTYPE_U4 || d == HONE_DTYPE_I4)
        return 21;
    return hone_dtype_in(d, HONE_T_F8) ? 19 : OLDEST_OPSET;
}

/* Quantisation to and from 16 bits came later than the operators. */
static int opset_of_quantised(const hone_node *n) {
    bool is_one = n->domain[0] == '\0' && (strcmp(n->op_name, "QuantizeLinear") == 0 ||
                                           strcmp(n->op_name, "DequantizeLinear") == 0);
    const hone_value *from = n->n_in ? n->in[0] : NULL, *to = n->n_out ? n->out[0] : NULL;
    uint32_t types = HONE_T(I16) | HONE_T(U16);
    bool is_16_bits = (from && hone_dtype_in(from->type.dtype, types)) ||
                      (to && hone_dtype_in(to->type.dtype, types));
    return is_one && is_16_bits ? 21 : OLDEST_OPSET;
}

/* IR versions by opset, from the release table of the ONNX documentation (Versioning.md). */
static int ir_of_opset(int opset) {
    static const int table[] = {8, 8, 9, 9, 10, 10, 11, 12, 13, 13, 13, 14};
    return table[opset < OLDEST_OPSET ? 0 : opset > 28 ? 11 : opset - OLDEST_OPSET];
}

/* What nodes, types and constants ask for. */
static void survey(const hone_graph *g, imports *m, uint64_t *constant_bytes) {
    for (int i = 0; i < g->n_values; ++i) {
        const hone_value *v = g->values[i];
        const hone_tensor *t = v->initial ? v->initial : v->constant;
        if (v->type.kind == HONE_KIND_TENSOR)
            need(m, "", opset_of_type(v->type.dtype));
        if (t && !v->outer)
            *constant_bytes += hone_tensor_bytes(t);
    }
    for (int i = 0; i < g->n_nodes; ++i) {
        const hone_node *n = g->nodes[i];
        need(m, n->domain, n->op ? n->op->since : 1);
        need(m, "", opset_of_quantised(n));
        for (int k = 0; k < n->n_attrs; ++k) {
            const hone_attr *a = &n->attrs[k];
            if (a->kind == HONE_ATTR_GRAPH)
                survey(a->g, m, constant_bytes);
            for (int j = 0; a->kind == HONE_ATTR_GRAPHS && j < a->n; ++j)
                survey(a->graphs[j], m, constant_bytes);
        }
    }
}

/* A node's attributes and types were valid in the model it came from, so the file is in no older
 * opsets than that one. */
static void survey_model(const hone_graph *g, const hone_onnx_facts *facts, imports *m,
                         uint64_t *constant_bytes) {
    *m = (imports){.n = 0};
    *constant_bytes = 0;
    need(m, "", OLDEST_OPSET);
    need(m, "", g->opset);
    survey(g, m, constant_bytes);
    for (int i = 0; facts && i < facts->n_imports; ++i) {
        for (int k = 0; k < m->n; ++k) {
            if (strcmp(m->domain[k], facts->imports[i].domain) == 0)
                need(m, m->domain[k], (int)facts->imports[i].version);
        }
    }
}

static void write_facts(hone_pbw *w, const hone_onnx_facts *facts) {
    if (facts->doc && facts->doc[0])
        hone_pbw_text(w, 6, facts->doc);
    for (int i = 0; i < facts->n_metadata; ++i) {
        hone_pbw_begin(w, 14);
        hone_pbw_text(w, 1, facts->metadata[i].key);
        hone_pbw_text(w, 2, facts->metadata[i].value);
        hone_pbw_end(w);
    }
}

static hone_status write_model(onnx_writer *w, const hone_graph *g, const hone_onnx_facts *facts,
                               const imports *m) {
    hone_pbw *p = &w->w;
    hone_pbw_int(p, 1, ir_of_opset(m->version[0]));
    hone_pbw_text(p, 2, "hone");
    if (facts)
        write_facts(p, facts);
    for (int i = 0; i < m->n; ++i) {
        hone_pbw_begin(p, 8);
        hone_pbw_text(p, 1, m->domain[i]);
        hone_pbw_int(p, 2, m->version[i]);
        hone_pbw_end(p);
    }
    hone_pbw_begin(p, 7);
    HONE_TRY(onnx_name_values(w, g));
    HONE_TRY(onnx_write_graph(w, g));
    hone_pbw_end(p);
    return p->failed ? hone_fail(w->err, HONE_E_NOMEM, "out of memory while writing") : HONE_OK;
}

static void start(onnx_writer *w, hone_error *err) {
    memset(w, 0, sizeof *w);
    hone_pbw_init(&w->w);
    hone_arena_init(&w->arena, 0);
    w->used.arena = w->nodes.arena = w->of_value.arena = &w->arena;
    w->err = err;
}

static void finish(onnx_writer *w) {
    hone_pbw_deinit(&w->w);
    hone_arena_deinit(&w->arena);
}

hone_status hone_onnx_write_to(const hone_graph *g, const hone_onnx_facts *facts,
                               hone_status (*sink)(void *arg, const void *bytes, size_t n),
                               void *arg, hone_error *err) {
    onnx_writer w;
    imports m;
    uint64_t constant_bytes;
    survey_model(g, facts, &m, &constant_bytes);
    start(&w, err);
    hone_status status = write_model(&w, g, facts, &m);
    if (status == HONE_OK)
        status = hone_pbw_emit(&w.w, sink, arg, err);
    finish(&w);
    return status;
}

typedef struct file_sink {
    hone_file_writer file;
    uint64_t n;
    hone_error *err;
} file_sink;

static hone_status put_file(void *arg, const void *bytes, size_t n) {
    file_sink *s = arg;
    s->n += n;
    return hone_file_put(&s->file, bytes, n, s->err);
}

static hone_status pad_to(file_sink *s, uint64_t offset) {
    static const char zeros[4096];
    while (s->n < offset) {
        uint64_t gap = offset - s->n;
        HONE_TRY(put_file(s, zeros, gap < sizeof zeros ? (size_t)gap : sizeof zeros));
    }
    return HONE_OK;
}

static hone_status write_data_file(const onnx_writer *w, const char *path, hone_error *err) {
    file_sink s = {.err = err};
    HONE_TRY(hone_file_begin(&s.file, path, err));
    hone_status status = HONE_OK;
    for (int i = 0; status == HONE_OK && i < w->n_externals; ++i) {
        const hone_tensor *t = w->external[i].tensor;
        status = pad_to(&s, w->external[i].offset);
        if (status == HONE_OK)
            status = put_file(&s, t->data, hone_tensor_bytes(t));
    }
    if (status == HONE_OK)
        return hone_file_commit(&s.file, err);
    hone_file_abort(&s.file);
    return status;
}

static hone_status write_model_file(onnx_writer *w, const char *path, hone_error *err) {
    file_sink s = {.err = err};
    HONE_TRY(hone_file_begin(&s.file, path, err));
    hone_status status = hone_pbw_emit(&w->w, put_file, &s, err);
    if (status == HONE_OK)
        return hone_file_commit(&s.file, err);
    hone_file_abort(&s.file);
    return status;
}

hone_status hone_onnx_write(const hone_graph *g, const hone_onnx_facts *facts, const char *path,
                            hone_error *err) {
    onnx_writer w;
    imports m;
    uint64_t constant_bytes;
    survey_model(g, facts, &m, &constant_bytes);
    start(&w, err);
    const char *data_path = hone_arena_printf(&w.arena, "%s.data", path);
    hone_status status = data_path ? HONE_OK : hone_fail(err, HONE_E_NOMEM, "out of memory");
    if (status == HONE_OK && constant_bytes > EMBEDDED_MAX_BYTES) {
        const char *slash = strrchr(data_path, '/');
        w.location = slash ? slash + 1 : data_path;
    }
    if (status == HONE_OK)
        status = write_model(&w, g, facts, &m);
    if (status == HONE_OK && w.location)
        status = write_data_file(&w, data_path, err);
    if (status == HONE_OK)
        status = write_model_file(&w, path, err);
    finish(&w);
    return status;
}
