"""A game: say up, down, left and right to reach the apples, and stop to end.

python docs/examples/game.py [RECORDING]    (default: the microphone)
"""

import random
import sys

from rich.live import Live
from rich.panel import Panel

from kws import AudioFile, Detector, Listener, Microphone

WIDTH, HEIGHT = 17, 7
STEPS = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}

player, apple = (WIDTH // 2, HEIGHT // 2), (WIDTH // 2 - 1, HEIGHT // 2)
moves = apples = 0


def field(word: str) -> Panel:
    """What the terminal shows."""
    rows = [
        " ".join("@" if (x, y) == player else "o" if (x, y) == apple else "." for x in range(WIDTH))
        for y in range(HEIGHT)
    ]
    text = "\n".join([*rows, "", f"apples: {apples}  moves: {moves}  {word}"])
    return Panel.fit(text, title="up, down, left, right; stop ends")


source = AudioFile(sys.argv[1]) if sys.argv[1:] else Microphone()
detector = Detector(keywords=(*STEPS, "stop"))
with Listener(source, detector=detector) as listener, Live(field("Speak!")) as live:
    for detection in listener:
        if detection.keyword == "stop":
            break
        step = STEPS[detection.keyword]
        player = (player[0] + step[0]) % WIDTH, (player[1] + step[1]) % HEIGHT
        moves += 1
        if player == apple:
            apples += 1
            apple = random.randrange(WIDTH), random.randrange(HEIGHT)
        live.update(field(detection.keyword), refresh=True)
