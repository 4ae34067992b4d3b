/* The few things that differ between the host and the emulated board. */
#ifndef MACHINE_H
#define MACHINE_H

#include <stddef.h>

void machine_print(const char *text);
int machine_open(const char *path); /* to read; -1 where there is no such file */
size_t machine_read(int file, void *buffer, size_t bytes);
void machine_exit(int code);

#endif
