/* Generated from the model "commands" by firmware_demo/tools. Do not edit. */
#include "model.h"

const char *const kws_labels[12] = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "silence", "unknown"};

const uint8_t kws_keyword_labels[10] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9
};

const uint16_t kws_released[10] = {
    106, 102, 106, 104, 104, 108, 105, 103, 104, 102
};

const int64_t kws_thresholds[10] = {
    23627405369278, 22649719629860, 23461599015810, 23012778369352, 23107116467015, 24030486332021,
    23244335518161, 22864124397276, 23107116467015, 22706894234504
};

const int64_t kws_isolation[10] = {
    290618962, 347905236, 300334178, 326632263, 321104640, 267000937, 313064461, 335342457,
    321104640, 344555161
};
