/* Decoders of still images for ImageDecoder. Each takes the whole file and gives 8-bit RGB. */
#ifndef HONE_OPS_IMAGE_H
#define HONE_OPS_IMAGE_H

#include "ops/dense.h"

/* Largest number of pixels that is decoded; a file of a few bytes may claim any size. */
#define HONE_IMAGE_MAX_PIXELS ((int64_t)1 << 28)

typedef struct hone_image {
    int64_t width, height;
    uint8_t *rgb; /* in scratch memory */
} hone_image;

/* HONE_E_FORMAT when the bytes are damaged, HONE_E_UNSUPPORTED for a variant that is not decoded;
 * the error is set for all but HONE_E_FORMAT. */
hone_status hone_image_jpeg(hone_op_ctx *c, const uint8_t *p, size_t n, hone_image *out);
hone_status hone_image_bmp(hone_op_ctx *c, const uint8_t *p, size_t n, hone_image *out);
hone_status hone_image_pnm(hone_op_ctx *c, const uint8_t *p, size_t n, hone_image *out);
hone_status hone_image_png(hone_op_ctx *c, const uint8_t *p, size_t n, hone_image *out);
hone_status hone_image_tiff(hone_op_ctx *c, const uint8_t *p, size_t n, hone_image *out);

/** Checks the size and gives `out` its pixels. */
hone_status hone_image_alloc(hone_op_ctx *c, int64_t width, int64_t height, hone_image *out);

static inline uint32_t hone_le16(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}
static inline uint32_t hone_le32(const uint8_t *p) {
    return hone_le16(p) | hone_le16(p + 2) << 16;
}
static inline uint32_t hone_be16(const uint8_t *p) {
    return (uint32_t)p[1] | (uint32_t)p[0] << 8;
}
static inline uint32_t hone_be32(const uint8_t *p) {
    return hone_be16(p + 2) | hone_be16(p) << 16;
}

#endif
