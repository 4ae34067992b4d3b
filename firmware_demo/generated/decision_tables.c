/* Generated from the model "commands" by firmware_demo/tools. Do not edit. */
#include "model.h"

const char *const kws_labels[12] = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "silence", "unknown"};

const uint8_t kws_keyword_labels[10] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9
};

const uint16_t kws_released[10] = {
    77, 77, 77, 77, 77, 77, 77, 77, 77, 77
};

const int64_t kws_thresholds[10] = {
    17152381393306, 17152381393306, 17152381393306, 17152381393306, 17152381393306, 17152381393306,
    17152381393306, 17152381393306, 17152381393306, 17152381393306
};

const int64_t kws_isolation[10] = {
    893353198, 893353198, 893353198, 893353198, 893353198, 893353198, 893353198, 893353198,
    893353198, 893353198
};
