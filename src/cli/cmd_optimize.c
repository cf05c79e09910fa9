/* hone optimize: passes over the canonical graph, written as ONNX, verified. */
#include <stdlib.h>
#include <string.h>

#include "cli/options_def.h"
#include "cli/verify.h"
#include "engine/profile.h"
#include "onnx/writer.h"
#include "passes/pass.h"

static int list_passes(bool json) {
    int n;
    const hone_pass *passes = hone_pass_list(&n);
    if (json) {
        cli_json j = {.to = stdout};
        cli_json_open(&j, NULL, '[');
        for (int i = 0; i < n; ++i) {
            cli_json_open(&j, NULL, '{');
            cli_json_text(&j, "name", passes[i].name);
            cli_json_text(&j, "what", passes[i].what);
            cli_json_close(&j, '}');
        }
        cli_json_close(&j, ']');
        return CLI_DONE;
    }
    cli_table *t = cli_table_create("pass|what it does");
    for (int i = 0; i < n; ++i) {
        cli_cell(t, "%s", passes[i].name);
        cli_cell(t, "%s", passes[i].what);
    }
    cli_table_print(t, stdout);
    return CLI_DONE;
}

/* ---- what the passes did ----------------------------------------------------------------------
 */

typedef struct log {
    hone_pass_record *record;
    int n, cap;
} log_list;

static void keep_record(void *arg, const hone_pass_record *record) {
    log_list *log = arg;
    if (log->n == log->cap) {
        int cap = log->cap ? 2 * log->cap : 32;
        hone_pass_record *grown = realloc(log->record, (size_t)cap * sizeof *grown);
        if (!grown)
            return; /* the report lacks a line; the work is not hindered */
        log->record = grown;
        log->cap = cap;
    }
    log->record[log->n++] = *record;
}

static void print_log(const log_list *log) {
    cli_table *t = cli_table_create("pass|>changes|>nodes before|>nodes after|>ms");
    for (int i = 0; i < log->n; ++i) {
        const hone_pass_record *r = &log->record[i];
        cli_cell(t, "%s", r->name);
        cli_cell(t, "%d", r->n_changes);
        cli_cell(t, "%d", r->n_nodes_before);
        cli_cell(t, "%d", r->n_nodes_after);
        cli_cell(t, "%.1f", r->ms);
    }
    cli_table_print(t, stdout);
}

static void print_log_json(cli_json *j, const log_list *log) {
    cli_json_open(j, "passes", '[');
    for (int i = 0; i < log->n; ++i) {
        const hone_pass_record *r = &log->record[i];
        cli_json_open(j, NULL, '{');
        cli_json_text(j, "name", r->name);
        cli_json_int(j, "changes", r->n_changes);
        cli_json_int(j, "nodes_before", r->n_nodes_before);
        cli_json_int(j, "nodes_after", r->n_nodes_after);
        cli_json_number(j, "ms", r->ms);
        cli_json_close(j, '}');
    }
    cli_json_close(j, ']');
}

/* ---- verification -----------------------------------------------------------------------------
 */

typedef struct buffer {
    uint8_t *bytes;
    size_t n, cap;
} buffer;

static hone_status append(void *arg, const void *bytes, size_t n) {
    buffer *b = arg;
    if (n > b->cap - b->n) {
        size_t cap = 2 * b->cap > b->n + n ? 2 * b->cap : b->n + n;
        uint8_t *grown = realloc(b->bytes, cap);
        if (!grown)
            return HONE_E_NOMEM;
        b->bytes = grown;
        b->cap = cap;
    }
    if (n)
        memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
    return HONE_OK;
}

/* The bytes that will be written are read again and run beside the original, both with the
 * reference kernels. */
static hone_status verify(const cli_args *args, const hone_model *model, const hone_graph *g,
                          cli_comparison *c, hone_error *err) {
    buffer bytes = {0};
    hone_model *after = NULL;
    cli_pair pair = {.before = model,
                     .path_before = args->files.item[0],
                     .path_after = args->output,
                     .what = "optimised",
                     .cure = "--stop-at N finds the pass",
                     .shapes_after = args->shapes,
                     .rules = {.rtol = args->rtol, .atol = args->atol}};
    hone_status status = hone_onnx_write_to(g, &model->facts, append, &bytes, err);
    if (status == HONE_OK)
        status = hone_model_parse(bytes.bytes, bytes.n, NULL, &after, err);
    pair.after = after;
    if (status == HONE_OK)
        status = cli_verify(args, &pair, c, err);
    hone_model_destroy(after);
    free(bytes.bytes);
    return status;
}

/* ---- the verb ---------------------------------------------------------------------------------
 */

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

static void print_result(const cli_args *args, const log_list *log, int before, int after,
                         const cli_comparison *c) {
    bool verified = !args->no_verify;
    if (args->json) {
        cli_json j = {.to = stdout};
        cli_json_open(&j, NULL, '{');
        cli_json_text(&j, "output", args->output);
        cli_json_int(&j, "nodes_before", before);
        cli_json_int(&j, "nodes_after", after);
        print_log_json(&j, log);
        cli_json_bool(&j, "verified", verified);
        if (verified) {
            cli_json_int(&j, "tensors_compared", c->n_compared);
            cli_json_number(&j, "outputs_max_abs", cli_worst_output(c));
        }
        cli_json_close(&j, '}');
        return;
    }
    if (log->n)
        print_log(log);
    else
        printf("no pass changed anything\n");
    cli_say(stdout, "%s: %d nodes, %d before\n", args->output, after, before);
    if (verified)
        printf("verified on random inputs (seed %d): %d tensors compared, outputs differ by %.3g "
               "at most\n",
               args->seed, c->n_compared, cli_worst_output(c));
    else
        printf("not verified (--no-verify)\n");
}

/* Inputs with a default may be given other values, so that what follows from them is not constant.
 */
static void handle_defaults(const cli_args *args, hone_graph *g) {
    int n = 0;
    if (args->fix_defaults) {
        hone_fix_defaults(g);
        return;
    }
    for (int i = 0; i < g->n_inputs; ++i)
        n += g->inputs[i]->initial != NULL;
    if (n)
        cli_note("%d inputs have defaults, which a caller may replace: what depends on them is not "
                 "folded; --fix-defaults makes them constants",
                 n);
}

static hone_status optimize(const cli_args *args, const hone_model *model, hone_graph *g,
                            hone_error *err) {
    log_list log = {0};
    cli_comparison c = {.n = 0};
    int before = count_nodes(model->graph);
    hone_pass_options options = {
        .only = args->passes, .stop_at = args->stop_at, .report = keep_record, .report_arg = &log};
    handle_defaults(args, g);
    hone_status status = hone_graph_index(g) == HONE_OK
                             ? hone_onnx_align(g, SIZE_MAX, NULL, err)
                             : hone_fail(err, HONE_E_NOMEM, "no memory to index the graph");
    if (status == HONE_OK)
        status = hone_passes_run(g, &options, err);
    if (status == HONE_OK && !args->no_verify)
        status = verify(args, model, g, &c, err);
    if (status == HONE_OK)
        status = hone_onnx_write(g, &model->facts, args->output, err);
    if (status == HONE_OK)
        print_result(args, &log, before, count_nodes(g), &c);
    cli_comparison_free(&c);
    free(log.record);
    return status;
}

static int run(const cli_args *args) {
    if (args->list_passes)
        return list_passes(args->json);
    if (!args->output)
        return cli_misuse("optimize", "where to? give -o OUT.onnx");
    hone_error err = {.offset = -1};
    hone_model *model;
    const char *path = args->files.item[0];
    if (cli_model_open(path, args, &model, &err) != HONE_OK)
        return cli_fail(&err, path);
    hone_graph *g = hone_graph_clone(model->graph);
    hone_status status = g ? optimize(args, model, g, &err)
                           : hone_fail(&err, HONE_E_NOMEM, "no memory to copy the graph");
    hone_graph_destroy(g);
    hone_model_destroy(model);
    return status == HONE_OK ? CLI_DONE : cli_fail(&err, path);
}

static const cli_option options[] = {
    CLI_OPTION("-o", "OUT.onnx", CLI_TEXT, output, "the file to write"),
    CLI_OPTION("--passes", "A,B", CLI_TEXT, passes, "run these passes only"),
    CLI_OPTION("--stop-at", "N", CLI_INT, stop_at, "run the first N pass applications only"),
    CLI_OPTION("--list-passes", NULL, CLI_FLAG, list_passes, "list the passes and what they do"),
    CLI_OPTION("--fix-defaults", NULL, CLI_FLAG, fix_defaults,
               "make inputs that have a default constants, as a build does"),
    CLI_OPTION("--no-verify", NULL, CLI_FLAG, no_verify, "write without comparing results"),
    CLI_OPTION_TOLERANCE,
    CLI_OPTION_INPUT,
    CLI_OPTION_SHAPE,
    CLI_OPTION_CONSTANT,
    CLI_OPTION_SEED,
    CLI_OPTION_JSON,
    CLI_OPTION_END,
};

const cli_verb cli_optimize = {
    .name = "optimize",
    .usage = "hone optimize IN.onnx -o OUT.onnx [--passes A,B] [--stop-at N] [--no-verify]",
    .what = "optimise the graph and write it as ONNX\n\n"
            "The result runs in any ONNX runtime. Before it is written, it and the original run\n"
            "on the same random inputs, and their outputs must agree (dynamic dims are 1 there,\n"
            "or what the model runs with, unless --shape says otherwise). --stop-at finds the pass "
            "application to blame when\n"
            "they do not.",
    .examples = "  hone optimize model.onnx -o small.onnx\n"
                "  hone optimize model.onnx -o small.onnx --passes fold_constants,remove_dead\n"
                "  hone optimize --list-passes\n",
    .options = options,
    .min_files = 1,
    .max_files = 1,
    .run = run,
};
