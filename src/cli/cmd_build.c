/* hone build: an engine file for this machine. */
#include <string.h>
#include <sys/stat.h>

#include "base/cpu.h"
#include "cli/options_def.h"
#include "cli/subject.h"

/* A packed node names the kernel that it was packed for. */
static const char *kernel_of(const hone_node *n) {
    return n->impl ? hone_attr_string(n, "kernel_name", n->impl->name) : "reference";
}

static void explain_rows(const hone_graph *g, int depth, cli_table *t, cli_json *j) {
    for (int i = 0; i < g->n_nodes; ++i) {
        const hone_node *n = g->nodes[i];
        char type[160] = "";
        const char *name = n->name[0] || !n->n_out || !n->out[0] ? n->name : n->out[0]->name;
        if (n->n_out > 0 && n->out[0])
            hone_type_describe(g, &n->out[0]->type, type, sizeof type);
        if (j) {
            cli_json_open(j, NULL, '{');
            cli_json_text(j, "node", name);
            cli_json_text(j, "op", n->op_name);
            cli_json_text(j, "kernel", kernel_of(n));
            cli_json_text(j, "output", type);
            cli_json_text(j, "origin", n->origin);
            cli_json_int(j, "depth", depth);
            cli_json_close(j, '}');
        } else {
            cli_cell(t, "%*s%s", 2 * depth, "", cli_name(name));
            cli_cell(t, "%s", n->op_name);
            cli_cell(t, "%s", kernel_of(n));
            cli_cell(t, "%s", type);
        }
        for (int k = 0; k < n->n_attrs; ++k) {
            if (n->attrs[k].kind == HONE_ATTR_GRAPH)
                explain_rows(n->attrs[k].g, depth + 1, t, j);
        }
    }
}

static void count_kernels(const hone_graph *g, int *n_nodes, int *n_reference) {
    for (int i = 0; i < g->n_nodes; ++i) {
        const hone_node *n = g->nodes[i];
        ++*n_nodes;
        *n_reference += !n->impl;
        for (int k = 0; k < n->n_attrs; ++k) {
            if (n->attrs[k].kind == HONE_ATTR_GRAPH)
                count_kernels(n->attrs[k].g, n_nodes, n_reference);
        }
    }
}

static long long file_bytes(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? (long long)st.st_size : 0;
}

static void print_json(const cli_args *args, const cli_subject *s) {
    int n_nodes = 0, n_reference = 0;
    cli_json j = {.to = stdout};
    count_kernels(s->engine->graph, &n_nodes, &n_reference);
    cli_json_open(&j, NULL, '{');
    cli_json_text(&j, "output", args->output);
    cli_json_int(&j, "file_bytes", file_bytes(args->output));
    cli_json_number(&j, "build_ms", s->load_ms);
    cli_json_int(&j, "arena_bytes", (int64_t)hone_session_arena_bytes(s->session));
    cli_json_text(&j, "isa", hone_isa_name(hone_cpu_isa()));
    cli_json_int(&j, "nodes", n_nodes);
    cli_json_int(&j, "reference_nodes", n_reference);
    if (args->explain) {
        cli_json_open(&j, "explain", '[');
        explain_rows(s->engine->graph, 0, NULL, &j);
        cli_json_close(&j, ']');
    }
    cli_json_close(&j, '}');
}

static void print_text(const cli_args *args, const cli_subject *s) {
    int n_nodes = 0, n_reference = 0;
    if (args->explain) {
        cli_table *t = cli_table_create("node|operator|kernel|output");
        explain_rows(s->engine->graph, 0, t, NULL);
        cli_table_print(t, stdout);
    }
    count_kernels(s->engine->graph, &n_nodes, &n_reference);
    printf("%s: %s, %d nodes, %d of them with reference kernels, for %s, built in %.0f ms\n",
           args->output, cli_bytes((double)file_bytes(args->output)).s, n_nodes, n_reference,
           hone_isa_name(hone_cpu_isa()), s->load_ms);
    printf("activations need %s\n", cli_bytes((double)hone_session_arena_bytes(s->session)).s);
}

/* The plan for the largest shapes: what the activations need, or why --max-ram refuses. */
static hone_status plan_memory(cli_subject *s, const cli_args *args, hone_error *err) {
    HONE_TRY(cli_subject_set_inputs(s, args, CLI_FILL_LARGEST, err));
    return hone_session_prepare(s->session, err);
}

static int run(const cli_args *args) {
    hone_error err = {.offset = -1};
    cli_subject s;
    const char *path = args->files.item[0];
    if (!args->output)
        return cli_misuse("build", "where to? give -o FILE.hone");
    if (cli_subject_open(&s, args, path, 2, &err) != HONE_OK)
        return cli_fail(&err, path);
    hone_status status = plan_memory(&s, args, &err);
    if (status == HONE_OK)
        status = hone_engine_save(s.engine, args->output, &err);
    if (status == HONE_OK && args->json)
        print_json(args, &s);
    else if (status == HONE_OK)
        print_text(args, &s);
    cli_subject_close(&s);
    return status == HONE_OK ? CLI_DONE : cli_fail(&err, path);
}

static const cli_option options[] = {
    CLI_OPTION("-o", "FILE.hone", CLI_TEXT, output, "the engine file to write"),
    CLI_OPTION_SHAPE,
    CLI_OPTION_THREADS,
    CLI_OPTION_BUILD,
    CLI_OPTION("--explain", NULL, CLI_FLAG, explain, "list the kernel chosen for every node"),
    CLI_OPTION_JSON,
    CLI_OPTION_END,
};

const cli_verb cli_build = {
    .name = "build",
    .usage = "hone build MODEL -o FILE.hone [--shape NAME=1x3x224x224 ...] [--explain]",
    .what = "build an engine file for this machine\n\n"
            "The file holds the optimised graph with its weights and maps into memory as it is.\n"
            "A fixed --shape lets shape arithmetic and layouts be settled now; min:opt:max bounds\n"
            "what the engine accepts.",
    .examples = "  hone build model.onnx -o model.hone\n"
                "  hone build model.onnx -o model.hone --shape image=1x3x224x224 --explain\n"
                "  hone build model.onnx -o model.hone --shape ids=1x1:1x128:8x512 --max-ram 64M\n",
    .options = options,
    .min_files = 1,
    .max_files = 1,
    .run = run,
};
