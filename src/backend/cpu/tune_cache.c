#include "backend/cpu/tune_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/file.h"
#include "base/inflate.h"

#define TITLE "hone tuning cache 1 "

enum {
    TITLE_BYTES = sizeof TITLE - 1 + 9, /* the checksum in hexadecimal, and a newline */
    MAX_FILE_BYTES = 16 << 20,
    MAX_ENTRIES = 20000, /* older ones make room */
    MAX_TIMES = 64,      /* in an entry */
};

/* ---- reading ----------------------------------------------------------------------------------
 */

static hone_status damaged(const hone_tune_cache *c, const char *what, hone_error *err) {
    return hone_fail(err, HONE_E_FORMAT, "the tuning cache %s is ignored: %s", c->path, what);
}

/* The whole file into the arena; *text NULL when there is none. It is copied rather than mapped,
 * since nothing keeps others from cutting it off meanwhile. */
static hone_status read_file(hone_tune_cache *c, char **text, size_t *n, hone_error *err) {
    *text = NULL;
    int fd = open(c->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? HONE_OK : damaged(c, strerror(errno), err);
    struct stat st;
    hone_status status = HONE_OK;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        status = damaged(c, "it is no regular file", err);
    else if (st.st_size > MAX_FILE_BYTES)
        status = damaged(c, "it is too large", err);
    if (status == HONE_OK) {
        size_t size = (size_t)st.st_size;
        *text = hone_arena_alloc(&c->arena, size + 1);
        ssize_t got = 1;
        for (*n = 0; *text && *n < size && got > 0; *n += got > 0 ? (size_t)got : 0)
            got = read(fd, *text + *n, size - *n);
        if (!*text || got < 0)
            status = damaged(c, *text ? strerror(errno) : "no memory to read it", err);
    }
    close(fd);
    return status;
}

/* "kernel=0.125 other=0.25"; false when it is something else. */
static bool parse_times(hone_tune_cache *c, char *text, hone_tune_entry *e) {
    hone_tune_time times[MAX_TIMES];
    int n = 0;
    for (char *rest, *item = strtok_r(text, " ", &rest); item; item = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(item, '='), *end;
        if (!equals || equals == item || n == MAX_TIMES)
            return false;
        *equals = '\0';
        times[n] = (hone_tune_time){item, strtod(equals + 1, &end)};
        if (end == equals + 1 || *end || !(times[n].ms > 0) || !isfinite(times[n].ms))
            return false;
        ++n;
    }
    hone_tune_time *kept = HONE_NEW_ARRAY(&c->arena, hone_tune_time, n);
    if (!kept)
        return false;
    memcpy(kept, times, (size_t)n * sizeof *kept);
    e->times = kept;
    e->n_times = n;
    return n > 0;
}

static bool append(hone_tune_cache *c, const hone_tune_entry *e) {
    hone_tune_entry *copy = HONE_NEW(&c->arena, hone_tune_entry);
    if (!copy)
        return false;
    *copy = *e;
    copy->next = NULL;
    *c->end = copy;
    c->end = &copy->next;
    ++c->n_entries;
    return true;
}

/* A line of three fields, separated by tabs. */
static bool parse_line(hone_tune_cache *c, char *line) {
    char *problem = strchr(line, '\t'), *times = problem ? strchr(problem + 1, '\t') : NULL;
    if (!times || c->n_entries == MAX_ENTRIES)
        return false;
    *problem++ = '\0';
    *times++ = '\0';
    hone_tune_entry e = {.machine = line, .problem = problem};
    return parse_times(c, times, &e) && append(c, &e);
}

static hone_status parse(hone_tune_cache *c, char *text, size_t n, hone_error *err) {
    char sum[16];
    if (n < TITLE_BYTES || memcmp(text, TITLE, strlen(TITLE)) != 0)
        return damaged(c, "it is none, or of another version", err);
    snprintf(sum, sizeof sum, "%08x\n",
             (unsigned)hone_crc32(0, text + TITLE_BYTES, n - TITLE_BYTES));
    if (memcmp(text + strlen(TITLE), sum, 9) != 0)
        return damaged(c, "its checksum is wrong", err);
    if (memchr(text, '\0', n))
        return damaged(c, "it is no text", err);
    for (char *rest, *line = strtok_r(text + TITLE_BYTES, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        if (!parse_line(c, line))
            return damaged(c, "a line in it makes no sense", err);
    }
    return HONE_OK;
}

static void forget(hone_tune_cache *c) {
    c->first = NULL;
    c->end = &c->first;
    c->n_entries = 0;
}

/* Kernels of another version, or on other hardware, take other times. */
static void describe_machine(char *out, size_t size) {
    snprintf(out, size, "%s, L2 %lld KiB, %s, hone %d.%d.%d", hone_cpu_model(),
             (long long)(hone_cpu_l2_bytes() >> 10), hone_isa_name(hone_cpu_isa()),
             HONE_VERSION_MAJOR, HONE_VERSION_MINOR, HONE_VERSION_PATCH);
    for (char *at = out; *at; ++at)
        *at = (unsigned char)*at < ' ' ? ' ' : *at;
}

hone_status hone_tune_cache_open(hone_tune_cache *c, const char *path, hone_error *err) {
    char *text;
    size_t n;
    *c = (hone_tune_cache){.path = path};
    hone_arena_init(&c->arena, 0);
    forget(c);
    describe_machine(c->machine, sizeof c->machine);
    if (!path)
        return HONE_OK;
    hone_status status = read_file(c, &text, &n, err);
    if (status == HONE_OK && text)
        status = parse(c, text, n, err);
    if (status != HONE_OK)
        forget(c);
    return status;
}

void hone_tune_cache_close(hone_tune_cache *c) {
    hone_arena_deinit(&c->arena);
}

/* ---- using ------------------------------------------------------------------------------------
 */

static hone_tune_entry *find(const hone_tune_cache *c, const char *machine, const char *problem) {
    for (hone_tune_entry *e = c->first; e; e = e->next) {
        if (strcmp(e->problem, problem) == 0 && strcmp(e->machine, machine) == 0)
            return e;
    }
    return NULL;
}

const hone_tune_entry *hone_tune_cache_find(const hone_tune_cache *c, const char *problem) {
    return find(c, c->machine, problem);
}

/* Replace the entry of the same problem and machine, or append. */
static bool put(hone_tune_cache *c, const hone_tune_entry *e) {
    hone_tune_entry *old = find(c, e->machine, e->problem);
    if (!old)
        return append(c, e);
    hone_tune_entry *next = old->next;
    *old = *e;
    old->next = next;
    return true;
}

/* The number that a reader of the file gets, so that both choose alike. */
static double as_written(double ms) {
    char text[64];
    snprintf(text, sizeof text, "%.6f", ms > 1e-6 ? ms : 1e-6);
    return strtod(text, NULL);
}

void hone_tune_cache_add(hone_tune_cache *c, const char *problem, const hone_tune_time *times,
                         int n) {
    hone_tune_time *kept = HONE_NEW_ARRAY(&c->arena, hone_tune_time, n);
    hone_tune_entry e = {.machine = c->machine,
                         .problem = hone_arena_strdup(&c->arena, problem, strlen(problem)),
                         .times = kept,
                         .n_times = n,
                         .is_new = true};
    if (!kept || !e.problem || n < 1 || n > MAX_TIMES)
        return;
    memcpy(kept, times, (size_t)n * sizeof *kept);
    for (int i = 0; i < n; ++i)
        kept[i].ms = as_written(kept[i].ms);
    c->has_new |= put(c, &e);
}

/* ---- writing ----------------------------------------------------------------------------------
 */

/* All lines in one text. */
static char *print(const hone_tune_cache *c, size_t *n) {
    char *text = NULL;
    FILE *to = open_memstream(&text, n);
    if (!to)
        return NULL;
    int n_drop = c->n_entries - MAX_ENTRIES;
    for (const hone_tune_entry *e = c->first; e; e = e->next) {
        if (n_drop-- > 0)
            continue;
        fprintf(to, "%s\t%s\t", e->machine, e->problem);
        for (int i = 0; i < e->n_times; ++i)
            fprintf(to, "%s%s=%.6f", i ? " " : "", e->times[i].kernel, e->times[i].ms);
        putc('\n', to);
    }
    bool ok = !ferror(to);
    if (fclose(to) == 0 && ok)
        return text;
    free(text);
    return NULL;
}

static hone_status write_file(const hone_tune_cache *c, hone_error *err) {
    size_t n = 0;
    char *text = print(c, &n), title[64];
    hone_file_writer w;
    if (!text)
        return hone_fail(err, HONE_E_NOMEM, "no memory to write the tuning cache");
    int n_title = snprintf(title, sizeof title, TITLE "%08x\n", (unsigned)hone_crc32(0, text, n));
    hone_status status = hone_file_begin(&w, c->path, err);
    if (status == HONE_OK) {
        status = hone_file_put(&w, title, (size_t)n_title, err);
        if (status == HONE_OK)
            status = hone_file_put(&w, text, n, err);
        if (status == HONE_OK)
            status = hone_file_commit(&w, err);
        else
            hone_file_abort(&w);
    }
    free(text);
    return status;
}

hone_status hone_tune_cache_save(hone_tune_cache *c, hone_error *err) {
    hone_tune_cache disk;
    if (!c->path || !c->has_new)
        return HONE_OK;
    /* Others may have written meanwhile. A damaged file was reported when it was opened. */
    hone_status status = hone_tune_cache_open(&disk, c->path, NULL);
    bool ok = true;
    for (const hone_tune_entry *e = c->first; e && ok; e = e->next)
        ok = !e->is_new || put(&disk, e);
    status = ok ? write_file(&disk, err)
                : hone_fail(err, HONE_E_NOMEM, "no memory to write the tuning cache");
    c->has_new = c->has_new && status != HONE_OK;
    hone_tune_cache_close(&disk);
    return status;
}
