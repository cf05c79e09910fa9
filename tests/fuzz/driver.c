/* Runs a fuzz target on files and on the files of folders, as they are and a few times damaged, for
 * compilers without libFuzzer. A file named seeds.npz holds many: an array of bytes each. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "ir/npz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_DAMAGED = 256 };

/* The seed, then with bytes changed or the end cut off: always in the same ways. */
static int run_seed(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size + 1);
    uint32_t state = 1;
    if (!copy)
        return 1;
    LLVMFuzzerTestOneInput(data, size);
    for (int i = 0; i < N_DAMAGED && size; ++i) {
        size_t left = size;
        memcpy(copy, data, size);
        for (int k = 0; k <= i % 4; ++k) {
            state = state * 1664525u + 1013904223u;
            size_t at = state % size;
            state = state * 1664525u + 1013904223u;
            copy[at] = i % 3 ? copy[at] ^ (uint8_t)(1u << (state >> 29)) : (uint8_t)(state >> 24);
            left = i % 8 == 7 ? at : left;
        }
        LLVMFuzzerTestOneInput(copy, left);
    }
    free(copy);
    return 0;
}

static int run_pack(const hone_file_map *f) {
    hone_npz_item *items;
    hone_error err;
    int n;
    if (hone_npz_parse(NULL, f->data, f->n_bytes, &items, &n, &err) != HONE_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    int bad = 0;
    for (int i = 0; i < n; ++i)
        bad |= run_seed(items[i].value.data, hone_tensor_bytes(&items[i].value));
    hone_npz_free(items, n);
    return bad;
}

static int run(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) {
        fprintf(stderr, "%s: not found\n", path);
        return 1;
    }
    if (!S_ISDIR(st.st_mode)) {
        hone_file_map f;
        hone_error err;
        if (hone_file_map_open(path, &f, &err) != HONE_OK) {
            fprintf(stderr, "%s\n", err.message);
            return 1;
        }
        const char *name = strrchr(path, '/');
        int bad = 0;
        if (name && strcmp(name, "/seeds.npz") == 0)
            bad = run_pack(&f);
        else
            bad = run_seed(f.data, f.n_bytes);
        hone_file_map_close(&f);
        return bad;
    }
    int bad = 0;
    DIR *dir = opendir(path);
    for (const struct dirent *e; dir && (e = readdir(dir));) {
        char inner[4096];
        snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
        if (e->d_name[0] != '.')
            bad |= run(inner);
    }
    if (dir)
        closedir(dir);
    return bad;
}

int main(int argc, char **argv) {
    int bad = 0;
    for (int i = 1; i < argc; ++i)
        bad |= run(argv[i]);
    return bad;
}
