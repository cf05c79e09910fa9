/* .npy files. The format is described in numpy/lib/format.py. */
#include "ir/npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HEADER = 1 << 16 };

static const struct {
    char kind;
    int bytes;
    hone_dtype dtype;
} types[] = {
    {'f', 4, HONE_DTYPE_F32},    {'f', 8, HONE_DTYPE_F64},   {'f', 2, HONE_DTYPE_F16},
    {'i', 1, HONE_DTYPE_I8},     {'i', 2, HONE_DTYPE_I16},   {'i', 4, HONE_DTYPE_I32},
    {'i', 8, HONE_DTYPE_I64},    {'u', 1, HONE_DTYPE_U8},    {'u', 2, HONE_DTYPE_U16},
    {'u', 4, HONE_DTYPE_U32},    {'u', 8, HONE_DTYPE_U64},   {'b', 1, HONE_DTYPE_BOOL},
    {'c', 8, HONE_DTYPE_C64},    {'c', 16, HONE_DTYPE_C128}, {'V', 2, HONE_DTYPE_BF16},
    {'f', 1, HONE_DTYPE_F8E5M2},
};

typedef struct npy_header {
    char kind;
    int width; /* of an element in the file, as the descr counts it */
    bool swap, fortran;
    int rank;
    int64_t dims[HONE_MAX_RANK];
} npy_header;

static hone_status bad(hone_error *err, const char *what) {
    return hone_fail(err, HONE_E_FORMAT, "npy file: %s", what);
}

/* The text after 'key': in the header's dict, past blanks; NULL when absent. */
static const char *find_key(const char *text, const char *key) {
    const char *at = strstr(text, key);
    if (!at)
        return NULL;
    at += strlen(key);
    at += strspn(at, " ");
    if (*at != ':')
        return NULL;
    return at + 1 + strspn(at + 1, " ");
}

static hone_status parse_descr(const char *at, npy_header *h, hone_error *err) {
    if (!at || *at != '\'')
        return bad(err, "no simple 'descr' (structured arrays are not supported)");
    ++at;
    if (*at == '>')
        h->swap = true;
    if (strchr("<>|=", *at) && *at)
        ++at;
    h->kind = *at;
    if (!*at)
        return bad(err, "bad 'descr'");
    char *end;
    long width = strtol(at + 1, &end, 10);
    if (*end != '\'' || width < 0 || width > (1 << 20))
        return hone_fail(err, HONE_E_UNSUPPORTED, "npy file: element type '%.16s'", at);
    h->width = (int)width;
    return HONE_OK;
}

static hone_status parse_shape(const char *at, npy_header *h, hone_error *err) {
    if (!at || *at != '(')
        return bad(err, "no 'shape'");
    for (++at;; at += strspn(at, ", ")) {
        at += strspn(at, " ");
        if (*at == ')')
            return HONE_OK;
        char *end;
        long long dim = strtoll(at, &end, 10);
        if (end == at || dim < 0 || (*end != ',' && *end != ')'))
            return bad(err, "bad 'shape'");
        if (h->rank == HONE_MAX_RANK)
            return hone_fail(err, HONE_E_UNSUPPORTED, "npy file: more than %d dims", HONE_MAX_RANK);
        h->dims[h->rank++] = dim;
        at = end;
    }
}

static hone_status parse_header(const uint8_t *bytes, size_t n, npy_header *h, size_t *data,
                                hone_error *err) {
    if (n < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0 || bytes[6] < 1 || bytes[6] > 3)
        return bad(err, "not one, or of an unknown version");
    size_t start = bytes[6] == 1 ? 10 : 12;
    if (n < start)
        return bad(err, "truncated");
    size_t len = (size_t)bytes[8] | (size_t)bytes[9] << 8;
    if (start == 12)
        len |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (len > n - start || len > MAX_HEADER)
        return bad(err, "truncated, or a header too long");
    char *text = calloc(1, len + 1);
    if (!text)
        return hone_fail(err, HONE_E_NOMEM, "out of memory");
    memcpy(text, bytes + start, len);
    const char *order = find_key(text, "'fortran_order'");
    h->fortran = order && strncmp(order, "True", 4) == 0;
    hone_status status = parse_descr(find_key(text, "'descr'"), h, err);
    if (status == HONE_OK)
        status = parse_shape(find_key(text, "'shape'"), h, err);
    free(text);
    *data = start + len;
    return status;
}

static hone_status settle_dtype(const npy_header *h, hone_dtype expected, hone_dtype *out,
                                hone_error *err) {
    if (h->kind == 'U' || h->kind == 'S') {
        *out = HONE_DTYPE_STRING;
        return HONE_OK;
    }
    if (h->kind == 'V' && h->width == 1) {
        if (!hone_dtype_in(expected, HONE_T_F8 | HONE_T_SUB))
            return hone_fail(
                err, HONE_E_TYPE,
                "npy file: '<V1' bytes, but no 8-bit or smaller type is expected here");
        *out = expected;
        return HONE_OK;
    }
    for (size_t i = 0; i < sizeof types / sizeof types[0]; ++i) {
        if (types[i].kind == h->kind && types[i].bytes == h->width) {
            *out = types[i].dtype;
            return HONE_OK;
        }
    }
    return hone_fail(err, HONE_E_UNSUPPORTED, "npy file: element type '%c%d'", h->kind, h->width);
}

/* Element of the file that is the i-th in C order. */
static int64_t source_index(const npy_header *h, int64_t i) {
    if (!h->fortran)
        return i;
    int64_t at[HONE_MAX_RANK], from = 0;
    for (int k = h->rank - 1; k >= 0; --k) {
        at[k] = i % h->dims[k];
        i /= h->dims[k];
    }
    for (int k = h->rank - 1; k >= 0; --k)
        from = from * h->dims[k] + at[k];
    return from;
}

static size_t put_utf8(uint32_t c, char *out) {
    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        c = 0xfffd;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(lead[more] | c >> (6 * more));
    for (int k = 1; k <= more; ++k)
        out[k] = (char)(0x80 | ((c >> (6 * (more - k))) & 0x3f));
    return (size_t)more + 1;
}

static uint32_t load_u32(const uint8_t *p, bool swap) {
    return swap
               ? (uint32_t)p[3] | (uint32_t)p[2] << 8 | (uint32_t)p[1] << 16 | (uint32_t)p[0] << 24
               : (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static hone_status read_strings(const npy_header *h, const uint8_t *data, hone_tensor *t,
                                hone_error *err) {
    size_t width = (size_t)h->width, unit = h->kind == 'U' ? 4 : 1;
    char *text = malloc(width * 4 + 1);
    if (!text)
        return hone_fail(err, HONE_E_NOMEM, "out of memory");
    hone_status status = HONE_OK;
    for (int64_t i = 0, n = hone_tensor_count(t); status == HONE_OK && i < n; ++i) {
        const uint8_t *from = data + (size_t)source_index(h, i) * width * unit;
        size_t len = 0, kept = 0;
        for (size_t k = 0; k < width; ++k) {
            uint32_t c = unit == 4 ? load_u32(from + 4 * k, h->swap) : from[k];
            if (unit == 4)
                len += put_utf8(c, text + len);
            else
                text[len++] = (char)c;
            if (c) /* trailing NULs are padding */
                kept = len;
        }
        status = hone_string_set(t, i, text, kept, err);
    }
    free(text);
    return status;
}

static void read_elements(const npy_header *h, const uint8_t *data, hone_tensor *t) {
    int64_t n = hone_tensor_count(t);
    size_t width = (size_t)h->width;
    bool packed = hone_dtype_bits(t->dtype) < 8;
    uint8_t *to = t->data;
    if (!packed && !h->fortran && !h->swap && t->dtype != HONE_DTYPE_BOOL) {
        if (n)
            memcpy(to, data, (size_t)n * width);
        return;
    }
    size_t unit = hone_dtype_in(t->dtype, HONE_T_COMPLEX) ? width / 2 : width;
    for (int64_t i = 0; i < n; ++i) {
        const uint8_t *from = data + (size_t)source_index(h, i) * width;
        if (packed) {
            hone_copy_elems(t->dtype, to, i, from, 0, 1);
            continue;
        }
        for (size_t k = 0; k < width; ++k)
            to[(size_t)i * width + k] = from[h->swap ? k / unit * unit + unit - 1 - k % unit : k];
        if (t->dtype == HONE_DTYPE_BOOL)
            to[i] = to[i] != 0;
    }
}

hone_status hone_npy_parse(hone_alloc *a, const uint8_t *bytes, size_t n, hone_dtype expected,
                           hone_tensor *out, hone_error *err) {
    npy_header h = {0};
    size_t data = 0, need = 0;
    *out = (hone_tensor){0};
    HONE_TRY(parse_header(bytes, n, &h, &data, err));
    hone_dtype d;
    HONE_TRY(settle_dtype(&h, expected, &d, err));
    need = (size_t)h.width * (h.kind == 'U' ? 4 : 1);
    bool zero = need == 0;
    for (int i = 0; i < h.rank; ++i)
        zero = zero || h.dims[i] == 0;
    int64_t count = 1;
    for (int i = 0; i < h.rank; ++i) {
        if (!zero && (!hone_mul_size(need, (size_t)h.dims[i], &need) || need > n - data))
            return bad(err, "truncated");
        /* Zero-width strings take no bytes: their number needs a bound of its own. */
        if (__builtin_mul_overflow(count, h.dims[i] ? h.dims[i] : 1, &count))
            return bad(err, "the shape overflows");
    }
    if ((!zero && need > n - data) || (h.width == 0 && count > (int64_t)n))
        return bad(err, "truncated");
    *out = hone_tensor_view(d, h.rank, h.dims, NULL);
    HONE_TRY(hone_tensor_alloc(a, out, err));
    hone_status status = HONE_OK;
    if (d == HONE_DTYPE_STRING)
        status = read_strings(&h, bytes + data, out, err);
    else
        read_elements(&h, bytes + data, out);
    if (status != HONE_OK)
        hone_tensor_release(out);
    return status;
}

/* ---- writing ----------------------------------------------------------------------------------
 */

static uint32_t next_utf8(const char *s, size_t len, size_t *at) {
    uint8_t lead = (uint8_t)s[(*at)++];
    int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    uint32_t c = more == 3 ? lead & 7u : more == 2 ? lead & 15u : more == 1 ? lead & 31u : lead;
    for (; more > 0 && *at < len; --more)
        c = c << 6 | ((uint8_t)s[(*at)++] & 0x3fu);
    return c;
}

static size_t longest(const hone_tensor *t) {
    const hone_string *s = t->data;
    size_t most = 1;
    for (int64_t i = 0, n = hone_tensor_count(t); i < n; ++i) {
        size_t count = 0;
        for (size_t at = 0; at < s[i].len; ++count)
            next_utf8(s[i].data, s[i].len, &at);
        most = count > most ? count : most;
    }
    return most;
}

static hone_status emit_strings(const hone_tensor *t, size_t width, hone_npy_sink sink, void *arg) {
    const hone_string *s = t->data;
    for (int64_t i = 0, n = hone_tensor_count(t); i < n; ++i) {
        size_t at = 0;
        for (size_t k = 0; k < width; ++k) {
            uint32_t c = at < s[i].len ? next_utf8(s[i].data, s[i].len, &at) : 0;
            uint8_t le[4] = {(uint8_t)c, (uint8_t)(c >> 8), (uint8_t)(c >> 16), (uint8_t)(c >> 24)};
            HONE_TRY(sink(arg, le, 4));
        }
    }
    return HONE_OK;
}

static void describe(const hone_tensor *t, size_t width, char out[24]) {
    if (t->dtype == HONE_DTYPE_STRING) {
        snprintf(out, 24, "<U%zu", width);
        return;
    }
    snprintf(out, 24, "<V1");
    for (size_t i = 0; i < sizeof types / sizeof types[0]; ++i) {
        if (types[i].dtype == t->dtype)
            snprintf(out, 24, "%c%c%d", types[i].bytes == 1 && types[i].kind != 'f' ? '|' : '<',
                     types[i].kind, types[i].bytes);
    }
}

static hone_status emit_header(const hone_tensor *t, size_t width, hone_npy_sink sink, void *arg) {
    char descr[24], text[512] = "\x93NUMPY\x01";
    describe(t, width, descr);
    size_t at = 10; /* magic, version 1.0, two bytes of length */
    at += (size_t)snprintf(text + at, sizeof text - at,
                           "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int i = 0; i < t->rank; ++i)
        at += (size_t)snprintf(text + at, sizeof text - at, "%" PRId64 "%s", t->dims[i],
                               t->rank == 1      ? ","
                               : i + 1 < t->rank ? ", "
                                                 : "");
    at += (size_t)snprintf(text + at, sizeof text - at, "), }");
    while (at % 64 != 63) /* the data begin at a multiple of 64 */
        text[at++] = ' ';
    text[at++] = '\n';
    text[7] = 0;
    text[8] = (char)((at - 10) & 0xff);
    text[9] = (char)((at - 10) >> 8);
    return sink(arg, text, at);
}

hone_status hone_npy_emit(const hone_tensor *t, hone_npy_sink sink, void *arg, hone_error *err) {
    if (t->kind != HONE_KIND_TENSOR)
        return hone_fail(err, HONE_E_UNSUPPORTED, "only tensors can be npy files");
    size_t width = t->dtype == HONE_DTYPE_STRING ? longest(t) : 0;
    HONE_TRY(emit_header(t, width, sink, arg));
    if (t->dtype == HONE_DTYPE_STRING)
        return emit_strings(t, width, sink, arg);
    if (hone_dtype_bits(t->dtype) >= 8)
        return sink(arg, t->data, hone_tensor_bytes(t));
    for (int64_t i = 0, n = hone_tensor_count(t); i < n; ++i) {
        uint8_t one = 0;
        hone_copy_elems(t->dtype, &one, 0, t->data, i, 1);
        HONE_TRY(sink(arg, &one, 1));
    }
    return HONE_OK;
}
