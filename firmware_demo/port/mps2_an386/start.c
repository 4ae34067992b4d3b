/* From reset to main: memories, floating-point unit, stack paint. */
#include <stdint.h>

#include "semihosting.h"
#include "stack.h"

extern uint32_t data_start[], data_end[], data_image[], bss_start[], bss_end[];
extern uint32_t stack_limit[];
void stack_top(void); /* an address of the linker's, in the type of its place in the table */

int main(void);
void reset_handler(void);

static void fault(void)
{
    semihosting_write("fault\n");
    semihosting_exit(1);
}

__attribute__((section(".vectors"), used)) static void (*const vectors[])(void) = {
    stack_top,
    reset_handler,
    fault, /* NMI */
    fault, /* HardFault */
    fault, /* MemManage */
    fault, /* BusFault */
    fault, /* UsageFault */
};

/* Only the start-up code itself runs in this frame, so that painting cannot hit what is in use. */
__attribute__((naked)) void reset_handler(void)
{
    __asm__("ldr r0, =0xE000ED88\n" /* CPACR: full access to the floating-point unit */
            "ldr r1, [r0]\n"
            "orr r1, r1, #(0xF << 20)\n"
            "str r1, [r0]\n"
            "dsb\n"
            "isb\n"
            "bl start_c\n");
}

__attribute__((used, noreturn)) static void start_c(void)
{
    const uint32_t *from = data_image;
    for (uint32_t *to = data_start; to < data_end; to++) {
        *to = *from++;
    }
    for (uint32_t *to = bss_start; to < bss_end; to++) {
        *to = 0;
    }
    stack_paint();
    semihosting_exit(main());
}

#define PAINT 0xC0DEC0DEu

void stack_paint(void)
{
    uint32_t *const here = __builtin_frame_address(0);
    for (uint32_t *word = stack_limit; word < here - 16; word++) {
        *word = PAINT;
    }
}

uint32_t stack_used(void)
{
    const uint32_t *word = stack_limit;
    while (*word == PAINT) {
        word++;
    }
    return (uint32_t)((uintptr_t)stack_top - (uintptr_t)word);
}
