/* hone build: an engine file for this machine. */
#include <string.h>
#include <sys/stat.h>

#include "base/cpu.h"
#include "cli/explain.h"
#include "cli/options_def.h"
#include "cli/subject.h"

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

static hone_status print_json(const cli_args *args, cli_subject *s, hone_error *err) {
    hone_status status = HONE_OK;
    int n_nodes = 0, n_reference = 0;
    cli_json j = {.to = stdout};
    count_kernels(s->engine->graph, &n_nodes, &n_reference);
    cli_json_open(&j, NULL, '{');
    cli_json_text(&j, "output", args->output);
    cli_json_int(&j, "file_bytes", file_bytes(args->output));
    cli_json_number(&j, "build_ms", s->load_ms);
    cli_json_int(&j, "arena_bytes", (int64_t)hone_session_arena_bytes(s->session));
    cli_json_text(&j, "isa", hone_isa_name(s->engine->isa));
    cli_json_int(&j, "nodes", n_nodes);
    cli_json_int(&j, "reference_nodes", n_reference);
    if (args->explain)
        status = cli_explain(s, args, &j, err);
    cli_json_close(&j, '}');
    return status;
}

static hone_status print_text(const cli_args *args, cli_subject *s, hone_error *err) {
    int n_nodes = 0, n_reference = 0;
    size_t arena_bytes = hone_session_arena_bytes(s->session);
    if (args->explain)
        HONE_TRY(cli_explain(s, args, NULL, err));
    count_kernels(s->engine->graph, &n_nodes, &n_reference);
    cli_say(stdout,
            "%s: %s, %d nodes, %d of them with reference kernels, for %s, built in %.0f ms\n",
            args->output, cli_bytes((double)file_bytes(args->output)).s, n_nodes, n_reference,
            hone_isa_name(s->engine->isa), s->load_ms);
    printf("activations need %s\n", cli_bytes((double)arena_bytes).s);
    return HONE_OK;
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
    if (status == HONE_OK)
        status = args->json ? print_json(args, &s, &err) : print_text(args, &s, &err);
    cli_subject_close(&s);
    return status == HONE_OK ? CLI_DONE : cli_fail(&err, path);
}

static const cli_option options[] = {
    CLI_OPTION("-o", "FILE.hone", CLI_TEXT, output, "the engine file to write"),
    CLI_OPTION_SHAPE,
    CLI_OPTION_SIGNATURE,
    CLI_OPTION_THREADS,
    CLI_OPTION_BUILD,
    CLI_OPTION("--explain", NULL, CLI_FLAG, explain,
               "show every node's kernel, its time, and why not another"),
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
