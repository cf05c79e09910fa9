/* Engine -> file. The graph section is built in memory (it is small); constants are written
 * straight from where they lie. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/inflate.h"
#include "engine/format.h"
#include "engine/internal.h"

typedef struct blob {
    const void *data;
    size_t bytes;
    uint64_t offset;
    bool is_table; /* a run reads a few rows of it */
} blob;

typedef struct saver {
    unsigned char *buffer; /* the graph section */
    size_t n, cap;
    bool is_out_of_memory;
    blob *blobs;
    int n_blobs, cap_blobs;
    uint64_t data_bytes;
    hone_error *err;
} saver;

/* ---- primitives -------------------------------------------------------------------------------
 */

static void put(saver *s, const void *data, size_t n) {
    if (s->n + n > s->cap && !s->is_out_of_memory) {
        size_t cap = (s->n + n) * 2;
        unsigned char *larger = realloc(s->buffer, cap);
        if (larger) {
            s->buffer = larger;
            s->cap = cap;
        } else {
            s->is_out_of_memory = true;
        }
    }
    if (s->is_out_of_memory)
        return;
    if (n)
        memcpy(s->buffer + s->n, data, n);
    s->n += n;
}

static void put_i64(saver *s, int64_t v) {
    put(s, &v, sizeof v);
}

static void put_bytes(saver *s, const char *data, size_t n) {
    put_i64(s, (int64_t)n);
    put(s, data, n);
}

static void put_string(saver *s, const char *text) {
    put_bytes(s, text, strlen(text));
}

/* ---- constants --------------------------------------------------------------------------------
 */

static uint64_t add_blob(saver *s, const void *data, size_t bytes) {
    for (int i = 0; i < s->n_blobs; ++i) {
        if (s->blobs[i].data == data && s->blobs[i].bytes == bytes)
            return s->blobs[i].offset;
    }
    if (s->n_blobs == s->cap_blobs) {
        int cap = s->cap_blobs ? s->cap_blobs * 2 : 64;
        blob *larger = realloc(s->blobs, (size_t)cap * sizeof *larger);
        if (!larger) {
            s->is_out_of_memory = true;
            return 0;
        }
        s->blobs = larger;
        s->cap_blobs = cap;
    }
    uint64_t offset = s->data_bytes;
    s->blobs[s->n_blobs++] = (blob){data, bytes, offset, false};
    s->data_bytes += (bytes + HONE_ENGINE_ALIGN - 1) / HONE_ENGINE_ALIGN * HONE_ENGINE_ALIGN;
    return offset;
}

static void put_tensor(saver *s, const hone_tensor *t) {
    put_i64(s, t->dtype);
    put_i64(s, t->rank);
    for (int i = 0; i < t->rank; ++i)
        put_i64(s, t->dims[i]);
    if (t->dtype == HONE_DTYPE_STRING) {
        const hone_string *strings = t->data;
        for (int64_t i = 0, n = hone_tensor_count(t); i < n; ++i)
            put_bytes(s, strings[i].data, strings[i].len);
        return;
    }
    size_t bytes = hone_tensor_bytes(t);
    put_i64(s, bytes ? (int64_t)add_blob(s, t->data, bytes) : 0);
}

/* ---- the graph --------------------------------------------------------------------------------
 */

static void put_graph(saver *s, const hone_graph *g);

static void put_type(saver *s, const hone_type *t) {
    put_i64(s, t->kind);
    put_i64(s, t->optional);
    put_i64(s, t->dtype);
    put_i64(s, t->rank);
    for (int i = 0; i < t->rank; ++i)
        put_i64(s, t->dims[i]);
    put_i64(s, t->elem != NULL);
    if (t->elem)
        put_type(s, t->elem);
}

static void put_value(saver *s, const hone_value *v) {
    put_string(s, v->name);
    put_type(s, &v->type);
    put_i64(s, (v->constant ? 1 : 0) | (v->initial ? 2 : 0));
    put_i64(s, v->next);
    put_i64(s, v->outer ? v->outer->id : -1);
    if (v->constant)
        put_tensor(s, v->constant);
    if (v->initial)
        put_tensor(s, v->initial);
}

static void put_list(saver *s, hone_value *const *list, int n) {
    put_i64(s, n);
    for (int i = 0; i < n; ++i)
        put_i64(s, list[i] ? list[i]->id : -1);
}

static void put_attr(saver *s, const hone_attr *a) {
    put_string(s, a->name);
    put_i64(s, a->kind);
    put_i64(s, a->n);
    for (int i = 0; i < a->n; ++i) {
        switch (a->kind) {
        case HONE_ATTR_FLOAT:
            put(s, &a->f, sizeof a->f);
            break;
        case HONE_ATTR_FLOATS:
            put(s, &a->floats[i], sizeof *a->floats);
            break;
        case HONE_ATTR_INT:
            put_i64(s, a->i);
            break;
        case HONE_ATTR_INTS:
            put_i64(s, a->ints[i]);
            break;
        case HONE_ATTR_STRING:
            put_bytes(s, a->s.data, a->s.len);
            break;
        case HONE_ATTR_STRINGS:
            put_bytes(s, a->strings[i].data, a->strings[i].len);
            break;
        case HONE_ATTR_TENSOR:
            put_tensor(s, a->t);
            break;
        case HONE_ATTR_TENSORS:
            put_tensor(s, a->tensors[i]);
            break;
        case HONE_ATTR_GRAPH:
            put_graph(s, a->g);
            break;
        case HONE_ATTR_GRAPHS:
            put_graph(s, a->graphs[i]);
            break;
        case HONE_ATTR_TYPE:
            put_type(s, a->type);
            break;
        }
    }
}

/* A constant that a Gather reads has been put already. */
static void mark_table(saver *s, const hone_node *n) {
    const hone_tensor *table = n->n_in > 0 && n->in[0] ? n->in[0]->constant : NULL;
    if (!table || n->domain[0] || strcmp(n->op_name, "Gather") != 0)
        return;
    for (int i = 0; i < s->n_blobs; ++i)
        s->blobs[i].is_table |= s->blobs[i].data == table->data;
}

static void put_node(saver *s, const hone_node *n) {
    mark_table(s, n);
    put_string(s, n->domain);
    put_string(s, n->op_name);
    put_string(s, n->name);
    put_string(s, n->origin ? n->origin : "");
    put_string(s, n->impl ? n->impl->name : "");
    put_list(s, n->in, n->n_in);
    put_list(s, n->out, n->n_out);
    put_i64(s, n->n_attrs);
    for (int i = 0; i < n->n_attrs; ++i)
        put_attr(s, &n->attrs[i]);
}

static void put_graph(saver *s, const hone_graph *g) {
    put_string(s, g->name);
    put_i64(s, g->opset);
    put_i64(s, g->n_values);
    for (int i = 0; i < g->n_values; ++i)
        put_value(s, g->values[i]);
    put_list(s, g->inputs, g->n_inputs);
    put_list(s, g->outputs, g->n_outputs);
    put_i64(s, g->n_nodes);
    for (int i = 0; i < g->n_nodes; ++i)
        put_node(s, g->nodes[i]);
}

static void put_layout(saver *s, const hone_mem_layout *layout) {
    put_i64(s, (int64_t)layout->total_bytes);
    put_i64(s, layout->n);
    for (int i = 0; i < layout->n; ++i) {
        const hone_mem_block *b = &layout->blocks[i];
        put_i64(s, (int64_t)b->bytes);
        put_i64(s, b->first);
        put_i64(s, b->last);
        put_i64(s, (int64_t)b->offset);
    }
}

static void put_engine(saver *s, const hone_engine *e) {
    put_i64(s, e->is_reference);
    put_i64(s, (int64_t)e->max_ram_bytes);
    put_string(s, hone_isa_name(e->isa));
    put_i64(s, e->n_threads);
    put_i64(s, e->graph->symbols->n);
    for (int i = 0; i < e->graph->symbols->n; ++i)
        put_string(s, e->graph->symbols->name[i]);
    put_graph(s, e->graph);
    put_i64(s, e->n_shapes);
    for (int i = 0; i < e->n_shapes; ++i) {
        const hone_shape_range *r = &e->shapes[i];
        put_string(s, r->input);
        put_i64(s, r->rank);
        for (int d = 0; d < r->rank; ++d) {
            put_i64(s, r->min[d]);
            put_i64(s, r->opt[d]);
            put_i64(s, r->max[d]);
        }
    }
    put_layout(s, &e->layout);
}

/* ---- the file ---------------------------------------------------------------------------------
 */

static const unsigned char zeros[HONE_ENGINE_ALIGN];

static size_t padding(size_t n) {
    return (HONE_ENGINE_ALIGN - n % HONE_ENGINE_ALIGN) % HONE_ENGINE_ALIGN;
}

static uint32_t data_crc(const saver *s) {
    uint32_t crc = 0;
    for (int i = 0; i < s->n_blobs; ++i) {
        crc = hone_crc32(crc, s->blobs[i].data, s->blobs[i].bytes);
        crc = hone_crc32(crc, zeros, padding(s->blobs[i].bytes));
    }
    return crc;
}

/* Linux keeps what one write brings in one large folio of its page cache, and maps folios whole: a
 * row of a table that is written in small pieces does not bring megabytes of others into memory.
 * Weights are read whole, so the larger the better: fewer page faults before the first result. */
static hone_status write_blob(const blob *b, hone_file_writer *w, hone_error *err) {
    enum { PIECE = 1 << 15 };
    const unsigned char *data = b->data;
    size_t step = b->is_table ? PIECE : b->bytes;
    for (size_t at = 0; at < b->bytes; at += step)
        HONE_TRY(hone_file_put(w, data + at, b->bytes - at < step ? b->bytes - at : step, err));
    return hone_file_put(w, zeros, padding(b->bytes), err);
}

static hone_status write_sections(const saver *s, hone_file_writer *w) {
    hone_engine_header h = {
        .version = HONE_ENGINE_VERSION,
        .byte_order = 0x01020304,
        .graph_offset = sizeof h,
        .graph_bytes = s->n,
        .data_offset = sizeof h + s->n + padding(s->n),
        .data_bytes = s->data_bytes,
        .graph_crc = hone_crc32(0, s->buffer, s->n),
        .data_crc = data_crc(s),
    };
    memcpy(h.magic, HONE_ENGINE_MAGIC, sizeof h.magic);
    HONE_TRY(hone_file_put(w, &h, sizeof h, s->err));
    HONE_TRY(hone_file_put(w, s->buffer, s->n, s->err));
    HONE_TRY(hone_file_put(w, zeros, padding(s->n), s->err));
    for (int i = 0; i < s->n_blobs; ++i)
        HONE_TRY(write_blob(&s->blobs[i], w, s->err));
    return HONE_OK;
}

hone_status hone_engine_save(const hone_engine *e, const char *path, hone_error *err) {
    saver s = {.err = err};
    put_engine(&s, e);
    hone_status status = s.is_out_of_memory
                             ? hone_fail(err, HONE_E_NOMEM, "no memory to write the engine")
                             : HONE_OK;
    hone_file_writer w;
    if (status == HONE_OK && (status = hone_file_begin(&w, path, err)) == HONE_OK) {
        status = write_sections(&s, &w);
        if (status == HONE_OK)
            status = hone_file_commit(&w, err);
        else
            hone_file_abort(&w);
    }
    free(s.buffer);
    free(s.blobs);
    return status;
}
