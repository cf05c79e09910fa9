/* Sizes for dims that a model leaves open: many models run only with some. */
#include <string.h>

#include "cli/subject.h"

static const int64_t sizes[] = {2, 8, 16, 32, 64, 96, 128, 224, 256, 320, 512, 640, 1024};
enum { N_SIZES = sizeof sizes / sizeof sizes[0] };
#define SEARCH_SECONDS 10.0

/* A session that has not run yet, with the inputs of the guess. */
static hone_status renew(cli_subject *s, const cli_args *args, hone_error *err) {
    cli_subject_drop_inputs(s);
    hone_session_destroy(s->session);
    s->session = NULL;
    HONE_TRY(hone_session_create(s->engine, args->threads, &s->session, err));
    return cli_subject_set_inputs(s, args, CLI_FILL_RANDOM, err);
}

static bool works(cli_subject *s, const cli_args *args, const char *dim, int64_t size) {
    snprintf(s->guess.dim, sizeof s->guess.dim, "%s", dim);
    s->guess.size = size;
    return cli_subject_set_inputs(s, args, CLI_FILL_RANDOM, NULL) == HONE_OK &&
           hone_session_run(s->session, NULL) == HONE_OK;
}

/* One open dim at a time, then all of them; smaller sizes first. */
static bool search(cli_subject *s, const cli_args *args) {
    cli_open_dims open = s->open;
    cli_progress progress;
    int64_t start = cli_now_ns();
    bool found = false, is_late = false;
    cli_progress_start(&progress);
    for (int i = 0; i < N_SIZES && !found && !is_late; ++i) {
        for (int k = 0; k <= open.n && !found && !is_late; ++k) {
            found = works(s, args, k < open.n ? open.dim[k] : CLI_ALL_DIMS, sizes[i]);
            is_late = (double)(cli_now_ns() - start) * 1e-9 > SEARCH_SECONDS;
        }
        cli_progress_show(&progress, (double)i / N_SIZES, "trying sizes");
    }
    cli_progress_end(&progress);
    return found;
}

static void say_shapes(const cli_subject *s) {
    for (int i = 0; i < s->n_inputs; ++i) {
        hone_io_info io;
        char type[200];
        if (hone_engine_input(s->engine, i, &io) && s->inputs[i].kind == HONE_KIND_TENSOR)
            cli_note("made-up shape: %s is %s", io.name,
                     hone_tensor_describe(&s->inputs[i], type, sizeof type));
    }
}

hone_status cli_subject_make_inputs(cli_subject *s, const cli_args *args, hone_error *err) {
    HONE_TRY(cli_subject_set_inputs(s, args, CLI_FILL_RANDOM, err));
    if (s->open.n == 0)
        return HONE_OK;
    hone_status status = hone_session_run(s->session, err);
    if (status == HONE_E_NOMEM)
        return status;
    if (status != HONE_OK && !search(s, args)) {
        cli_note("dims that the model leaves open were taken as 1, then as other sizes, and none "
                 "works: --shape NAME=1x... gives the right ones");
        return status;
    }
    HONE_TRY(renew(s, args, err));
    if (status != HONE_OK)
        say_shapes(s);
    return HONE_OK;
}
