/* The engine file: what docs/engine-format.md describes.
 *
 *   header        64 bytes, little-endian
 *   graph section the lowered graph as a stream of primitives, CRC-32 in the header
 *   data section  constants, each aligned to 64 bytes; CRC-32 in the header
 *
 * The file is mapped at load; constants are used where they lie. */
#ifndef HONE_ENGINE_FORMAT_H
#define HONE_ENGINE_FORMAT_H

#include <stdint.h>

#define HONE_ENGINE_MAGIC "HONEENG\n"
enum { HONE_ENGINE_VERSION = 4, HONE_ENGINE_ALIGN = 64 };

typedef struct hone_engine_header {
    char magic[8];
    uint32_t version;
    uint32_t byte_order; /* 0x01020304 as the writer stores it */
    uint64_t graph_offset, graph_bytes;
    uint64_t data_offset, data_bytes;
    uint32_t graph_crc, data_crc;
    uint8_t reserved[8]; /* 0 */
} hone_engine_header;

_Static_assert(sizeof(hone_engine_header) == 64, "the header has 64 bytes");

/* The graph section refers to constants by offset into the data section; this offset means that
 * there is no data (an empty tensor). */
enum { HONE_ENGINE_MAX_DEPTH = 64 };

#endif
