"""A file: every keyword in a recording of any rate, format and channel count.

python docs/examples/file.py RECORDING
"""

import sys

from kws import AudioFile, Detector

with Detector(sensitivity="medium") as detector, AudioFile(sys.argv[1]) as recording:
    for detection in detector.listen(recording):
        print(f"{detection.end:6.2f} s  {detection.score:.2f}  {detection.keyword}")
