"""`python -m benchmarks.report`: write RESULTS.md, its pages, and tables of README and model card.

Nothing is measured here and no figure is typed anywhere else: a test writes the texts again and
compares them with what is committed. Only what was measured on a clean commit is published, and
only from a clean tree.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import headlines, targets
from benchmarks.pages import OF_WEIGHTS, PAGES, page
from benchmarks.results import (
    ROOT,
    GitUnavailable,
    read_results,
    shipped_models,
    uncommitted,
)
from benchmarks.text import table
from kws.bench.timing import NOISY_SPREAD

HERE = Path(__file__).parent
# Of measurements that are not called as their module, or have none here.
COMMANDS = {
    "arm": "make arm",
    "cuda": "python -m benchmarks.product.latency --cuda",
    "accuracy_accurate": "python -m benchmarks.product.accuracy --model accurate",
    "encoders": "python -m benchmarks.studies.verified small --encoder CHECKPOINT...",
    "fuzz": "make fuzz",
    "lessons_mended": "python -m benchmarks.studies.lessons RUN... --out "
    "benchmarks/results/lessons_mended.json",
}
README, CARD = ROOT / "README.md", ROOT / "kws" / "models" / "README.md"
BEGIN = "<!-- written by: python -m benchmarks.report -->"
END = "<!-- end of what it writes -->"
Results = Mapping[str, Mapping[str, Any]]
NOTHING = (
    "The models that ship are newer than the measurements: [RESULTS.md](benchmarks/RESULTS.md) "
    "names the commands that measure them."
)
NOT_MEASURED = "The models that ship are newer than the measurements."


def published(results: Results) -> dict[str, Mapping[str, Any]]:
    """The measurements of clean commits, and of the models that ship now."""
    return {name: result for name, result in results.items() if not _why_not(name, result)}


def _why_not(name: str, result: Mapping[str, Any]) -> str:
    """Why a measurement is not published; empty where it is."""
    if result["commit"] == "unknown" or result["commit"].endswith("+"):
        return "measured with changes on top of a commit"
    if name in OF_WEIGHTS and result["models"] != shipped_models():
        return "measured on models that no longer ship"
    return ""


def texts(results: Results, readme: str, card: str) -> dict[Path, str]:
    """What is published, by file; `readme` and `card` are the README and the model card with two
    marks each.

    Raises ValueError where a mark is gone.
    """
    clean = published(results)
    made = {HERE / "pages" / f"{name}.md": page(name, result) for name, result in clean.items()}
    made[HERE / "RESULTS.md"] = results_page(results)
    made[README] = _between_marks(README, readme, readme_tables(clean))
    made[CARD] = _between_marks(CARD, card, headlines.card(clean) or NOT_MEASURED)
    return made


def _between_marks(path: Path, document: str, text: str) -> str:
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        name = path.relative_to(ROOT).as_posix()
        raise ValueError(f"{name} should hold the marks {BEGIN} and {END}, in this order")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def readme_tables(clean: Results) -> str:
    """README's tables; a figure that was not measured is left out."""
    parts = [
        headlines.streams(clean),
        headlines.difficult(clean),
        headlines.clips(clean),
        headlines.cost(clean),
    ]
    text = "\n\n".join(part for part in parts if part)
    return text.replace("](pages/", "](benchmarks/pages/") or NOTHING


def results_page(results: Results) -> str:
    """RESULTS.md: what was measured, how sure it is, and by which command."""
    clean = published(results)
    parts = [
        "# Results",
        "Written by `python -m benchmarks.report`. In brackets stands what the measurement allows "
        "with 95 % confidence: of counted events Poisson's interval, of shares Wilson's, of times "
        "the median's, with the lowest and the highest of the rounds. Times whose interval is "
        f"wider than {NOISY_SPREAD:.0%} of the median are not published, nor what was measured "
        "with uncommitted changes or on models that no longer ship. The recordings are a "
        "development set: speakers, words and noises that training never had, but on which "
        "settings were chosen.",
        _section("On streams", headlines.streams(clean), _streams_note()),
        _section("Difficult rooms and voices", headlines.difficult(clean)),
        _section("On clips of one second", headlines.clips(clean)),
        _section("Single words, cost and size", headlines.cost(clean)),
        _section("Targets", _targets(clean), "Met is what the interval allows to say."),
        _section(
            "Pages",
            _pages(clean),
            "Each has all figures of one measurement, its command, date, commit and machine. "
            "`KWS_DATA` names the recordings.",
        ),
        _section("Not published", _missing(results), "Measure these again on a clean commit."),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(title: str, text: str, note: str = "") -> str:
    return "\n\n".join(part for part in (f"## {title}", note, text) if part) if text else ""


def _streams_note() -> str:
    return (
        "Without verifier is what the TFLite files and the firmware do. `--connected` is for words "
        "in mid-sentence."
    )


def _targets(clean: Results) -> str:
    rows = list(targets.rows(clean))
    return table(("what", "target", "measured", "met"), rows) if rows else ""


def _pages(clean: Results) -> str:
    links = (f"[{PAGES[name].title if name in PAGES else name}](pages/{name}.md)" for name in clean)
    return " · ".join(links)


def _missing(results: Results) -> str:
    clean = published(results)
    rows = [
        (
            PAGES[name].title,
            _why_not(name, results[name]) if name in results else "not measured",
            f"`{_command(name, results)}`",
        )
        for name in PAGES
        if name not in clean
    ]
    return table(("what", "why", "command"), rows) if rows else ""


def _command(name: str, results: Results) -> str:
    """What measures it: as it was typed last, or its module."""
    if name in results:
        return str(results[name]["command"])
    for kind in ("product", "studies"):
        if (HERE / kind / f"{name}.py").exists():
            return f"python -m benchmarks.{kind}.{name}"
    return COMMANDS[name]


def main() -> int:
    """Write the texts; returns the exit code."""
    try:
        if changed := uncommitted():
            raise ValueError(
                f"expected a tree without uncommitted changes, found {len(changed)}, first "
                f"{changed[0]}; commit them, then publish"
            )
        made = texts(read_results(), *(each.read_text(encoding="utf-8") for each in (README, CARD)))
    except (GitUnavailable, ValueError) as error:
        print(f"report: error: {error}", file=sys.stderr)
        return 1
    for old in (HERE / "pages").glob("*.md"):
        if old not in made:
            old.unlink()
    for path, text in made.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    pages = len(made) - 3
    print(f"written: README.md, kws/models/README.md, benchmarks/RESULTS.md and {pages} pages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
