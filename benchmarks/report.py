"""`python -m benchmarks.report`: write RESULTS.md and README's table from benchmarks/results/.

Nothing is measured here and no figure is typed anywhere else: a test regenerates both texts and
compares them with what is committed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import targets
from benchmarks.results import FOLDER, ROOT, read_results

RESULTS_PAGE = Path(__file__).parent / "RESULTS.md"
README = ROOT / "README.md"
BEGIN = "<!-- written by: python -m benchmarks.report -->"
END = "<!-- end of what it writes -->"


@dataclass(frozen=True)
class Headline:
    """One row of README's table."""

    text: str
    result: str  # name of the file in results/
    figure: tuple[str, ...]  # keys that lead to it
    form: str  # how to write it
    deviation: tuple[str, ...] = ()  # keys that lead to how much it varies, where that is told


DEFAULT_POINT = ("operating_points", "isolated medium")

SEEDS = ("the first run's options",)  # the row of runs that differ in their seed alone

HEADLINES = (
    Headline(
        "False accepts per hour of coffee orders and unseen kinds of noise, by default",
        "streaming",
        (*DEFAULT_POINT, "conversation and noise, false accepts per hour"),
        "{:.1f}",
    ),
    Headline(
        "Commands missed in a stream without added noise, at that setting",
        "streaming",
        (*DEFAULT_POINT, "silence, missed"),
        "{:.1%}",
    ),
    Headline(
        "The same with unseen kinds of noise at 10 dB SNR",
        "streaming",
        (*DEFAULT_POINT, "noise 10 dB, missed"),
        "{:.1%}",
    ),
    Headline(
        "From the end of a word to its event, median",
        "streaming",
        (*DEFAULT_POINT, "delay at 10 dB, median, s"),
        "{:.2f} s",
    ),
    Headline(
        "Keywords spotted in a stream, real clips with noise around them",
        "spotting",
        ("spotted",),
        "{:.1%}",
    ),
    Headline("Other words that fire in the same stream", "spotting", ("unknown_fired",), "{:.1%}"),
    Headline(
        "Clips of four words never trained on that fire",
        "accuracy",
        ("unseen_in_a_stream", "all", "share"),
        "{:.1%}",
    ),
    Headline(
        "Accuracy of the network alone over 12 classes, speakers never trained on",
        "accuracy",
        ("artefacts", "window.onnx", "conditions", "clean", "accuracy"),
        "{:.1%}",
    ),
    Headline(
        "The same with unseen kinds of noise at 10 dB SNR",
        "accuracy",
        ("artefacts", "window.onnx", "conditions", "10 dB", "accuracy"),
        "{:.1%}",
    ),
    *(
        Headline(
            f"{text}: mean and deviation over seeds, short runs from nothing",
            result,
            ("mean", *row, name),
            form,
            ("standard_deviation_over_seeds", *row, name),
        )
        for text, result, row, name, form in (
            ("Accuracy of the network alone", "seeds", SEEDS, "clean", "{:.2%}"),
            ("The same at 10 dB SNR", "seeds", SEEDS, "10 dB", "{:.2%}"),
            (
                "False accepts per hour without the verifier",
                "stream_seeds",
                (),
                "conversation and noise, false accepts per hour",
                "{:.1f}",
            ),
            ("Commands missed at that setting", "stream_seeds", (), "silence, missed", "{:.1%}"),
            ("The same at 10 dB SNR", "stream_seeds", (), "noise 10 dB, missed", "{:.1%}"),
            (
                "False accepts per hour with the verifier",
                "stream_seeds_verified",
                (),
                "conversation and noise, false accepts per hour",
                "{:.1f}",
            ),
            (
                "Commands missed at that setting",
                "stream_seeds_verified",
                (),
                "silence, missed",
                "{:.1%}",
            ),
            (
                "The same at 10 dB SNR",
                "stream_seeds_verified",
                (),
                "noise 10 dB, missed",
                "{:.1%}",
            ),
        )
    ),
    Headline(
        "Processor time per second of speech, all ten words",
        "peers",
        ("processor_time", "kws stream.onnx", "speech", "ms_per_second"),
        "{:.2f} ms",
    ),
    Headline(
        "The same in silence",
        "peers",
        ("processor_time", "kws stream.onnx", "silence", "ms_per_second"),
        "{:.2f} ms",
    ),
    Headline(
        "pymicro-wakeword in the same run, one wake word, relative processor time",
        "peers",
        ("processor_time", "pymicro-wakeword", "speech", "relative_processor_time"),
        "{:.1f}",
    ),
    Headline(
        "pocketsphinx in the same run, the same ten words, relative processor time",
        "peers",
        ("processor_time", "pocketsphinx 1e-2", "speech", "relative_processor_time"),
        "{:.1f}",
    ),
    Headline(
        "The wheel, with every format of the model", "footprint", ("wheel_bytes",), "{:,} bytes"
    ),
    Headline(
        "Installed with all that it needs",
        "footprint",
        ("installed", "base", "installed_bytes"),
        "{:,} bytes",
    ),
    Headline(
        "Memory while it listens",
        "footprint",
        ("start_up", "base stream.onnx", "resident_bytes"),
        "{:,} bytes",
    ),
    Headline(
        "An archive on two cores, times real time",
        "scanning",
        ("ways", "kws scan, 2 processes", "times_real_time"),
        "{:.0f}",
    ),
)


def headline_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """README's table; a headline that was not measured is left out."""
    rows = []
    machines = {}
    for headline in HEADLINES:
        value = _look_up(results.get(headline.result, {}).get("figures", {}), headline.figure)
        if value is not None:
            result = results[headline.result]
            command = f"`{result['command']}`"
            measured = headline.form.format(value)
            if headline.deviation:
                spread = _look_up(result["figures"], headline.deviation)
                measured += " ± " + headline.form.format(spread)
            rows.append((headline.text, measured, command))
            machines[result["machine"]] = None
    lines = [_table(("what", "measured", "by"), rows)]
    lines += [f"Measured on: {machine}." for machine in machines]
    return "\n\n".join(lines)


def readme(text: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """README with the table between its two marks renewed; raises ValueError where one is gone."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md should hold the marks {BEGIN} and {END}, in this order")
    return f"{before}{BEGIN}\n\n{headline_table(results)}\n\n{END}{after}"


def results_page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """RESULTS.md: every figure of every measurement."""
    parts = [
        "# Results",
        "Written by `python -m benchmarks.report` from the files in `results/`, each of which the "
        "command below it writes again. Shares lie between 0 and 1. `KWS_DATA` names the folder "
        "with the recordings. A commit with a + was measured with changes on top.",
    ]
    if reached := list(targets.rows(results)):
        parts += [
            "## targets",
            "What we set out to reach, on the development material; where it is missed, by how "
            "much. Clips are processed in three windows, as docs/words.md says.",
            _table(("what", "target", "measured", "missed by", "in"), reached),
        ]
    for name, result in results.items():
        parts += [
            f"## {name}",
            f"```\n{result['command']}\n```",
            f"{result['date']}, commit {result['commit']}, on: {result['machine']}",
            *_render(result["figures"], ""),
            *_pictures(name),
        ]
    return "\n\n".join(parts) + "\n"


def _pictures(name: str) -> Iterator[str]:
    """The pictures beside a result: those whose names begin with its own."""
    for path in sorted(FOLDER.glob(f"{name}*.png")):
        yield f"![{_words(path.stem)}](results/{path.name})"


def _render(figures: Mapping[str, Any], title: str) -> Iterator[str]:
    """A tree of figures as tables: what is plain first, then each branch under its own heading."""
    plain = {key: value for key, value in figures.items() if not isinstance(value, Mapping)}
    if plain:
        if title:
            yield f"### {_words(title)}"
        yield _table(("figure", "value"), [(_words(k), _cell(v)) for k, v in plain.items()])
    for key, branch in figures.items():
        if isinstance(branch, Mapping) and branch:
            name = f"{title}, {key}" if title else key
            if all(isinstance(value, Mapping) for value in branch.values()):
                yield from _render_rows(branch, name)
            else:
                yield from _render(branch, name)


def _render_rows(rows: Mapping[str, Mapping[str, Any]], title: str) -> Iterator[str]:
    """Branches of the same kind as the rows of one table; what lies deeper as tables of its own."""
    keys = list(dict.fromkeys(key for row in rows.values() for key in row))
    deep = [key for key in keys if any(isinstance(row.get(key), Mapping) for row in rows.values())]
    columns = [key for key in keys if key not in deep]
    if columns:
        yield f"### {_words(title)}"
        cells = [(name, *(_cell(row.get(key)) for key in columns)) for name, row in rows.items()]
        yield _table(("", *map(_words, columns)), cells)
    for key in deep:
        branches = {name: row[key] for name, row in rows.items() if key in row}
        yield from _render_rows(branches, f"{title}, {key}")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    return str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _look_up(figures: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(figures, Mapping) or key not in figures:
            return None
        figures = figures[key]
    return figures


def main() -> int:
    """Write both texts; returns the exit code."""
    results = read_results()
    text = readme(README.read_text(encoding="utf-8"), results)
    README.write_text(text, encoding="utf-8")
    RESULTS_PAGE.write_text(results_page(results), encoding="utf-8")
    print(f"{RESULTS_PAGE.name} and {README.name} hold: {', '.join(results)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
