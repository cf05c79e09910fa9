/* hone profile: where the time goes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options_def.h"
#include "cli/subject.h"
#include "engine/peak.h"

enum { MAX_DEPTH = 64 };

/* A node, over all runs. */
typedef struct row {
    hone_profile_entry entry; /* of the first time */
    int64_t self_ns;          /* without the nodes of its subgraphs, which have rows of their own */
    int64_t n_calls;
    int64_t macs; /* of all calls */
} row;

typedef struct profile {
    row *rows;
    int n, cap;
    int n_top; /* rows of depth 0 seen in this run: these come in the same order each run */
    int *top;
    int cap_top;
    int64_t inner_ns[MAX_DEPTH + 1]; /* time of finished nodes one level down */
    int64_t total_ns;
    int n_runs;
    bool is_recording, has_failed;
    cli_json *trace; /* NULL: none is written now */
    int64_t trace_start_ns;
} profile;

/* ---- collecting -------------------------------------------------------------------------------
 */

static bool grow(void **list, int *cap, int n, size_t size) {
    if (n < *cap)
        return true;
    int wanted = *cap ? 2 * *cap : 256;
    void *grown = realloc(*list, (size_t)wanted * size);
    if (!grown)
        return false;
    *list = grown;
    *cap = wanted;
    return true;
}

static bool is_same(const row *r, const hone_profile_entry *e) {
    return r->entry.node == e->node && r->entry.depth == e->depth && r->entry.op == e->op &&
           strcmp(r->entry.kernel, e->kernel) == 0;
}

/* Nodes of subgraphs are known by their name's address, those of the main graph by position. */
static int find_row(profile *p, const hone_profile_entry *e) {
    if (e->depth == 0) {
        int at = p->n_top++;
        if (p->n_runs > 0)
            return at < p->cap_top && p->top[at] < p->n ? p->top[at] : -1;
        if (!grow((void **)&p->top, &p->cap_top, at, sizeof *p->top))
            return -1;
        p->top[at] = p->n;
        return -1;
    }
    for (int i = 0; i < p->n; ++i) {
        if (is_same(&p->rows[i], e))
            return i;
    }
    return -1;
}

static void put_trace_event(const profile *p, const hone_profile_entry *e) {
    cli_json *j = p->trace;
    cli_json_open(j, NULL, '{');
    cli_json_text(j, "name", e->op);
    cli_json_text(j, "cat", e->kernel);
    cli_json_text(j, "ph", "X");
    cli_json_number(j, "ts", (double)(e->start_ns - p->trace_start_ns) * 1e-3);
    cli_json_number(j, "dur", (double)(e->end_ns - e->start_ns) * 1e-3);
    cli_json_int(j, "pid", 1);
    cli_json_int(j, "tid", 1);
    cli_json_open(j, "args", '{');
    cli_json_text(j, "node", e->node);
    cli_json_text(j, "shapes", e->shapes);
    cli_json_text(j, "origin", e->origin);
    cli_json_int(j, "macs", e->macs);
    cli_json_close(j, '}');
    cli_json_close(j, '}');
}

static void on_node(void *arg, const hone_profile_entry *e) {
    profile *p = arg;
    if (p->trace)
        put_trace_event(p, e);
    if (!p->is_recording)
        return;
    int depth = e->depth < MAX_DEPTH ? e->depth : MAX_DEPTH - 1;
    int64_t took = e->end_ns - e->start_ns;
    int at = find_row(p, e);
    if (at < 0) {
        if (!grow((void **)&p->rows, &p->cap, p->n, sizeof *p->rows)) {
            p->has_failed = true;
            return;
        }
        at = p->n++;
        p->rows[at] = (row){.entry = *e};
    }
    p->rows[at].self_ns += took - p->inner_ns[depth + 1];
    p->rows[at].n_calls++;
    p->rows[at].macs += e->macs > 0 ? e->macs : 0;
    p->inner_ns[depth + 1] = 0;
    p->inner_ns[depth] += took;
}

static hone_status record(cli_subject *s, const cli_args *args, profile *p, hone_error *err) {
    int n = args->runs > 0 ? args->runs : 1;
    for (int i = 0; i < 2; ++i) /* plan, and warm the caches */
        HONE_TRY(hone_session_run(s->session, err));
    hone_session_set_profiler(s->session, on_node, p);
    p->is_recording = true;
    for (int i = 0; i < n; ++i) {
        p->n_top = 0;
        memset(p->inner_ns, 0, sizeof p->inner_ns);
        HONE_TRY(hone_session_run(s->session, err));
        p->total_ns += p->inner_ns[0];
        p->n_runs++;
    }
    p->is_recording = false;
    return p->has_failed ? hone_fail(err, HONE_E_NOMEM, "no memory for the profile") : HONE_OK;
}

/* One more run, as Chrome trace events (which Perfetto opens). */
static hone_status write_trace(cli_subject *s, const char *path, profile *p, hone_error *err) {
    FILE *to = fopen(path, "w");
    if (!to)
        return hone_fail(err, HONE_E_IO, "cannot write %s: %s", path, strerror(errno));
    cli_json j = {.to = to};
    cli_json_open(&j, NULL, '{');
    cli_json_text(&j, "displayTimeUnit", "ms");
    cli_json_open(&j, "traceEvents", '[');
    p->trace = &j;
    p->trace_start_ns = cli_now_ns();
    hone_status status = hone_session_run(s->session, err);
    p->trace = NULL;
    cli_json_close(&j, ']');
    cli_json_close(&j, '}');
    bool is_bad = ferror(to) != 0;
    if ((fclose(to) != 0 || is_bad) && status == HONE_OK)
        status = hone_fail(err, HONE_E_IO, "cannot write %s: %s", path, strerror(errno));
    return status;
}

static int by_start(const void *a, const void *b) {
    int64_t x = ((const row *)a)->entry.start_ns, y = ((const row *)b)->entry.start_ns;
    return (x > y) - (x < y);
}

/* ---- totals by operator -----------------------------------------------------------------------
 */

typedef struct total {
    const char *op;
    int n_nodes, n_reference;
    int64_t ns, macs;
} total;

static int by_time(const void *a, const void *b) {
    int64_t x = ((const total *)a)->ns, y = ((const total *)b)->ns;
    return (x < y) - (x > y);
}

/* At most one total a row; returns how many. */
static int sum_operators(const profile *p, total *totals) {
    int n = 0;
    for (int i = 0; i < p->n; ++i) {
        const row *r = &p->rows[i];
        int k = 0;
        while (k < n && strcmp(totals[k].op, r->entry.op) != 0)
            ++k;
        if (k == n)
            totals[n++] = (total){.op = r->entry.op};
        totals[k].n_nodes++;
        totals[k].n_reference += strcmp(r->entry.kernel, "reference") == 0;
        totals[k].ns += r->self_ns;
        totals[k].macs += r->macs;
    }
    qsort(totals, (size_t)n, sizeof *totals, by_time);
    return n;
}

/* ---- printing ---------------------------------------------------------------------------------
 */

typedef struct speed {
    double ms, share, gflops, of_peak; /* ms: of one run */
} speed;

static speed speed_of(const profile *p, int64_t ns, int64_t macs, double peak) {
    speed s = {.ms = (double)ns * 1e-6 / p->n_runs};
    s.share = p->total_ns ? (double)ns / (double)p->total_ns : 0;
    s.gflops = ns > 0 ? 2.0 * (double)macs / (double)ns : 0;
    s.of_peak = peak > 0 ? s.gflops * 1e9 / peak : 0;
    return s;
}

static void speed_cells(cli_table *t, const speed *s, bool has_macs) {
    cli_cell(t, "%.3f", s->ms);
    cli_cell(t, "%.1f %%", 100 * s->share);
    cli_cell(t, has_macs ? "%.1f" : "", s->gflops);
    cli_cell(t, has_macs ? "%.0f %%" : "", 100 * s->of_peak);
}

static void print_text(const profile *p, const total *totals, int n_totals, double peak) {
    cli_table *t =
        cli_table_create("node|operator|kernel|ISA|>ms|>time|>GFLOP/s|>of peak|shapes|origin");
    for (int i = 0; i < p->n; ++i) {
        const hone_profile_entry *e = &p->rows[i].entry;
        speed s = speed_of(p, p->rows[i].self_ns, p->rows[i].macs, peak);
        cli_cell(t, "%*s%.60s", 2 * e->depth, "", cli_name(e->node));
        cli_cell(t, "%s", e->op);
        cli_cell(t, "%s", e->kernel);
        cli_cell(t, "%s", e->isa);
        speed_cells(t, &s, p->rows[i].macs > 0);
        cli_cell(t, "%s", e->shapes);
        cli_cell(t, "%.80s", e->origin && strcmp(e->origin, e->node) != 0 ? e->origin : "");
    }
    cli_table_print(t, stdout);
    printf("\n");
    t = cli_table_create("operator|>nodes|>reference|>ms|>time|>GFLOP/s|>of peak");
    for (int i = 0; i < n_totals; ++i) {
        speed s = speed_of(p, totals[i].ns, totals[i].macs, peak);
        cli_cell(t, "%s", totals[i].op);
        cli_cell(t, "%d", totals[i].n_nodes);
        cli_cell(t, "%d", totals[i].n_reference);
        speed_cells(t, &s, totals[i].macs > 0);
    }
    cli_table_print(t, stdout);
}

static void json_speed(cli_json *j, const speed *s) {
    cli_json_number(j, "ms", s->ms);
    cli_json_number(j, "share", s->share);
    cli_json_number(j, "gflops", s->gflops);
    cli_json_number(j, "of_peak", s->of_peak);
}

static void json_rows(cli_json *j, const profile *p, double peak) {
    cli_json_open(j, "nodes", '[');
    for (int i = 0; i < p->n; ++i) {
        const hone_profile_entry *e = &p->rows[i].entry;
        speed s = speed_of(p, p->rows[i].self_ns, p->rows[i].macs, peak);
        cli_json_open(j, NULL, '{');
        cli_json_text(j, "node", e->node);
        cli_json_text(j, "op", e->op);
        cli_json_text(j, "kernel", e->kernel);
        cli_json_text(j, "isa", e->isa);
        cli_json_text(j, "origin", e->origin);
        cli_json_text(j, "shapes", e->shapes);
        cli_json_int(j, "depth", e->depth);
        cli_json_number(j, "calls_per_run", (double)p->rows[i].n_calls / p->n_runs);
        cli_json_int(j, "macs", e->macs);
        cli_json_int(j, "bytes", e->bytes);
        json_speed(j, &s);
        cli_json_close(j, '}');
    }
    cli_json_close(j, ']');
}

static void print_json(const cli_subject *s, const profile *p, const total *totals, int n_totals,
                       double peak) {
    cli_json j = {.to = stdout};
    cli_json_open(&j, NULL, '{');
    cli_json_text(&j, "model", s->path);
    cli_json_int(&j, "runs", p->n_runs);
    cli_json_int(&j, "threads", hone_session_threads(s->session));
    cli_json_number(&j, "ms_per_run", (double)p->total_ns * 1e-6 / p->n_runs);
    cli_json_number(&j, "peak_gflops", peak * 1e-9);
    json_rows(&j, p, peak);
    cli_json_open(&j, "operators", '[');
    for (int i = 0; i < n_totals; ++i) {
        speed v = speed_of(p, totals[i].ns, totals[i].macs, peak);
        cli_json_open(&j, NULL, '{');
        cli_json_text(&j, "op", totals[i].op);
        cli_json_int(&j, "nodes", totals[i].n_nodes);
        cli_json_int(&j, "reference_nodes", totals[i].n_reference);
        json_speed(&j, &v);
        cli_json_close(&j, '}');
    }
    cli_json_close(&j, ']');
    cli_json_close(&j, '}');
}

static double measure_peak(int n_threads) {
    hone_pool *pool;
    if (hone_pool_create(n_threads, &pool, NULL) != HONE_OK)
        return 0;
    double peak = hone_peak_flops(pool);
    hone_pool_destroy(pool);
    return peak;
}

static hone_status print(const cli_subject *s, const cli_args *args, profile *p, hone_error *err) {
    double peak = measure_peak(hone_session_threads(s->session));
    total *totals = calloc((size_t)p->n + 1, sizeof *totals);
    if (!totals)
        return hone_fail(err, HONE_E_NOMEM, "no memory for the profile");
    qsort(p->rows, (size_t)p->n, sizeof *p->rows, by_start);
    int n = sum_operators(p, totals);
    if (args->json) {
        print_json(s, p, totals, n, peak);
    } else {
        print_text(p, totals, n, peak);
        printf("\n%.3f ms a run (mean of %d) with %d threads; measured FP32 peak %.1f GFLOP/s\n",
               (double)p->total_ns * 1e-6 / p->n_runs, p->n_runs, hone_session_threads(s->session),
               peak * 1e-9);
    }
    free(totals);
    return HONE_OK;
}

static int run(const cli_args *args) {
    hone_error err = {.offset = -1};
    cli_subject s;
    profile p = {.n = 0};
    const char *path = args->files.item[0];
    if (cli_subject_open(&s, args, path, args->level, &err) != HONE_OK)
        return cli_fail(&err, path);
    hone_status status = cli_subject_make_inputs(&s, args, &err);
    if (status == HONE_OK)
        status = record(&s, args, &p, &err);
    if (status == HONE_OK && args->trace)
        status = write_trace(&s, args->trace, &p, &err);
    if (status == HONE_OK)
        status = print(&s, args, &p, &err);
    cli_subject_close(&s);
    free(p.rows);
    free(p.top);
    return status == HONE_OK ? CLI_DONE : cli_fail(&err, path);
}

static const cli_option options[] = {
    CLI_OPTION_THREADS,
    CLI_OPTION("--runs", "N", CLI_INT, runs, "how many runs to average (default 10)"),
    CLI_OPTION("--trace", "FILE.json", CLI_TEXT, trace,
               "write one run as Chrome trace events (for ui.perfetto.dev)"),
    CLI_OPTION_LEVEL,
    CLI_OPTION_INPUT,
    CLI_OPTION_SHAPE,
    CLI_OPTION_SIGNATURE,
    CLI_OPTION_SEED,
    CLI_OPTION_BUILD,
    CLI_OPTION_JSON,
    CLI_OPTION_END,
};

const cli_verb cli_profile = {
    .name = "profile",
    .usage = "hone profile MODEL|FILE.hone [--runs N] [--trace FILE.json] [--json]",
    .what = "show where the time goes, node by node\n\n"
            "Times are means over the runs; a node's time does not include the nodes of its\n"
            "subgraphs. GFLOP/s counts a multiply-accumulate as two operations; 'of peak' is\n"
            "relative to the FP32 multiply-adds that this machine was just measured to do on as\n"
            "many threads, so that Winograd convolutions may exceed 100 %. 'origin' names the\n"
            "model's nodes that a fused node stands for.",
    .examples = "  hone profile model.onnx --threads 1\n"
                "  hone profile model.hone --trace run.json\n"
                "  hone profile model.onnx --level 0 --json\n",
    .options = options,
    .min_files = 1,
    .max_files = 1,
    .run = run,
};
