/* Generated from the model "commands" by firmware_demo/tools. Do not edit. */
#include "model.h"

const char *const kws_labels[12] = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "silence", "unknown"};

const uint8_t kws_keyword_labels[10] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9
};

const uint16_t kws_released[10] = {
    106, 101, 105, 103, 104, 108, 104, 102, 103, 100
};

const int64_t kws_thresholds[10] = {
    23587383146027, 22366705336870, 23421576792559, 22872700587973, 23018495829816, 23953300615751,
    23158573611195, 22769786299613, 22969897415868, 22303813271762
};

const int64_t kws_isolation[10] = {
    488273357, 607480174, 504465384, 558066576, 543828759, 452539229, 530149288, 568116799,
    548574698, 613621978
};
