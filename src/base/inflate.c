/* Deflate decompression by canonical Huffman codes, a bit at a time: simple, for model and array
 * files, not for bulk data. */
#include "base/inflate.h"

#include <string.h>

enum { MAX_BITS = 15, N_LITERALS = 288, N_DISTANCES = 32 };

typedef struct inflater {
    const uint8_t *in, *end;
    uint8_t *out;
    size_t n_out, at;
    uint32_t bits;
    int n_bits;
    bool failed;
} inflater;

/* How many codes there are of each length, and the symbols in the order of their codes. */
typedef struct huffman {
    uint16_t count[MAX_BITS + 1];
    uint16_t symbol[N_LITERALS];
} huffman;

static uint32_t take_bits(inflater *s, int n) {
    while (s->n_bits < n) {
        if (s->in == s->end) {
            s->failed = true;
            return 0;
        }
        s->bits |= (uint32_t)*s->in++ << s->n_bits;
        s->n_bits += 8;
    }
    uint32_t v = s->bits & ((1u << n) - 1);
    s->bits >>= n;
    s->n_bits -= n;
    return v;
}

/* False when the lengths ask for more codes than there are. */
static bool build(huffman *h, const uint8_t *lengths, int n) {
    uint16_t offset[MAX_BITS + 1];
    memset(h->count, 0, sizeof h->count);
    for (int i = 0; i < n; ++i)
        h->count[lengths[i]]++;
    h->count[0] = 0;
    int left = 1;
    for (int len = 1; len <= MAX_BITS; ++len) {
        left = left * 2 - h->count[len];
        if (left < 0)
            return false;
    }
    offset[1] = 0;
    for (int len = 1; len < MAX_BITS; ++len)
        offset[len + 1] = (uint16_t)(offset[len] + h->count[len]);
    for (int i = 0; i < n; ++i) {
        if (lengths[i])
            h->symbol[offset[lengths[i]]++] = (uint16_t)i;
    }
    return true;
}

static int decode(inflater *s, const huffman *h) {
    int code = 0, first = 0, index = 0;
    for (int len = 1; len <= MAX_BITS && !s->failed; ++len) {
        code |= (int)take_bits(s, 1);
        int count = h->count[len];
        if (code - count < first)
            return h->symbol[index + (code - first)];
        index += count;
        first = (first + count) << 1;
        code <<= 1;
    }
    s->failed = true;
    return 0;
}

static void put(inflater *s, uint8_t b) {
    if (s->at == s->n_out)
        s->failed = true;
    else
        s->out[s->at++] = b;
}

static void copy_match(inflater *s, int symbol, const huffman *distances) {
    static const uint16_t base[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                    31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
    static const uint8_t extra[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                    2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    static const uint16_t far_base[] = {
        1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
        193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
    if (symbol > 285) {
        s->failed = true;
        return;
    }
    size_t len = base[symbol - 257] + take_bits(s, extra[symbol - 257]);
    int code = decode(s, distances);
    if (s->failed || code > 29) {
        s->failed = true;
        return;
    }
    size_t far = far_base[code] + take_bits(s, code < 2 ? 0 : code / 2 - 1);
    if (s->failed || far > s->at || len > s->n_out - s->at) {
        s->failed = true;
        return;
    }
    for (; len > 0; --len, ++s->at)
        s->out[s->at] = s->out[s->at - far];
}

static void read_codes(inflater *s, const huffman *literals, const huffman *distances) {
    while (!s->failed) {
        int symbol = decode(s, literals);
        if (s->failed || symbol == 256)
            return;
        if (symbol < 256)
            put(s, (uint8_t)symbol);
        else
            copy_match(s, symbol, distances);
    }
}

static void stored_block(inflater *s) {
    s->bits = 0; /* up to the next byte */
    s->n_bits = 0;
    if (s->end - s->in < 4) {
        s->failed = true;
        return;
    }
    size_t len = (size_t)s->in[0] | (size_t)s->in[1] << 8;
    size_t inverse = (size_t)s->in[2] | (size_t)s->in[3] << 8;
    s->in += 4;
    if (len != (~inverse & 0xffff) || len > (size_t)(s->end - s->in) || len > s->n_out - s->at) {
        s->failed = true;
        return;
    }
    if (len)
        memcpy(s->out + s->at, s->in, len);
    s->in += len;
    s->at += len;
}

static void fixed_block(inflater *s) {
    uint8_t lengths[N_LITERALS], far[30];
    huffman literals, distances;
    for (int i = 0; i < N_LITERALS; ++i)
        lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    memset(far, 5, sizeof far);
    build(&literals, lengths, N_LITERALS);
    build(&distances, far, 30);
    read_codes(s, &literals, &distances);
}

/* Code lengths of both tables, run-length coded. */
static bool read_lengths(inflater *s, const huffman *h, uint8_t *lengths, int n) {
    int at = 0;
    while (at < n && !s->failed) {
        int symbol = decode(s, h), repeat = 1;
        uint8_t value = (uint8_t)symbol;
        if (symbol == 16) {
            if (at == 0)
                return false;
            value = lengths[at - 1];
            repeat = 3 + (int)take_bits(s, 2);
        } else if (symbol > 16) {
            value = 0;
            repeat = symbol == 17 ? 3 + (int)take_bits(s, 3) : 11 + (int)take_bits(s, 7);
        }
        if (repeat > n - at)
            return false;
        for (; repeat > 0; --repeat)
            lengths[at++] = value;
    }
    return !s->failed;
}

static void dynamic_block(inflater *s) {
    static const uint8_t order[19] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                      11, 4,  12, 3, 13, 2, 14, 1, 15};
    uint8_t lengths[N_LITERALS + N_DISTANCES] = {0}, short_lengths[19] = {0};
    huffman literals, distances, h;
    int n_literals = (int)take_bits(s, 5) + 257, n_distances = (int)take_bits(s, 5) + 1;
    int n_short = (int)take_bits(s, 4) + 4;
    for (int i = 0; i < n_short; ++i)
        short_lengths[order[i]] = (uint8_t)take_bits(s, 3);
    if (s->failed || n_literals > 286 || n_distances > 30 || !build(&h, short_lengths, 19) ||
        !read_lengths(s, &h, lengths, n_literals + n_distances) ||
        !build(&literals, lengths, n_literals) ||
        !build(&distances, lengths + n_literals, n_distances)) {
        s->failed = true;
        return;
    }
    read_codes(s, &literals, &distances);
}

hone_status hone_inflate(const uint8_t *in, size_t n_in, uint8_t *out, size_t n_out,
                         hone_error *err) {
    inflater s = {.in = in, .end = in + n_in, .out = out, .n_out = n_out};
    bool last = false;
    while (!last && !s.failed) {
        last = take_bits(&s, 1) != 0;
        uint32_t type = take_bits(&s, 2);
        if (s.failed || type == 3)
            s.failed = true;
        else if (type == 0)
            stored_block(&s);
        else if (type == 1)
            fixed_block(&s);
        else
            dynamic_block(&s);
    }
    if (s.failed || s.at != n_out)
        return hone_fail(err, HONE_E_FORMAT, "malformed deflate data");
    return HONE_OK;
}

/* Four bits at a time: a small table that needs no set-up. */
static uint32_t crc_of_few(uint32_t crc, const uint8_t *p, size_t n) {
    static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
                                       0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                       0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                       0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    for (size_t i = 0; i < n; ++i) {
        crc ^= p[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return crc;
}

static uint32_t load_le32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Eight bytes at a time (Kounavis, Berry: "Novel table lookup-based algorithms for high-performance
 * CRC generation", 2008): t[k] advances a byte over k more. */
static uint32_t crc_of_many(uint32_t crc, const uint8_t *p, size_t n) {
    uint32_t t[8][256];
    for (uint32_t i = 0; i < 256; ++i) {
        uint8_t byte = (uint8_t)i;
        t[0][i] = crc_of_few(0, &byte, 1);
    }
    for (int k = 1; k < 8; ++k) {
        for (int i = 0; i < 256; ++i)
            t[k][i] = t[k - 1][i] >> 8 ^ t[0][t[k - 1][i] & 255];
    }
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t x = crc ^ load_le32(p), y = load_le32(p + 4);
        crc = t[7][x & 255] ^ t[6][x >> 8 & 255] ^ t[5][x >> 16 & 255] ^ t[4][x >> 24] ^
              t[3][y & 255] ^ t[2][y >> 8 & 255] ^ t[1][y >> 16 & 255] ^ t[0][y >> 24];
    }
    return crc_of_few(crc, p, n);
}

uint32_t hone_crc32(uint32_t crc, const void *bytes, size_t n) {
    enum { MANY = 8192 };
    return ~(n < MANY ? crc_of_few(~crc, bytes, n) : crc_of_many(~crc, bytes, n));
}
