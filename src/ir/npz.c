/* .npz files. Zip as in PKWARE's APPNOTE: the central directory at the end tells what is inside. */
#include "ir/npz.h"

#include <stdlib.h>
#include <string.h>

#include "base/inflate.h"

enum { END_BYTES = 22, CENTRAL_BYTES = 46, LOCAL_BYTES = 30, MAX_MEMBERS = 65535 };
/* Deflate cannot do better; a member that claims more is a lie. */
enum { MAX_RATIO = 1032 };

static uint64_t load(const uint8_t *p, int n) {
    uint64_t v = 0;
    for (int i = 0; i < n; ++i)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static hone_status bad(hone_error *err, const char *what) {
    return hone_fail(err, HONE_E_FORMAT, "npz file: %s", what);
}

typedef struct zip_member {
    const uint8_t *name;
    size_t n_name;
    int method;
    uint32_t crc;
    uint64_t packed, size, offset;
} zip_member;

/* Sizes that do not fit 32 bits are in extra field 1, in this order, those only that need it. */
static void read_zip64(const uint8_t *extra, size_t n, zip_member *m) {
    uint64_t *fields[3] = {&m->size, &m->packed, &m->offset};
    while (n >= 4) {
        size_t id = (size_t)load(extra, 2), len = (size_t)load(extra + 2, 2);
        if (len > n - 4)
            return;
        const uint8_t *at = extra + 4, *end = at + len;
        for (int i = 0; id == 1 && i < 3; ++i) {
            if (*fields[i] == 0xffffffffu && end - at >= 8) {
                *fields[i] = load(at, 8);
                at += 8;
            }
        }
        extra += 4 + len;
        n -= 4 + len;
    }
}

/* One entry of the central directory; *at moves on. */
static hone_status read_entry(const uint8_t *bytes, size_t n, size_t *at, zip_member *m,
                              hone_error *err) {
    const uint8_t *p = bytes + *at;
    if (n - *at < CENTRAL_BYTES || load(p, 4) != 0x02014b50)
        return bad(err, "broken directory");
    size_t name = (size_t)load(p + 28, 2), extra = (size_t)load(p + 30, 2);
    size_t all = CENTRAL_BYTES + name + extra + (size_t)load(p + 32, 2);
    if (all > n - *at)
        return bad(err, "broken directory");
    *m = (zip_member){.name = p + CENTRAL_BYTES,
                      .n_name = name,
                      .method = (int)load(p + 10, 2),
                      .crc = (uint32_t)load(p + 16, 4),
                      .packed = load(p + 20, 4),
                      .size = load(p + 24, 4),
                      .offset = load(p + 42, 4)};
    if (load(p + 8, 2) & 1)
        return hone_fail(err, HONE_E_UNSUPPORTED, "npz file: encrypted");
    read_zip64(p + CENTRAL_BYTES + name, extra, m);
    *at += all;
    return HONE_OK;
}

static hone_status locate(const uint8_t *bytes, size_t n, const zip_member *m, const uint8_t **data,
                          hone_error *err) {
    if (n < LOCAL_BYTES || m->offset > n - LOCAL_BYTES || load(bytes + m->offset, 4) != 0x04034b50)
        return bad(err, "a member is not where the directory says");
    const uint8_t *p = bytes + m->offset;
    size_t skip = LOCAL_BYTES + (size_t)load(p + 26, 2) + (size_t)load(p + 28, 2);
    size_t left = n - (size_t)m->offset;
    if (skip > left || m->packed > left - skip)
        return bad(err, "a member is truncated");
    *data = p + skip;
    return HONE_OK;
}

static hone_status parse_npy(hone_alloc *a, const uint8_t *data, const zip_member *m,
                             hone_tensor *out, hone_error *err) {
    if (hone_crc32(0, data, (size_t)m->size) != m->crc)
        return bad(err, "wrong checksum");
    return hone_npy_parse(a, data, (size_t)m->size, HONE_DTYPE_NONE, out, err);
}

static hone_status read_member(hone_alloc *a, const uint8_t *bytes, size_t n, const zip_member *m,
                               hone_npz_item *item, hone_error *err) {
    const uint8_t *data = NULL;
    HONE_TRY(locate(bytes, n, m, &data, err));
    size_t len = m->n_name;
    if (len > 4 && memcmp(m->name + len - 4, ".npy", 4) == 0)
        len -= 4;
    item->name = calloc(1, len + 1);
    if (!item->name)
        return hone_fail(err, HONE_E_NOMEM, "out of memory");
    memcpy(item->name, m->name, len);
    if (m->method == 0) {
        if (m->size != m->packed)
            return bad(err, "a stored member has two sizes");
        return parse_npy(a, data, m, &item->value, err);
    }
    if (m->method != 8)
        return hone_fail(err, HONE_E_UNSUPPORTED, "npz file: compression method %d", m->method);
    if (m->size / MAX_RATIO > m->packed)
        return bad(err, "a member claims an impossible size");
    uint8_t *plain = malloc((size_t)m->size + 1);
    if (!plain)
        return hone_fail(err, HONE_E_NOMEM, "out of memory");
    hone_status status = hone_inflate(data, (size_t)m->packed, plain, (size_t)m->size, err);
    if (status == HONE_OK)
        status = parse_npy(a, plain, m, &item->value, err);
    free(plain);
    return status;
}

/* The end record lies before a comment of at most 64 KB. */
static const uint8_t *find_end(const uint8_t *bytes, size_t n) {
    if (n < END_BYTES)
        return NULL;
    size_t reach = n - END_BYTES < 65535 ? n - END_BYTES : 65535;
    for (size_t back = 0; back <= reach; ++back) {
        const uint8_t *p = bytes + n - END_BYTES - back;
        if (load(p, 4) == 0x06054b50)
            return p;
    }
    return NULL;
}

hone_status hone_npz_parse(hone_alloc *a, const uint8_t *bytes, size_t n, hone_npz_item **items,
                           int *n_items, hone_error *err) {
    *items = NULL;
    *n_items = 0;
    const uint8_t *end = find_end(bytes, n);
    if (!end)
        return bad(err, "not one");
    int count = (int)load(end + 10, 2);
    size_t at = (size_t)load(end + 16, 4);
    if (at > n || count >= MAX_MEMBERS)
        return hone_fail(err, HONE_E_UNSUPPORTED, "npz file: broken, or more than 4 GB");
    hone_npz_item *list = calloc((size_t)count + 1, sizeof *list);
    if (!list)
        return hone_fail(err, HONE_E_NOMEM, "out of memory");
    hone_status status = HONE_OK;
    for (int i = 0; status == HONE_OK && i < count; ++i) {
        zip_member m;
        status = read_entry(bytes, n, &at, &m, err);
        if (status == HONE_OK)
            status = read_member(a, bytes, n, &m, &list[i], err);
    }
    if (status != HONE_OK) {
        hone_npz_free(list, count);
        return status;
    }
    *items = list;
    *n_items = count;
    return HONE_OK;
}

void hone_npz_free(hone_npz_item *items, int n_items) {
    for (int i = 0; items && i < n_items; ++i) {
        free(items[i].name);
        hone_tensor_release(&items[i].value);
    }
    free(items);
}

/* ---- writing ----------------------------------------------------------------------------------
 */

typedef struct counter {
    uint64_t n;
    uint32_t crc;
} counter;

static hone_status count_bytes(void *arg, const void *bytes, size_t n) {
    counter *c = arg;
    c->n += n;
    c->crc = hone_crc32(c->crc, bytes, n);
    return HONE_OK;
}

static void store(uint8_t *p, uint64_t v, int n) {
    for (int i = 0; i < n; ++i)
        p[i] = (uint8_t)(v >> (8 * i));
}

/* The fields that local header and directory share: version to name length. */
static void store_common(uint8_t *p, const counter *c, size_t name) {
    store(p, 20, 2);
    store(p + 8, 0x21, 2); /* 1980-01-01: archives are reproducible */
    store(p + 10, c->crc, 4);
    store(p + 14, c->n, 4);
    store(p + 18, c->n, 4);
    store(p + 22, name, 2);
}

typedef struct placed {
    counter c;
    uint64_t offset;
} placed;

static hone_status emit_member(const hone_npz_item *item, placed *at, uint64_t *offset,
                               hone_npy_sink sink, void *arg, hone_error *err) {
    uint8_t header[LOCAL_BYTES] = {0};
    size_t name = strlen(item->name);
    HONE_TRY(hone_npy_emit(&item->value, count_bytes, &at->c, err));
    at->offset = *offset;
    *offset += LOCAL_BYTES + name + 4 + at->c.n;
    if (*offset > 0xfffffff0u || name > 60000)
        return hone_fail(err, HONE_E_UNSUPPORTED, "npz files of 4 GB and more");
    store(header, 0x04034b50, 4);
    store_common(header + 4, &at->c, name + 4);
    HONE_TRY(sink(arg, header, sizeof header));
    HONE_TRY(sink(arg, item->name, name));
    HONE_TRY(sink(arg, ".npy", 4));
    return hone_npy_emit(&item->value, sink, arg, err);
}

static hone_status emit_directory(const hone_npz_item *items, const placed *at, int n,
                                  uint64_t offset, hone_npy_sink sink, void *arg) {
    uint64_t size = 0;
    for (int i = 0; i < n; ++i) {
        uint8_t entry[CENTRAL_BYTES] = {0};
        size_t name = strlen(items[i].name);
        store(entry, 0x02014b50, 4);
        store(entry + 4, 20, 2);
        store_common(entry + 6, &at[i].c, name + 4);
        store(entry + 42, at[i].offset, 4);
        HONE_TRY(sink(arg, entry, sizeof entry));
        HONE_TRY(sink(arg, items[i].name, name));
        HONE_TRY(sink(arg, ".npy", 4));
        size += CENTRAL_BYTES + name + 4;
    }
    uint8_t end[END_BYTES] = {0};
    store(end, 0x06054b50, 4);
    store(end + 8, (uint64_t)n, 2);
    store(end + 10, (uint64_t)n, 2);
    store(end + 12, size, 4);
    store(end + 16, offset, 4);
    return sink(arg, end, sizeof end);
}

hone_status hone_npz_emit(const hone_npz_item *items, int n_items, hone_npy_sink sink, void *arg,
                          hone_error *err) {
    if (n_items >= MAX_MEMBERS)
        return hone_fail(err, HONE_E_UNSUPPORTED, "npz file: too many members");
    placed *at = calloc((size_t)n_items + 1, sizeof *at);
    if (!at)
        return hone_fail(err, HONE_E_NOMEM, "out of memory");
    uint64_t offset = 0;
    hone_status status = HONE_OK;
    for (int i = 0; status == HONE_OK && i < n_items; ++i)
        status = emit_member(&items[i], &at[i], &offset, sink, arg, err);
    if (status == HONE_OK)
        status = emit_directory(items, at, n_items, offset, sink, arg);
    free(at);
    return status;
}
