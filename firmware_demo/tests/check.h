/* What the tests need of the machine they run on: checks, lines of text and golden files. */
#ifndef CHECK_H
#define CHECK_H

#include <stddef.h>
#include <stdint.h>

/* Count and print a check that failed; the first few only. */
void check(int passed, const char *what, long where);

/* Print what the test measured. */
void report(const char *what, long value);

/* The test's exit code: 0 if all its checks have passed. */
int finish(const char *test);

/* A golden file opened for reading; a missing one ends the test as failed. */
int golden_open(const char *name);
size_t golden_read(int file, void *buffer, size_t bytes);

/* The whole of a golden file of at most `bytes`; how many items of `size` bytes it has. */
size_t golden_load(const char *name, void *buffer, size_t bytes, size_t size);

#endif
