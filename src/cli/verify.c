#include "cli/verify.h"

#include <string.h>

/* ---- quantised models -------------------------------------------------------------------------
 */

static bool is_one_of(const hone_node *n, const char *const *names) {
    for (; n && *names; ++names) {
        if (strcmp(n->op_name, *names) == 0)
            return true;
    }
    return false;
}

/* What a softmax at the end, or what only moves or rescales, reads; NULL: v is made otherwise. */
static const hone_value *source_of(const hone_value *v) {
    static const char *const passed[] = {"Softmax",  "LogSoftmax",       "QSoftmax",
                                         "Reshape",  "Transpose",        "Identity",
                                         "QRescale", "DequantizeLinear", NULL};
    static const char *const softmax[] = {"Softmax", "LogSoftmax", NULL};
    const hone_node *n = v->producer;
    bool is_after_softmax =
        n && strcmp(n->op_name, "QuantizeLinear") == 0 && is_one_of(n->in[0]->producer, softmax);
    return is_after_softmax || is_one_of(n, passed) ? n->in[0] : NULL;
}

static const cli_compared *find_row(const cli_comparison *c, const char *name, bool is_output) {
    for (int i = 0; i < c->n; ++i) {
        const cli_compared *row = &c->rows[i];
        if (row->is_compared && row->is_output == is_output && strcmp(row->name, name) == 0)
            return row;
    }
    return NULL;
}

/* The integers that an output is made of, as far back as both models have them. NULL: the output's
 * own row counts. */
static const cli_compared *find_integers(const cli_comparison *c, const hone_value *v) {
    const cli_compared *found = NULL;
    for (bool is_output = true; v; v = source_of(v), is_output = false) {
        const cli_compared *row = find_row(c, v->name, is_output);
        if (row && hone_dtype_in(v->type.dtype, HONE_T(I8) | HONE_T(U8) | HONE_T(I16)))
            found = row;
    }
    return found;
}

/* Count the outputs beyond tolerance anew, by the integers that they are made of. */
static void count_steps(const hone_graph *g, cli_comparison *c) {
    c->n_outputs_beyond = 0;
    for (int i = 0; i < g->n_outputs; ++i) {
        const cli_compared *integers = find_integers(c, g->outputs[i]);
        const cli_compared *row = integers ? integers : find_row(c, g->outputs[i]->name, true);
        if (integers && integers->diff.max_abs > c->steps)
            c->steps = integers->diff.max_abs;
        c->has_steps |= integers != NULL;
        c->n_outputs_beyond += row && !row->diff.is_alike;
    }
}

static hone_status judge(const cli_pair *pair, const cli_comparison *c, hone_error *err) {
    if (c->n_outputs_beyond == 0)
        return HONE_OK;
    char text[256];
    cli_describe_difference(&c->first->diff, text, sizeof text);
    return hone_fail(err, HONE_E_MISMATCH,
                     "the %s graph computes other results, nothing was written; the first "
                     "tensor that differs is '%.120s': %.250s. %s",
                     pair->what, c->first->name, text, pair->cure);
}

hone_status cli_verify(const cli_args *args, const cli_pair *pair, cli_comparison *c,
                       hone_error *err) {
    cli_subject a = {0}, b = {0};
    cli_args plain = *args; /* the passes were for the one graph only */
    plain.passes = NULL;
    plain.stop_at = -1;
    cli_args plain_after = plain;
    plain_after.shapes = pair->shapes_after;
    hone_status status =
        cli_subject_from_model(&a, &plain, pair->before, pair->path_before, 0, err);
    if (status == HONE_OK)
        status = cli_subject_from_model(&b, &plain_after, pair->after, pair->path_after, 0, err);
    if (status == HONE_OK)
        status = pair->inputs ? cli_subject_take_inputs(&a, pair->inputs, err)
                              : cli_subject_make_inputs(&a, &plain, err);
    if (status == HONE_OK)
        status = cli_compare_runs(&a, &b, &pair->rules, c, err);
    if (status == HONE_OK && pair->rules.steps > 0)
        count_steps(pair->before->graph, c);
    if (status == HONE_OK)
        status = judge(pair, c, err);
    cli_subject_close(&a);
    cli_subject_close(&b);
    return status;
}
