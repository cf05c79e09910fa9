/* hone peak: what the machine can do at most. */
#include "base/cpu.h"
#include "base/threads.h"
#include "cli/options_def.h"
#include "engine/peak.h"

typedef struct peak {
    const char *key, *label, *unit;
    double value; /* in units of 1e9; 0: the instruction set has none */
} peak;

static double ops_of(hone_pool *pool, hone_peak_fn *fn) {
    return fn ? hone_peak_ops(pool, fn) * 1e-9 : 0;
}

static void print_peaks(const peak *peaks, int n, int n_threads, bool is_json) {
    cli_json j = {.to = stdout};
    if (is_json) {
        cli_json_open(&j, NULL, '{');
        cli_json_text(&j, "cpu", hone_cpu_model());
        cli_json_text(&j, "isa", hone_isa_name(hone_cpu_isa()));
        cli_json_int(&j, "threads", n_threads);
        for (int i = 0; i < n; ++i)
            cli_json_number(&j, peaks[i].key, peaks[i].value);
        cli_json_close(&j, '}');
        return;
    }
    cli_say(stdout, "%s (%s), %d threads\n", hone_cpu_model(), hone_isa_name(hone_cpu_isa()),
            n_threads);
    for (int i = 0; i < n; ++i) {
        if (peaks[i].value > 0)
            printf("%-5s %8.1f %s\n", peaks[i].label, peaks[i].value, peaks[i].unit);
        else
            printf("%-5s        - (no instructions for it in use)\n", peaks[i].label);
    }
}

static int run(const cli_args *args) {
    hone_error err = {.offset = -1};
    hone_pool *pool;
    int n_threads = args->threads > 0 ? args->threads : hone_default_threads();
    if (hone_pool_create(n_threads, &pool, &err) != HONE_OK)
        return cli_fail(&err, NULL);
    const peak peaks[] = {
        {"fp32_gflops", "FP32", "GFLOP/s", hone_peak_flops(pool) * 1e-9},
        {"bf16_gflops", "BF16", "GFLOP/s", ops_of(pool, hone_peak_bf16())},
        {"int8_gops", "INT8", "GOP/s", ops_of(pool, hone_peak_int8())},
        {"read_gb_per_s", "read", "GB/s", hone_peak_read(pool) * 1e-9},
    };
    print_peaks(peaks, (int)(sizeof peaks / sizeof peaks[0]), hone_pool_threads(pool), args->json);
    hone_pool_destroy(pool);
    return CLI_DONE;
}

static const cli_option options[] = {
    CLI_OPTION_THREADS,
    CLI_OPTION_JSON,
    CLI_OPTION_END,
};

const cli_verb cli_peak = {
    .name = "peak",
    .usage = "hone peak [--threads N] [--json]",
    .what = "measure what the machine can do at most\n\n"
            "Multiply-adds (two operations each) in FP32, BF16 and INT8 by the vector\n"
            "instructions in use, all operands in registers, and bytes read from memory that no\n"
            "cache holds: the best of several short trials on all threads at once.",
    .examples = "  hone peak --threads 1\n"
                "  HONE_MAX_ISA=avx2 hone peak --json\n",
    .options = options,
    .run = run,
};
