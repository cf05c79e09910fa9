/* Open addressing with linear probing, at most half full. */
#include "onnx/names.h"

#include <string.h>

struct name_slot {
    hone_string name;
    uint64_t hash;
    void *value; /* NULL: free */
};

static uint64_t hash_of(hone_string s) {
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a, with a final mix for the low bits */
    for (size_t i = 0; i < s.len; ++i)
        h = (h ^ (uint8_t)s.data[i]) * 0x100000001b3u;
    return h ^ (h >> 29);
}

static struct name_slot *find(const hone_names *m, hone_string name, uint64_t hash) {
    size_t at = (size_t)hash & (m->cap - 1);
    for (;; at = (at + 1) & (m->cap - 1)) {
        struct name_slot *s = &m->slots[at];
        if (!s->value || (s->hash == hash && s->name.len == name.len &&
                          (name.len == 0 || memcmp(s->name.data, name.data, name.len) == 0)))
            return s;
    }
}

void *hone_names_get(const hone_names *m, hone_string name) {
    return m->cap ? find(m, name, hash_of(name))->value : NULL;
}

static bool grow(hone_names *m) {
    hone_names larger = {m->arena, NULL, m->n, m->cap ? m->cap * 2 : 16};
    larger.slots = HONE_NEW_ARRAY(m->arena, struct name_slot, larger.cap);
    if (!larger.slots)
        return false;
    for (size_t i = 0; i < m->cap; ++i) {
        if (m->slots[i].value)
            *find(&larger, m->slots[i].name, m->slots[i].hash) = m->slots[i];
    }
    *m = larger;
    return true;
}

bool hone_names_put(hone_names *m, hone_string name, void *value) {
    if ((m->n + 1) * 2 > m->cap && !grow(m))
        return false;
    uint64_t hash = hash_of(name);
    struct name_slot *s = find(m, name, hash);
    m->n += !s->value;
    *s = (struct name_slot){name, hash, value};
    return true;
}

hone_string hone_text(const char *s) {
    return (hone_string){s, strlen(s)};
}
