/* JPEG decoding (ITU-T T.81): baseline and extended sequential, 8 bits, Huffman-coded. The inverse
 * transform is that of Loeffler, Ligtenberg and Moschytz (1989) in 13-bit fixed point, and chroma
 * is interpolated with weights 3/4 and 1/4, so that pixels equal those of the common decoders. */
#include "ops/image.h"

enum { MAX_COMPONENTS = 3, BLOCK = 64 };

typedef struct code_table {
    int max_code[18]; /* largest code of each length, -1: none */
    int offset[17];   /* index into symbol minus the first code */
    uint8_t symbol[256];
    bool is_set;
} code_table;

typedef struct component {
    int id, h, v, quant, dc, ac;
    int last_dc;
    int64_t width, height; /* in samples */
    int64_t stride, rows;  /* of `samples`, whole blocks */
    uint8_t *samples;
} component;

typedef struct jpeg {
    hone_op_ctx *c;
    const uint8_t *p;
    size_t n, at;
    uint32_t bits;
    int n_bits;
    bool failed; /* the coded data end too soon, or have a code that does not exist */
    uint16_t quant[4][BLOCK];
    bool has_quant[4];
    code_table codes[2][4]; /* DC, AC */
    int restart;            /* MCUs between restart markers; 0: none */
    int adobe;              /* transform of the Adobe segment; -1: none */
    bool has_jfif;
    int n_comp, h_max, v_max;
    int64_t width, height;
    component comp[MAX_COMPONENTS];
} jpeg;

static const uint8_t zigzag[BLOCK] = {
    0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
    41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
    30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

/* ---- entropy-coded data ---------------------------------------------------------------------- */

static int take_bit(jpeg *j) {
    if (j->n_bits == 0) {
        uint8_t byte = j->at < j->n ? j->p[j->at] : 0xff;
        bool stuffed = byte == 0xff && j->at + 1 < j->n && j->p[j->at + 1] == 0;
        if (byte == 0xff && !stuffed) {
            j->failed = true; /* a marker, or the end */
            return 0;
        }
        j->at += stuffed ? 2 : 1;
        j->bits = byte;
        j->n_bits = 8;
    }
    return (int)(j->bits >> --j->n_bits) & 1;
}

/* A number of n bits; those whose first bit is 0 are negative (F.2.2.1). */
static int take_signed(jpeg *j, int n) {
    int v = 0;
    for (int i = 0; i < n; ++i)
        v = v * 2 + take_bit(j);
    return n && v < 1 << (n - 1) ? v - (1 << n) + 1 : v;
}

static int take_symbol(jpeg *j, const code_table *t) {
    int code = 0;
    for (int len = 1; len <= 16; ++len) {
        code = code * 2 + take_bit(j);
        if (j->failed)
            return 0;
        if (code <= t->max_code[len])
            return t->symbol[(code + t->offset[len]) & 255];
    }
    j->failed = true;
    return 0;
}

/* The coefficients of one block, dequantised. */
static void take_block(jpeg *j, component *k, int32_t coef[BLOCK]) {
    const uint16_t *q = j->quant[k->quant];
    memset(coef, 0, BLOCK * sizeof *coef);
    int size = take_symbol(j, &j->codes[0][k->dc]);
    if (size > 15) {
        j->failed = true;
        return;
    }
    k->last_dc = (int16_t)(k->last_dc + take_signed(j, size));
    coef[0] = k->last_dc * q[0];
    for (int i = 1; i < BLOCK && !j->failed; ++i) {
        int symbol = take_symbol(j, &j->codes[1][k->ac]);
        int run = symbol >> 4, bits = symbol & 15;
        if (bits == 0 && run != 15)
            return; /* the rest is zero */
        i += run;
        if (i < BLOCK)
            coef[zigzag[i]] = take_signed(j, bits) * q[i];
        else
            j->failed = true;
    }
}

/* ---- the inverse transform ------------------------------------------------------------------- */

enum { CONST_BITS = 13, PASS_BITS = 2 };

/* One row or column: in[i * step] -> out[0..8), scaled by 2^13 and not rounded yet. Unsigned, since
 * damaged data may overflow. */
static void transform_line(const int32_t *in, int step, int32_t out[8]) {
    uint32_t s[8];
    for (int i = 0; i < 8; ++i)
        s[i] = (uint32_t)in[i * step];
    uint32_t z = (s[2] + s[6]) * 4433u; /* 0.541196100 */
    uint32_t t2 = z - s[6] * 15137u;    /* 1.847759065 */
    uint32_t t3 = z + s[2] * 6270u;     /* 0.765366865 */
    uint32_t t0 = (s[0] + s[4]) << CONST_BITS, t1 = (s[0] - s[4]) << CONST_BITS;
    uint32_t even[4] = {t0 + t3, t1 + t2, t1 - t2, t0 - t3};
    uint32_t z1 = s[7] + s[1], z2 = s[5] + s[3], z3 = s[7] + s[3], z4 = s[5] + s[1];
    uint32_t z5 = (z3 + z4) * 9633u;            /* 1.175875602 */
    z1 = 0u - z1 * 7373u;                       /* 0.899976223 */
    z2 = 0u - z2 * 20995u;                      /* 2.562915447 */
    z3 = z5 - z3 * 16069u;                      /* 1.961570560 */
    z4 = z5 - z4 * 3196u;                       /* 0.390180644 */
    uint32_t odd[4] = {s[1] * 12299u + z1 + z4, /* 1.501321110 */
                       s[3] * 25172u + z2 + z3, /* 3.072711026 */
                       s[5] * 16819u + z2 + z4, /* 2.053119869 */
                       s[7] * 2446u + z1 + z3}; /* 0.298631336 */
    for (int i = 0; i < 4; ++i) {
        out[i] = (int32_t)(even[i] + odd[i]);
        out[7 - i] = (int32_t)(even[i] - odd[i]);
    }
}

/* v / 2^n, to the nearest. */
static int32_t descale(int32_t v, int n) {
    return (int32_t)((uint32_t)v + (1u << (n - 1))) >> n;
}

static uint8_t clamp(int32_t v) {
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void inverse_transform(const int32_t coef[BLOCK], uint8_t *to, int64_t stride) {
    int32_t work[BLOCK], line[8];
    for (int x = 0; x < 8; ++x) {
        transform_line(coef + x, 8, line);
        for (int y = 0; y < 8; ++y)
            work[y * 8 + x] = descale(line[y], CONST_BITS - PASS_BITS);
    }
    for (int y = 0; y < 8; ++y, to += stride) {
        transform_line(work + y * 8, 1, line);
        for (int x = 0; x < 8; ++x)
            to[x] = clamp(descale(line[x], CONST_BITS + PASS_BITS + 3) + 128);
    }
}

/* ---- segments -------------------------------------------------------------------------------- */

/* DQT: 8- or 16-bit tables in zigzag order. */
static bool read_quant(jpeg *j, const uint8_t *p, size_t n) {
    while (n > 0) {
        int wide = p[0] >> 4, id = p[0] & 15;
        size_t size = 1 + (size_t)BLOCK * (wide ? 2 : 1);
        if (wide > 1 || id > 3 || n < size)
            return false;
        for (int i = 0; i < BLOCK; ++i)
            j->quant[id][i] = wide ? (uint16_t)hone_be16(p + 1 + 2 * i) : (uint16_t)p[1 + i];
        j->has_quant[id] = true;
        p += size;
        n -= size;
    }
    return true;
}

/* DHT: how many codes there are of each length, then their symbols. */
static bool read_codes(jpeg *j, const uint8_t *p, size_t n) {
    while (n > 0) {
        int kind = p[0] >> 4, id = p[0] & 15;
        if (n < 17 || kind > 1 || id > 3)
            return false;
        code_table *t = &j->codes[kind][id];
        int code = 0, index = 0;
        for (int len = 1; len <= 16; ++len) {
            int count = p[len];
            t->offset[len] = index - code;
            index += count;
            code += count;
            t->max_code[len] = count ? code - 1 : -1;
            if (code > 1 << len || index > 256)
                return false;
            code *= 2;
        }
        if (n < 17 + (size_t)index)
            return false;
        memcpy(t->symbol, p + 17, (size_t)index);
        t->is_set = true;
        p += 17 + index;
        n -= 17 + (size_t)index;
    }
    return true;
}

static hone_status start_frame(jpeg *j, const uint8_t *p, size_t n, hone_image *out) {
    if (n < 6 || j->n_comp)
        return HONE_E_FORMAT;
    j->height = hone_be16(p + 1);
    j->width = hone_be16(p + 3);
    j->n_comp = p[5];
    if (p[0] != 8 || (j->n_comp != 1 && j->n_comp != 3))
        return hone_op_fail(j->c, HONE_E_UNSUPPORTED,
                            "JPEG images of %d bits and %d components are not decoded", p[0],
                            j->n_comp);
    if (n < 6 + 3 * (size_t)j->n_comp)
        return HONE_E_FORMAT;
    /* A unit of at most 32 x 32 pixels takes at least two bits. */
    if (j->width * j->height / 4096 > (int64_t)j->n)
        return HONE_E_FORMAT;
    HONE_TRY(hone_image_alloc(j->c, j->width, j->height, out));
    j->h_max = j->v_max = 1;
    for (int i = 0; i < j->n_comp; ++i) {
        const uint8_t *q = p + 6 + 3 * i;
        component *k = &j->comp[i];
        *k = (component){.id = q[0], .h = q[1] >> 4, .v = q[1] & 15, .quant = q[2]};
        if (k->h < 1 || k->h > 4 || k->v < 1 || k->v > 4 || k->quant > 3)
            return HONE_E_FORMAT;
        j->h_max = k->h > j->h_max ? k->h : j->h_max;
        j->v_max = k->v > j->v_max ? k->v : j->v_max;
    }
    for (int i = 0; i < j->n_comp; ++i) {
        component *k = &j->comp[i];
        if (j->h_max % k->h || j->v_max % k->v)
            return hone_op_fail(j->c, HONE_E_UNSUPPORTED,
                                "JPEG images with fractional subsampling are not decoded");
        k->width = (j->width * k->h + j->h_max - 1) / j->h_max;
        k->height = (j->height * k->v + j->v_max - 1) / j->v_max;
        k->stride = (j->width + 8 * j->h_max - 1) / (8 * j->h_max) * 8 * k->h;
        k->rows = (j->height + 8 * j->v_max - 1) / (8 * j->v_max) * 8 * k->v;
        k->samples = hone_op_array(j->c, k->stride * k->rows, 1);
        if (!k->samples)
            return HONE_E_NOMEM;
        memset(k->samples, 128, (size_t)(k->stride * k->rows));
    }
    return HONE_OK;
}

static void decode_block(jpeg *j, component *k, int64_t row, int64_t col) {
    int32_t coef[BLOCK];
    take_block(j, k, coef);
    if (!j->failed)
        inverse_transform(coef, k->samples + row * 8 * k->stride + col * 8, k->stride);
}

/* One unit of a scan: a block of its only component, or h x v blocks of each. */
static void decode_unit(jpeg *j, component *const *list, int n, int64_t row, int64_t col) {
    if (n == 1) {
        decode_block(j, list[0], row, col);
        return;
    }
    for (int i = 0; i < n; ++i)
        for (int y = 0; y < list[i]->v; ++y)
            for (int x = 0; x < list[i]->h && !j->failed; ++x)
                decode_block(j, list[i], row * list[i]->v + y, col * list[i]->h + x);
}

static void pass_restart(jpeg *j, component *const *list, int n) {
    j->n_bits = 0;
    for (int i = 0; i < n; ++i)
        list[i]->last_dc = 0;
    if (j->at + 2 <= j->n && j->p[j->at] == 0xff && (j->p[j->at + 1] & 0xf8) == 0xd0)
        j->at += 2;
    else
        j->failed = true;
}

static bool decode_scan(jpeg *j, component *const *list, int n) {
    int64_t rows = (j->height + 8 * j->v_max - 1) / (8 * j->v_max);
    int64_t cols = (j->width + 8 * j->h_max - 1) / (8 * j->h_max);
    if (n == 1) {
        rows = (list[0]->height + 7) / 8;
        cols = (list[0]->width + 7) / 8;
    }
    j->n_bits = 0;
    for (int i = 0; i < n; ++i)
        list[i]->last_dc = 0;
    for (int64_t i = 0; i < rows * cols && !j->failed; ++i) {
        if (j->restart && i && i % j->restart == 0)
            pass_restart(j, list, n);
        if (!j->failed)
            decode_unit(j, list, n, i / cols, i % cols);
    }
    return !j->failed;
}

/* SOS: which components with which tables, then the coded data. */
static bool read_scan(jpeg *j, const uint8_t *p, size_t n) {
    component *list[MAX_COMPONENTS];
    int count = n ? p[0] : 0;
    if (count < 1 || count > j->n_comp || n < 4 + 2 * (size_t)count)
        return false;
    for (int i = 0; i < count; ++i) {
        list[i] = NULL;
        for (int k = 0; k < j->n_comp; ++k)
            if (j->comp[k].id == p[1 + 2 * i])
                list[i] = &j->comp[k];
        if (!list[i])
            return false;
        list[i]->dc = p[2 + 2 * i] >> 4;
        list[i]->ac = p[2 + 2 * i] & 15;
        if (list[i]->dc > 3 || list[i]->ac > 3 || !j->codes[0][list[i]->dc].is_set ||
            !j->codes[1][list[i]->ac].is_set || !j->has_quant[list[i]->quant])
            return false;
    }
    return decode_scan(j, list, count);
}

/* ---- pixels ---------------------------------------------------------------------------------- */

/* Twice as many samples: each is 3/4 of the nearer one and 1/4 of the next. */
static void widen(const uint8_t *in, int64_t n, uint8_t *out) {
    out[0] = in[0];
    for (int64_t i = 0; i < n - 1; ++i) {
        out[2 * i + 1] = (uint8_t)((in[i] * 3 + in[i + 1] + 2) >> 2);
        out[2 * i + 2] = (uint8_t)((in[i + 1] * 3 + in[i] + 1) >> 2);
    }
    out[2 * n - 1] = in[n - 1];
}

/* As widen, also between two rows. */
static void widen_rows(const uint8_t *near, const uint8_t *far, int64_t n, uint8_t *out) {
    int sum = near[0] * 3 + far[0];
    out[0] = (uint8_t)((sum * 4 + 8) >> 4);
    for (int64_t i = 0; i < n - 1; ++i) {
        int next = near[i + 1] * 3 + far[i + 1];
        out[2 * i + 1] = (uint8_t)((sum * 3 + next + 7) >> 4);
        out[2 * i + 2] = (uint8_t)((next * 3 + sum + 8) >> 4);
        sum = next;
    }
    out[2 * n - 1] = (uint8_t)((sum * 4 + 7) >> 4);
}

/* Row y of the image from component k; `row` has room for the width and one more. */
static void component_row(const jpeg *j, const component *k, int64_t y, uint8_t *row) {
    int dx = j->h_max / k->h, dy = j->v_max / k->v;
    int64_t at = y / dy, other = dy == 2 ? at + (y % 2 ? 1 : -1) : at;
    other = other < 0 ? 0 : other >= k->height ? k->height - 1 : other;
    const uint8_t *near = k->samples + at * k->stride, *far = k->samples + other * k->stride;
    if (dx == 2 && dy == 1 && k->width > 2) {
        widen(near, k->width, row);
    } else if (dx == 2 && dy == 2 && k->width > 2) {
        widen_rows(near, far, k->width, row);
    } else if (dx == 1 && dy == 2) {
        for (int64_t x = 0; x < j->width; ++x)
            row[x] = (uint8_t)((near[x] * 3 + far[x] + (y % 2 ? 2 : 1)) >> 2);
    } else {
        for (int64_t x = 0; x < j->width; ++x)
            row[x] = near[x / dx];
    }
}

/* ITU-R BT.601 in 16-bit fixed point. */
static void to_rgb(uint8_t *const row[3], int64_t n, uint8_t *rgb) {
    for (int64_t x = 0; x < n; ++x, rgb += 3) {
        int32_t y = row[0][x], cb = row[1][x] - 128, cr = row[2][x] - 128;
        rgb[0] = clamp(y + ((91881 * cr + 32768) >> 16));
        rgb[1] = clamp(y + ((-22554 * cb - 46802 * cr + 32768) >> 16));
        rgb[2] = clamp(y + ((116130 * cb + 32768) >> 16));
    }
}

static hone_status to_pixels(jpeg *j, hone_image *out) {
    uint8_t *row[3];
    const component *k = j->comp;
    /* Without a segment that says so, components named R, G, B are no luma and chroma. */
    bool named = k[0].id == 'R' && k[1].id == 'G' && k[2].id == 'B' && !j->has_jfif;
    bool is_rgb = j->adobe == 0 || (j->adobe < 0 && named);
    for (int i = 0; i < 3; ++i) {
        row[i] = hone_op_array(j->c, j->width + 2, 1);
        if (!row[i])
            return HONE_E_NOMEM;
    }
    for (int64_t y = 0; y < j->height; ++y) {
        uint8_t *rgb = out->rgb + y * j->width * 3;
        for (int i = 0; i < j->n_comp; ++i)
            component_row(j, &j->comp[i], y, row[i]);
        if (j->n_comp == 3 && !is_rgb) {
            to_rgb(row, j->width, rgb);
            continue;
        }
        for (int64_t x = 0; x < j->width; ++x)
            for (int i = 0; i < 3; ++i)
                rgb[x * 3 + i] = row[j->n_comp == 1 ? 0 : i][x];
    }
    return HONE_OK;
}

/* ---- the file -------------------------------------------------------------------------------- */

static hone_status read_segment(jpeg *j, int marker, const uint8_t *p, size_t n, hone_image *out) {
    bool ok = true;
    switch (marker) {
    case 0xc0:
    case 0xc1:
        return start_frame(j, p, n, out);
    case 0xc4:
        ok = read_codes(j, p, n);
        break;
    case 0xdb:
        ok = read_quant(j, p, n);
        break;
    case 0xdd:
        ok = n >= 2;
        j->restart = ok ? (int)hone_be16(p) : 0;
        break;
    case 0xda:
        ok = j->n_comp > 0 && read_scan(j, p, n);
        break;
    case 0xe0:
        j->has_jfif = j->has_jfif || (n >= 5 && memcmp(p, "JFIF", 5) == 0);
        break;
    case 0xee:
        if (n >= 12 && memcmp(p, "Adobe", 5) == 0)
            j->adobe = p[11];
        break;
    default:
        if (marker >= 0xc2 && marker <= 0xcf && marker != 0xc8 && marker != 0xcc)
            return hone_op_fail(j->c, HONE_E_UNSUPPORTED,
                                "progressive, lossless and arithmetic-coded JPEG images are not "
                                "decoded; convert to a baseline one");
        break; /* comments, and data of applications */
    }
    return ok ? HONE_OK : HONE_E_FORMAT;
}

hone_status hone_image_jpeg(hone_op_ctx *c, const uint8_t *p, size_t n, hone_image *out) {
    jpeg *j = hone_op_array(c, 1, sizeof *j);
    if (!j)
        return HONE_E_NOMEM;
    *j = (jpeg){.c = c, .p = p, .n = n, .at = 2, .adobe = -1};
    bool has_scan = false;
    for (;;) {
        while (j->at < n && p[j->at] != 0xff)
            ++j->at; /* bits that pad the coded data, or garbage */
        while (j->at < n && p[j->at] == 0xff)
            ++j->at;
        if (j->at >= n)
            return HONE_E_FORMAT;
        int marker = p[j->at++];
        if (marker == 0xd9)
            return has_scan ? to_pixels(j, out) : HONE_E_FORMAT;
        if (marker == 0 || marker == 1 || (marker >= 0xd0 && marker <= 0xd8))
            continue; /* these have no segment */
        size_t size = n - j->at >= 2 ? hone_be16(p + j->at) : 0;
        if (size < 2 || size > n - j->at)
            return HONE_E_FORMAT;
        const uint8_t *segment = p + j->at + 2;
        j->at += size;
        HONE_TRY(read_segment(j, marker, segment, size - 2, out));
        has_scan |= marker == 0xda;
    }
}
