"""What is held out, and which recordings hold no command: one rule, from names and transcripts."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kws.errors import DataError
from kws.recordings.held_out import in_held_out_fifth, is_held_out, speaker_of, word_of
from kws.recordings.negatives import negatives, sentences
from kws.recordings.sentences import cached_transcripts, read_sentences, sounds_like_command

TEXTS = "file\tspeaker\ttext\n0001_1.wav\t0001\tSTOP the car\n0001_2.wav\t0001\twe call it bear\n"
WORDS = (
    "file\tword\tstart\tend\tspeaker\tage\tgender\n"
    "0001_1.wav\tstop\t0.10\t0.40\t0001\t6\tm\n"
    "0001_1.wav\tthe\t0.40\t0.50\t0001\t6\tm\n"
    "0001_1.wav\tcar\t0.50\t0.90\t0001\t6\tm\n"
)


@pytest.fixture
def spoken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with two sentences, one of which holds a command; an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "data" / "speech" / "talk"
    folder.mkdir(parents=True)
    for name in ("0001_1", "0001_2"):
        soundfile.write(folder / f"{name}.wav", np.zeros(16_000, np.int16), 16_000)
    (folder / "transcripts.tsv").write_text(TEXTS, encoding="utf-8")
    (folder / "words.tsv").write_text(WORDS, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("path", "held_out"),
    [
        ("speech/orders/1.opus", True),
        ("speech/talk/1.opus", False),
        ("other_words/jarvis/1.opus", True),
        ("other_words/view_glass/1.opus", True),
        ("other_words/computer/1.opus", False),
        ("other_words/dsp20/print_01_02.opus", True),
        ("other_words/dsp20/close_01_02.opus", True),
        ("other_words/dsp20/open_01_02.opus", False),
        ("noise/rain/1.opus", True),
        ("noise/dog_bark/1.opus", False),
        ("synthetic/kokoro/1.opus", False),
    ],
)
def test_named_folders_and_words(path: str, held_out: bool) -> None:
    """What is held out by name."""
    assert held_out is is_held_out(Path("data") / path)


def test_a_fifth_by_hash() -> None:
    """Fixed for all times: one name of each kind, and the share of many."""
    assert is_held_out(Path("other_words/arabic/stop_00000001_NO_02.opus"))
    assert not is_held_out(Path("other_words/arabic/left_00000001_NO_02.opus"))
    assert "zoom in" == word_of(Path("other_words/arabic/zoom in_00000001_NO_02.opus"))
    assert "0001" == speaker_of(Path("speech/speechocean/0001_000010011.opus"))
    share = sum(in_held_out_fifth("librispeech", f"{n:04d}") for n in range(5000)) / 5000
    assert 0.2 == pytest.approx(share, abs=0.02)


def test_a_speaker_falls_on_one_side() -> None:
    """All sentences of a speaker of speechocean together."""
    sides = {is_held_out(Path(f"speech/speechocean/0005_{n:09d}.opus")) for n in range(50)}
    assert 1 == len(sides)


def test_sentences_with_a_command_are_no_negatives(spoken: Path) -> None:
    """The command is found, with its time; the other sentence is a negative."""
    data = spoken.parent.parent
    assert {"speech/talk": [spoken / "0001_2.wav"]} == negatives(data)
    assert {"speech/talk": 2} == {k: len(v) for k, v in negatives(data, keywords=("go",)).items()}
    found, problems = read_sentences(spoken)
    assert [] == problems
    (command,) = found[0].spoken()
    assert ("stop", 0.1, 0.4) == (command.word, command.start, command.end)
    assert ("0001", 6, "m") == (found[0].speaker, found[0].age, found[0].gender)


def test_homophones_count() -> None:
    """ "Know" cannot be told from "no", "alright" from "all right"; "now" can."""
    assert sounds_like_command("Know")
    assert sounds_like_command("write")
    assert sounds_like_command("alright")
    assert not sounds_like_command("now")


def test_without_transcripts_all_are_kept_and_the_folder_is_named(
    spoken: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is known of the recordings; a cached table is read where there is one."""
    (spoken / "transcripts.tsv").unlink()
    assert 2 == len(negatives(spoken.parent.parent)["speech/talk"])
    assert {} == negatives(spoken.parent.parent, transcribed=True)
    assert "talk has no transcripts.tsv" in caplog.text
    cache = cached_transcripts(spoken)
    cache.mkdir(parents=True)
    (cache / "transcripts.tsv").write_text(TEXTS, encoding="utf-8")
    assert 1 == len(negatives(spoken.parent.parent)["speech/talk"])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (WORDS.replace("0.90", "7.00"), "lies outside it"),
        (WORDS.replace("0.40\t0.50", "0.50\t0.40"), "lies outside it"),
        (WORDS.replace("\tcar\t", "\tcart\t"), "are not those of transcripts.tsv"),
        (WORDS.replace("0.10", "soon"), "have no times"),
        (WORDS.replace("0001_1.wav\tstop", "0003_1.wav\tstop"), "is in a table and not in"),
    ],
)
def test_tables_that_do_not_fit_are_reported(spoken: Path, words: str, reason: str) -> None:
    """The times are left out; what is said still tells whether there is a command."""
    (spoken / "words.tsv").write_text(words, encoding="utf-8")
    found, problems = read_sentences(spoken)
    assert any(reason in str(problem) for problem in problems)
    assert () == found[0].words
    assert found[0].holds()


def test_a_table_without_its_columns_is_refused(spoken: Path) -> None:
    """It says what was expected; a short row is named by its line."""
    (spoken / "transcripts.tsv").write_text("name,text\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"no column file, speaker, text; expected tab-separated"):
        read_sentences(spoken)
    (spoken / "transcripts.tsv").write_text("file\tspeaker\ttext\na.wav\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2: expected 3 columns"):
        read_sentences(spoken)


def test_real_sentences() -> None:
    """Speechocean: both sides share no speaker, and negatives hold no command."""
    data = Path(os.environ.get("KWS_DATA", ""))
    folder = data / "speech" / "speechocean"
    if "KWS_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("needs the recordings that KWS_DATA names")
    training, _ = sentences(folder, held_out=False)
    held_out, _ = sentences(folder, held_out=True)
    assert not {s.speaker for s in training} & {s.speaker for s in held_out}
    assert 0.1 < len(held_out) / (len(training) + len(held_out)) < 0.3
    quiet = set(negatives(data, held_out=False)["speech/speechocean"])
    told = [s for s in training if s.spoken()]
    assert told
    assert not quiet & {s.path for s in told}
