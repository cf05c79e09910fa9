/* Runs a fuzz target on files and on the files of folders, for compilers without libFuzzer. A file
 * named seeds.npz holds many: an array of bytes each. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "ir/npz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_pack(const hone_file_map *f) {
    hone_npz_item *items;
    hone_error err;
    int n;
    if (hone_npz_parse(NULL, f->data, f->n_bytes, &items, &n, &err) != HONE_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    for (int i = 0; i < n; ++i)
        LLVMFuzzerTestOneInput(items[i].value.data, hone_tensor_bytes(&items[i].value));
    hone_npz_free(items, n);
    return 0;
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
            LLVMFuzzerTestOneInput(f.data, f.n_bytes);
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
