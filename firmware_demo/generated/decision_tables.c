/* Generated from the model "commands" by firmware_demo/tools. Do not edit. */
#include "model.h"

const char *const kws_labels[12] = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "silence", "unknown"};

const uint8_t kws_keyword_labels[10] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9
};

const uint16_t kws_released[10] = {
    76, 75, 73, 70, 71, 73, 77, 68, 67, 72
};

const int64_t kws_thresholds[10] = {
    14203931012261, 14075727956463, 13710470193716, 13110576649601, 13410523421658, 13710470193716,
    14462756049440, 12803373100800, 12549385914784, 13589523914660
};

const int64_t kws_isolation[10] = {
    162521562, 164608201, 170553151, 180317044, 175435097, 170553151, 158308915, 185317101,
    189451007, 172521678
};
