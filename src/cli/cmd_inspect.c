/* hone inspect: what is in a model. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/inspect.h"
#include "cli/options_def.h"
#include "cli/picture.h"
#include "ir/infer.h"
#include "ops/cost.h"

typedef struct op_count {
    const char *domain, *op;
    int n;
    int64_t macs;
} op_count;

typedef struct facts {
    op_count *ops;
    int n_ops, cap_ops;
    int n_nodes;
    int64_t macs;
    int n_uncounted; /* nodes whose MACs are not known */
    int64_t parameters;
    int64_t weight_bytes[HONE_DTYPE_COUNT];
    int64_t total_weight_bytes;
    int64_t activation_bytes, largest_bytes;
    const char *largest; /* the largest activation */
    int n_unknown;       /* activations whose size is not known */
} facts;

/* ---- gathering --------------------------------------------------------------------------------
 */

static void count_op(facts *f, hone_arena *arena, const hone_node *n, int64_t macs) {
    op_count *found = NULL;
    for (int i = 0; i < f->n_ops && !found; ++i) {
        if (strcmp(f->ops[i].op, n->op_name) == 0 && strcmp(f->ops[i].domain, n->domain) == 0)
            found = &f->ops[i];
    }
    if (!found) {
        op_count fresh = {.domain = n->domain, .op = n->op_name};
        if (!HONE_PUSH(arena, f->ops, f->n_ops, f->cap_ops, fresh))
            return;
        found = &f->ops[f->n_ops - 1];
    }
    found->n++;
    found->macs += macs > 0 ? macs : 0;
}

static void count_value(facts *f, const hone_value *v) {
    if (v->outer)
        return;
    const hone_tensor *t = v->constant ? v->constant : v->initial;
    if (t && t->kind == HONE_KIND_TENSOR) {
        int64_t bytes = (int64_t)hone_tensor_bytes(t);
        f->parameters += hone_tensor_count(t);
        f->weight_bytes[t->dtype] += bytes;
        f->total_weight_bytes += bytes;
        return;
    }
    if (!hone_type_is_static(&v->type)) {
        f->n_unknown++;
        return;
    }
    int64_t n = hone_dims_count(v->type.dims, 0, v->type.rank);
    int64_t bytes = (int64_t)hone_dtype_bytes(v->type.dtype, n);
    f->activation_bytes += bytes;
    if (bytes > f->largest_bytes) {
        f->largest_bytes = bytes;
        f->largest = v->name;
    }
}

static void gather(facts *f, const hone_graph *g) {
    for (int i = 0; i < g->n_values; ++i)
        count_value(f, g->values[i]);
    for (int i = 0; i < g->n_nodes; ++i) {
        const hone_node *n = g->nodes[i];
        int64_t macs = hone_node_macs(n, NULL);
        f->n_nodes++;
        f->n_uncounted += macs < 0;
        f->macs += macs > 0 ? macs : 0;
        count_op(f, g->arena, n, macs);
        for (int k = 0; k < n->n_attrs; ++k) {
            if (n->attrs[k].kind == HONE_ATTR_GRAPH)
                gather(f, n->attrs[k].g);
        }
    }
}

static int by_count(const void *a, const void *b) {
    const op_count *x = a, *y = b;
    return x->n != y->n ? y->n - x->n : strcmp(x->op, y->op);
}

/* ---- dynamic dims -----------------------------------------------------------------------------
 */

static void fix_everywhere(hone_graph *g, int64_t symbol, int64_t size) {
    for (int i = 0; i < g->n_inputs; ++i) {
        hone_type *t = &g->inputs[i]->type;
        for (int d = 0; d < t->rank; ++d) {
            if (t->dims[d] == symbol)
                t->dims[d] = size;
        }
    }
}

static hone_status fix_shape(hone_graph *g, const hone_shape_range *r, hone_error *err) {
    for (int i = 0; i < g->n_inputs; ++i) {
        hone_type *t = &g->inputs[i]->type;
        if (strcmp(g->inputs[i]->name, r->input) != 0)
            continue;
        if (t->kind != HONE_KIND_TENSOR || (t->rank >= 0 && t->rank != r->rank))
            return hone_fail(err, HONE_E_SHAPE, "--shape %s: the input has rank %d", r->input,
                             t->rank);
        for (int d = 0; d < r->rank; ++d) {
            if (t->rank >= 0 && hone_dim_is_symbol(t->dims[d]))
                fix_everywhere(g, t->dims[d], r->opt[d]);
            t->dims[d] = r->opt[d];
        }
        t->rank = r->rank;
        return HONE_OK;
    }
    return hone_fail(err, HONE_E_ARGUMENT, "--shape: there is no input '%s'", r->input);
}

/* What --shape does not fix is 1. */
static hone_status fix_dims(hone_graph *g, const cli_args *args, hone_error *err) {
    cli_shapes shapes;
    hone_status status = cli_shapes_parse(&args->shapes, &shapes, err);
    for (int i = 0; i < shapes.n && status == HONE_OK; ++i)
        status = fix_shape(g, &shapes.range[i], err);
    cli_shapes_free(&shapes);
    HONE_TRY(status);
    for (int i = 0; i < g->n_inputs; ++i) {
        hone_type *t = &g->inputs[i]->type;
        for (int d = 0; t->kind == HONE_KIND_TENSOR && d < t->rank; ++d)
            t->dims[d] = t->dims[d] < 0 ? 1 : t->dims[d];
    }
    return hone_graph_infer(g, err);
}

/* ---- text -------------------------------------------------------------------------------------
 */

/* Old exporters list every weight as an input with a default: those only with --all. */
void cli_print_values(const char *title, const hone_graph *g, hone_value *const *list, int n,
                      bool all) {
    int n_left_out = 0;
    printf("%s\n", title);
    for (int i = 0; i < n; ++i) {
        char type[300];
        if (list[i]->initial && !list[i]->next && !all)
            n_left_out++;
        else
            cli_say(stdout, "  %s: %s%s\n", list[i]->name,
                    hone_type_describe(g, &list[i]->type, type, sizeof type),
                    list[i]->next      ? " (state)"
                    : list[i]->initial ? " (has a default)"
                                       : "");
    }
    if (n_left_out)
        printf("  and %d with defaults (--all lists them)\n", n_left_out);
}

/* The sizes that the counts hold for. */
static void print_sizes(const hone_graph *g) {
    const char *gap = "";
    printf("counted at");
    for (int i = 0; i < g->n_inputs; ++i) {
        const hone_type *t = &g->inputs[i]->type;
        if (g->inputs[i]->initial)
            continue;
        cli_say(stdout, "%s %s=", gap, g->inputs[i]->name);
        gap = ",";
        for (int d = 0; d < t->rank; ++d)
            printf("%s%" PRId64, d ? "x" : "", t->dims[d]);
    }
    printf("\n");
}

static void print_ops(const facts *f) {
    cli_table *t = cli_table_create("operator|domain|>nodes|>MACs");
    for (int i = 0; i < f->n_ops; ++i) {
        cli_cell(t, "%s", f->ops[i].op);
        cli_cell(t, "%s", f->ops[i].domain[0] ? f->ops[i].domain : "ai.onnx");
        cli_cell(t, "%d", f->ops[i].n);
        cli_cell(t, "%s", f->ops[i].macs ? cli_count((double)f->ops[i].macs).s : "");
    }
    cli_table_print(t, stdout);
}

static void print_origin(const cli_args *args, const hone_onnx_facts *o) {
    cli_say(stdout, "%s: ONNX, IR version %" PRId64 ", %s %s\n", args->files.item[0], o->ir_version,
            o->producer_name && *o->producer_name ? o->producer_name : "unknown producer",
            o->producer_version ? o->producer_version : "");
    printf("opsets");
    for (int i = 0; i < o->n_imports; ++i)
        cli_say(stdout, "%s %s %" PRId64, i ? "," : "",
                o->imports[i].domain[0] ? o->imports[i].domain : "ai.onnx", o->imports[i].version);
    printf("\n");
}

static void print_signatures(const hone_model *m) {
    for (int i = 0; i < m->n_signatures; ++i)
        cli_say(stdout, "%s%s%s", i ? ", " : "signatures   ", m->signatures[i],
                i == m->signature && m->n_signatures > 1 ? " (shown here)" : "");
    if (m->n_signatures)
        printf("\n");
}

static void print_text(const cli_args *args, const hone_model *m, const hone_graph *fixed,
                       const facts *f) {
    const hone_graph *g = m->graph;
    const hone_onnx_facts *o = &m->facts;
    if (m->is_tflite) {
        cli_say(stdout, "%s: TensorFlow Lite, %s\n", args->files.item[0],
                o->producer_name && *o->producer_name ? o->producer_name : "no description");
    } else {
        print_origin(args, o);
    }
    print_signatures(m);
    printf("\n");
    cli_print_values("inputs", g, g->inputs, g->n_inputs, args->all);
    cli_print_values("outputs", g, g->outputs, g->n_outputs, true);
    printf("\n%d nodes\n", f->n_nodes);
    print_ops(f);
    printf("\nparameters   %s (%" PRId64 ")\n", cli_count((double)f->parameters).s, f->parameters);
    printf("weights      %s", cli_bytes((double)f->total_weight_bytes).s);
    for (int d = 0; d < HONE_DTYPE_COUNT; ++d) {
        if (f->weight_bytes[d])
            printf(", %s %s", hone_dtype_name((hone_dtype)d),
                   cli_bytes((double)f->weight_bytes[d]).s);
    }
    printf("\nMACs         %s (%" PRId64 ")%s\n", cli_count((double)f->macs).s, f->macs,
           f->n_uncounted ? ", nodes of unknown shape left out" : "");
    printf("activations  %s in all", cli_bytes((double)f->activation_bytes).s);
    if (f->largest)
        cli_say(stdout, ", largest %s (%s)", cli_bytes((double)f->largest_bytes).s, f->largest);
    if (f->n_unknown)
        printf("; %d values of unknown size left out", f->n_unknown);
    printf("\n");
    print_sizes(fixed);
}

/* ---- JSON -------------------------------------------------------------------------------------
 */

void cli_json_values(cli_json *j, const char *key, const hone_graph *g, hone_value *const *list,
                     int n) {
    cli_json_open(j, key, '[');
    for (int i = 0; i < n; ++i) {
        hone_io_info io;
        if (!hone_graph_io(g, list, n, i, &io))
            continue;
        cli_json_open(j, NULL, '{');
        cli_json_text(j, "name", io.name);
        cli_json_text(j, "dtype", io.dtype ? hone_dtype_name(io.dtype) : NULL);
        cli_json_bool(j, "optional", io.is_optional);
        cli_json_bool(j, "state", io.is_state);
        if (io.rank >= 0)
            cli_json_open(j, "dims", '[');
        for (int d = 0; d < io.rank; ++d) {
            if (io.dims[d] >= 0)
                cli_json_int(j, NULL, io.dims[d]);
            else
                cli_json_text(j, NULL, io.dim_names[d] ? io.dim_names[d] : "?");
        }
        if (io.rank >= 0)
            cli_json_close(j, ']');
        cli_json_close(j, '}');
    }
    cli_json_close(j, ']');
}

static void json_ops(cli_json *j, const facts *f) {
    cli_json_open(j, "operators", '[');
    for (int i = 0; i < f->n_ops; ++i) {
        cli_json_open(j, NULL, '{');
        cli_json_text(j, "op", f->ops[i].op);
        cli_json_text(j, "domain", f->ops[i].domain);
        cli_json_int(j, "nodes", f->ops[i].n);
        cli_json_int(j, "macs", f->ops[i].macs);
        cli_json_close(j, '}');
    }
    cli_json_close(j, ']');
}

static void print_json(const cli_args *args, const hone_model *m, const facts *f) {
    const hone_onnx_facts *o = &m->facts;
    cli_json j = {.to = stdout};
    cli_json_open(&j, NULL, '{');
    cli_json_text(&j, "file", args->files.item[0]);
    cli_json_int(&j, "ir_version", o->ir_version);
    cli_json_text(&j, "producer", o->producer_name);
    cli_json_text(&j, "producer_version", o->producer_version);
    cli_json_open(&j, "opsets", '{');
    for (int i = 0; i < o->n_imports; ++i)
        cli_json_int(&j, o->imports[i].domain[0] ? o->imports[i].domain : "ai.onnx",
                     o->imports[i].version);
    cli_json_close(&j, '}');
    cli_json_open(&j, "metadata", '{');
    for (int i = 0; i < o->n_metadata; ++i)
        cli_json_text(&j, o->metadata[i].key, o->metadata[i].value);
    cli_json_close(&j, '}');
    cli_json_open(&j, "signatures", '[');
    for (int i = 0; i < m->n_signatures; ++i)
        cli_json_text(&j, NULL, m->signatures[i]);
    cli_json_close(&j, ']');
    cli_json_text(&j, "signature", hone_model_signature(m, m->signature));
    cli_json_values(&j, "inputs", m->graph, m->graph->inputs, m->graph->n_inputs);
    cli_json_values(&j, "outputs", m->graph, m->graph->outputs, m->graph->n_outputs);
    cli_json_int(&j, "nodes", f->n_nodes);
    json_ops(&j, f);
    cli_json_int(&j, "parameters", f->parameters);
    cli_json_int(&j, "weight_bytes", f->total_weight_bytes);
    cli_json_open(&j, "weight_bytes_by_dtype", '{');
    for (int d = 0; d < HONE_DTYPE_COUNT; ++d) {
        if (f->weight_bytes[d])
            cli_json_int(&j, hone_dtype_name((hone_dtype)d), f->weight_bytes[d]);
    }
    cli_json_close(&j, '}');
    cli_json_int(&j, "macs", f->macs);
    cli_json_int(&j, "nodes_without_macs", f->n_uncounted);
    cli_json_int(&j, "activation_bytes", f->activation_bytes);
    cli_json_int(&j, "largest_activation_bytes", f->largest_bytes);
    cli_json_text(&j, "largest_activation", f->largest);
    cli_json_int(&j, "values_of_unknown_size", f->n_unknown);
    cli_json_close(&j, '}');
}

/* ---- the verb ---------------------------------------------------------------------------------
 */

static hone_status inspect(const cli_args *args, const hone_model *m, hone_graph *fixed,
                           hone_error *err) {
    facts f = {.n_ops = 0};
    HONE_TRY(fix_dims(fixed, args, err));
    if (hone_graph_index(fixed) != HONE_OK)
        return hone_fail(err, HONE_E_NOMEM, "no memory to index the graph");
    gather(&f, fixed);
    qsort(f.ops, (size_t)f.n_ops, sizeof *f.ops, by_count);
    if (args->graph)
        HONE_TRY(cli_picture_write(m->graph, args->graph, err));
    if (args->json)
        print_json(args, m, &f);
    else
        print_text(args, m, fixed, &f);
    return HONE_OK;
}

static int run(const cli_args *args) {
    hone_error err = {.offset = -1};
    hone_model *model;
    const char *path = args->files.item[0];
    if (cli_is_engine(path))
        return cli_inspect_engine(args, path);
    if (hone_model_open_signature(path, args->signature, &model, &err) != HONE_OK)
        return cli_fail(&err, path);
    hone_graph *fixed = hone_graph_clone(model->graph);
    hone_status status = fixed ? inspect(args, model, fixed, &err)
                               : hone_fail(&err, HONE_E_NOMEM, "no memory to copy the graph");
    hone_graph_destroy(fixed);
    hone_model_destroy(model);
    return status == HONE_OK ? CLI_DONE : cli_fail(&err, path);
}

static const cli_option options[] = {
    CLI_OPTION_SHAPE,
    CLI_OPTION_SIGNATURE,
    CLI_OPTION("--graph", "FILE", CLI_TEXT, graph, "draw the graph: FILE.dot or FILE.svg"),
    CLI_OPTION("--all", NULL, CLI_FLAG, all,
               "list inputs that have defaults, and every node of an engine, too"),
    CLI_OPTION_JSON,
    CLI_OPTION_END,
};

const cli_verb cli_inspect = {
    .name = "inspect",
    .usage =
        "hone inspect MODEL|FILE.hone [--shape NAME=DIMS] [--graph FILE.dot|FILE.svg] [--json]",
    .what = "show what is in a model\n\n"
            "Inputs and outputs, operators, parameters, multiply-accumulates (MACs), and bytes of\n"
            "weights and activations. Nodes are counted in canonical form, where old operator\n"
            "versions are rewritten and functions inlined. Dynamic dims count as 1 unless --shape\n"
            "says otherwise. Of an engine file: what it needs, its kernels and its memory.",
    .examples = "  hone inspect model.onnx\n"
                "  hone inspect model.onnx --shape image=8x3x224x224 --json\n"
                "  hone inspect model.onnx --graph model.svg\n"
                "  hone inspect model.hone --all\n",
    .options = options,
    .min_files = 1,
    .max_files = 1,
    .run = run,
};
