/* Requests to the debugger, or the emulator, that runs us (Arm, "Semihosting for AArch32 and
 * AArch64"). Each needs a host that responds: on a board without a debugger they fault. */
#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include <stddef.h>

void semihosting_write(const char *text);

/* A handle of a file opened for reading in binary, or -1. */
int semihosting_open(const char *path);

/* How many of `bytes` were read; 0 at the end of the file. */
size_t semihosting_read(int handle, void *buffer, size_t bytes);

/* The command line -> buffer, as one string. 0, or anything else where it does not fit. */
int semihosting_command_line(char *buffer, size_t bytes);

__attribute__((noreturn)) void semihosting_exit(int code);

#endif
