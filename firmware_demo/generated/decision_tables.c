/* Generated from the model "commands" by firmware_demo/tools. Do not edit. */
#include "model.h"

const char *const kws_labels[12] = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "silence", "unknown"};

const uint8_t kws_keyword_labels[10] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9
};

const uint16_t kws_released[10] = {
    80, 74, 82, 77, 76, 84, 80, 70, 76, 74
};

const int64_t kws_thresholds[10] = {
    17652659183944, 16466286137573, 18144360783885, 17189544886324, 16849355988691, 18604616351272,
    17867063951360, 15497176588852, 16757876621260, 16363371849214
};

const int64_t kws_isolation[10] = {
    854268995, 946954389, 815854808, 890449800, 917027057, 779897341, 837518623, 1022666073,
    924173883, 954994568
};
