/* Generated from the model "commands" by firmware_demo/tools. Do not edit. */
#include "model.h"

const char *const kws_labels[12] = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "silence", "unknown"};

const uint8_t kws_keyword_labels[10] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9
};

const uint16_t kws_released[10] = {
    86, 88, 88, 84, 89, 88, 87, 84, 86, 85
};

const int64_t kws_thresholds[10] = {
    16245504202716, 16511586016638, 16511586016638, 15865732886482, 16722032542194, 16458369653853,
    16298720565500, 15807678672536, 16192287839932, 15921368174848
};

const int64_t kws_isolation[10] = {
    232727098, 224931732, 224931732, 243853211, 218766307, 226490805, 231168025, 245554018,
    234286171, 242223271
};
