/* The ordered list of passes, and running it to a fixed point. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ir/infer.h"
#include "ir/weights.h"
#include "passes/pass.h"

#define PASS(name, what)                                                                           \
    hone_status hone_pass_##name(hone_graph *g, int *n_changes, hone_error *err);
#include "passes/passes.def"
#undef PASS

static const hone_pass passes[] = {
#define PASS(name, what) {#name, what, hone_pass_##name},
#include "passes/passes.def"
#undef PASS
};

enum { MAX_ROUNDS = 8 };

const hone_pass *hone_pass_list(int *n) {
    *n = (int)(sizeof passes / sizeof passes[0]);
    return passes;
}

static bool is_listed(const char *list, const char *name) {
    size_t len = strlen(name);
    for (const char *at = list; at && *at;) {
        size_t n = strcspn(at, ",");
        if (n == len && memcmp(at, name, len) == 0)
            return true;
        at += n + (at[n] == ',');
    }
    return false;
}

static hone_status check_names(const char *list, hone_error *err) {
    for (const char *at = list; at && *at;) {
        size_t n = strcspn(at, ",");
        bool is_known = n == 0;
        for (size_t i = 0; i < sizeof passes / sizeof passes[0]; ++i)
            is_known |= strlen(passes[i].name) == n && memcmp(passes[i].name, at, n) == 0;
        if (!is_known)
            return hone_fail(err, HONE_E_ARGUMENT,
                             "no pass is called '%.*s'; 'hone optimize --list-passes' names them",
                             (int)n, at);
        at += n + (at[n] == ',');
    }
    return HONE_OK;
}

static int count_nodes(const hone_graph *g) {
    int total = g->n_nodes;
    for (int i = 0; i < g->n_nodes; ++i) {
        for (int k = 0; k < g->nodes[i]->n_attrs; ++k) {
            const hone_attr *a = &g->nodes[i]->attrs[k];
            if (a->kind == HONE_ATTR_GRAPH)
                total += count_nodes(a->g);
        }
    }
    return total;
}

/* Inner graphs first, so that what becomes constant there is seen outside. */
static hone_status run_pass(const hone_pass *pass, hone_graph *g, int *n_changes, hone_error *err) {
    for (int i = 0; i < g->n_nodes; ++i) {
        for (int k = 0; k < g->nodes[i]->n_attrs; ++k) {
            const hone_attr *a = &g->nodes[i]->attrs[k];
            if (a->kind == HONE_ATTR_GRAPH)
                HONE_TRY(run_pass(pass, a->g, n_changes, err));
        }
    }
    return pass->run(g, n_changes, err);
}

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static hone_status apply(const hone_pass *pass, hone_graph *g, const hone_pass_options *options,
                         int *n_changes, hone_error *err) {
    hone_pass_record record = {.name = pass->name, .n_nodes_before = count_nodes(g)};
    double start = now_ms();
    HONE_TRY(run_pass(pass, g, &record.n_changes, err));
    if (record.n_changes == 0)
        return HONE_OK;
    if (hone_graph_index(g) != HONE_OK)
        return hone_fail(err, HONE_E_NOMEM, "no memory to index the graph");
#ifndef NDEBUG
    HONE_TRY(hone_graph_verify(g, err));
#endif
    HONE_TRY(hone_graph_infer(g, err));
    hone_graph_sweep(g);
    record.ms = now_ms() - start;
    record.n_nodes_after = count_nodes(g);
    if (options->report)
        options->report(options->report_arg, &record);
    *n_changes += record.n_changes;
    return HONE_OK;
}

hone_status hone_passes_run(hone_graph *g, const hone_pass_options *options, hone_error *err) {
    int n_applied = 0;
    HONE_TRY(check_names(options->only, err));
    for (int round = 0; round < MAX_ROUNDS; ++round) {
        int n_changes = 0;
        for (size_t i = 0; i < sizeof passes / sizeof passes[0]; ++i) {
            if (options->only && !is_listed(options->only, passes[i].name))
                continue;
            if (options->stop_at >= 0 && n_applied >= options->stop_at)
                return HONE_OK;
            ++n_applied;
            HONE_TRY(apply(&passes[i], g, options, &n_changes, err));
        }
        if (n_changes == 0)
            break;
    }
    return HONE_OK;
}
