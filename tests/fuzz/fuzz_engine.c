/* Any bytes as an engine file: loading must fail or succeed, nothing else. The checksum of the
 * graph section is made right first, so that what lies behind it is reached. */
#include <stdlib.h>
#include <string.h>

#include "base/inflate.h"
#include "engine/format.h"
#include "engine/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fix_checksum(uint8_t *bytes, size_t size) {
    hone_engine_header h;
    if (size < sizeof h)
        return;
    memcpy(&h, bytes, sizeof h);
    if (h.graph_offset > size || h.graph_bytes > size - h.graph_offset)
        return;
    h.graph_crc = hone_crc32(0, bytes + h.graph_offset, (size_t)h.graph_bytes);
    memcpy(bytes, &h, sizeof h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hone_engine *engine = NULL;
    hone_error err;
    /* Engine files are mapped: their bytes are aligned to pages. */
    uint8_t *bytes = aligned_alloc(64, (size + 127) / 64 * 64);
    if (!bytes)
        return 0;
    if (size)
        memcpy(bytes, data, size);
    fix_checksum(bytes, size);
    if (hone_engine_parse(bytes, size, &engine, &err) == HONE_OK)
        hone_engine_destroy(engine);
    free(bytes);
    return 0;
}
