/* hone build --explain. */
#include "cli/explain.h"

#include <stdlib.h>
#include <string.h>

#include "backend/cpu/choices.h"
#include "cli/nodes.h"
#include "engine/peak.h"

/* Seconds that the model runs for, and what the alternatives of one problem get. */
#define RUN_SECONDS 0.5
static const hone_timing_budget quick_look = {.max_ms = 30, .min_rounds = 3, .max_rounds = 30};

typedef struct explainer {
    cli_nodes nodes;
    hone_choices *timed; /* problems measured so far */
    int n_timed, cap_timed;
    hone_pool *pool;
    double peak, read; /* the machine's: operations and bytes a second */
    bool is_exact;
    hone_timing_budget budget;
    cli_table *table; /* or */
    cli_json *json;
    cli_progress progress;
    int n_done, n_nodes;
} explainer;

/* ---- measuring --------------------------------------------------------------------------------
 */

static bool remember(explainer *x, const hone_choices *c) {
    if (x->n_timed == x->cap_timed) {
        int cap = x->cap_timed ? 2 * x->cap_timed : 32;
        hone_choices *grown = realloc(x->timed, (size_t)cap * sizeof *grown);
        if (!grown)
            return false;
        x->timed = grown;
        x->cap_timed = cap;
    }
    x->timed[x->n_timed++] = *c;
    return true;
}

/* Equal problems are timed once. */
static void find_choices(explainer *x, const cli_node *seen, hone_choices *c) {
    *c = (hone_choices){.chosen = -1};
    if (!seen || !seen->impl)
        return;
    hone_cpu_choices(seen->node, &seen->x, &seen->y, x->is_exact, c);
    for (int i = 0; i < x->n_timed; ++i) {
        if (c->n > 0 && memcmp(&x->timed[i].p, &c->p, sizeof c->p) == 0 &&
            x->timed[i].chosen == c->chosen) {
            *c = x->timed[i];
            return;
        }
    }
    if (c->n > 0 && hone_cpu_time_choices(c, x->pool, &x->budget))
        (void)remember(x, c);
}

/* ---- one node ---------------------------------------------------------------------------------
 */

/* Why the reference kernel runs; "" when it does not. */
static const char *why_reference(const hone_node *n, const cli_node *seen) {
    if (!n->impl && n->op->flags & HONE_OP_VIEW)
        return "a view of its input: nothing to compute";
    if (!seen)
        return n->impl ? "" : "no optimised kernel for this operator";
    if (seen->impl)
        return "";
    if (!n->impl)
        return "no optimised kernel for this operator";
    if (seen->refusal)
        return seen->refusal;
    return seen->is_planned ? "reference kernels only (level 0)"
                            : "its shapes depend on data and are known only at the run";
}

static const char *kernel_of(const hone_node *n, const cli_node *seen) {
    const hone_impl *impl = seen ? seen->impl : n->impl;
    return impl ? hone_attr_string(n, "kernel_name", impl->name) : "reference";
}

/* "wino4: kernel is not 3x3; ..."; kernels of lower instruction sets go without saying. */
static void describe_choices(const hone_choices *c, char *out, size_t size) {
    size_t at = 0;
    out[0] = '\0';
    for (int i = 0; i < c->n && at < size; ++i) {
        const hone_choice *k = &c->list[i];
        if (i == c->chosen || k->kernel->isa < c->list[c->chosen].kernel->isa)
            continue;
        at += (size_t)snprintf(out + at, size - at, "%s%s: ", at ? "; " : "", k->kernel->name);
        if (at < size && k->refusal)
            at += (size_t)snprintf(out + at, size - at, "%s", k->refusal);
        else if (at < size && k->min_ms > 0)
            at += (size_t)snprintf(out + at, size - at, "%.3f ms, this one %.3f ms alone",
                                   k->min_ms, c->list[c->chosen].min_ms);
        else if (at < size)
            at += (size_t)snprintf(out + at, size - at, "not measured");
    }
}

static void describe_alternatives(const explainer *x, const hone_node *n, const cli_node *seen,
                                  const hone_choices *c, char *out, size_t size) {
    const char *why = why_reference(n, seen);
    if (c->n > 0 && c->chosen >= 0)
        describe_choices(c, out, size);
    else if (n->impl && why[0])
        snprintf(out, size, "%s: %s", n->impl->name, why);
    else if (!seen)
        snprintf(out, size, "%s",
                 x->nodes.n_runs ? "computed while planning, or not reached" : "not run");
    else
        snprintf(out, size, "%s", why);
}

static double gflops(const cli_node *seen) {
    return seen && seen->ns > 0 ? 2.0 * (double)seen->macs / (double)seen->ns : 0;
}

static void put_row(explainer *x, const hone_node *n, const char *name, const char *type, int depth,
                    const cli_node *seen, const hone_choices *c) {
    char text[400];
    cli_table *t = x->table;
    bool has_time = seen && seen->ns != INT64_MAX, has_macs = has_time && seen->macs > 0;
    describe_alternatives(x, n, seen, c, text, sizeof text);
    cli_cell(t, "%*s%s", 2 * depth, "", cli_name(name));
    cli_cell(t, "%s", n->op_name);
    cli_cell(t, "%s", kernel_of(n, seen));
    cli_cell(t, has_time ? "%.4f" : "", has_time ? (double)seen->ns * 1e-6 : 0.0);
    cli_cell(t, has_macs ? "%.1f" : "", gflops(seen));
    cli_cell(t, has_macs && x->peak > 0 ? "%.0f %%" : "", gflops(seen) / x->peak * 1e11);
    cli_cell(t, has_time && seen->ns > 0 ? "%.1f" : "",
             has_time ? (double)seen->bytes / (double)seen->ns : 0.0);
    cli_cell(t, "%s", type);
    cli_cell(t, "%s", text);
}

static void put_alternatives(cli_json *j, const hone_node *n, const cli_node *seen,
                             const hone_choices *c) {
    cli_json_open(j, "alternatives", '[');
    for (int i = 0; i < c->n; ++i) {
        const hone_choice *k = &c->list[i];
        if (i == c->chosen)
            continue;
        cli_json_open(j, NULL, '{');
        cli_json_text(j, "kernel", k->kernel->name);
        cli_json_text(j, "refused", k->refusal ? k->refusal : "not chosen");
        if (k->min_ms > 0)
            cli_json_number(j, "alone_ms", k->min_ms);
        cli_json_close(j, '}');
    }
    if (n->impl && seen && !seen->impl) {
        cli_json_open(j, NULL, '{');
        cli_json_text(j, "kernel", n->impl->name);
        cli_json_text(j, "refused", why_reference(n, seen));
        cli_json_close(j, '}');
    }
    cli_json_close(j, ']');
}

static void put_json(explainer *x, const hone_node *n, const char *name, const char *type,
                     int depth, const cli_node *seen, const hone_choices *c) {
    cli_json *j = x->json;
    cli_json_open(j, NULL, '{');
    cli_json_text(j, "node", name);
    cli_json_text(j, "op", n->op_name);
    cli_json_text(j, "kernel", kernel_of(n, seen));
    cli_json_text(j, "output", type);
    cli_json_text(j, "origin", n->origin);
    cli_json_int(j, "depth", depth);
    cli_json_bool(j, "is_run", seen != NULL);
    if (seen && seen->ns != INT64_MAX) {
        cli_json_number(j, "ms", (double)seen->ns * 1e-6);
        cli_json_int(j, "macs", seen->macs);
        cli_json_int(j, "bytes", seen->bytes);
        cli_json_number(j, "gflops", gflops(seen));
        if (x->peak > 0)
            cli_json_number(j, "of_peak", gflops(seen) * 1e9 / x->peak);
    }
    if (c->n > 0 && c->chosen >= 0 && c->list[c->chosen].min_ms > 0)
        cli_json_number(j, "alone_ms", c->list[c->chosen].min_ms);
    if (why_reference(n, seen)[0])
        cli_json_text(j, "why_reference", why_reference(n, seen));
    put_alternatives(j, n, seen, c);
    cli_json_close(j, '}');
}

/* ---- all nodes --------------------------------------------------------------------------------
 */

static void explain_graph(explainer *x, const hone_graph *g, int depth) {
    for (int i = 0; i < g->n_nodes; ++i) {
        const hone_node *n = g->nodes[i];
        char type[160] = "";
        const char *name = n->name[0] || !n->n_out || !n->out[0] ? n->name : n->out[0]->name;
        const cli_node *seen = cli_nodes_find(&x->nodes, n);
        hone_choices c;
        cli_progress_show(&x->progress, (double)++x->n_done / x->n_nodes, "timing alternatives");
        find_choices(x, seen, &c);
        if (n->n_out > 0 && n->out[0])
            hone_type_describe(g, &n->out[0]->type, type, sizeof type);
        if (x->json)
            put_json(x, n, name, type, depth, seen, &c);
        else
            put_row(x, n, name, type, depth, seen, &c);
        for (int k = 0; k < n->n_attrs; ++k) {
            if (n->attrs[k].kind == HONE_ATTR_GRAPH)
                explain_graph(x, n->attrs[k].g, depth + 1);
        }
    }
}

static int count_nodes(const hone_graph *g) {
    int n = g->n_nodes;
    for (int i = 0; i < g->n_nodes; ++i) {
        for (int k = 0; k < g->nodes[i]->n_attrs; ++k) {
            if (g->nodes[i]->attrs[k].kind == HONE_ATTR_GRAPH)
                n += count_nodes(g->nodes[i]->attrs[k].g);
        }
    }
    return n;
}

/* Without a run there are no times, but the choices can be told all the same. */
static void watch_run(explainer *x, cli_subject *s, const cli_args *args) {
    hone_error err = {.offset = -1};
    hone_status status = cli_subject_make_inputs(s, args, &err);
    if (status == HONE_OK)
        status = cli_nodes_record(s, RUN_SECONDS, &x->nodes, &err);
    if (status != HONE_OK)
        cli_note("no times: the model does not run on made-up inputs: %s", err.message);
}

static void print_text(explainer *x, const hone_graph *g, int n_threads) {
    x->table =
        cli_table_create("node|operator|kernel|>ms|>GFLOP/s|>of peak|>GB/s|output|alternatives");
    explain_graph(x, g, 0);
    cli_progress_end(&x->progress);
    cli_table_print(x->table, stdout);
    if (x->nodes.n_runs > 0)
        printf("\ntimes are the least of %d runs with %d threads\n", (int)x->nodes.n_runs,
               n_threads);
    printf("peak %.1f GFLOP/s, reading memory %.1f GB/s\n", x->peak * 1e-9, x->read * 1e-9);
}

static void print_json(explainer *x, const hone_graph *g) {
    cli_json *j = x->json;
    cli_json_number(j, "peak_gflops", x->peak * 1e-9);
    cli_json_number(j, "peak_read_gb_per_s", x->read * 1e-9);
    cli_json_open(j, "explain", '[');
    explain_graph(x, g, 0);
    cli_json_close(j, ']');
    cli_progress_end(&x->progress);
}

hone_status cli_explain(cli_subject *s, const cli_args *args, cli_json *j, hone_error *err) {
    const hone_graph *g = s->engine->graph;
    int n_threads = hone_session_threads(s->session);
    explainer x = {
        .is_exact = args->exact, .json = j, .n_nodes = count_nodes(g) + 1, .budget = quick_look};
    x.budget.is_cold = cli_is_cold(s);
    HONE_TRY(hone_pool_create(n_threads, &x.pool, err));
    watch_run(&x, s, args);
    x.peak = hone_peak_flops(x.pool);
    x.read = hone_peak_read(x.pool);
    cli_progress_start(&x.progress);
    if (j)
        print_json(&x, g);
    else
        print_text(&x, g, n_threads);
    cli_nodes_free(&x.nodes);
    free(x.timed);
    hone_pool_destroy(x.pool);
    return HONE_OK;
}
