"""Many streams: several microphones or calls in one process, for less than a detector each.

python docs/examples/many_streams.py RECORDING...

Each recording stands for one stream. All get their next block in turn, as from a mixer; a stream
that has nothing gets None, and one that ends is finished and may be used again.
"""

import sys

from kws import AudioFile, DetectorPool

sources = [AudioFile(path) for path in sys.argv[1:]]
streams = [iter(source) for source in sources]
with DetectorPool(streams=len(streams)) as pool:
    running = set(range(len(streams)))
    while running:
        blocks = [next(streams[n], None) if n in running else None for n in range(len(streams))]
        for number, detections in enumerate(pool.process(blocks)):
            for detection in detections:
                print(f"stream {number}: {detection.end:6.2f} s  {detection.keyword}")
        for number in sorted(running):
            if blocks[number] is None:
                running.remove(number)
                for detection in pool.finish(number):
                    print(f"stream {number}: {detection.end:6.2f} s  {detection.keyword}")
for source in sources:
    source.close()
