#include "machine.h"
#include "semihosting.h"

void machine_print(const char *text)
{
    semihosting_write(text);
}

int machine_open(const char *path)
{
    return semihosting_open(path);
}

size_t machine_read(int file, void *buffer, size_t bytes)
{
    return semihosting_read(file, buffer, bytes);
}

void machine_exit(int code)
{
    semihosting_exit(code);
}
