#include "semihosting.h"

#include <stdint.h>
#include <string.h>

enum {
    SYS_OPEN = 0x01,
    SYS_WRITE0 = 0x04,
    SYS_READ = 0x06,
    SYS_GET_CMDLINE = 0x15,
    SYS_EXIT_EXTENDED = 0x20
};

#define READ_BINARY 1
#define APPLICATION_EXIT 0x20026

static int request(int operation, const void *arguments)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void semihosting_write(const char *text)
{
    request(SYS_WRITE0, text);
}

int semihosting_open(const char *path)
{
    const uintptr_t block[] = {(uintptr_t)path, READ_BINARY, strlen(path)};
    return request(SYS_OPEN, block);
}

size_t semihosting_read(int handle, void *buffer, size_t bytes)
{
    const uintptr_t block[] = {(uintptr_t)handle, (uintptr_t)buffer, bytes};
    return bytes - (size_t)request(SYS_READ, block); /* it returns what is missing */
}

int semihosting_command_line(char *buffer, size_t bytes)
{
    uintptr_t block[] = {(uintptr_t)buffer, bytes};
    return request(SYS_GET_CMDLINE, block);
}

void semihosting_exit(int code)
{
    const uintptr_t block[] = {APPLICATION_EXIT, (uintptr_t)code};
    for (;;) {
        request(SYS_EXIT_EXTENDED, block);
    }
}
