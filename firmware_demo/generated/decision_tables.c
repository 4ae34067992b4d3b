/* Generated from the model "commands" by firmware_demo/tools. Do not edit. */
#include "model.h"

const char *const kws_labels[12] = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "silence", "unknown"};

const uint8_t kws_keyword_labels[10] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9
};

const uint16_t kws_released[10] = {
    68, 70, 69, 66, 67, 65, 71, 66, 67, 64
};

const int64_t kws_thresholds[10] = {
    12675170045002, 13100900947277, 12859008389166, 12292979803187, 12612277979893, 12227668812497,
    13279901440279, 12423601784567, 12549385914784, 12092208979955
};

const int64_t kws_isolation[10] = {
    337326731, 324854146, 331940842, 348523711, 339169272, 350437119, 319609991, 344696895,
    341011813, 354405669
};
