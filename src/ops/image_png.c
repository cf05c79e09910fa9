/* PNG decoding (ISO/IEC 15948) with inflate (RFC 1950, RFC 1951). Checksums are not verified. */
#include "ops/image.h"

/* ---- inflate -------------------------------------------------------------------------------- */

typedef struct inflate {
    const uint8_t *in, *in_end;
    uint8_t *out, *out_start, *out_end;
    uint64_t bits;
    int n_bits;
    bool failed; /* read past the end */
} inflate;

static uint32_t take_bits(inflate *s, int n) {
    while (s->n_bits < n) {
        if (s->in >= s->in_end) {
            s->failed = true;
            return 0;
        }
        s->bits |= (uint64_t)*s->in++ << s->n_bits;
        s->n_bits += 8;
    }
    uint32_t v = (uint32_t)(s->bits & ((1u << n) - 1));
    s->bits >>= n;
    s->n_bits -= n;
    return v;
}

/* Canonical Huffman code: symbols in the order of their codes, and how many there are of each
 * length. */
typedef struct huffman {
    uint16_t count[16], symbol[288];
} huffman;

static bool make_code(huffman *h, const uint8_t *length, int n) {
    uint16_t at[16];
    memset(h->count, 0, sizeof h->count);
    for (int i = 0; i < n; ++i)
        ++h->count[length[i]];
    h->count[0] = 0;
    int room = 1;
    at[0] = at[1] = 0;
    for (int len = 1; len < 16; ++len) {
        room = room * 2 - h->count[len];
        if (room < 0)
            return false;
        if (len < 15)
            at[len + 1] = (uint16_t)(at[len] + h->count[len]);
    }
    for (int i = 0; i < n; ++i)
        if (length[i])
            h->symbol[at[length[i]]++] = (uint16_t)i;
    return true;
}

static int take_symbol(inflate *s, const huffman *h) {
    int code = 0, first = 0, index = 0;
    for (int len = 1; len < 16 && !s->failed; ++len) {
        code |= (int)take_bits(s, 1);
        int count = h->count[len];
        if (code - count < first)
            return h->symbol[index + (code - first)];
        index += count;
        first = (first + count) * 2;
        code *= 2;
    }
    s->failed = true;
    return 0;
}

static bool stored_block(inflate *s) {
    s->bits = 0;
    s->n_bits = 0;
    if (s->in_end - s->in < 4)
        return false;
    size_t n = hone_le16(s->in);
    s->in += 4;
    if ((size_t)(s->in_end - s->in) < n || (size_t)(s->out_end - s->out) < n)
        return false;
    memcpy(s->out, s->in, n);
    s->in += n;
    s->out += n;
    return true;
}

static bool copy_match(inflate *s, int symbol, const huffman *distances) {
    static const uint16_t len_base[] = {3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
                                        15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
                                        67, 83, 99, 115, 131, 163, 195, 227, 258};
    static const uint8_t len_bits[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                       2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    static const uint16_t dist_base[] = {
        1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
        193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
    if (symbol > 28)
        return false;
    size_t len = len_base[symbol] + take_bits(s, len_bits[symbol]);
    int d = take_symbol(s, distances);
    if (s->failed || d > 29)
        return false;
    size_t dist = dist_base[d] + take_bits(s, d < 4 ? 0 : d / 2 - 1);
    if (s->failed || dist > (size_t)(s->out - s->out_start) || len > (size_t)(s->out_end - s->out))
        return false;
    for (; len > 0; --len, ++s->out)
        *s->out = s->out[-(ptrdiff_t)dist];
    return true;
}

static bool coded_block(inflate *s, const huffman *literals, const huffman *distances) {
    for (;;) {
        int symbol = take_symbol(s, literals);
        if (s->failed)
            return false;
        if (symbol == 256)
            return true;
        if (symbol < 256) {
            if (s->out >= s->out_end)
                return false;
            *s->out++ = (uint8_t)symbol;
        } else if (!copy_match(s, symbol - 257, distances)) {
            return false;
        }
    }
}

static bool fixed_codes(huffman *literals, huffman *distances) {
    uint8_t length[288];
    for (int i = 0; i < 288; ++i)
        length[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    bool ok = make_code(literals, length, 288);
    memset(length, 5, 30);
    return ok && make_code(distances, length, 30);
}

static bool dynamic_codes(inflate *s, huffman *literals, huffman *distances) {
    static const uint8_t order[] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                    11, 4,  12, 3, 13, 2, 14, 1, 15};
    uint8_t length[320] = {0};
    int n_lit = (int)take_bits(s, 5) + 257, n_dist = (int)take_bits(s, 5) + 1;
    int n_code = (int)take_bits(s, 4) + 4, n = 0;
    if (n_lit > 286 || n_dist > 30)
        return false;
    for (int i = 0; i < n_code; ++i)
        length[order[i]] = (uint8_t)take_bits(s, 3);
    if (!make_code(literals, length, 19))
        return false;
    huffman lengths = *literals;
    while (n < n_lit + n_dist) {
        int symbol = take_symbol(s, &lengths), repeat = 1;
        uint8_t value = (uint8_t)symbol;
        if (symbol == 16) {
            if (n == 0)
                return false;
            value = length[n - 1];
            repeat = 3 + (int)take_bits(s, 2);
        } else if (symbol > 16) {
            value = 0;
            repeat = symbol == 17 ? 3 + (int)take_bits(s, 3) : 11 + (int)take_bits(s, 7);
        }
        if (s->failed || n + repeat > n_lit + n_dist)
            return false;
        memset(length + n, value, (size_t)repeat);
        n += repeat;
    }
    return make_code(literals, length, n_lit) && make_code(distances, length + n_lit, n_dist);
}

/* A zlib stream that must fill out[0..n_out). */
static bool inflate_zlib(const uint8_t *in, size_t n_in, uint8_t *out, size_t n_out) {
    if (n_in < 2 || (in[0] & 15) != 8 || (in[1] & 32))
        return false;
    inflate s = {
        .in = in + 2, .in_end = in + n_in, .out = out, .out_start = out, .out_end = out + n_out};
    huffman literals, distances;
    bool last = false, ok = true;
    while (ok && !last) {
        last = take_bits(&s, 1) != 0;
        uint32_t kind = take_bits(&s, 2);
        if (s.failed || kind == 3)
            return false;
        if (kind == 0)
            ok = stored_block(&s);
        else
            ok = (kind == 1 ? fixed_codes(&literals, &distances)
                            : dynamic_codes(&s, &literals, &distances)) &&
                 coded_block(&s, &literals, &distances);
    }
    return ok && s.out == s.out_end;
}

/* ---- PNG ------------------------------------------------------------------------------------ */

typedef struct png {
    int64_t width, height;
    int bits, color, samples;
    const uint8_t *palette;
    size_t n_colors;
    uint8_t *packed; /* the IDAT chunks joined */
    size_t n_packed;
} png;

static int paeth(int a, int b, int c) {
    int p = a + b - c, pa = p > a ? p - a : a - p, pb = p > b ? p - b : b - p;
    int pc = p > c ? p - c : c - p;
    return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

/* Undoes the filter of a row in place; `above` is the row before, or NULL. */
static bool unfilter(int filter, uint8_t *row, const uint8_t *above, size_t n, size_t step) {
    if (filter > 4)
        return false;
    for (size_t i = 0; filter && i < n; ++i) {
        int a = i >= step ? row[i - step] : 0, b = above ? above[i] : 0;
        int c = above && i >= step ? above[i - step] : 0;
        int add = filter == 1 ? a : filter == 2 ? b : filter == 3 ? (a + b) / 2 : paeth(a, b, c);
        row[i] = (uint8_t)(row[i] + add);
    }
    return true;
}

static void png_row(const png *g, const uint8_t *row, uint8_t *to) {
    for (int64_t x = 0; x < g->width; ++x, to += 3) {
        for (int s = 0; s < 3; ++s) {
            int64_t i = x * g->samples + (g->samples >= 3 ? s : 0);
            uint8_t v;
            if (g->bits == 16)
                v = row[i * 2];
            else if (g->bits == 8)
                v = row[i];
            else
                v = (uint8_t)((row[i * g->bits / 8] >> (8 - g->bits - i * g->bits % 8)) &
                              ((1 << g->bits) - 1));
            if (g->color == 3)
                v = v < g->n_colors ? g->palette[v * 3 + s] : 0;
            else if (g->bits < 8)
                v = (uint8_t)(v * 255 / ((1 << g->bits) - 1));
            to[s] = v;
        }
    }
}

/* Collects header, palette and compressed data. */
static bool png_chunks(const uint8_t *p, size_t n, png *g) {
    static const int samples[] = {1, 0, 3, 1, 2, 0, 4};
    for (size_t at = 8; n - at >= 12;) {
        size_t len = hone_be32(p + at);
        const uint8_t *data = p + at + 8;
        if (len > n - at - 12)
            return false;
        if (memcmp(p + at + 4, "IHDR", 4) == 0 && len >= 13) {
            g->width = hone_be32(data);
            g->height = hone_be32(data + 4);
            g->bits = data[8];
            g->color = data[9] <= 6 ? data[9] : 1;
            g->samples = data[12] == 0 ? samples[g->color] : -1; /* interlaced: refused */
        } else if (memcmp(p + at + 4, "PLTE", 4) == 0) {
            g->palette = data;
            g->n_colors = len / 3;
        } else if (memcmp(p + at + 4, "IDAT", 4) == 0) {
            memcpy(g->packed + g->n_packed, data, len);
            g->n_packed += len;
        } else if (memcmp(p + at + 4, "IEND", 4) == 0) {
            break;
        }
        at += len + 12;
    }
    bool depth = g->bits == 8 || (g->bits == 16 && g->color != 3) ||
                 ((g->bits == 1 || g->bits == 2 || g->bits == 4) && g->samples == 1);
    return g->samples != 0 && depth && g->width > 0 && g->height > 0 && g->width <= INT32_MAX &&
           g->height <= INT32_MAX && (g->color != 3 || g->palette);
}

hone_status hone_image_png(hone_op_ctx *c, const uint8_t *p, size_t n, hone_image *out) {
    png g = {0};
    g.packed = hone_op_scratch(c, n);
    if (!g.packed)
        return HONE_E_NOMEM;
    bool ok = png_chunks(p, n, &g);
    if (g.samples < 0)
        return hone_op_fail(c, HONE_E_UNSUPPORTED, "interlaced PNG images are not decoded");
    if (!ok)
        return HONE_E_FORMAT;
    size_t bits = (size_t)g.samples * (size_t)g.bits, row = ((size_t)g.width * bits + 7) / 8;
    /* Deflate expands by 1032 at most. */
    if (row + 1 > (g.n_packed * 1032 + 1032) / (size_t)g.height)
        return HONE_E_FORMAT;
    HONE_TRY(hone_image_alloc(c, g.width, g.height, out));
    uint8_t *raw = hone_op_array(c, g.height, row + 1);
    if (!raw)
        return HONE_E_NOMEM;
    if (!inflate_zlib(g.packed, g.n_packed, raw, (size_t)g.height * (row + 1)))
        return HONE_E_FORMAT;
    const uint8_t *above = NULL;
    for (int64_t y = 0; y < g.height; ++y) {
        uint8_t *line = raw + (size_t)y * (row + 1);
        if (!unfilter(line[0], line + 1, above, row, (bits + 7) / 8))
            return HONE_E_FORMAT;
        png_row(&g, line + 1, out->rgb + y * g.width * 3);
        above = line + 1;
    }
    return HONE_OK;
}
