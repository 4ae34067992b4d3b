/* Generated from the model "commands" by firmware_demo/tools. Do not edit. */
#include "model.h"

const char *const kws_labels[12] = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "silence", "unknown"};

const uint8_t kws_keyword_labels[10] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9
};

const uint16_t kws_released[10] = {
    89, 86, 91, 88, 87, 93, 90, 83, 86, 84
};

const int64_t kws_thresholds[10] = {
    19839587811590, 19110611602375, 20279832267352, 19493681453492, 19347886211649, 20688630690559,
    20096873532490, 18458821109429, 19024849695408, 18661790955916
};

const int64_t kws_isolation[10] = {
    512561397, 555274847, 486765824, 532829348, 541372038, 462812791, 497486062, 593465696,
    560299959, 581572932
};
