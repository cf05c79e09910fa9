#include "cli/compare.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/names.h"

/* ---- two tensors ------------------------------------------------------------------------------
 */

static double part(const hone_tensor *t, int64_t i) {
    if (t->dtype == HONE_DTYPE_C64)
        return (double)((const float *)t->data)[i];
    if (t->dtype == HONE_DTYPE_C128)
        return ((const double *)t->data)[i];
    return hone_load_f64(t->dtype, t->data, i);
}

static void compare_strings(const hone_tensor *a, const hone_tensor *b, cli_difference *d) {
    const hone_string *x = a->data, *y = b->data;
    for (int64_t i = 0; i < d->n; ++i) {
        if (!hone_string_equal(x[i], y[i])) {
            d->worst = d->n_beyond++ ? d->worst : i;
            d->max_abs = INFINITY;
        }
    }
}

static double largest(const hone_tensor *t, int64_t n) {
    double max = 0;
    for (int64_t i = 0; i < n; ++i) {
        double v = fabs(part(t, i));
        max = v > max && isfinite(v) ? v : max;
    }
    return max;
}

/* Infinite when one is finite and the other is not, or infinities differ. */
static double error_of(double x, double y) {
    if (isnan(x) && isnan(y))
        return 0;
    if (x == y)
        return 0;
    double e = fabs(x - y);
    return isnan(e) ? INFINITY : e;
}

static bool is_stepped(const hone_tensor *t, const cli_rules *rules) {
    return rules->steps > 0 && hone_dtype_in(t->dtype, HONE_T(I8) | HONE_T(U8) | HONE_T(I16));
}

static double lowest(const hone_tensor *t) {
    return t->dtype == HONE_DTYPE_U8 ? 0 : t->dtype == HONE_DTYPE_I8 ? INT8_MIN : INT16_MIN;
}

static bool have_one_type(const hone_tensor *a, const hone_tensor *b, const cli_rules *rules) {
    bool are_bytes = hone_dtype_bits(a->dtype) == 8 && hone_dtype_bits(b->dtype) == 8;
    return a->dtype == b->dtype || (is_stepped(a, rules) && is_stepped(b, rules) && are_bytes);
}

static void compare_numbers(const hone_tensor *a, const hone_tensor *b, const cli_rules *rules,
                            cli_difference *d) {
    bool is_complex = hone_dtype_in(a->dtype, HONE_T_COMPLEX), has_steps = is_stepped(a, rules);
    int64_t n = is_complex ? 2 * d->n : d->n;
    double scale = largest(a, n), sum = 0, rtol = has_steps ? 0 : rules->rtol;
    double lead = has_steps ? lowest(a) - lowest(b) : 0;
    double floor = rules->atol * (scale > 1 || rules->has_any_scale ? scale : 1);
    floor = has_steps ? rules->steps : floor;
    for (int64_t i = 0; i < n; ++i) {
        double x = part(a, i), y = part(b, i) + lead, e = error_of(x, y);
        double rel = x != 0 ? e / fabs(x) : e > 0 ? INFINITY : 0;
        if (e > d->max_abs) {
            d->max_abs = e;
            d->worst = is_complex ? i / 2 : i;
        }
        d->max_rel = rel > d->max_rel ? rel : d->max_rel;
        sum += e;
        bool is_within = isfinite(x) ? e <= floor + rtol * fabs(x) : e == 0;
        d->n_beyond += !is_within; /* NaN in both is alike */
    }
    d->mean_abs = n ? sum / (double)n : 0;
    if (has_steps && d->mean_abs > rules->mean_steps)
        d->n_beyond = n; /* none may be far off, but all are */
}

static void compare_elements(const hone_tensor *a, const hone_tensor *b, const cli_rules *rules,
                             cli_difference *out) {
    int64_t n = a->kind == HONE_KIND_MAP ? 2 : a->dims[0];
    for (int64_t i = 0; i < n; ++i) {
        cli_difference d;
        cli_compare(hone_seq_at(a, i), hone_seq_at(b, i), rules, &d);
        if (d.max_abs >= out->max_abs)
            out->max_abs = d.max_abs;
        out->max_rel = d.max_rel > out->max_rel ? d.max_rel : out->max_rel;
        out->n += d.n;
        out->n_beyond += d.n_beyond;
        if (!d.is_alike && d.why[0])
            snprintf(out->why, sizeof out->why, "element %" PRId64 ": %.120s", i, d.why);
    }
}

void cli_compare(const hone_tensor *a, const hone_tensor *b, const cli_rules *rules,
                 cli_difference *out) {
    *out = (cli_difference){.is_alike = false};
    bool is_sequence = a->kind == HONE_KIND_SEQUENCE;
    if (a->kind != b->kind || (is_sequence && a->dims[0] != b->dims[0]) ||
        (a->kind == HONE_KIND_TENSOR && (!have_one_type(a, b, rules) || !hone_same_dims(a, b)))) {
        char x[80], y[80];
        snprintf(out->why, sizeof out->why, "%s against %s", hone_tensor_describe(a, x, sizeof x),
                 hone_tensor_describe(b, y, sizeof y));
        return;
    }
    if (a->kind == HONE_KIND_TENSOR) {
        out->n = hone_tensor_count(a);
        if (a->dtype == HONE_DTYPE_STRING)
            compare_strings(a, b, out);
        else
            compare_numbers(a, b, rules, out);
    } else if (a->kind != HONE_KIND_NONE) {
        compare_elements(a, b, rules, out);
    }
    out->is_alike = out->n_beyond == 0 && !out->why[0];
}

void cli_describe_difference(const cli_difference *d, char *buf, size_t size) {
    if (d->why[0])
        snprintf(buf, size, "%s", d->why);
    else
        snprintf(buf, size,
                 "max abs %.3g, max rel %.3g, mean abs %.3g, %" PRId64 " of %" PRId64
                 " elements beyond tolerance",
                 d->max_abs, d->max_rel, d->mean_abs, d->n_beyond, d->n);
}

/* ---- layouts ----------------------------------------------------------------------------------
 */

/* out: t with dim 1 moved to the end, in storage of its own. The rank is 3 or more. */
static hone_status move_channels(const hone_tensor *t, hone_tensor *out, hone_error *err) {
    *out = (hone_tensor){.kind = t->kind, .dtype = t->dtype, .rank = t->rank};
    for (int d = 0; d < t->rank; ++d)
        out->dims[d] = t->dims[d == 0 ? 0 : d == t->rank - 1 ? 1 : d + 1];
    HONE_TRY(hone_tensor_alloc(NULL, out, err));
    size_t size = hone_dtype_bytes(t->dtype, 1);
    int64_t channels = t->dims[1], n = hone_dims_count(t->dims, 2, t->rank);
    const uint8_t *from = t->data;
    uint8_t *to = out->data;
    for (int64_t i = 0; i < t->dims[0] * channels; ++i) {
        int64_t image = i / channels, c = i % channels;
        for (int64_t k = 0; k < n; ++k, from += size)
            memcpy(to + (size_t)((image * n + k) * channels + c) * size, from, size);
    }
    return HONE_OK;
}

static bool can_move(const hone_tensor *t, int min_rank, int max_rank) {
    return t->kind == HONE_KIND_TENSOR && t->rank >= min_rank && t->rank <= max_rank &&
           t->dtype != HONE_DTYPE_STRING && hone_dtype_bits(t->dtype) >= 8;
}

static hone_status compare_moved(const hone_tensor *a, const hone_tensor *b, const cli_rules *rules,
                                 cli_difference *out, hone_error *err) {
    hone_tensor moved;
    HONE_TRY(move_channels(a, &moved, err));
    cli_compare(&moved, b, rules, out);
    hone_tensor_release(&moved);
    return HONE_OK;
}

/* ---- two runs ---------------------------------------------------------------------------------
 */

typedef struct recorder {
    cli_comparison *c;
    hone_names rows; /* name -> index + 1 */
    const cli_rules *rules;
    cli_progress progress;
    int n_seen, n_expected; /* values computed, nodes of both graphs */
    hone_status status;
    hone_error *err;
} recorder;

static void show_progress(recorder *r) {
    double fraction = (double)++r->n_seen / (r->n_expected + 1);
    cli_progress_show(&r->progress, fraction < 1 ? fraction : 1, "comparing");
}

static void drop_tensor(void *t) {
    hone_tensor_release(t);
}

static cli_compared *add_row(recorder *r, const char *name, const hone_tensor *value) {
    cli_comparison *c = r->c;
    cli_compared *row = HONE_NEW(&c->arena, cli_compared);
    hone_tensor *kept = HONE_NEW(&c->arena, hone_tensor);
    char *copy = hone_arena_strdup(&c->arena, name, strlen(name));
    if (!row || !kept || !copy || !hone_arena_defer(&c->arena, drop_tensor, kept)) {
        r->status = hone_fail(r->err, HONE_E_NOMEM, "no memory to keep intermediate tensors");
        return NULL;
    }
    r->status = hone_tensor_copy(NULL, kept, value, r->err);
    *row = (cli_compared){.name = copy, .kept = kept};
    hone_tensor_describe(value, row->type, sizeof row->type);
    return row;
}

/* A body that runs many times computes a name many times: the first one counts. */
static void record(void *arg, const char *name, const hone_tensor *value) {
    recorder *r = arg;
    show_progress(r);
    if (r->status != HONE_OK || !value || hone_names_get(&r->rows, hone_text(name)))
        return;
    cli_compared *row = add_row(r, name, value);
    cli_comparison *c = r->c;
    /* Rows move as the list grows: the map has indices, from 1 on. */
    if (row && r->status == HONE_OK &&
        (!HONE_PUSH(&c->arena, c->rows, c->n, c->cap, *row) ||
         !hone_names_put(&r->rows, hone_text(row->name), (void *)(intptr_t)c->n)))
        r->status = hone_fail(r->err, HONE_E_NOMEM, "no memory to keep intermediate tensors");
}

static cli_compared *find_row(const recorder *r, const char *name) {
    intptr_t at = (intptr_t)hone_names_get(&r->rows, hone_text(name));
    return at > 0 ? &r->c->rows[at - 1] : NULL;
}

static void compare_row(recorder *r, cli_compared *row, const hone_tensor *value) {
    const cli_rules *rules = r->rules;
    cli_difference moved;
    cli_compare(row->kept, value, rules, &row->diff);
    bool may_move = rules->has_moved_inside && !row->diff.is_alike;
    if (may_move && can_move(row->kept, 3, HONE_MAX_RANK)) {
        r->status = compare_moved(row->kept, value, rules, &moved, r->err);
        if (r->status == HONE_OK && (row->diff.why[0] || moved.is_alike))
            row->diff = moved;
    }
    row->is_compared = !(may_move && row->diff.why[0]);
    hone_tensor_release((hone_tensor *)row->kept);
}

static void check(void *arg, const char *name, const hone_tensor *value) {
    recorder *r = arg;
    show_progress(r);
    cli_compared *row = find_row(r, name);
    if (row && value && row->kept->kind != HONE_KIND_NONE && r->status == HONE_OK)
        compare_row(r, row, value);
}

/* B's input i becomes A's input `from`. What is moved for it belongs to B. */
static hone_status share_input(const cli_subject *a, int from, cli_subject *b, int i,
                               const cli_rules *rules, hone_error *err) {
    const hone_tensor *value = &a->inputs[from];
    if (rules->has_moved_io && can_move(value, 4, 4)) {
        HONE_TRY(move_channels(value, &b->inputs[i], err));
        value = &b->inputs[i];
    }
    return hone_session_set_input(b->session, i, value, err);
}

static hone_status share_inputs(const cli_subject *a, cli_subject *b, const cli_rules *rules,
                                hone_error *err) {
    hone_io_info io;
    cli_subject_drop_inputs(b);
    b->inputs = calloc((size_t)hone_engine_input_count(b->engine) + 1, sizeof *b->inputs);
    if (!b->inputs)
        return hone_fail(err, HONE_E_NOMEM, "no memory for inputs");
    b->n_inputs = hone_engine_input_count(b->engine);
    for (int i = 0; hone_engine_input(b->engine, i, &io); ++i) {
        int from = hone_engine_input_index(a->engine, io.name);
        if (from < 0 && !io.is_optional)
            return hone_fail(err, HONE_E_ARGUMENT, "%s has an input '%s' that %s lacks", b->path,
                             io.name, a->path);
        if (from >= 0 && a->inputs[from].kind != HONE_KIND_NONE)
            HONE_TRY(share_input(a, from, b, i, rules, err));
    }
    return HONE_OK;
}

/* Outputs count by name, or by position when the names differ. */
static hone_status compare_outputs(recorder *r, const cli_subject *a, const cli_subject *b) {
    hone_io_info io;
    cli_comparison *c = r->c;
    for (int i = 0; hone_engine_output(a->engine, i, &io); ++i) {
        int other = hone_engine_output_index(b->engine, io.name);
        const hone_tensor *x = hone_session_output(a->session, i);
        const hone_tensor *y = hone_session_output(b->session, other >= 0 ? other : i);
        if (!x || !y)
            return hone_fail(r->err, HONE_E_MISMATCH, "output %s is missing in %s", io.name,
                             b->path);
        cli_compared row = {.name = io.name, .is_output = true, .is_compared = true};
        hone_tensor_describe(x, row.type, sizeof row.type);
        if (r->rules->has_moved_io && can_move(x, 4, 4))
            HONE_TRY(compare_moved(x, y, r->rules, &row.diff, r->err));
        else
            cli_compare(x, y, r->rules, &row.diff);
        if (!HONE_PUSH(&c->arena, c->rows, c->n, c->cap, row))
            return hone_fail(r->err, HONE_E_NOMEM, "no memory for the comparison");
    }
    return HONE_OK;
}

static void count_rows(cli_comparison *c) {
    for (int i = 0; i < c->n; ++i) {
        const cli_compared *row = &c->rows[i];
        bool is_beyond = row->is_compared && !row->diff.is_alike;
        c->n_compared += row->is_compared;
        c->n_beyond += is_beyond;
        c->n_outputs_beyond += is_beyond && row->is_output;
        if (is_beyond && !c->first)
            c->first = row;
    }
}

static hone_status run_watched(cli_subject *s, hone_watch_fn watch, recorder *r) {
    hone_session_set_watch(s->session, watch, r);
    hone_status status = hone_session_run(s->session, r->err);
    hone_session_set_watch(s->session, NULL, NULL);
    return status != HONE_OK ? status : r->status;
}

hone_status cli_compare_runs(cli_subject *a, cli_subject *b, const cli_rules *rules,
                             cli_comparison *out, hone_error *err) {
    *out = (cli_comparison){.n = 0};
    hone_arena_init(&out->arena, 0);
    recorder r = {.c = out, .rows = {.arena = &out->arena}, .rules = rules, .err = err};
    HONE_TRY(share_inputs(a, b, rules, err));
    r.n_expected = a->engine->graph->n_nodes + b->engine->graph->n_nodes;
    cli_progress_start(&r.progress);
    hone_status status = run_watched(a, record, &r);
    if (status == HONE_OK)
        status = run_watched(b, check, &r);
    cli_progress_end(&r.progress);
    HONE_TRY(status);
    HONE_TRY(compare_outputs(&r, a, b));
    count_rows(out);
    return HONE_OK;
}

void cli_comparison_free(cli_comparison *c) {
    hone_arena_deinit(&c->arena);
    *c = (cli_comparison){.n = 0};
}

double cli_worst_output(const cli_comparison *c) {
    double worst = 0;
    for (int i = 0; i < c->n; ++i) {
        if (c->rows[i].is_output && c->rows[i].diff.max_abs > worst)
            worst = c->rows[i].diff.max_abs;
    }
    return worst;
}
