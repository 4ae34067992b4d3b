#include "check.h"

#include <string.h>

#include "machine.h"

#define FAILURES_SHOWN 5

static long checks, failures;

static void print_number(long value)
{
    char text[24];
    char *digit = text + sizeof text - 1;
    unsigned long rest = value < 0 ? 0ul - (unsigned long)value : (unsigned long)value;
    *digit = '\0';
    do {
        *--digit = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0) {
        *--digit = '-';
    }
    machine_print(digit);
}

static void line(const char *what, const char *between, long value)
{
    machine_print(what);
    machine_print(between);
    print_number(value);
    machine_print("\n");
}

void check(int passed, const char *what, long where)
{
    checks++;
    if (!passed && ++failures <= FAILURES_SHOWN) {
        line(what, " FAILED at ", where);
    }
}

void report(const char *what, long value)
{
    line(what, ": ", value);
}

int finish(const char *test)
{
    line(test, failures > 0 || checks == 0 ? ": FAILED, checks: " : ": passed, checks: ", checks);
    return failures > 0 || checks == 0;
}

int golden_open(const char *name)
{
    char path[256] = GOLDEN "/";
    strncat(path, name, sizeof path - strlen(path) - 1);
    const int file = machine_open(path);
    if (file < 0) {
        machine_print(path);
        machine_print(" is missing: run python -m firmware_demo.tools generate\n");
        machine_exit(1);
    }
    return file;
}

size_t golden_read(int file, void *buffer, size_t bytes)
{
    return machine_read(file, buffer, bytes);
}

size_t golden_load(const char *name, void *buffer, size_t bytes, size_t size)
{
    const int file = golden_open(name);
    const size_t got = golden_read(file, buffer, bytes);
    char more;
    check(got % size == 0, name, (long)got);
    check(golden_read(file, &more, 1) == 0, "the golden file is larger than the test's room", 0);
    return got / size;
}
