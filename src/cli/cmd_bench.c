/* hone bench: latency distribution and throughput. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cli/explain.h"
#include "cli/options_def.h"
#include "cli/subject.h"

typedef struct timing {
    double *ms; /* sorted once done */
    size_t n, cap;
    double first_ms, total_ms;
} timing;

static hone_status timed_run(hone_session *s, double *ms, hone_error *err) {
    int64_t start = cli_now_ns();
    hone_status status = hone_session_run(s, err);
    *ms = (double)(cli_now_ns() - start) * 1e-6;
    return status;
}

static bool keep(timing *t, double ms) {
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 1024;
        double *grown = realloc(t->ms, cap * sizeof *grown);
        if (!grown)
            return false;
        t->ms = grown;
        t->cap = cap;
    }
    t->ms[t->n++] = ms;
    t->total_ms += ms;
    return true;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Warm-up: a tenth of the time, twice at least. */
static hone_status warm_up(hone_session *s, timing *t, double seconds, hone_error *err) {
    double ms, total = 0;
    HONE_TRY(timed_run(s, &t->first_ms, err));
    for (int i = 0; i < 2 || total < seconds * 100; ++i) {
        HONE_TRY(timed_run(s, &ms, err));
        total += ms;
    }
    return HONE_OK;
}

static hone_status measure(hone_session *s, timing *t, double seconds, hone_error *err) {
    cli_progress progress;
    HONE_TRY(warm_up(s, t, seconds, err));
    cli_progress_start(&progress);
    int64_t start = cli_now_ns(), shown = start;
    double passed = 0;
    do {
        double ms;
        HONE_TRY(timed_run(s, &ms, err));
        if (!keep(t, ms))
            return hone_fail(err, HONE_E_NOMEM, "no memory for measurements");
        int64_t now = cli_now_ns();
        passed = (double)(now - start) * 1e-9;
        if (now - shown > 100000000) { /* ten times a second, outside of what is timed */
            cli_progress_show(&progress, passed / seconds, "measuring");
            shown = now;
        }
    } while (passed < seconds);
    cli_progress_end(&progress);
    qsort(t->ms, t->n, sizeof *t->ms, by_value);
    return HONE_OK;
}

/* Nearest rank. */
static double percentile(const timing *t, double p) {
    size_t rank = (size_t)ceil(p * (double)t->n / 100.0);
    return t->ms[rank > 0 ? rank - 1 : 0];
}

static long long peak_rss_bytes(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_maxrss * 1024LL : 0;
}

typedef struct fact {
    const char *key, *label;
    double value;
    char unit; /* m: milliseconds, b: bytes, n: a number */
} fact;

static void print_facts(const cli_subject *s, const timing *t, const cli_args *args) {
    double mean = t->total_ms / (double)t->n;
    const fact facts[] = {
        {"p50_ms", "latency p50", percentile(t, 50), 'm'},
        {"p90_ms", "latency p90", percentile(t, 90), 'm'},
        {"p99_ms", "latency p99", percentile(t, 99), 'm'},
        {"mean_ms", "latency mean", mean, 'm'},
        {"min_ms", "latency min", t->ms[0], 'm'},
        {"max_ms", "latency max", t->ms[t->n - 1], 'm'},
        {"throughput_per_s", "runs per second", 1000.0 / mean, 'n'},
        {"runs", "runs measured", (double)t->n, 'i'},
        {"load_ms", "load and build", s->load_ms, 'm'},
        {"first_run_ms", "first run", t->first_ms, 'm'},
        {"peak_rss_bytes", "peak memory", (double)peak_rss_bytes(), 'b'},
        {"arena_bytes", "activations", (double)hone_session_arena_bytes(s->session), 'b'},
        {"threads", "threads", hone_session_threads(s->session), 'i'},
    };
    cli_json j = {.to = stdout};
    if (args->json) {
        cli_json_open(&j, NULL, '{');
        cli_json_text(&j, "model", s->path);
    }
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; ++i) {
        const fact *f = &facts[i];
        if (args->json && (f->unit == 'm' || f->unit == 'n'))
            cli_json_number(&j, f->key, f->value);
        else if (args->json)
            cli_json_int(&j, f->key, (int64_t)f->value);
        else if (f->unit == 'b')
            printf("%-16s %12s\n", f->label, cli_bytes(f->value).s);
        else
            printf("%-16s %12.*f%s\n", f->label,
                   f->unit == 'i'   ? 0
                   : f->unit == 'n' ? 1
                                    : 3,
                   f->value, f->unit == 'm' ? " ms" : "");
    }
    if (args->json) {
        cli_json_int(&j, "level", args->level);
        cli_json_text(&j, "precision", cli_precision(s->engine));
        cli_json_close(&j, '}');
    } else {
        printf("%-16s %12s\n", "precision", cli_precision(s->engine));
    }
}

static hone_status benchmark(cli_subject *s, const cli_args *args, hone_error *err) {
    timing t = {0};
    hone_status status = measure(s->session, &t, args->seconds, err);
    if (status == HONE_OK)
        print_facts(s, &t, args);
    free(t.ms);
    return status;
}

static int run(const cli_args *args) {
    hone_error err = {.offset = -1};
    cli_subject s;
    int n_slow = 0;
    const char *path = args->files.item[0];
    if (cli_subject_open(&s, args, path, args->level, &err) != HONE_OK)
        return cli_fail(&err, path);
    hone_status status = cli_subject_make_inputs(&s, args, &err);
    if (status == HONE_OK)
        status = args->assert_dispatch ? cli_assert_dispatch(&s, args, &n_slow, &err)
                                       : benchmark(&s, args, &err);
    cli_subject_close(&s);
    if (status != HONE_OK)
        return cli_fail(&err, path);
    return n_slow > 0 ? CLI_FAILED : CLI_DONE;
}

static const cli_option options[] = {
    CLI_OPTION_THREADS,
    CLI_OPTION("--seconds", "S", CLI_NUMBER, seconds, "how long to measure (default 3)"),
    CLI_OPTION("--assert-dispatch", NULL, CLI_FLAG, assert_dispatch,
               "fail when another kernel runs a node more than 5 % faster"),
    CLI_OPTION_LEVEL,
    CLI_OPTION_INPUT,
    CLI_OPTION_SHAPE,
    CLI_OPTION_SIGNATURE,
    CLI_OPTION_SEED,
    CLI_OPTION_BUILD,
    CLI_OPTION_JSON,
    CLI_OPTION_END,
};

const cli_verb cli_bench = {
    .name = "bench",
    .usage = "hone bench MODEL|FILE.hone [--threads N] [--seconds S] [--json]",
    .what = "measure latency and throughput\n\n"
            "One session runs again and again on the same inputs, random ones unless --input is\n"
            "given, after a warm-up of a tenth of the time. The first run, which plans the\n"
            "memory, is reported by itself. --assert-dispatch, instead, times the kernels between\n"
            "which nodes had the choice, in turns, and lists those that got a slow one.",
    .examples = "  hone bench model.onnx --threads 4 --seconds 5\n"
                "  hone bench model.onnx --level 0          (the unoptimised graph)\n"
                "  hone bench model.hone --shape image=8x3x224x224 --json\n",
    .options = options,
    .min_files = 1,
    .max_files = 1,
    .run = run,
};
