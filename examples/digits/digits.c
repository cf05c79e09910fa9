/* Classify handwritten digits with hone, and show what the optimiser and the kernels bring.
 *
 * usage: digits MODEL.onnx [DIGITS.idx]     (digits.idx beside the model by default)
 *
 * A complete program against include/hone/hone.h: open, build, run with the caller's buffers. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hone/hone.h"

enum { SIDE = 28, PIXELS = SIDE * SIDE, CLASSES = 10, ROUNDS = 10 };

typedef struct digits {
    uint32_t n;
    uint8_t *records; /* label, then pixels, of each */
} digits;

static int fail(const char *what, const hone_error *err) {
    fprintf(stderr, "digits: %s: %s\n", what, err->message);
    return 1;
}

static int read_digits(const char *path, digits *d) {
    char magic[8];
    FILE *f = fopen(path, "rb");
    if (!f || fread(magic, 1, 8, f) != 8 || memcmp(magic, "HONEDIGS", 8) != 0 ||
        fread(&d->n, sizeof d->n, 1, f) != 1 || d->n == 0 || d->n > 100000) {
        fprintf(stderr, "digits: %s: no digits in it\n", path);
        if (f)
            fclose(f);
        return 1;
    }
    d->records = malloc((size_t)d->n * (PIXELS + 1));
    size_t n = d->records ? fread(d->records, PIXELS + 1, d->n, f) : 0;
    fclose(f);
    return n == d->n ? 0 : 1;
}

static void to_image(const digits *d, uint32_t i, float *image) {
    const uint8_t *pixels = d->records + (size_t)i * (PIXELS + 1) + 1;
    for (int k = 0; k < PIXELS; ++k)
        image[k] = (float)pixels[k];
}

static int label_of(const digits *d, uint32_t i) {
    return d->records[(size_t)i * (PIXELS + 1)];
}

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct result {
    int n_right;
    double p50, p90, p99; /* microseconds an image */
    size_t arena_bytes;
    int *answers;
} result;

/* Every digit ROUNDS times, one at a time. */
static int classify(hone_session *s, const digits *d, result *r, hone_error *err) {
    float image[PIXELS], probability[CLASSES];
    const int64_t dims[4] = {1, 1, SIDE, SIDE};
    hone_tensor input = {.kind = HONE_KIND_TENSOR, .dtype = HONE_DTYPE_F32, .rank = 4, .data = image};
    memcpy(input.dims, dims, sizeof dims);
    size_t n_times = (size_t)d->n * ROUNDS;
    double *times = malloc(n_times * sizeof *times);
    r->answers = malloc(d->n * sizeof *r->answers);
    int failed = !times || !r->answers || hone_session_set_input(s, 0, &input, err) != HONE_OK ||
                 hone_session_set_output(s, 0, probability, sizeof probability, err) != HONE_OK ||
                 hone_session_prepare(s, err) != HONE_OK;
    for (size_t i = 0; !failed && i < n_times; ++i) {
        uint32_t which = (uint32_t)(i % d->n);
        to_image(d, which, image);
        double start = now_us();
        failed = hone_session_run(s, err) != HONE_OK;
        times[i] = now_us() - start;
        int best = 0;
        for (int k = 1; k < CLASSES; ++k)
            best = probability[k] > probability[best] ? k : best;
        r->answers[which] = best;
        r->n_right += i < d->n && best == label_of(d, which);
    }
    if (!failed) {
        qsort(times, n_times, sizeof *times, by_value);
        r->p50 = times[n_times / 2];
        r->p90 = times[n_times * 9 / 10];
        r->p99 = times[n_times * 99 / 100];
        r->arena_bytes = hone_session_arena_bytes(s);
    }
    free(times);
    return failed;
}

static int measure(const hone_model *model, int optimize, const digits *d, result *r) {
    hone_error err = {0};
    hone_build_options options;
    hone_engine *engine = NULL;
    hone_session *session = NULL;
    hone_build_options_init(&options);
    options.optimize = optimize;
    int failed = hone_engine_build(model, &options, &engine, &err) != HONE_OK ||
                 hone_session_create(engine, 1, &session, &err) != HONE_OK ||
                 classify(session, d, r, &err);
    hone_session_destroy(session);
    hone_engine_destroy(engine);
    return failed ? fail("run", &err) : 0;
}

static void draw(const digits *d, uint32_t first, int count, const int *answers) {
    static const char shades[] = " .:-=+*#%@";
    for (int y = 2; y < SIDE - 2; y += 2) {
        for (int i = 0; i < count; ++i) {
            const uint8_t *p = d->records + (size_t)(first + (uint32_t)i) * (PIXELS + 1) + 1;
            for (int x = 3; x < SIDE - 3; ++x)
                putchar(shades[p[y * SIDE + x] * 9 / 255]);
            putchar(' ');
        }
        putchar('\n');
    }
    for (int i = 0; i < count; ++i)
        printf("%*s%d (is %d)%*s", 7, "", answers[first + (uint32_t)i],
               label_of(d, first + (uint32_t)i), 8, "");
    printf("\n\n");
}

static void print_row(const char *name, const result *r, uint32_t n) {
    printf("%-28s %5.1f %%   %8.1f %8.1f %8.1f   %8.1f\n", name, 100.0 * r->n_right / n, r->p50, r->p90,
           r->p99, (double)r->arena_bytes / 1024);
}

int main(int argc, char **argv) {
    char path[1024];
    hone_error err = {0};
    hone_model *model;
    digits d = {0};
    result before = {0}, after = {0};
    if (argc < 2) {
        fprintf(stderr, "usage: digits MODEL.onnx [DIGITS.idx]\n");
        return 2;
    }
    const char *dot = strrchr(argv[1], '.');
    snprintf(path, sizeof path, "%.*s.idx", (int)(dot ? dot - argv[1] : (long)strlen(argv[1])), argv[1]);
    if (read_digits(argc > 2 ? argv[2] : path, &d))
        return 1;
    if (hone_model_open(argv[1], &model, &err) != HONE_OK)
        return fail(argv[1], &err);
    int failed = measure(model, 0, &d, &before) || measure(model, 2, &d, &after);
    if (!failed) {
        draw(&d, 0, 4, after.answers);
        printf("%u digits, one thread    right      p50 us   p90 us   p99 us   arena KiB\n", d.n);
        print_row("graph as it is, reference", &before, d.n);
        print_row("engine", &after, d.n);
        printf("%.1f times as fast\n", before.p50 / after.p50);
    }
    hone_model_destroy(model);
    free(before.answers);
    free(after.answers);
    free(d.records);
    return failed;
}
