/* Any bytes as an engine file: loading, and a run on zeros of what was loaded, must fail or succeed,
 * nothing else. The checksum of the graph section is made right first, so that what lies behind it
 * is reached. Memory and steps are bounded. */
#include <stdlib.h>
#include <string.h>

#include "base/inflate.h"
#include "engine/format.h"
#include "engine/internal.h"
#include "ops/cost.h"

enum { MAX_RAM_BYTES = 4 << 20, MAX_STEPS = 200, MAX_INPUTS = 8 };
#define MAX_MACS 2e7

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fix_checksum(uint8_t *bytes, size_t size) {
    hone_engine_header h;
    if (size < sizeof h)
        return;
    memcpy(&h, bytes, sizeof h);
    if (h.graph_offset > size || h.graph_bytes > size - h.graph_offset)
        return;
    h.graph_crc = hone_crc32(0, bytes + h.graph_offset, (size_t)h.graph_bytes);
    memcpy(bytes, &h, sizeof h);
}

static bool is_cheap(const hone_graph *g) {
    double total = 0;
    for (int i = 0; i < g->n_nodes; ++i) {
        int64_t macs = hone_node_macs(g->nodes[i], NULL);
        total += macs > 0 ? (double)macs : 0;
    }
    return total < MAX_MACS;
}

/* Zeros for input i, open dims being 1. */
static bool set_zeros(hone_session *s, const hone_engine *e, int i, hone_alloc *a, hone_tensor *t) {
    const hone_type *type = &e->graph->inputs[i]->type;
    hone_error err;
    if (type->kind != HONE_KIND_TENSOR || type->rank < 0)
        return false;
    *t = (hone_tensor){.kind = type->kind, .dtype = type->dtype, .rank = type->rank};
    for (int d = 0; d < t->rank; ++d)
        t->dims[d] = type->dims[d] < 0 ? 1 : type->dims[d];
    if (hone_tensor_alloc(a, t, &err) != HONE_OK)
        return false;
    if (t->dtype != HONE_DTYPE_STRING && hone_tensor_bytes(t))
        memset(t->data, 0, hone_tensor_bytes(t));
    return hone_session_set_input(s, i, t, &err) == HONE_OK;
}

static void run(hone_engine *e) {
    hone_session *s;
    hone_error err;
    hone_tensor in[MAX_INPUTS] = {{.kind = HONE_KIND_NONE}};
    int64_t steps = MAX_STEPS;
    int n = e->graph->n_inputs;
    e->max_ram_bytes = MAX_RAM_BYTES;
    if (n > MAX_INPUTS || !is_cheap(e->graph) || hone_session_create(e, 1, &s, &err) != HONE_OK)
        return;
    hone_session_set_budget(s, &steps);
    hone_alloc *a = hone_alloc_create(MAX_RAM_BYTES);
    bool ok = a != NULL;
    for (int i = 0; ok && i < n; ++i)
        ok = set_zeros(s, e, i, a, &in[i]);
    if (ok && hone_session_run(s, &err) == HONE_OK)
        steps += hone_session_run(s, &err) == HONE_OK; /* on the first one's plan */
    hone_session_destroy(s);
    for (int i = 0; i < n; ++i)
        hone_tensor_release(&in[i]);
    hone_alloc_destroy(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hone_engine *engine = NULL;
    hone_error err;
    /* Engine files are mapped: their bytes are aligned to pages. */
    uint8_t *bytes = aligned_alloc(64, (size + 127) / 64 * 64);
    if (!bytes)
        return 0;
    if (size)
        memcpy(bytes, data, size);
    fix_checksum(bytes, size);
    if (hone_engine_parse(bytes, size, &engine, &err) == HONE_OK) {
        run(engine);
        hone_engine_destroy(engine);
    }
    free(bytes);
    return 0;
}
