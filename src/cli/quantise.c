#include "cli/quantise.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "cli/samples.h"

/* ---- engines of graphs ------------------------------------------------------------------------
 */

/* The graph as it is, by fast kernels. `model` is what it was made of: its file is mapped. */
static hone_status open_graph(cli_subject *s, const cli_args *args, const hone_model *model,
                              hone_graph *g, hone_error *err) {
    hone_model made = *model;
    cli_args plain = *args;
    made.graph = g;
    plain.passes = "";
    return cli_subject_from_model(s, &plain, &made, args->files.item[0], 2, err);
}

/* ---- observing --------------------------------------------------------------------------------
 */

static hone_status no_memory(hone_error *err) {
    return hone_fail(err, HONE_E_NOMEM, "no memory to calibrate");
}

typedef struct watcher {
    hone_ranges ranges;
    cli_quantised *out;
} watcher;

static hone_status keep_sample(cli_quantised *q, const hone_tensor *inputs, int n,
                               hone_error *err) {
    q->sample = HONE_NEW_ARRAY(&q->arena, hone_tensor, n + 1);
    if (!q->sample)
        return no_memory(err);
    for (; q->n_inputs < n; ++q->n_inputs) {
        const hone_tensor *from = &inputs[q->n_inputs];
        if (from->kind != HONE_KIND_NONE)
            HONE_TRY(hone_tensor_copy(NULL, &q->sample[q->n_inputs], from, err));
    }
    return HONE_OK;
}

static hone_status observe(void *arg, cli_subject *s, const hone_tensor *inputs, hone_error *err) {
    watcher *w = arg;
    hone_ranges *ranges = &w->ranges;
    hone_io_info io;
    if (!w->out->sample)
        HONE_TRY(keep_sample(w->out, inputs, s->n_inputs, err));
    HONE_TRY(cli_subject_run(s, err));
    for (int i = 0; hone_engine_input(s->engine, i, &io); ++i) {
        if (!hone_observe(ranges, io.name, &inputs[i]))
            return no_memory(err);
    }
    for (int i = 0; hone_engine_output(s->engine, i, &io); ++i) {
        if (!hone_observe(ranges, io.name, hone_session_output(s->session, i)))
            return no_memory(err);
    }
    return HONE_OK;
}

static hone_status calibrate(const cli_args *args, const hone_model *model, const hone_graph *g,
                             watcher *w, hone_error *err) {
    cli_subject s = {0};
    hone_graph *all = hone_graph_clone(g);
    hone_status status = HONE_OK;
    if (!all || !hone_observe_outputs(all) || hone_graph_index(all) != HONE_OK)
        status = no_memory(err);
    if (status == HONE_OK)
        status = open_graph(&s, args, model, all, err);
    if (status == HONE_OK)
        status = cli_each_sample(args, &s, observe, w, &w->out->n_samples, err);
    cli_subject_close(&s);
    hone_graph_destroy(all);
    return status;
}

/* ---- what it costs ----------------------------------------------------------------------------
 */

typedef struct meter {
    cli_subject after;
    cli_quantised *out;
} meter;

double cli_mean_error(const cli_loss *loss) {
    return loss->n ? loss->sum_error / (double)loss->n : 0;
}

static cli_loss *find_loss(const cli_quantised *q, const char *name) {
    for (int i = 0; i < q->n_loss; ++i) {
        if (strcmp(q->loss[i].name, name) == 0)
            return &q->loss[i];
    }
    return NULL;
}

const cli_loss *cli_loss_of(const cli_quantised *q, const char *name) {
    return find_loss(q, name);
}

static int64_t largest_of(const float *v, int64_t n) {
    int64_t at = 0;
    for (int64_t i = 1; i < n; ++i)
        at = v[i] > v[at] ? i : at;
    return at;
}

static void compare(cli_loss *loss, const hone_tensor *a, const hone_tensor *b) {
    int64_t n = hone_tensor_count(a), columns = a->rank == 2 ? a->dims[1] : 0;
    const float *x = a->data, *y = b->data;
    for (int64_t i = 0; i < n; ++i) {
        double error = fabs((double)x[i] - (double)y[i]);
        loss->largest = fmax(loss->largest, fabs((double)x[i]));
        loss->max_error = fmax(loss->max_error, error);
        loss->sum_error += error;
        loss->sum_square += (double)x[i] * (double)x[i];
        loss->sum_square_error += error * error;
    }
    loss->n += n;
    for (int64_t i = 0; columns > 1 && i < n; i += columns) {
        ++loss->n_rows;
        loss->n_same += largest_of(x + i, columns) == largest_of(y + i, columns);
    }
}

/* The same inputs through both graphs. */
static hone_status measure(void *arg, cli_subject *before, const hone_tensor *inputs,
                           hone_error *err) {
    meter *m = arg;
    hone_io_info io;
    for (int i = 0; hone_engine_input(before->engine, i, &io); ++i) {
        int at = hone_engine_input_index(m->after.engine, io.name);
        if (at >= 0 && inputs[i].kind != HONE_KIND_NONE)
            HONE_TRY(hone_session_set_input(m->after.session, at, &inputs[i], err));
    }
    HONE_TRY(cli_subject_run(before, err));
    HONE_TRY(cli_subject_run(&m->after, err));
    for (int i = 0; hone_engine_output(before->engine, i, &io); ++i) {
        int at = hone_engine_output_index(m->after.engine, io.name);
        const hone_tensor *a = hone_session_output(before->session, i);
        const hone_tensor *b = at < 0 ? NULL : hone_session_output(m->after.session, at);
        cli_loss *loss = find_loss(m->out, io.name);
        if (loss && a && b && a->dtype == HONE_DTYPE_F32 && b->dtype == HONE_DTYPE_F32 &&
            hone_same_dims(a, b))
            compare(loss, a, b);
    }
    return HONE_OK;
}

static bool list_outputs(cli_quantised *q, const hone_graph *g) {
    q->loss = HONE_NEW_ARRAY(&q->arena, cli_loss, g->n_outputs + 1);
    for (int i = 0; q->loss && i < g->n_outputs; ++i) {
        const hone_value *v = g->outputs[i];
        if (v->type.dtype == HONE_DTYPE_F32)
            q->loss[q->n_loss++] =
                (cli_loss){.name = hone_arena_strdup(&q->arena, v->name, strlen(v->name))};
    }
    for (int i = 0; i < q->n_loss; ++i) {
        if (!q->loss[i].name)
            return false;
    }
    return q->loss != NULL;
}

static hone_status measure_loss(const cli_args *args, const hone_model *model, hone_graph *before,
                                const hone_graph *after, cli_quantised *q, hone_error *err) {
    meter m = {.out = q};
    cli_subject s = {0};
    int n;
    hone_graph *floats = hone_graph_clone(after);
    hone_status status = floats && list_outputs(q, before) ? HONE_OK : no_memory(err);
    if (status == HONE_OK)
        status = hone_quant_unpack(floats, err);
    if (status == HONE_OK)
        status = open_graph(&m.after, args, model, floats, err);
    if (status == HONE_OK)
        status = open_graph(&s, args, model, before, err);
    if (status == HONE_OK)
        status = cli_each_sample(args, &s, measure, &m, &n, err);
    cli_subject_close(&s);
    cli_subject_close(&m.after);
    hone_graph_destroy(floats);
    return status;
}

/* ---- the flow ---------------------------------------------------------------------------------
 */

static bool has_random(const cli_args *args) {
    for (int i = 0; i < args->calibrate.n; ++i) {
        if (strcmp(args->calibrate.item[i], "random") == 0)
            return true;
    }
    return false;
}

static void drop_sample(cli_quantised *q) {
    for (int i = 0; i < q->n_inputs; ++i)
        hone_tensor_release(&q->sample[i]);
    q->sample = NULL;
    q->n_inputs = 0;
}

hone_status cli_quantise(const cli_args *args, const hone_model *model, hone_graph *g,
                         hone_findings *findings, cli_quantised *out, hone_error *err) {
    watcher w = {.out = out};
    hone_graph *before = hone_graph_clone(g);
    *out = (cli_quantised){0};
    hone_arena_init(&out->arena, 0);
    hone_arena_init(&w.ranges.arena, 0);
    if (has_random(args))
        cli_note("calibrated on random inputs: ranges are not those of real data, and neither is "
                 "the error; good for timing only");
    hone_status status = before ? HONE_OK : no_memory(err);
    if (status == HONE_OK)
        status = calibrate(args, model, g, &w, err);
    if (status == HONE_OK)
        status = hone_quant_insert(g, &w.ranges, findings, &out->count, err);
    if (status == HONE_OK)
        status = measure_loss(args, model, before, g, out, err);
    if (status == HONE_OK && args->int8_io)
        status = hone_quant_integer_io(g, err);
    if (args->int8_io)
        drop_sample(out);
    hone_arena_deinit(&w.ranges.arena);
    hone_graph_destroy(before);
    return status;
}

void cli_quantised_free(cli_quantised *q) {
    drop_sample(q);
    hone_arena_deinit(&q->arena);
    *q = (cli_quantised){0};
}

/* ---- reports ----------------------------------------------------------------------------------
 */

/* Signal to noise, in dB; of an output without error the most that a double tells. */
static double sqnr(const cli_loss *x) {
    return x->sum_square_error > 0 ? 10 * log10(x->sum_square / x->sum_square_error) : 300;
}

void cli_quantised_print(const cli_quantised *q, FILE *to) {
    fprintf(to, "%d operators on integers, %d on floats; int8 beside float (runs: %d):\n",
            q->count.n_integer, q->count.n_float, q->n_samples);
    cli_table *t = cli_table_create("output|>largest|>max error|>mean error|>SQNR|>same class");
    for (int i = 0; i < q->n_loss; ++i) {
        const cli_loss *x = &q->loss[i];
        cli_cell(t, "%s", cli_name(x->name));
        cli_cell(t, "%.4g", x->largest);
        cli_cell(t, "%.3g", x->max_error);
        cli_cell(t, "%.3g", cli_mean_error(x));
        cli_cell(t, "%.1f dB", sqnr(x));
        if (x->n_rows)
            cli_cell(t, "%" PRId64 " of %" PRId64, x->n_same, x->n_rows);
        else
            cli_cell(t, "-");
    }
    cli_table_print(t, to);
}

void cli_quantised_json(const cli_quantised *q, cli_json *j) {
    cli_json_open(j, "int8", '{');
    cli_json_int(j, "samples", q->n_samples);
    cli_json_int(j, "nodes_on_integers", q->count.n_integer);
    cli_json_int(j, "nodes_on_floats", q->count.n_float);
    cli_json_open(j, "outputs", '[');
    for (int i = 0; i < q->n_loss; ++i) {
        const cli_loss *x = &q->loss[i];
        cli_json_open(j, NULL, '{');
        cli_json_text(j, "name", x->name);
        cli_json_number(j, "largest", x->largest);
        cli_json_number(j, "max_error", x->max_error);
        cli_json_number(j, "mean_error", cli_mean_error(x));
        cli_json_number(j, "sqnr_db", sqnr(x));
        cli_json_int(j, "rows", x->n_rows);
        cli_json_int(j, "same_class", x->n_same);
        cli_json_close(j, '}');
    }
    cli_json_close(j, ']');
    cli_json_close(j, '}');
}
