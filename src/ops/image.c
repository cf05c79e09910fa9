/* ImageDecoder (ONNX operator specification): which format it is, pixel formats; BMP (Windows
 * bitmap), PNM (Netpbm) and TIFF 6.0 (uncompressed). A damaged file gives an empty image, as the
 * specification asks. */
#include "ops/image.h"

#include <ctype.h>

hone_status hone_image_alloc(hone_op_ctx *c, int64_t width, int64_t height, hone_image *out) {
    if (width < 1 || height < 1)
        return HONE_E_FORMAT;
    if (width > HONE_IMAGE_MAX_PIXELS / height)
        return hone_op_fail(c, HONE_E_NOMEM, "the image is larger than 2^28 pixels");
    *out = (hone_image){width, height, hone_op_array(c, width * height, 3)};
    return out->rgb ? HONE_OK : HONE_E_NOMEM;
}

/* ---- BMP ------------------------------------------------------------------------------------ */

static void bmp_row(const uint8_t *from, int bits, const uint8_t *palette, size_t n_colors,
                    int64_t width, uint8_t *to) {
    for (int64_t x = 0; x < width; ++x, to += 3) {
        const uint8_t *bgr;
        if (bits <= 8) {
            int64_t per_byte = 8 / bits, shift = (per_byte - 1 - x % per_byte) * bits;
            size_t index = (size_t)(from[x / per_byte] >> shift) & ((1u << bits) - 1);
            bgr = palette + 4 * (index < n_colors ? index : 0);
        } else {
            bgr = from + x * (bits / 8);
        }
        to[0] = bgr[2];
        to[1] = bgr[1];
        to[2] = bgr[0];
    }
}

hone_status hone_image_bmp(hone_op_ctx *c, const uint8_t *p, size_t n, hone_image *out) {
    if (n < 54)
        return HONE_E_FORMAT;
    size_t data = hone_le32(p + 10), header = hone_le32(p + 14);
    int64_t width = (int32_t)hone_le32(p + 18), height = (int32_t)hone_le32(p + 22);
    int bits = (int)hone_le16(p + 28);
    size_t n_colors = hone_le32(p + 46);
    bool top_down = height < 0;
    height = top_down ? -height : height;
    if (header < 40 || (hone_le32(p + 30) != 0 && !(hone_le32(p + 30) == 3 && bits == 32)) ||
        (bits != 1 && bits != 4 && bits != 8 && bits != 24 && bits != 32))
        return hone_op_fail(c, HONE_E_UNSUPPORTED,
                            "only uncompressed BMP images of 1, 4, 8, 24 or 32 bits are decoded");
    if (bits <= 8 && (n_colors == 0 || n_colors > 1u << bits))
        n_colors = 1u << bits;
    if (width < 1 || height < 1 || data > n || header > n - 14 ||
        (bits <= 8 && (n - 14 - header) / 4 < n_colors))
        return HONE_E_FORMAT;
    size_t stride = ((size_t)width * (size_t)bits + 31) / 32 * 4;
    if ((n - data) / stride < (size_t)height)
        return HONE_E_FORMAT;
    HONE_TRY(hone_image_alloc(c, width, height, out));
    for (int64_t y = 0; y < height; ++y)
        bmp_row(p + data + (size_t)(top_down ? y : height - 1 - y) * stride, bits, p + 14 + header,
                n_colors, width, out->rgb + y * width * 3);
    return HONE_OK;
}

/* ---- PNM ------------------------------------------------------------------------------------ */

typedef struct text {
    const uint8_t *p, *end;
} text;

/* The next decimal number, after white space and comments; -1 when there is none. */
static int64_t next_number(text *t) {
    while (t->p < t->end && (isspace(*t->p) || *t->p == '#')) {
        if (*t->p == '#')
            while (t->p < t->end && *t->p != '\n')
                ++t->p;
        else
            ++t->p;
    }
    int64_t v = -1;
    for (; t->p < t->end && *t->p >= '0' && *t->p <= '9'; ++t->p) {
        v = (v < 0 ? 0 : v) * 10 + (*t->p - '0');
        if (v > INT32_MAX)
            return -1;
    }
    return v;
}

/* The next sample of a file of the given kind as 0..255; -1 at the end. `x` is the column. */
static int64_t next_sample(text *t, int kind, int64_t max, int64_t x) {
    int64_t v;
    if (kind == 1) { /* digits need no space between them */
        while (t->p < t->end && *t->p != '0' && *t->p != '1')
            ++t->p;
        return t->p < t->end ? (*t->p++ == '1' ? 0 : 255) : -1;
    }
    if (kind == 4) {
        if (t->p >= t->end)
            return -1;
        v = (*t->p >> (7 - x % 8)) & 1 ? 0 : 255;
        t->p += x % 8 == 7;
        return v;
    }
    if (kind <= 3) {
        v = next_number(t);
    } else {
        int bytes = max > 255 ? 2 : 1;
        if (t->end - t->p < bytes)
            return -1;
        v = bytes == 2 ? (int64_t)hone_be16(t->p) : *t->p;
        t->p += bytes;
    }
    if (v < 0)
        return -1;
    v = v > max ? max : v;
    return max == 255 ? v : (v * 255 + max / 2) / max;
}

hone_status hone_image_pnm(hone_op_ctx *c, const uint8_t *p, size_t n, hone_image *out) {
    int kind = p[1] - '0', samples = kind == 3 || kind == 6 ? 3 : 1;
    text t = {p + 2, p + n};
    int64_t width = next_number(&t), height = next_number(&t);
    int64_t max = kind == 1 || kind == 4 ? 1 : next_number(&t);
    if (width < 1 || height < 1 || max < 1 || max > 65535 || (kind >= 4 && t.p >= t.end))
        return HONE_E_FORMAT;
    t.p += kind >= 4; /* one white space before binary samples */
    /* A pixel takes a bit at least, so that a small file cannot ask for much. */
    if (width / 8 > t.end - t.p || (width + 7) / 8 > (t.end - t.p) / height)
        return HONE_E_FORMAT;
    HONE_TRY(hone_image_alloc(c, width, height, out));
    uint8_t *to = out->rgb;
    for (int64_t y = 0; y < height; ++y) {
        for (int64_t x = 0; x < width; ++x, to += 3) {
            for (int s = 0; s < samples; ++s) {
                int64_t v = next_sample(&t, kind, max, x);
                if (v < 0)
                    return HONE_E_FORMAT;
                to[s] = (uint8_t)v;
            }
            if (samples == 1)
                to[1] = to[2] = to[0];
        }
        t.p += kind == 4 && width % 8 != 0;
    }
    return HONE_OK;
}

/* ---- TIFF ----------------------------------------------------------------------------------- */

typedef struct tiff {
    const uint8_t *p;
    size_t n;
    bool big;
    uint32_t tag[10]; /* values of tags 256 to 278 that matter, in the order of `wanted` */
    size_t offsets;   /* where the list of strip offsets is */
    bool short_offsets;
} tiff;

enum {
    T_WIDTH,
    T_HEIGHT,
    T_BITS,
    T_COMPRESSION,
    T_PHOTOMETRIC,
    T_SAMPLES,
    T_ROWS,
    T_PLANAR,
    T_TILE,
    T_STRIPS
};
static const uint16_t wanted[] = {256, 257, 258, 259, 262, 277, 278, 284, 322, 273};

static uint32_t tiff16(const tiff *t, size_t at) {
    return at + 2 > t->n ? 0 : t->big ? hone_be16(t->p + at) : hone_le16(t->p + at);
}
static uint32_t tiff32(const tiff *t, size_t at) {
    return at + 4 > t->n ? 0 : t->big ? hone_be32(t->p + at) : hone_le32(t->p + at);
}

static void tiff_tags(tiff *t) {
    size_t at = tiff32(t, 4), n_tags = at < t->n ? tiff16(t, at) : 0;
    for (size_t i = 0; i < n_tags && at + 2 + (i + 1) * 12 <= t->n; ++i) {
        size_t entry = at + 2 + i * 12;
        uint32_t id = tiff16(t, entry), type = tiff16(t, entry + 2), count = tiff32(t, entry + 4);
        size_t bytes = (size_t)count * (type == 3 ? 2 : 4);
        size_t where = bytes > 4 ? tiff32(t, entry + 8) : entry + 8;
        for (int k = 0; k < 10; ++k)
            if (wanted[k] == id)
                t->tag[k] = type == 3 ? tiff16(t, where) : tiff32(t, where);
        if (id == 273) {
            t->offsets = where;
            t->short_offsets = type == 3;
        }
    }
}

hone_status hone_image_tiff(hone_op_ctx *c, const uint8_t *p, size_t n, hone_image *out) {
    tiff t = {.p = p,
              .n = n,
              .big = p[0] == 'M',
              .tag[T_SAMPLES] = 1,
              .tag[T_BITS] = 1,
              .tag[T_ROWS] = UINT32_MAX,
              .tag[T_PLANAR] = 1,
              .tag[T_COMPRESSION] = 1};
    tiff_tags(&t);
    int64_t width = t.tag[T_WIDTH], height = t.tag[T_HEIGHT], samples = t.tag[T_SAMPLES];
    int64_t rows = t.tag[T_ROWS] < height ? t.tag[T_ROWS] : height;
    if (width < 1 || height < 1 || rows < 1 || width > INT32_MAX)
        return HONE_E_FORMAT;
    if (t.tag[T_COMPRESSION] != 1 || t.tag[T_BITS] != 8 || t.tag[T_PLANAR] != 1 || t.tag[T_TILE] ||
        t.tag[T_PHOTOMETRIC] > 2 || samples < 1 || samples > 4)
        return hone_op_fail(
            c, HONE_E_UNSUPPORTED,
            "only uncompressed TIFF images of 8-bit grey or RGB strips are decoded");
    if ((size_t)(width * samples) > n / (size_t)height)
        return HONE_E_FORMAT;
    HONE_TRY(hone_image_alloc(c, width, height, out));
    for (int64_t y = 0; y < height; ++y) {
        size_t strip = (size_t)(y / rows);
        size_t at =
            t.short_offsets ? tiff16(&t, t.offsets + strip * 2) : tiff32(&t, t.offsets + strip * 4);
        at += (size_t)(y % rows * width * samples);
        if (at > n || n - at < (size_t)(width * samples))
            return HONE_E_FORMAT;
        for (int64_t x = 0; x < width; ++x)
            for (int64_t s = 0; s < 3; ++s) {
                uint8_t v = p[at + (size_t)(x * samples + (samples >= 3 ? s : 0))];
                out->rgb[(y * width + x) * 3 + s] =
                    t.tag[T_PHOTOMETRIC] == 0 ? (uint8_t)(255 - v) : v;
            }
    }
    return HONE_OK;
}

/* ---- the operator --------------------------------------------------------------------------- */

static const struct {
    const char *magic;
    size_t at, len;
    const char *name; /* of a format that is not decoded */
    hone_status (*decode)(hone_op_ctx *c, const uint8_t *p, size_t n, hone_image *out);
} formats[] = {
    {"\x89PNG\r\n\x1a\n", 0, 8, NULL, hone_image_png},
    {"BM", 0, 2, NULL, hone_image_bmp},
    {"P1", 0, 2, NULL, hone_image_pnm},
    {"P2", 0, 2, NULL, hone_image_pnm},
    {"P3", 0, 2, NULL, hone_image_pnm},
    {"P4", 0, 2, NULL, hone_image_pnm},
    {"P5", 0, 2, NULL, hone_image_pnm},
    {"P6", 0, 2, NULL, hone_image_pnm},
    {"II*\0", 0, 4, NULL, hone_image_tiff},
    {"MM\0*", 0, 4, NULL, hone_image_tiff},
    {"\xff\xd8\xff", 0, 3, NULL, hone_image_jpeg},
    {"WEBP", 8, 4, "WebP", NULL},
    {"jP  ", 4, 4, "JPEG 2000", NULL},
    {"\xff\x4f\xff\x51", 0, 4, "JPEG 2000", NULL},
};

static bool is_gray(const hone_node *n) {
    return strcmp(hone_attr_string(n, "pixel_format", "RGB"), "Grayscale") == 0;
}

hone_status hone_infer_image_decoder(hone_infer_ctx *c) {
    HONE_TRY(hone_infer_need(c, 0x1));
    int64_t dims[3] = {HONE_DIM_UNKNOWN, HONE_DIM_UNKNOWN, is_gray(c->node) ? 1 : 3};
    const char *format = hone_attr_string(c->node, "pixel_format", "RGB");
    if (!is_gray(c->node) && strcmp(format, "RGB") != 0 && strcmp(format, "BGR") != 0)
        return hone_infer_fail(c, HONE_E_FORMAT, "unknown pixel_format \"%.40s\"", format);
    hone_infer_set(c, 0, HONE_DTYPE_U8, 3, dims);
    return HONE_OK;
}

static hone_status decode(hone_op_ctx *c, const uint8_t *p, size_t n, hone_image *out) {
    for (size_t i = 0; i < sizeof formats / sizeof *formats; ++i) {
        if (n < formats[i].at + formats[i].len ||
            memcmp(p + formats[i].at, formats[i].magic, formats[i].len) != 0)
            continue;
        if (!formats[i].decode)
            return hone_op_fail(c, HONE_E_UNSUPPORTED,
                                "%s images are not decoded; convert to JPEG, PNG, BMP, PNM or TIFF",
                                formats[i].name);
        return formats[i].decode(c, p, n, out);
    }
    return HONE_E_FORMAT;
}

hone_status hone_ref_image_decoder(hone_op_ctx *c) {
    const hone_tensor *in = c->in[0];
    hone_image image = {0};
    if (in->dtype != HONE_DTYPE_U8)
        return hone_op_bad_type(c, in->dtype);
    hone_status status = decode(c, in->data, (size_t)hone_tensor_count(in), &image);
    if (status == HONE_E_FORMAT)
        image = (hone_image){0};
    else if (status != HONE_OK)
        return status;
    bool gray = is_gray(c->node);
    bool bgr = strcmp(hone_attr_string(c->node, "pixel_format", "RGB"), "BGR") == 0;
    HONE_TRY(hone_op_alloc(c, 0, HONE_DTYPE_U8, 3,
                           (int64_t[]){image.height, image.width, gray ? 1 : 3}));
    uint8_t *y = c->out[0]->data;
    for (int64_t i = 0; i < image.width * image.height; ++i) {
        const uint8_t *rgb = image.rgb + i * 3;
        if (gray) { /* ITU-R 601 luma in 16-bit fixed point */
            y[i] = (uint8_t)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 32768u) >> 16);
            continue;
        }
        y[i * 3] = rgb[bgr ? 2 : 0];
        y[i * 3 + 1] = rgb[1];
        y[i * 3 + 2] = rgb[bgr ? 0 : 2];
    }
    return HONE_OK;
}
