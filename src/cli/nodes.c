#include "cli/nodes.h"

#include <stdlib.h>
#include <string.h>

#include "ops/cost.h"

enum { MAX_DEPTH = sizeof((cli_nodes *)0)->inner_ns / sizeof(int64_t) - 1 };

/* First entry that is not below the node's address. */
static int lower_bound(const cli_nodes *nodes, const hone_node *node) {
    int low = 0, high = nodes->n;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if ((uintptr_t)nodes->list[middle].node < (uintptr_t)node)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const cli_node *cli_nodes_find(const cli_nodes *nodes, const hone_node *node) {
    int at = lower_bound(nodes, node);
    return at < nodes->n && nodes->list[at].node == node ? &nodes->list[at] : NULL;
}

static cli_node *find_or_add(cli_nodes *nodes, const hone_node *node) {
    int at = lower_bound(nodes, node);
    if (at < nodes->n && nodes->list[at].node == node)
        return &nodes->list[at];
    if (nodes->n == nodes->cap) {
        int cap = nodes->cap ? 2 * nodes->cap : 256;
        cli_node *grown = realloc(nodes->list, (size_t)cap * sizeof *grown);
        if (!grown)
            return NULL;
        nodes->list = grown;
        nodes->cap = cap;
    }
    memmove(nodes->list + at + 1, nodes->list + at, (size_t)(nodes->n - at) * sizeof *nodes->list);
    ++nodes->n;
    nodes->list[at] = (cli_node){.node = node, .ns = INT64_MAX};
    return &nodes->list[at];
}

static hone_type type_in(const hone_frame *frame, const hone_value *v) {
    const hone_tensor *t = v ? hone_frame_value(frame, v->id) : NULL;
    return t && t->kind == HONE_KIND_TENSOR ? hone_type_of(t) : (hone_type){.rank = -1};
}

static int64_t touched_bytes(const hone_node *n, const hone_frame *frame) {
    int64_t total = 0;
    for (int i = 0; i < n->n_in + n->n_out; ++i) {
        const hone_value *v = i < n->n_in ? n->in[i] : n->out[i - n->n_in];
        const hone_tensor *t = v ? hone_frame_value(frame, v->id) : NULL;
        if (t && t->kind == HONE_KIND_TENSOR)
            total += (int64_t)hone_tensor_bytes(t);
    }
    return total;
}

static void on_step(void *arg, const hone_plan *plan, const hone_step *step, int depth,
                    int64_t start_ns, int64_t end_ns, const hone_frame *frame) {
    cli_nodes *nodes = arg;
    const hone_node *n = step->node;
    cli_node *r = find_or_add(nodes, n);
    if (!r) {
        nodes->has_failed = true;
        return;
    }
    depth = depth < MAX_DEPTH ? depth : MAX_DEPTH - 1;
    int64_t macs = hone_node_macs(n, plan->types);
    r->impl = step->impl;
    r->refusal = step->refusal;
    r->is_planned = step->is_planned;
    r->x = type_in(frame, n->n_in > 0 ? n->in[0] : NULL);
    r->y = type_in(frame, n->n_out > 0 ? n->out[0] : NULL);
    if (r->run_ns == 0)
        r->macs = r->bytes = 0;
    r->macs += macs > 0 ? macs : 0;
    r->bytes += touched_bytes(n, frame);
    r->run_ns += end_ns - start_ns - nodes->inner_ns[depth + 1];
    nodes->inner_ns[depth + 1] = 0;
    nodes->inner_ns[depth] += end_ns - start_ns;
}

static hone_status run_once(cli_subject *s, cli_nodes *nodes, hone_error *err) {
    memset(nodes->inner_ns, 0, sizeof nodes->inner_ns);
    for (int i = 0; i < nodes->n; ++i)
        nodes->list[i].run_ns = 0;
    HONE_TRY(hone_session_run(s->session, err));
    for (int i = 0; i < nodes->n; ++i) {
        cli_node *r = &nodes->list[i];
        if (r->run_ns > 0 && r->run_ns < r->ns)
            r->ns = r->run_ns;
    }
    ++nodes->n_runs;
    return HONE_OK;
}

hone_status cli_nodes_record(cli_subject *s, double seconds, cli_nodes *out, hone_error *err) {
    enum { RUNS_AT_LEAST = 2 };
    cli_progress progress;
    *out = (cli_nodes){.n = 0};
    HONE_TRY(hone_session_run(s->session, err)); /* plan, and warm the caches */
    hone_session_set_hook(s->session, on_step, out);
    cli_progress_start(&progress);
    int64_t start = cli_now_ns();
    hone_status status = HONE_OK;
    for (double passed = 0; status == HONE_OK && (passed < seconds || out->n_runs < RUNS_AT_LEAST);
         passed = (double)(cli_now_ns() - start) * 1e-9) {
        status = run_once(s, out, err);
        cli_progress_show(&progress, passed < seconds ? passed / seconds : 1, "running");
    }
    cli_progress_end(&progress);
    hone_session_set_hook(s->session, NULL, NULL);
    if (status == HONE_OK && out->has_failed)
        status = hone_fail(err, HONE_E_NOMEM, "no memory to watch the nodes");
    return status;
}

static double weight_bytes(const hone_graph *g) {
    double total = 0;
    for (int i = 0; i < g->n_values; ++i) {
        const hone_tensor *t = g->values[i]->constant;
        total += t && t->kind == HONE_KIND_TENSOR ? (double)hone_tensor_bytes(t) : 0;
    }
    return total;
}

bool cli_is_cold(const cli_subject *s) {
    return weight_bytes(s->engine->graph) > (double)hone_cpu_l3_bytes();
}

void cli_nodes_free(cli_nodes *nodes) {
    free(nodes->list);
    *nodes = (cli_nodes){.n = 0};
}
