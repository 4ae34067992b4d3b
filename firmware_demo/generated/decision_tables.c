/* Generated from the model "commands" by firmware_demo/tools. Do not edit. */
#include "model.h"

const char *const kws_labels[12] = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "silence", "unknown"};

const uint8_t kws_keyword_labels[10] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9
};

const uint16_t kws_released[10] = {
    69, 71, 71, 67, 68, 71, 73, 65, 70, 69
};

const int64_t kws_thresholds[10] = {
    12955765412410, 13376658463523, 13255712184467, 12527615584554, 12834819133355, 13255712184467,
    13620969947215, 12143006417158, 13134765905412, 12895292272882
};

const int64_t kws_isolation[10] = {
    365673516, 351972570, 355909623, 379610684, 369610569, 355909623, 344019722, 392130514,
    359846677, 367642042
};
