/* hone inspect FILE.hone: what an engine needs, takes and consists of. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/inspect.h"
#include "cli/picture.h"
#include "engine/format.h"

/* Nodes of one operator with one kernel. */
typedef struct group {
    const char *op, *kernel;
    int n;
    int64_t bytes; /* of constants */
} group;

typedef struct summary {
    group *groups;
    int n_groups, cap_groups;
    int n_nodes, n_reference;
    int64_t weight_bytes;
} summary;

/* ---- gathering --------------------------------------------------------------------------------
 */

static const char *kernel_of(const hone_node *n) {
    return n->impl ? hone_attr_string(n, "kernel_name", n->impl->name) : "reference";
}

static int64_t constant_bytes(const hone_node *n) {
    int64_t total = 0;
    for (int i = 0; i < n->n_in; ++i) {
        const hone_tensor *t = n->in[i] ? n->in[i]->constant : NULL;
        total += t && t->kind == HONE_KIND_TENSOR ? (int64_t)hone_tensor_bytes(t) : 0;
    }
    return total;
}

static void count_node(summary *s, hone_arena *arena, const hone_node *n) {
    group *g = NULL;
    for (int i = 0; i < s->n_groups && !g; ++i) {
        if (strcmp(s->groups[i].op, n->op_name) == 0 &&
            strcmp(s->groups[i].kernel, kernel_of(n)) == 0)
            g = &s->groups[i];
    }
    if (!g) {
        group fresh = {.op = n->op_name, .kernel = kernel_of(n)};
        if (!HONE_PUSH(arena, s->groups, s->n_groups, s->cap_groups, fresh))
            return;
        g = &s->groups[s->n_groups - 1];
    }
    g->n++;
    g->bytes += constant_bytes(n);
    s->n_nodes++;
    s->n_reference += !n->impl;
}

static void gather(summary *s, hone_arena *arena, const hone_graph *g) {
    for (int i = 0; i < g->n_values; ++i) {
        const hone_tensor *t = g->values[i]->outer ? NULL : g->values[i]->constant;
        s->weight_bytes += t && t->kind == HONE_KIND_TENSOR ? (int64_t)hone_tensor_bytes(t) : 0;
    }
    for (int i = 0; i < g->n_nodes; ++i) {
        count_node(s, arena, g->nodes[i]);
        for (int k = 0; k < g->nodes[i]->n_attrs; ++k) {
            if (g->nodes[i]->attrs[k].kind == HONE_ATTR_GRAPH)
                gather(s, arena, g->nodes[i]->attrs[k].g);
        }
    }
}

static int by_bytes(const void *a, const void *b) {
    const group *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    if (x->n != y->n)
        return y->n - x->n;
    int by_op = strcmp(x->op, y->op);
    return by_op ? by_op : strcmp(x->kernel, y->kernel);
}

/* ---- text -------------------------------------------------------------------------------------
 */

static void print_dims(const int64_t *dims, int rank) {
    for (int d = 0; d < rank; ++d)
        printf("%s%" PRId64, d ? "x" : "", dims[d]);
}

static void print_profile(const hone_engine *e) {
    for (int i = 0; i < e->n_shapes; ++i) {
        const hone_shape_range *r = &e->shapes[i];
        cli_say(stdout, "  %s: ", r->input);
        print_dims(r->min, r->rank);
        bool is_fixed = memcmp(r->min, r->max, sizeof r->min) == 0;
        for (int k = 0; !is_fixed && k < 2; ++k) {
            printf(" : ");
            print_dims(k == 0 ? r->opt : r->max, r->rank);
        }
        printf("\n");
    }
}

static void print_nodes(const hone_graph *g, int depth, cli_table *t) {
    for (int i = 0; i < g->n_nodes; ++i) {
        const hone_node *n = g->nodes[i];
        char type[160] = "";
        if (n->n_out > 0 && n->out[0])
            hone_type_describe(g, &n->out[0]->type, type, sizeof type);
        cli_cell(t, "%*s%s", 2 * depth, "", cli_name(n->name));
        cli_cell(t, "%s", n->op_name);
        cli_cell(t, "%s", kernel_of(n));
        cli_cell(t, "%s", constant_bytes(n) ? cli_bytes((double)constant_bytes(n)).s : "");
        cli_cell(t, "%s", type);
        for (int k = 0; k < n->n_attrs; ++k) {
            if (n->attrs[k].kind == HONE_ATTR_GRAPH)
                print_nodes(n->attrs[k].g, depth + 1, t);
        }
    }
}

static void print_groups(const summary *s) {
    cli_table *t = cli_table_create("operator|kernel|>nodes|>constants");
    for (int i = 0; i < s->n_groups; ++i) {
        const group *g = &s->groups[i];
        cli_cell(t, "%s", g->op);
        cli_cell(t, "%s", g->kernel);
        cli_cell(t, "%d", g->n);
        cli_cell(t, "%s", g->bytes ? cli_bytes((double)g->bytes).s : "");
    }
    cli_table_print(t, stdout);
}

static void print_plan(const hone_engine *e) {
    if (e->layout.n > 0)
        printf("memory plan  %s of activations in %d buffers\n",
               cli_bytes((double)e->layout.total_bytes).s, e->layout.n);
    else
        printf("memory plan  made at the first run: the input shapes are not fixed\n");
}

static void print_text(const cli_args *args, const char *path, const hone_engine *e,
                       const summary *s) {
    const hone_graph *g = e->graph;
    cli_say(stdout, "%s: an engine, format version %d, %s\n", path, HONE_ENGINE_VERSION,
            cli_bytes((double)e->map.n_bytes).s);
    printf("runs on      %s%s%s\n", e->isa ? "CPUs with " : "any CPU",
           e->isa ? hone_isa_name(e->isa) : "", e->isa > hone_cpu_isa() ? ", not on this one" : "");
    printf("precision    %s\n", cli_precision(e));
    if (e->is_reference)
        printf("kernels      reference only (level 0)\n");
    else if (e->n_threads)
        printf("tuned for    %d threads\n", e->n_threads);
    else
        printf("tuned for    nothing: default kernels\n");
    if (e->max_ram_bytes)
        printf("memory limit %s\n", cli_bytes((double)e->max_ram_bytes).s);
    printf("\n");
    cli_print_values("inputs", g, g->inputs, g->n_inputs, args->all);
    cli_print_values("outputs", g, g->outputs, g->n_outputs, true);
    if (e->n_shapes) {
        printf("accepts (min : opt : max)\n");
        print_profile(e);
    }
    printf("\n%d nodes, %d of them with reference kernels\n", s->n_nodes, s->n_reference);
    print_groups(s);
    if (args->all) {
        cli_table *t = cli_table_create("node|operator|kernel|>constants|output");
        printf("\n");
        print_nodes(g, 0, t);
        cli_table_print(t, stdout);
    }
    printf("\nconstants    %s\n", cli_bytes((double)s->weight_bytes).s);
    print_plan(e);
}

/* ---- JSON -------------------------------------------------------------------------------------
 */

static void json_dims(cli_json *j, const char *key, const int64_t *dims, int rank) {
    cli_json_open(j, key, '[');
    for (int d = 0; d < rank; ++d)
        cli_json_int(j, NULL, dims[d]);
    cli_json_close(j, ']');
}

static void json_profile(cli_json *j, const hone_engine *e) {
    cli_json_open(j, "profile", '[');
    for (int i = 0; i < e->n_shapes; ++i) {
        const hone_shape_range *r = &e->shapes[i];
        cli_json_open(j, NULL, '{');
        cli_json_text(j, "input", r->input);
        json_dims(j, "min", r->min, r->rank);
        json_dims(j, "opt", r->opt, r->rank);
        json_dims(j, "max", r->max, r->rank);
        cli_json_close(j, '}');
    }
    cli_json_close(j, ']');
}

static void json_nodes(cli_json *j, const hone_graph *g, int depth) {
    for (int i = 0; i < g->n_nodes; ++i) {
        const hone_node *n = g->nodes[i];
        char type[160] = "";
        if (n->n_out > 0 && n->out[0])
            hone_type_describe(g, &n->out[0]->type, type, sizeof type);
        cli_json_open(j, NULL, '{');
        cli_json_text(j, "node", n->name);
        cli_json_text(j, "op", n->op_name);
        cli_json_text(j, "kernel", kernel_of(n));
        cli_json_text(j, "output", type);
        cli_json_text(j, "origin", n->origin);
        cli_json_int(j, "constant_bytes", constant_bytes(n));
        cli_json_int(j, "depth", depth);
        cli_json_close(j, '}');
        for (int k = 0; k < n->n_attrs; ++k) {
            if (n->attrs[k].kind == HONE_ATTR_GRAPH)
                json_nodes(j, n->attrs[k].g, depth + 1);
        }
    }
}

static void print_json(const char *path, const hone_engine *e, const summary *s) {
    const hone_graph *g = e->graph;
    cli_json j = {.to = stdout};
    cli_json_open(&j, NULL, '{');
    cli_json_text(&j, "file", path);
    cli_json_int(&j, "format_version", HONE_ENGINE_VERSION);
    cli_json_int(&j, "file_bytes", (int64_t)e->map.n_bytes);
    cli_json_text(&j, "isa", hone_isa_name(e->isa));
    cli_json_bool(&j, "runs_here", e->isa <= hone_cpu_isa());
    cli_json_text(&j, "precision", cli_precision(e));
    cli_json_int(&j, "tuned_threads", e->n_threads);
    cli_json_int(&j, "max_ram_bytes", (int64_t)e->max_ram_bytes);
    cli_json_values(&j, "inputs", g, g->inputs, g->n_inputs);
    cli_json_values(&j, "outputs", g, g->outputs, g->n_outputs);
    json_profile(&j, e);
    cli_json_int(&j, "nodes", s->n_nodes);
    cli_json_int(&j, "reference_nodes", s->n_reference);
    cli_json_int(&j, "weight_bytes", s->weight_bytes);
    cli_json_int(&j, "arena_bytes", (int64_t)e->layout.total_bytes);
    cli_json_open(&j, "node_list", '[');
    json_nodes(&j, g, 0);
    cli_json_close(&j, ']');
    cli_json_close(&j, '}');
}

int cli_inspect_engine(const cli_args *args, const char *path) {
    hone_error err = {.offset = -1};
    hone_engine *e;
    summary s = {.n_groups = 0};
    hone_arena arena;
    if (hone_engine_load(path, &e, &err) != HONE_OK)
        return cli_fail(&err, NULL);
    hone_arena_init(&arena, 0);
    gather(&s, &arena, e->graph);
    qsort(s.groups, (size_t)s.n_groups, sizeof *s.groups, by_bytes);
    hone_status status = args->graph ? cli_picture_write(e->graph, args->graph, &err) : HONE_OK;
    if (status == HONE_OK && args->json)
        print_json(path, e, &s);
    else if (status == HONE_OK)
        print_text(args, path, e, &s);
    hone_arena_deinit(&arena);
    hone_engine_destroy(e);
    return status == HONE_OK ? CLI_DONE : cli_fail(&err, NULL);
}
