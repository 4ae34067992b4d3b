/* Generated from the model "commands" by firmware_demo/tools. Do not edit. */
#include "model.h"

const char *const kws_labels[12] = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "silence", "unknown"};

const uint8_t kws_keyword_labels[10] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9
};

const uint16_t kws_released[10] = {
    92, 84, 91, 87, 87, 93, 89, 84, 86, 87
};

const int64_t kws_thresholds[10] = {
    20337006871996, 18573170318718, 20219798932475, 19339310020952, 19405060816293, 20688630690559,
    19668063997657, 18658932225684, 19124905253536, 19267841765147
};

const int64_t kws_isolation[10] = {
    290049449, 352059328, 294170041, 325124729, 322813178, 277687675, 313566972, 349044261,
    332662397, 327637285
};
