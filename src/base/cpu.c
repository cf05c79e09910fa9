#include "base/cpu.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

static const char *const isa_names[HONE_ISA_COUNT] = {
    [HONE_ISA_REF] = "ref",
    [HONE_ISA_AVX2] = "avx2",
    [HONE_ISA_AVX512] = "avx512",
    [HONE_ISA_AVX512_VNNI] = "avx512_vnni",
    [HONE_ISA_AVX512_BF16] = "avx512_bf16",
};

/* The only process-wide state of the library, filled once; the caches when they are asked for. */
static struct {
    hone_isa isa;
    char model[64];
    int64_t cache[4]; /* bytes of data caches by level */
} cpu;
static pthread_once_t cpu_once = PTHREAD_ONCE_INIT, cache_once = PTHREAD_ONCE_INIT;

const char *hone_isa_name(hone_isa isa) {
    return (int)isa >= 0 && isa < HONE_ISA_COUNT ? isa_names[isa] : "?";
}

int hone_isa_parse(const char *name) {
    for (int i = 0; i < HONE_ISA_COUNT; ++i) {
        if (strcmp(name, isa_names[i]) == 0)
            return i;
    }
    return -1;
}

#if defined(__x86_64__)
static bool bit(unsigned word, int n) {
    return (word >> n) & 1u;
}

/* Bits of leaf 1 and leaf 7 and of XCR0 as in Intel's and AMD's manuals; a level counts only if the
 * operating system saves the registers. */
static hone_isa detect_isa(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return HONE_ISA_REF;
    bool has_fma = bit(c, 12), has_f16c = bit(c, 29), has_avx = bit(c, 28),
         has_osxsave = bit(c, 27);
    if (!has_osxsave || !has_avx || !has_fma || !has_f16c)
        return HONE_ISA_REF;
    unsigned xcr0, high;
    __asm__ volatile("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
    if ((xcr0 & 0x6) != 0x6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !bit(b, 5))
        return HONE_ISA_REF;
    bool has_avx512 = bit(b, 16) && bit(b, 17) && bit(b, 30) && bit(b, 31);
    if (!has_avx512 || (xcr0 & 0xe6) != 0xe6)
        return HONE_ISA_AVX2;
    if (!bit(c, 11))
        return HONE_ISA_AVX512;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !bit(a, 5))
        return HONE_ISA_AVX512_VNNI;
    return HONE_ISA_AVX512_BF16;
}
#else
static hone_isa detect_isa(void) {
    return HONE_ISA_REF;
}
#endif

static void read_model(char *out, size_t size) {
    snprintf(out, size, "unknown CPU");
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f)
        return;
    char line[256];
    while (fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon) {
            snprintf(out, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
            break;
        }
    }
    fclose(f);
}

/* As Linux lists them. sysconf(3) is asked only where it does not: it multiplies a shared cache by
 * cores that a virtual machine does not have. */
static void read_caches(void) {
    for (int i = 0; i < 8; ++i) {
        char path[80], kind[16] = "";
        int level = 0;
        long kib = 0;
        static const char *const names[] = {"level", "size", "type"};
        for (int k = 0; k < 3; ++k) {
            snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", i,
                     names[k]);
            FILE *f = fopen(path, "r");
            if (!f)
                return;
            int n = k == 0   ? fscanf(f, "%d", &level)
                    : k == 1 ? fscanf(f, "%ldK", &kib)
                             : fscanf(f, "%15s", kind);
            fclose(f);
            if (n != 1)
                return;
        }
        if (level >= 1 && level <= 3 && kib > 0 && strcmp(kind, "Instruction") != 0)
            cpu.cache[level] = (int64_t)kib << 10;
    }
}

static void detect(void) {
    cpu.isa = detect_isa();
    const char *limit = getenv("HONE_MAX_ISA");
    int max = limit ? hone_isa_parse(limit) : -1;
    if (max >= 0 && max < (int)cpu.isa)
        cpu.isa = (hone_isa)max;
    read_model(cpu.model, sizeof cpu.model);
}

hone_isa hone_cpu_isa(void) {
    pthread_once(&cpu_once, detect);
    return cpu.isa;
}

const char *hone_cpu_model(void) {
    pthread_once(&cpu_once, detect);
    return cpu.model;
}

static int64_t cache_bytes(int level, int name, int64_t missing) {
    pthread_once(&cache_once, read_caches);
    long n = cpu.cache[level] ? cpu.cache[level] : sysconf(name);
    return n > 0 ? n : missing;
}

int64_t hone_cpu_l1d_bytes(void) {
    return cache_bytes(1, _SC_LEVEL1_DCACHE_SIZE, 32 << 10);
}

int64_t hone_cpu_l2_bytes(void) {
    return cache_bytes(2, _SC_LEVEL2_CACHE_SIZE, 256 << 10);
}

int64_t hone_cpu_l3_bytes(void) {
    return cache_bytes(3, _SC_LEVEL3_CACHE_SIZE, 8 << 20);
}
