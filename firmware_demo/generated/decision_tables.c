/* Generated from the model "commands" by firmware_demo/tools. Do not edit. */
#include "model.h"

const char *const kws_labels[12] = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "silence", "unknown"};

const uint8_t kws_keyword_labels[10] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9
};

const uint16_t kws_released[10] = {
    79, 80, 79, 77, 74, 79, 80, 74, 75, 77
};

const int64_t kws_thresholds[10] = {
    12078575035770, 12268570645050, 12126073938090, 11795560742781, 11401715677712, 12173572840410,
    12363568449690, 11298801389352, 11502650845141, 11843059645101
};

const int64_t kws_isolation[10] = {
    251062313, 244877560, 249516125, 260275018, 273095496, 247969937, 241785184, 276445570,
    269809846, 258728830
};
