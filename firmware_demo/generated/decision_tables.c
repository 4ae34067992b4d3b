/* Generated from the model "commands" by firmware_demo/tools. Do not edit. */
#include "model.h"

const char *const kws_labels[12] = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "silence", "unknown"};

const uint8_t kws_keyword_labels[10] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9
};

const uint16_t kws_released[10] = {
    62, 44, 84, 39, 64, 48, 77, 59, 52, 58
};

const int64_t kws_thresholds[10] = {
    13721905114644, 9719682789540, 18581746509414, 8576190696653, 14293651161088, 10577301859205,
    17152381393306, 13150159068201, 11434920928870, 12864286044979
};

const int64_t kws_isolation[10] = {
    1161359157, 1474032776, 781684048, 1563368096, 1116691497, 1407031286, 893353198, 1206026817,
    1340029796, 1228360647
};
