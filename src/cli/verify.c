#include "cli/verify.h"

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
        status = cli_subject_make_inputs(&a, &plain, err);
    if (status == HONE_OK)
        status = cli_compare_runs(&a, &b, &pair->rules, c, err);
    if (status == HONE_OK)
        status = judge(pair, c, err);
    cli_subject_close(&a);
    cli_subject_close(&b);
    return status;
}
