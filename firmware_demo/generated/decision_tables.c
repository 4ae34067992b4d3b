/* Generated from the model "commands" by firmware_demo/tools. Do not edit. */
#include "model.h"

const char *const kws_labels[12] = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "silence", "unknown"};

const uint8_t kws_keyword_labels[10] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9
};

const uint16_t kws_released[10] = {
    77, 79, 77, 74, 75, 78, 80, 74, 75, 78
};

const int64_t kws_thresholds[10] = {
    14448242495953, 14919932984269, 14506296709900, 13858024654163, 14039444072746, 14624824063374,
    15040879263325, 13797551514635, 14039444072746, 14682878277321
};

const int64_t kws_isolation[10] = {
    221963194, 211215038, 220640344, 235412168, 231278262, 217939526, 208459101, 236790137,
    231278262, 216616676
};
