"""Other words for training: cut out of speech, spoken by machines, kept from the commands."""

import random
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch", reason="training needs torch")

from test_train_data import folder, sound, write  # noqa: F401 (a fixture)

from kws.config import KEYWORDS, LABELS, SAMPLE_RATE
from kws.errors import DataError
from kws.train import synthesize, voices
from kws.train.materials import OTHER, SPOKEN, SYNTHESISED, load_material
from kws.train.pronunciations import (
    Dictionary,
    begins_or_ends_like,
    read_dictionary,
    short_words,
    ways_to_say,
)
from kws.train.spoken import Finder, Segment, avoided, cut
from kws.train.spoken import main as spoken

WORDS = """
yes Y EH S
no N OW
up AH P
down D AW N
left L EH F T
right R AY T
on AA N
on(2) AO N
off AO F
stop S T AA P
go G OW
know N OW
cat K AE T
kat K AE T
print P R IH N T
going G OW IH NG
cup K AH P
table T EY B AH L
elephant EH L AH F AH N T
a AH
it's IH T S
"""


@pytest.fixture(scope="module")
def dictionary(tmp_path_factory: pytest.TempPathFactory) -> Dictionary:
    """The commands, and words near to them and far."""
    path = tmp_path_factory.mktemp("dictionary") / "words.dict"
    path.write_text(WORDS, encoding="utf-8")
    return read_dictionary(path)


def test_a_dictionary_has_every_way_to_say_a_word(dictionary: Dictionary) -> None:
    """Alternatives are numbered in the file and one word here."""
    assert {("aa", "n"), ("ao", "n")} == dictionary["on"]


@pytest.mark.parametrize("content", [b"", b"no phones\xff", b"12 34\n"])
def test_what_is_no_dictionary_is_named(tmp_path: Path, content: bytes) -> None:
    """Empty files, bytes that are no text, and other text."""
    path = tmp_path / "other.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"other\.txt"):
        read_dictionary(path)


def test_a_dictionary_must_have_the_commands(dictionary: Dictionary) -> None:
    """Else nothing would be kept from sounding like them."""
    with pytest.raises(DataError, match="does not have xylophone"):
        ways_to_say(["yes", "xylophone"], dictionary)


def test_what_is_cut_may_leave_a_command(dictionary: Dictionary) -> None:
    """Of "know" all of it, of "going" the beginning and of "cup" the end."""
    commands = ways_to_say(KEYWORDS, dictionary)
    words = ("know", "going", "cup", "table")
    left = [begins_or_ends_like(word, commands, dictionary) for word in words]
    assert [True, True, True, False] == left


def test_words_held_out_are_never_drawn(dictionary: Dictionary) -> None:
    """Nor what sounds like one; long words and single sounds are no words to draw either."""
    drawn = ["cat", "cup", "going", "it's", "kat", "table"]
    assert drawn == short_words(dictionary, avoided(dictionary), 5)


def test_words_are_cut_where_they_are_spoken(dictionary: Dictionary) -> None:
    """In the middle of a second, faded at both ends; commands, near ones and fragments are not."""
    audio = np.zeros(5 * SAMPLE_RATE, np.int16)
    audio[SAMPLE_RATE : SAMPLE_RATE * 3 // 2] = 1_000  # 1.0 to 1.5 s
    segments = [
        Segment("table", 100, 149),
        Segment("no", 150, 199),
        Segment("going", 200, 249),
        Segment("it's", 250, 260),
        Segment("unheard-of", 300, 349),
    ]
    ((word, clip),) = cut(audio, segments, dictionary)
    assert "table" == word
    (loud,) = np.nonzero(clip)
    assert (SAMPLE_RATE // 4, SAMPLE_RATE * 3 // 4) == (loud[0], loud[-1] + 1)
    assert 1_000 == clip[SAMPLE_RATE // 2]


def test_words_at_the_ends_of_a_recording_are_cut_too(dictionary: Dictionary) -> None:
    """There the margin is shorter."""
    audio = np.full(SAMPLE_RATE, 1_000, np.int16)
    segments = [Segment("table", 0, 29), Segment("table", 70, 99)]
    assert 2 == len(list(cut(audio, segments, dictionary)))


def test_without_pocketsphinx_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, and nothing is written."""
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    code = spoken(["--speech", str(tmp_path), "--out", str(tmp_path / "out")])
    assert (1, False) == (code, (tmp_path / "out").exists())
    assert "pip install pocketsphinx" in capsys.readouterr().err


def test_found_words_are_written(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    dictionary: Dictionary,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each recording's, under the word's name; fillers and numbers of alternatives are dropped."""
    path = tmp_path / "cmudict-en-us.dict"
    path.write_text(WORDS, encoding="utf-8")
    words = [("<s>", 0, 9), ("table(2)", 10, 59), ("[NOISE]", 60, 69), ("table", 70, 99)]
    decoder = SimpleNamespace(
        start_utt=lambda: None,
        end_utt=lambda: None,
        process_raw=lambda data, full_utt: None,
        seg=lambda: [SimpleNamespace(word=w, start_frame=f, end_frame=e) for w, f, e in words],
    )
    sphinx = SimpleNamespace(
        get_model_path=lambda name: str(tmp_path / Path(name).name), Decoder=lambda **_: decoder
    )
    monkeypatch.setitem(sys.modules, "pocketsphinx", sphinx)
    write(tmp_path / "speech" / "one.wav", sound(1))
    out = tmp_path / "out"
    assert 0 == spoken(["--speech", str(tmp_path / "speech"), "--out", str(out)])
    names = sorted(path.name for path in out.iterdir())
    assert ["table_one_001.flac", "table_one_002.flac"] == names
    assert "2 words" in capsys.readouterr().out
    assert 1 == spoken(["--speech", str(tmp_path / "nothing"), "--out", str(out)])


def test_pocketsphinx_finds_the_words_of_real_speech(recordings: Path) -> None:
    """Where it is installed: some dozen words in a read sentence, in their order."""
    pytest.importorskip("pocketsphinx", reason="pip install pocketsphinx")
    path = min((recordings.parent / "speech" / "librispeech").glob("*"))
    audio, _ = soundfile.read(path, dtype="int16")
    found = Finder().find(audio)
    assert len(found) > 12
    assert found == sorted(found, key=lambda each: each.first)


class Hum:
    """Speaks every text as half a second of noise, and remembers it."""

    def __init__(self) -> None:
        self.spoken: list[str] = []

    def speak(self, text: str, draw: random.Random) -> np.ndarray:
        """See Voices."""
        self.spoken.append(text)
        seconds = 0.5 * len(text.split())
        return np.full(round(seconds * SAMPLE_RATE), draw.randint(1_000, 2_000), np.int16)


def test_voices_take_turns_and_say_words_of_the_dictionary(tmp_path: Path) -> None:
    """Commands have folders of their own; single words last a second, runs longer."""
    one, other = Hum(), Hum()
    assert 200 == synthesize.synthesize(tmp_path, 200, 0, [one, other], ["zyzzyva"])
    assert 100 == len(one.spoken) == len(other.spoken)
    assert {*KEYWORDS, OTHER} == {path.name for path in tmp_path.iterdir()}
    assert 0.3 < sum("zyzzyva" in text for text in one.spoken + other.spoken) / 100 < 0.7


def test_single_words_join_the_words_and_runs_are_speech(
    folder: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    """What was synthesised and what was cut out of speech are other words, each of its source."""
    synthesize.synthesize(tmp_path / "made", 60, 0, [Hum()])
    write(tmp_path / "cut" / "table.flac", sound(1, seconds=1.0))
    material = load_material(folder, LABELS, tmp_path / "made", tmp_path / "cut")
    assert 1 == len(material.words[SPOKEN])
    assert {16_000} == {clip.shape[0] for clip in material.words[SYNTHESISED]}
    assert all(len(each) > 16_000 for each in material.speech[SYNTHESISED])
    assert len(material.words["stop"]) > 1
    assert material.sources[-2:] == (SYNTHESISED, SPOKEN)


def test_an_empty_folder_of_words_is_named(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    """With the command that fills it."""
    (tmp_path / "cut").mkdir()
    with pytest.raises(DataError, match=r"cut holds no recordings; .*kws\.train\.spoken"):
        load_material(folder, LABELS, None, tmp_path / "cut")


@pytest.mark.parametrize("program", ["espeak-ng", "flite"])
def test_a_program_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """With how to install it."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(DataError, match=f"apt install {program}"):
        {"espeak-ng": voices.Espeak, "flite": voices.Flite}[program]()


def test_a_voice_of_piper_needs_both_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And Piper itself."""
    monkeypatch.setitem(sys.modules, "piper", None)
    with pytest.raises(DataError, match="pip install piper-tts"):
        voices.Piper(tmp_path / "voice.onnx")
    monkeypatch.setitem(sys.modules, "piper", SimpleNamespace())
    with pytest.raises(DataError, match=r"voice\.onnx\.json beside it"):
        voices.Piper(tmp_path / "voice.onnx")


def test_a_file_that_is_no_voice_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever Piper's error, it is one line."""

    def load(path: str) -> None:
        raise RuntimeError("protobuf parsing failed")

    for name in ("voice.onnx", "voice.onnx.json"):
        (tmp_path / name).touch()
    piper = SimpleNamespace(SynthesisConfig=dict, PiperVoice=SimpleNamespace(load=load))
    monkeypatch.setitem(sys.modules, "piper", piper)
    with pytest.raises(DataError, match=r"voice\.onnx is no voice of Piper \(protobuf"):
        voices.Piper(tmp_path / "voice.onnx")


def test_a_program_that_fails_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback of the process that ended."""
    monkeypatch.setattr("shutil.which", lambda program: "false")
    with pytest.raises(DataError, match=r"^false failed"):
        voices.Flite().speak("table", random.Random(0))


def test_piper_speaks_in_every_voice_of_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """At 16 kHz, faster or slower; a text of several sentences is one utterance."""
    requested = []

    def say(text: str, settings: dict[str, float]) -> list[SimpleNamespace]:
        requested.append(settings)
        return [SimpleNamespace(audio_int16_array=np.full(11_025, 500, np.int16))] * 2

    config = SimpleNamespace(num_speakers=3, sample_rate=22_050)
    voice = SimpleNamespace(config=config, synthesize=say)
    piper = SimpleNamespace(
        SynthesisConfig=dict, PiperVoice=SimpleNamespace(load=lambda path: voice)
    )
    monkeypatch.setitem(sys.modules, "piper", piper)
    for name in ("voice.onnx", "voice.onnx.json"):
        (tmp_path / name).touch()
    speaker = voices.Piper(tmp_path / "voice.onnx")
    lengths = [len(speaker.speak("table", random.Random(seed))) for seed in range(20)]
    assert 16_000 / 1.3 - 1 <= min(lengths) < max(lengths) <= 16_000 / 0.85 + 1
    assert {0, 1, 2} == {settings["speaker_id"] for settings in requested}


@pytest.mark.parametrize(("engine", "program"), [("Espeak", "espeak-ng"), ("Flite", "flite")])
def test_programs_speak_at_16_khz(engine: str, program: str) -> None:
    """Where they are installed: a word lasts some tenths of a second, and a draw repeats it."""
    try:
        voice = getattr(voices, engine)()
    except DataError:
        pytest.skip(f"{program} is not installed")
    first, again = (voice.speak("table", random.Random(3)) for _ in range(2))
    assert 0.15 < len(first) / SAMPLE_RATE < 2.5
    assert np.array_equal(first, again)
    assert np.abs(first).max() > 1_000
