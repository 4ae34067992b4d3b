/* Generated from the model "commands" by firmware_demo/tools. Do not edit. */
#include "model.h"

const char *const kws_labels[12] = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "silence", "unknown"};

const uint8_t kws_keyword_labels[10] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9
};

const uint16_t kws_released[10] = {
    91, 83, 91, 86, 87, 93, 88, 84, 86, 81
};

const int64_t kws_thresholds[10] = {
    20159765597599, 18441668728036, 20159765597599, 19142057634929, 19282135416308, 20574281481270,
    19545138597672, 18610333811737, 18999121123318, 17967119509488
};

const int64_t kws_isolation[10] = {
    370350735, 445853039, 370350735, 415074229, 408918468, 352134705, 397360711, 438440999,
    421355619, 466707253
};
