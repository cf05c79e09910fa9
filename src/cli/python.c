/* Verbs that the Python package has: `hone compare` becomes `python3 -m hone compare`. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/python.h"

enum { MAX_PATH = 4096 };

static const cli_python_verb verbs[] = {
    {"compare", "measure models beside other frameworks, outputs checked first"},
    {"export", "models of PyTorch, Hugging Face and TensorFlow as ONNX, proved equal"},
};

const cli_python_verb *cli_python_verbs(int *n) {
    *n = sizeof verbs / sizeof verbs[0];
    return verbs;
}

const cli_python_verb *cli_find_python_verb(const char *name) {
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; ++i) {
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    }
    return NULL;
}

/* sys.argv: "-c", the folder to look for the package in first (or ""), the verb and what follows.
 */
static const char program[] =
    "import sys\n"
    "folder = sys.argv.pop(1)\n"
    "if folder: sys.path.insert(0, folder)\n"
    "try:\n"
    "    from hone.__main__ import main\n"
    "except ImportError as error:\n"
    "    sys.exit(f\"hone: the verb '{sys.argv[1]}' needs the Python package hone, which\"\n"
    "             f\" {sys.executable} cannot import: {error}\\n\"\n"
    "             \"  next: pip install hone-inference, or set HONE_PYTHON to the interpreter\"\n"
    "             \" that has it\")\n"
    "sys.exit(main(sys.argv[1:]))\n";

/* The repository's root when this program lies in a build folder of it; "" else. */
static void find_checkout(char *root, size_t size) {
    char self[MAX_PATH], probe[MAX_PATH + 64];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    root[0] = '\0';
    for (int up = 0; up < 2 && n > 0; ++up) {
        self[n] = '\0';
        char *slash = strrchr(self, '/');
        if (!slash)
            return;
        *slash = '\0';
        n = slash - self;
    }
    snprintf(probe, sizeof probe, "%s/python/hone/__main__.py", self);
    if (n > 0 && (size_t)n < size && access(probe, R_OK) == 0)
        memcpy(root, self, (size_t)n + 1);
}

/* HONE_PYTHON; else the one that `make` set up in the checkout; else python3. */
static const char *find_interpreter(const char *root, char *own, size_t size) {
    const char *wanted = getenv("HONE_PYTHON");
    if (wanted && *wanted)
        return wanted;
    snprintf(own, size, "%s/.venv/bin/python", root);
    return *root && access(own, X_OK) == 0 ? own : "python3";
}

int cli_run_python(const char *verb, int argc, char **argv) {
    char root[MAX_PATH], folder[MAX_PATH + 16] = "", own[MAX_PATH + 32];
    find_checkout(root, sizeof root);
    if (*root)
        snprintf(folder, sizeof folder, "%s/python", root);
    const char *python = find_interpreter(root, own, sizeof own);
    const char **command = calloc((size_t)argc + 6, sizeof *command);
    if (!command)
        return CLI_FAILED;
    const char *head[] = {python, "-c", program, folder, verb};
    memcpy(command, head, sizeof head);
    memcpy(command + sizeof head / sizeof head[0], argv, (size_t)argc * sizeof *argv);
    fflush(NULL);
    execvp(python, (char **)(uintptr_t)command); /* which does not write to them */
    hone_error err = {.offset = -1};
    (void)hone_fail(&err, HONE_E_IO,
                    "'hone %s' needs Python, and %s cannot be run: %s; set HONE_PYTHON", verb,
                    python, strerror(errno));
    free(command);
    return cli_fail(&err, NULL);
}
