/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over files and folders, once each, without libFuzzer: the corpus as an ordinary test. Each file is
 * also run cut short at a few lengths and with single bits flipped, which finds what a plain replay would not.
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static size_t runs;

static void run(const uint8_t *data, size_t size) {
    /* A block of exactly this size, so that the sanitizer sees a read past its end. */
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    runs++;
}

static int run_file(const char *path) {
    FILE *f = fopen(path, "rbe");
    if (!f) {
        perror(path);
        return 1;
    }
    char *data = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&data, &size);
    char block[65536];
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
        fwrite(block, 1, n, memory);
    fclose(memory);
    fclose(f);
    run((uint8_t *)data, size);
    for (size_t i = 1; i < 16; i++)
        run((uint8_t *)data, size * i / 16);
    uint32_t seed = 1;
    for (size_t i = 0; size && i < 64; i++) {
        seed = seed * 1664525 + 1013904223;
        size_t at = (seed >> 3) % size;
        data[at] = (char)(data[at] ^ (1 << (seed & 7)));
        run((uint8_t *)data, size);
        data[at] = (char)(data[at] ^ (1 << (seed & 7)));
    }
    free(data);
    return 0;
}

static int run_folder(const char *path) {
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort), failed = n < 0;
    for (int i = 0; i < n; i++) {
        char *file = NULL;
        if (names[i]->d_name[0] != '.' && asprintf(&file, "%s/%s", path, names[i]->d_name) > 0)
            failed |= run_file(file);
        free(file);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    return failed;
}

int main(int argc, char **argv) {
    int failed = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        if (stat(argv[i], &st) < 0) {
            perror(argv[i]);
            failed = 1;
            continue;
        }
        failed |= S_ISDIR(st.st_mode) ? run_folder(argv[i]) : run_file(argv[i]);
    }
    if (!runs) {
        fprintf(stderr, "no corpus file was run\n");
        failed = 1;
    }
    printf("%zu runs\n", runs);
    return failed;
}
