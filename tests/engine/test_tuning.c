/* The tuning cache: kept, shared by processes, distrusted; and it alone decides what a build takes.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/cpu/tune_cache.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/inflate.h"
#include "check.h"
#include "hone/hone.h"

static char folder[64];

static const char *in_folder(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* Is the problem known with this time of kernel "fast"? */
static bool knows(const char *path, const char *problem, double ms) {
    hone_tune_cache c;
    bool found = false;
    if (hone_tune_cache_open(&c, path, NULL) == HONE_OK) {
        const hone_tune_entry *e = hone_tune_cache_find(&c, problem);
        for (int i = 0; e && i < e->n_times; ++i)
            found |= strcmp(e->times[i].kernel, "fast") == 0 && e->times[i].ms == ms;
    }
    hone_tune_cache_close(&c);
    return found;
}

static void add(hone_tune_cache *c, const char *problem, double ms) {
    hone_tune_cache_add(c, problem, (hone_tune_time[]){{"slow", 2 * ms}, {"fast", ms}}, 2);
}

static void check_kept(void) {
    const char *path = in_folder("kept");
    hone_tune_cache a, b;
    hone_error err;
    CHECK(hone_tune_cache_open(&a, path, &err) == HONE_OK); /* there is none yet */
    CHECK(!hone_tune_cache_find(&a, "one"));
    CHECK(hone_tune_cache_open(&b, path, &err) == HONE_OK);
    add(&a, "one", 0.1234567); /* what is written has six digits */
    add(&b, "two", 0.5);
    add(&b, "two", 0.25);
    CHECK(hone_tune_cache_find(&a, "one")->times[1].ms == 0.123457);
    CHECK(hone_tune_cache_save(&a, &err) == HONE_OK);
    CHECK(hone_tune_cache_save(&b, &err) == HONE_OK);
    hone_tune_cache_close(&a);
    hone_tune_cache_close(&b);
    CHECK(knows(path, "one", 0.123457) && knows(path, "two", 0.25));
    CHECK(!knows(path, "three", 1));
    CHECK(hone_tune_cache_open(&a, NULL, &err) == HONE_OK); /* in memory only */
    add(&a, "one", 1);
    CHECK(hone_tune_cache_find(&a, "one") && hone_tune_cache_save(&a, &err) == HONE_OK);
    hone_tune_cache_close(&a);
    CHECK(hone_tune_cache_open(&a, in_folder("absent/file"), &err) == HONE_OK);
    add(&a, "one", 1);
    CHECK(hone_tune_cache_save(&a, &err) == HONE_E_IO);
    hone_tune_cache_close(&a);
}

static void check_processes(void) {
    enum { PROCESSES = 4, ENTRIES = 10 };
    const char *path = in_folder("shared");
    for (int p = 0; p < PROCESSES; ++p) {
        if (fork() != 0)
            continue;
        int failures = 0;
        for (int i = 0; i < ENTRIES; ++i) {
            hone_tune_cache c;
            char problem[32];
            snprintf(problem, sizeof problem, "process %d, %d", p, i);
            failures += hone_tune_cache_open(&c, path, NULL) != HONE_OK;
            add(&c, problem, p + i + 1);
            failures += hone_tune_cache_save(&c, NULL) != HONE_OK;
            hone_tune_cache_close(&c);
        }
        _exit(failures != 0);
    }
    for (int p = 0; p < PROCESSES; ++p) {
        int status = -1;
        CHECK(wait(&status) > 0 && status == 0);
    }
    /* The last to write has its entry there; others may have to measure again. */
    int n = 0;
    for (int p = 0; p < PROCESSES; ++p) {
        char problem[32];
        snprintf(problem, sizeof problem, "process %d, %d", p, ENTRIES - 1);
        n += knows(path, problem, p + ENTRIES);
    }
    CHECK(n >= 1);
}

/* What was read must be ignored, and the cache usable all the same. */
static void check_bad(const char *path, hone_status expected) {
    hone_tune_cache c;
    hone_error err = {.offset = -1};
    CHECK(hone_tune_cache_open(&c, path, &err) == expected);
    CHECK(expected == HONE_OK || strstr(err.message, path));
    CHECK(expected == HONE_OK || c.n_entries == 0);
    add(&c, "new", 1);
    CHECK(hone_tune_cache_find(&c, "new"));
    hone_tune_cache_close(&c);
}

/* A body with the title and checksum that belong to it. */
static void check_body(const char *body, hone_status expected) {
    char text[512];
    const char *path = in_folder("body");
    int n = snprintf(text, sizeof text, "hone tuning cache 1 %08x\n%s",
                     (unsigned)hone_crc32(0, body, strlen(body)), body);
    CHECK(hone_file_write(path, text, (size_t)n, NULL) == HONE_OK);
    check_bad(path, expected);
}

static void check_hostile(void) {
    const char *path = in_folder("bad");
    hone_file_map map;
    CHECK(hone_file_map_open(in_folder("kept"), &map, NULL) == HONE_OK);
    path = in_folder("bad");
    uint8_t *copy = malloc(map.n_bytes);
    for (size_t i = 0; copy && i < map.n_bytes; ++i) {
        memcpy(copy, map.data, map.n_bytes);
        copy[i] ^= 0x20;
        CHECK(hone_file_write(path, copy, map.n_bytes, NULL) == HONE_OK);
        check_bad(path, HONE_E_FORMAT);
    }
    CHECK(hone_file_write(path, map.data, map.n_bytes / 2, NULL) == HONE_OK);
    check_bad(path, HONE_E_FORMAT);
    CHECK(hone_file_write(path, "", 0, NULL) == HONE_OK);
    check_bad(path, HONE_E_FORMAT);
    free(copy);
    hone_file_map_close(&map);
    check_bad(folder, HONE_E_FORMAT);
    path = in_folder("fifo");
    CHECK(mkfifo(path, 0600) == 0);
    check_bad(path, HONE_E_FORMAT);
    path = in_folder("huge");
    CHECK(hone_file_write(path, "", 0, NULL) == HONE_OK && truncate(path, 1LL << 40) == 0);
    check_bad(path, HONE_E_FORMAT);
    check_body("", HONE_OK);
    check_body("m\tp\tfast=1 slow=2\n", HONE_OK);
    const char *const bad[] = {
        "m\n",           "m\tp\n",         "m\tp\t\n",        "m\tp\tfast\n",
        "m\tp\tfast=\n", "m\tp\tfast=x\n", "m\tp\tfast=-1\n", "m\tp\tfast=nan\n",
        "m\tp\t=1\n",    "m\tp\tf=inf\n",  "m\tp\tf=0\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i)
        check_body(bad[i], HONE_E_FORMAT);
}

/* ---- builds -----------------------------------------------------------------------------------
 */

static int n_remarks;

static void count_remark(void *arg, const char *text) {
    (void)arg;
    CHECK(text[0] != '\0');
    ++n_remarks;
}

static void build_as(hone_precision precision, const char *out, const char *cache) {
    hone_build_options options;
    hone_model *model = NULL;
    hone_engine *engine = NULL;
    hone_build_options_init(&options);
    options.tune = HONE_TUNE_FULL;
    options.precision = precision;
    options.n_threads = 1;
    options.tune_cache = cache;
    options.remark = count_remark;
    CHECK(hone_model_open(DIGITS_MODEL, &model, NULL) == HONE_OK);
    CHECK(hone_engine_build(model, &options, &engine, NULL) == HONE_OK);
    CHECK(hone_engine_save(engine, out, NULL) == HONE_OK);
    hone_engine_destroy(engine);
    hone_model_destroy(model);
}

static void build(const char *out, const char *cache) {
    build_as(HONE_PRECISION_FP32, out, cache);
}

static bool same_bytes(const char *a, const char *b) {
    hone_file_map x, y;
    if (hone_file_map_open(a, &x, NULL) != HONE_OK || hone_file_map_open(b, &y, NULL) != HONE_OK)
        return false;
    bool same = x.n_bytes == y.n_bytes && memcmp(x.data, y.data, x.n_bytes) == 0;
    hone_file_map_close(&x);
    hone_file_map_close(&y);
    return same;
}

/* Make the kernel that comes last in every entry the fastest. Returns how many entries there are.
 */
static int prefer_last(const char *path) {
    hone_tune_cache c;
    int n = 0;
    CHECK(hone_tune_cache_open(&c, path, NULL) == HONE_OK);
    for (const hone_tune_entry *e = c.first; e; e = e->next, ++n) {
        hone_tune_time times[8];
        for (int i = 0; i < e->n_times && i < 8; ++i)
            times[i] = (hone_tune_time){e->times[i].kernel, i + 1 < e->n_times ? 1.0 : 0.5};
        hone_tune_cache_add(&c, e->problem, times, e->n_times < 8 ? e->n_times : 8);
    }
    CHECK(hone_tune_cache_save(&c, NULL) == HONE_OK);
    hone_tune_cache_close(&c);
    return n;
}

static void check_builds(void) {
    char cache[128], first[128], second[128];
    snprintf(cache, sizeof cache, "%s/tuning", folder);
    snprintf(first, sizeof first, "%s/first.hone", folder);
    snprintf(second, sizeof second, "%s/second.hone", folder);
    build(first, cache);
    build(second, cache);
    CHECK(same_bytes(first, second));
    bool has_choice = access(cache, F_OK) == 0;
    if (has_choice) {
        build(first, cache);
        CHECK(same_bytes(first, second));
        CHECK(prefer_last(cache) > 0);
        build(first, cache);
        build(second, cache);
        CHECK(same_bytes(first, second));
    }
    CHECK(n_remarks == 0);
    CHECK(hone_file_write(cache, "rubbish", 7, NULL) == HONE_OK);
    build(first, cache);
    CHECK(n_remarks == 1);
    build(second, cache); /* it was written anew */
    CHECK(n_remarks == (has_choice ? 1 : 2) && same_bytes(first, second));
    build(second, NULL);
}

static bool has_text(const char *path, const char *text) {
    hone_file_map map;
    size_t n = strlen(text);
    bool found = false;
    if (hone_file_map_open(path, &map, NULL) != HONE_OK)
        return false;
    for (size_t i = 0; i + n <= map.n_bytes && !found; ++i)
        found = memcmp((const char *)map.data + i, text, n) == 0;
    hone_file_map_close(&map);
    return found;
}

/* Products on FP32 get this time in the cache, those on BF16 one of 1 ms. */
static void set_f32_ms(const char *path, double ms) {
    hone_tune_cache c;
    CHECK(hone_tune_cache_open(&c, path, NULL) == HONE_OK);
    for (const hone_tune_entry *e = c.first; e; e = e->next) {
        hone_tune_time times[8];
        const int n = e->n_times < 8 ? e->n_times : 8;
        if (strncmp(e->problem, "conv", 4) != 0)
            continue;
        for (int i = 0; i < n; ++i)
            times[i] =
                (hone_tune_time){e->times[i].kernel, strstr(e->problem, "f32->f32") ? ms : 1.0};
        hone_tune_cache_add(&c, e->problem, times, n);
    }
    CHECK(hone_tune_cache_save(&c, NULL) == HONE_OK);
    hone_tune_cache_close(&c);
}

/* A product that takes longer on BF16 stays on FP32. */
static void check_types(void) {
    char cache[128], file[128];
    snprintf(cache, sizeof cache, "%s/types", folder);
    snprintf(file, sizeof file, "%s/types.hone", folder);
    build_as(HONE_PRECISION_BF16, file, cache);
    if (hone_cpu_isa() < HONE_ISA_AVX512_BF16) {
        puts("left out: types of products: the CPU has no BF16 instructions");
        return;
    }
    set_f32_ms(cache, 0.99);
    build_as(HONE_PRECISION_BF16, file, cache);
    CHECK(has_text(file, "conv_bf16_"));
    set_f32_ms(cache, 0.01);
    build_as(HONE_PRECISION_BF16, file, cache);
    CHECK(!has_text(file, "conv_bf16_") && has_text(file, "conv_f32_"));
}

int main(void) {
    strcpy(folder, "/tmp/hone-tuning-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    check_kept();
    check_processes();
    check_hostile();
    check_builds();
    check_types();
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    CHECK(system(command) == 0);
    return CHECK_RESULT();
}
