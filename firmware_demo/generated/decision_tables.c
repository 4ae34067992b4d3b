/* Generated from the model "commands" by firmware_demo/tools. Do not edit. */
#include "model.h"

const char *const kws_labels[12] = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "silence", "unknown"};

const uint8_t kws_keyword_labels[10] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9
};

const uint16_t kws_released[10] = {
    81, 73, 77, 80, 76, 75, 76, 74, 73, 75
};

const int64_t kws_thresholds[10] = {
    18081468718776, 16186130574816, 17155240123538, 17669811565337, 16915106784032, 16660679793364,
    16832203607297, 16383382960839, 16286186132944, 16572059156165
};

const int64_t kws_isolation[10] = {
    384735117, 454144473, 418654622, 399810453, 427448567, 436765962, 430484572, 446920875,
    450480329, 440011346
};
