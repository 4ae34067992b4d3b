"""Speech by machines in many voices: the commands, other words, and runs of other words.

`python -m kws.train.synthesize --out DIR` writes them; nothing of it is stored in the project.
espeak-ng always speaks, flite and voices of Piper where they are requested. The commands come into
folders of their own, all else into `_other_`: if only other words were synthetic, a network would
learn to tell synthetic voices, not words.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

from kws.config import KEYWORDS, SAMPLE_RATE
from kws.errors import KwsError, writing
from kws.recordings.data import Int16Array
from kws.train.materials import OTHER
from kws.train.pronunciations import read_dictionary, short_words
from kws.train.spoken import avoided
from kws.train.voices import Espeak, Flite, Piper, Voices

# Everyday words, many of them a sound or two away from a command.
WORDS = """
one two three four five six seven eight nine ten bird bed dog happy house sheila tree
wow backward forward follow learn visual zero hello please thanks morning evening kitchen window
door light lamp music volume louder quieter weather timer alarm minute second hour today tomorrow
mother father sister brother baby water coffee sugar milk bread butter apple orange lemon banana
table chair floor ceiling garden flower summer winter spring autumn monday tuesday wednesday
thursday friday saturday sunday january february march april june july august september october
november december red green blue yellow purple black white brown silver golden open close closed
start begin finish ending pause play next previous back front top bottom middle inside outside
over under above below between behind around through across along against before after during
often never always maybe perhaps really very quite almost enough little much more most many few
yet yellow guess yesterday yell yak less mess dress press chess nest west best test rest guest
note nose node nor gnome snow show low row toe bow mow sew hoe throw blow flow slow glow
cup pup cut but hut shut nut supper puppy pub hub tub rub apple op hop top mop
town brown gown drown clown crown noun found round sound ground crowd cloud loud count dawn done
lift loft laughed lent lend leaf leg lick let less lesson letter level lest heft cleft
ride bright light night kite bite fight sight tight height white wife wipe rise rice rye
owner john gone pawn lawn swan dawn don con honor ounce aunt ant and in
of cough scoff soft loft offer office often orphan awful doff trough author
step stock stomp staff stuff stab stump storm store story stove star stair stay stack shop chop
goat gold goal ghost coat cold coal code joke hope rope soap boat road wrote growl goose good gore
yarn year you young your use youth onion canyon million beyond nine none noon known then than thin
computer robot machine laptop tablet phone message email picture camera video movie channel
station radio speaker battery charge power switch button handle mirror glasses snowman blueberry
terminator porcupine bumblebee grasshopper americano picovoice alexa siri cortana google bixby
""".split()  # noqa: SIM905 (a list of words reads best as text)

PHONES = 7  # of a word from a dictionary, at most


def synthesize(
    out: Path, count: int, seed: int, voices: Sequence[Voices], words: Sequence[str] = ()
) -> int:
    """Write `count` clips below `out`; returns how many.

    Two in ten speak a command, two in ten several other words, and the rest one: of those above, or
    as often of `words`. `voices` take turns.
    """
    draw = random.Random(seed)
    jobs = []
    for _ in range(count):
        kind = draw.random()
        if kind < 0.2:
            folder, text = "", [draw.choice(KEYWORDS)]
        elif kind < 0.8:
            drawn = words if words and draw.random() < 0.5 else WORDS
            folder, text = OTHER, [draw.choice(drawn)]
        else:
            folder, text = OTHER, draw.choices(WORDS, k=draw.randint(3, 7))
        jobs.append((out / (folder or text[0]), text, draw.getrandbits(32)))

    def write(numbered: tuple[int, tuple[Path, list[str], int]]) -> bool:
        index, (folder, text, own_seed) = numbered
        spoken = voices[index % len(voices)].speak(" ".join(text), random.Random(own_seed))
        audio = _trimmed(spoken)
        if len(audio) < SAMPLE_RATE // 10:
            return False
        padding = max(0, SAMPLE_RATE - len(audio))
        audio = np.pad(audio, (padding // 2, padding - padding // 2))
        folder.mkdir(exist_ok=True)
        soundfile.write(folder / f"{text[0]}_{index:05d}.flac", audio, SAMPLE_RATE)
        return True

    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor() as pool:
            return sum(pool.map(write, enumerate(jobs)))


def _trimmed(audio: Int16Array) -> Int16Array:
    """Without the silence at both ends."""
    loud = np.flatnonzero(np.abs(audio.astype(np.int32)) > 300)
    return audio[loud[0] : loud[-1] + 1] if len(loud) else audio[:0]


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kws.train.synthesize", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write FLAC files into")
    parser.add_argument("--count", type=int, default=7000, help="how many clips (default 7000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--flite", action="store_true", help="let flite speak too")
    parser.add_argument(
        "--piper", nargs="+", type=Path, default=[], metavar="VOICE.onnx", help="and these voices"
    )
    parser.add_argument(
        "--dictionary",
        type=Path,
        metavar="FILE",
        help="in the format of CMUdict: half of the single words are any short ones of these",
    )
    options = parser.parse_args(arguments)
    try:
        voices: list[Voices] = [Espeak(), *([Flite()] if options.flite else [])]
        voices += [Piper(voice) for voice in options.piper]
        words: list[str] = []
        if options.dictionary:
            dictionary = read_dictionary(options.dictionary)
            words = short_words(dictionary, avoided(dictionary), PHONES)
        written = synthesize(options.out, options.count, options.seed, voices, words)
    except KwsError as error:
        print(f"kws: {error}", file=sys.stderr)
        return 1
    print(f"{written} clips in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
