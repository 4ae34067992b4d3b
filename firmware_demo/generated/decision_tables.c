/* Generated from the model "commands" by firmware_demo/tools. Do not edit. */
#include "model.h"

const char *const kws_labels[12] = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "silence", "unknown"};

const uint8_t kws_keyword_labels[10] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9
};

const uint16_t kws_released[10] = {
    63, 52, 86, 48, 58, 95, 89, 72, 56, 45
};

const int64_t kws_thresholds[10] = {
    14007778137866, 11434920928870, 19153492555858, 10577301859205, 12864286044979, 21154603718410,
    19725238602301, 16008889300419, 12292539998536, 10005555812762
};

const int64_t kws_isolation[10] = {
    1139025327, 1340029796, 737016388, 1407031286, 1228360647, 580679578, 692348728, 982688517,
    1273028307, 1451698946
};
