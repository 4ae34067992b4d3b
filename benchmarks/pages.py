"""A page for each measurement: all its figures as tables, and its pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.boards import instruction_tables
from benchmarks.conditions import condition_tables
from benchmarks.difficult import page_tables
from benchmarks.lesson_tables import lesson_tables
from benchmarks.product import matrix
from benchmarks.results import FOLDER
from benchmarks.text import cell, counted, narrow_tables, table, words
from benchmarks.timed import too_noisy
from benchmarks.verified_tables import verified_tables


@dataclass(frozen=True)
class Page:
    """What the file of one measurement is about."""

    title: str
    what: str  # a sentence for a user


PAGES = {
    "accuracy": Page(
        "Accuracy of `commands`",
        "Clips of speakers, words, noises, rooms and devices that training never had.",
    ),
    "accuracy_accurate": Page(
        "Accuracy of `accurate`", "The same clips, by the larger of the two models."
    ),
    "streaming": Page(
        "Detection on streams",
        "False accepts, misses and delay of every preset, what the gate costs, and memory.",
    ),
    "rooms": Page(
        "Difficult rooms and voices",
        "Talk in the background, other accents, children, and the files without verifier.",
    ),
    "arming": Page(
        "A second condition",
        "False actions on recordings without commands: every detection, and those that count after "
        "another word or a cool-down.",
    ),
    "spotting": Page(
        "Single words in a stream", "Validation clips with noise around them, one by one."
    ),
    "listening": Page(
        "The whole program", "`kws listen` on a virtual microphone, capture and outputs included."
    ),
    "serving": Page(
        "Servers under load",
        "How late the microphone's audio is processed while clients of `kws serve` send audio, or "
        "connect without end: the worst of several rounds.",
    ),
    "repetition": Page(
        "The same word again and again",
        "Each keyword four times in a row at the default setting: the share of the four that is "
        "detected, by the time from one onset to the next. A longer word than that follows itself "
        "after 0.1 s. A recording that is missed when its word is said once is missed at any time; "
        "of the words of the others 90 % are to be detected from 0.6 s on.",
    ),
    "latency": Page("Speed of each file", "What `kws bench` measures, on our machine."),
    "cuda": Page(
        "On an NVIDIA GPU", "The networks on CUDA: one call each, and batches of 1 to 4096."
    ),
    "footprint": Page("Size of each extra", "The wheel, and fresh installations with each extra."),
    "installations": Page(
        "Ways to install",
        "Size, memory and start of each command that docs/install.md names, in fresh environments.",
    ),
    "container": Page("The container", "Its size, and the words it detects."),
    "scanning": Page("Archives", "`kws scan` by batch size, processes, and on a Dask cluster."),
    "endurance": Page(
        "Hours without a break", "Memory and detections of one detector as the same audio repeats."
    ),
    "fuzz": Page(
        "Fuzzing",
        "Changed files given to what reads them. Refused: one line that says why. Ran: taken, and "
        "nothing happened. Stopped: the process in which imported networks are tried died, and "
        "nothing else. Findings: any other exception, or more than a minute of the processor. "
        "Minutes are by the clock, added up over several sittings, in which many targets share the "
        "processor; processor minutes are what a target had of it, its child processes included. "
        "The digests are of what each target fuzzes: its modules and all that they import, and the "
        "models that it begins with.",
    ),
    "arm": Page(
        "ARM processors",
        "Debian's Python for ARM under emulation: posteriors and detections against those of the "
        "machine it runs on, and millions of instructions per second of audio. A detection of int8 "
        "ONNX and of the verifier, whose sums depend on the processor, counts as the same up to 20 "
        "ms apart. The native kernel is compiled where kws is installed, if there is a compiler, "
        "and runs the float ONNX file and the verifier; other rows are without it. With the "
        "verifier the first words of the demonstration are compared. It is also what speech stands "
        "for: a command follows another after a second or two.",
    ),
    "matrix": Page(
        "Versions of Python", "The wheel with the oldest and the newest version of what it needs."
    ),
    "peers": Page(
        "Other keyword spotters", "Processor time and mistakes of each in a process of its own."
    ),
    "before": Page(
        "Processor time beside an earlier commit's",
        "The default model of both, and pymicro-wakeword, taking turns on the same audio. Silence "
        "is digital: webrtcvad rests there, and does not in faint noise, which is of -81 dBFS.",
    ),
    "recomputation": Page(
        "What streaming saves",
        "The network with its state from hop to hop, beside its whole window for each row of "
        "posteriors.",
    ),
    "growth": Page(
        "Many streams, wider networks, other hops",
        "What each costs in processor time.",
    ),
    "floor": Page(
        "Distance from what the processor can do",
        "Arithmetic of each graph against one core.",
    ),
    "ablation": Page(
        "What each training option is worth",
        "Short runs that differ in one option, and some in their seed alone.",
    ),
    "lessons": Page(
        "What each lesson is worth",
        "Talk behind words, mined negatives, length, size and isolation: short runs alike but for "
        "one of them, in difficult rooms and without verifier.",
    ),
    "lessons_mended": Page(
        "What mended labels are worth",
        "Short runs alike to the first row of what each lesson is worth, but for the labels of "
        "some training clips.",
    ),
    "verified": Page(
        "Which networks go together",
        "First networks and the two that verify, each with the thresholds that ship, all moved by "
        "so many log-odds, in difficult rooms.",
    ),
    "encoders": Page(
        "What a seed of the verifier is worth",
        "Runs of the recipe encoder that differ in their seed alone, and the mean that ships, each "
        "verifying the candidates of the network that ships, with the thresholds that ship, all "
        "moved by so many log-odds, in difficult rooms.",
    ),
    "ensemble": Page("Several networks together", "Majority vote, average and weighted average."),
    "finetune": Page(
        "Your own words",
        "Fine-tuning with 10, 30 and 100 recordings, against training from nothing.",
    ),
    "mutants": Page(
        "Faults that the tests catch",
        "Small faults put into the stages of the pipeline one at a time. A survivor that changes "
        "nothing anybody can see does not count.",
    ),
    "mislabelled": Page("Label errors", "How many planted errors `kws data check` finds."),
}

# Those that tell what the weights do that ship, and so end with them.
OF_WEIGHTS = frozenset(
    {
        "accuracy",
        "accuracy_accurate",
        "streaming",
        "rooms",
        "before",
        "arming",
        "spotting",
        "repetition",
        "peers",
        "listening",
    }
)

RULE = "../../docs/benchmarks.md#how-time-is-measured"
# What the keys of the files are called where they head a table.
HEADINGS = {
    "artefacts": "files of the model",
    "detected_by_time_from_onset_to_onset": "detected, by time from onset to onset",
    "at_our_false_accepts": "fewest misses with no more false accepts than kws",
    "a_pool_of_64": "where the time of a pool of 64 streams goes",
    "as": "taken for",
    "by_hour": "hour by hour",
    "batches": "batches of the network alone",
    "by_run": "each run",
    "code": "digests",
    "combinations": "networks combined",
    "conditions": "clips",
    "difference_from_the_first_in_points": "difference from the first row, in points",
    "difference": "beyond the first row, paired by round",
    "epochs": "epochs of training",
    "files": "stages",
    "gate_missed": "commands missed with the gate and without",
    "graphs": "graphs",
    "held_out": "what training never had",
    "hop": "time from one step to the next",
    "installed": "installed size by extra",
    "loads": "clients",
    "mean": "mean over the seeds",
    "members": "networks alone",
    "memory": "memory of a process that listens for an hour",
    "methods": "ways to train",
    "mistakes": "misses and false accepts",
    "ms_per_second": "in ms per second of audio",
    "multiplications_per_second": "multiplications per second of one core",
    "one_node_us": "one node of a graph, µs",
    "not_installed": "extras that could not be installed",
    "not_measured": "what was not measured",
    "not_run": "files that did not run here",
    "one_call_of_the_network": "one call of the network",
    "of_words_detected_when_said_once": "of recordings whose word is detected when it is said once",
    "operating_points": "presets",
    "paired_processor_time": "processor time",
    "relative_processor_time": "relative, paired by round",
    "stages_while_the_gate_is_open": "stages while the gate is open",
    "standard_deviation_over_seeds": "standard deviation over the seeds",
    "seconds_until": "seconds until",
    "seconds_to_start": "seconds from the start of the process to the first block of audio",
    "import_kws_s": "`import kws` in a fresh process, in seconds",
    "streams": "many streams",
    "streams_on_the_kernel": "many streams, native kernel",
    "streams_with_verifier": "many streams, with verifier",
    "survivors": "survivors",
    "taken_out": "the stream graph before and after work was taken out of it",
    "targets": "what was fed",
    "threads": "threads of the network alone",
    "unseen_in_a_stream": "words never trained on, in a stream",
    "ways": "ways",
    "weights": "weights of the weighted average",
    "width": "width of the network",
    "words": "single words",
    "words_in_a_row": "words spoken one after the other",
}


def page(name: str, result: Mapping[str, Any]) -> str:
    """The page of a measurement, in Markdown."""
    about = PAGES.get(name, Page(words(name).capitalize(), ""))
    parts = [
        f"# {about.title}",
        about.what,
        f"```\n{result['command']}\n```",
        f"Measured on {result['date']} at commit {result['commit']}: {result['machine']}.",
        "Shares lie between 0 and 1. [All results](../RESULTS.md)",
        *_pictures(name),
        *RENDERERS.get(name, _tables)(result["figures"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _pictures(name: str) -> Iterator[str]:
    """The pictures beside a result: those whose names begin with its own."""
    for path in sorted(FOLDER.glob(f"{name}*.png")):
        longer = [other for other in PAGES if other.startswith(f"{name}_")]
        if not any(path.stem.startswith(other) for other in longer):
            yield f"![{words(path.stem)}](../results/{path.name})"


def _tables(figures: Mapping[str, Any]) -> Iterator[str]:
    return _render(figures, ())


def _arm_tables(figures: Mapping[str, Any]) -> Iterator[str]:
    """What differs, machine by machine; then what each spotter costs, and on which board."""
    yield from instruction_tables(figures.get("instructions", {}))
    for machine, found in figures["machines"].items():
        yield from _render_rows(found["artefacts"], (f"files on {machine}",))
        if found["does_not_run"]:
            rows = [(file, why) for file, why in found["does_not_run"].items()]
            yield table(("does not run there", "why"), rows)


def _matrix_tables(figures: Mapping[str, Any]) -> Iterator[str]:
    """The table of docs/install.md."""
    yield matrix.table_of(figures["rows"])


RENDERERS: Mapping[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "arm": _arm_tables,
    "arming": condition_tables,
    "lessons": lesson_tables,
    "lessons_mended": lesson_tables,
    "matrix": _matrix_tables,
    "rooms": page_tables,
    "verified": verified_tables,
    "encoders": verified_tables,
}


def _render(figures: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """A tree of figures as tables: what is plain first, then each branch under its own heading."""
    plain = {key: value for key, value in figures.items() if not isinstance(value, Mapping)}
    if plain:
        if path:
            yield _heading(path)
        if too_noisy(plain):
            yield _not_published()
        else:
            rows = [(words(key), cell(value, key)) for key, value in counted(plain).items()]
            yield table(("figure", "value"), rows)
    for key, branch in figures.items():
        if isinstance(branch, Mapping) and branch:
            if _alike(list(branch.values())):
                yield from _render_rows(branch, (*path, key))
            else:
                yield from _render(branch, (*path, key))


def _alike(branches: list[Any]) -> bool:
    """Whether these are rows of one table: they have a key in common, or there is one alone."""
    if not all(isinstance(branch, Mapping) for branch in branches):
        return False
    return len(branches) == 1 or bool(set.intersection(*(set(each) for each in branches)))


def _render_rows(rows: Mapping[str, Mapping[str, Any]], path: tuple[str, ...]) -> Iterator[str]:
    """Branches of the same kind as the rows of one table; what lies deeper as tables of its own."""
    keys = list(dict.fromkeys(key for row in rows.values() for key in row))
    deep = [key for key in keys if any(isinstance(row.get(key), Mapping) for row in rows.values())]
    flat = {
        name: counted({key: value for key, value in row.items() if key not in deep})
        for name, row in rows.items()
    }
    kept = {name: row for name, row in flat.items() if not too_noisy(row)}
    columns = list(dict.fromkeys(key for row in kept.values() for key in row))
    if any(flat.values()):
        yield _heading(path)
    if columns:
        cells = [
            (name, *(cell(row.get(key), key) for key in columns)) for name, row in kept.items()
        ]
        yield from narrow_tables(("", *map(words, columns)), cells)
    if len(kept) < len(flat):
        yield _not_published([name for name in flat if name not in kept])
    for key in deep:
        branches = {name: row[key] for name, row in rows.items() if key in row}
        yield from _render_rows(branches, (*path, key))


def _not_published(names: list[str] | None = None) -> str:
    what = f" of {', '.join(names)}" if names else ""
    return f"Not published{what}: beyond [the rule]({RULE}) for times."


def _heading(path: tuple[str, ...]) -> str:
    deeper = path[1:] if path[0] == "artefacts" and len(path) > 1 else path
    text = ", ".join(HEADINGS.get(key, words(key)) for key in deeper)
    return f"## {text[0].upper()}{text[1:]}"
