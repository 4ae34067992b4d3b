"""What a run is taught beside clean words: talk behind them, and hard negatives."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch")

import torch

from kws.config import KEYWORDS, LABELS, UNKNOWN
from kws.errors import ModelError
from kws.train import augment, checkpoint
from kws.train.encoder import EncoderConfig
from kws.train.features import LogMel
from kws.train.fit import FitConfig, draw_batches, fit
from kws.train.learner import Batch, label_loss
from kws.train.materials import Material
from kws.train.mining import Place, as_lists, from_lists, mine, recording_at
from kws.train.network import Network, NetworkConfig
from kws.train.sampler import Clips, Sampler, SamplerConfig
from kws.train.talk import Talk, loudness
from kws.train.targets import NOTHING

torch.set_num_threads(1)

PLAIN = SamplerConfig(
    epoch_size=32,
    batch_size=16,
    streams=4,
    rate=0.0,
    noisy=0.0,
    room=0.0,
    gain_db=(0.0, 0.0),
    unknown=0.3,
    silence=0.1,
)


@pytest.fixture(scope="module")
def material() -> Material:
    """Words that are tones, steady talk, and noise."""
    generator = np.random.default_rng(0)
    seconds = np.arange(16_000) / 16_000

    def clips(pitch: float, count: int) -> np.ndarray:
        tone = 4000 * np.sin(2 * np.pi * pitch * seconds) * (np.abs(seconds - 0.5) < 0.2)
        return (tone + generator.normal(0, 2, (count, 16_000))).astype(np.int16)

    words = {word: clips(200 + 250 * i, 4) for i, word in enumerate((*KEYWORDS, "zero"))}
    return Material(
        words=words,
        speech={"speech/talk": [generator.normal(0, 900, 64_000).astype(np.int16)]},
        noise={"hiss": [generator.normal(0, 300, 48_000).astype(np.int16)]},
        validation=(np.concatenate([words[word][:1] for word in KEYWORDS]), np.arange(10)),
        sources=("made up",),
        problems=(),
    )


def batches(material: Material, **changes: object) -> list[Clips]:
    """An epoch of clips, with talk behind all of them where not said otherwise."""
    config = replace(PLAIN, **{"talk": 1.0, **changes})  # type: ignore[arg-type]
    return list(Sampler(material, LABELS, config, 0).epoch(0))


@pytest.mark.parametrize("snr_db", [-5.0, 10.0, 25.0])
def test_talk_is_at_its_level_behind_a_word(material: Material, snr_db: float) -> None:
    """By the loud parts of both, as a listener compares them."""
    config = replace(PLAIN, talk=1.0, talk_snr_db=(snr_db, snr_db))
    sampler = Sampler(material, LABELS, config, 0)
    next(sampler.epoch(0))
    word = torch.from_numpy(material.words["yes"][:2]).float() / 32768.0
    mixed, _, talk_db = sampler._augmented(word.clone(), torch.zeros(2, dtype=torch.bool))
    ratio = augment.loudness(word) / augment.loudness(mixed - word)
    # A second voice or a room moves a bed a little.
    assert [snr_db] * 2 == pytest.approx((20 * ratio.log10()).flatten().tolist(), abs=4.0)
    assert [snr_db] * 2 == pytest.approx(talk_db.tolist())


def test_the_foreground_decides(material: Material) -> None:
    """A command in front of talk is one; behind louder talk it is unknown."""
    commands = [LABELS.index(word) for word in KEYWORDS]
    quiet = torch.cat([clips.targets for clips in batches(material, talk_snr_db=(4.0, 25.0))])
    loud = torch.cat([clips.targets for clips in batches(material, talk_snr_db=(-5.0, -4.0))])
    assert NOTHING not in quiet
    assert set(quiet.tolist()) & set(commands)
    assert not set(loud.tolist()) & set(commands)
    assert LABELS.index(UNKNOWN) in loud


def test_equal_voices_are_nobodys(material: Material) -> None:
    """No loss for a command as loud as the talk behind it; other words stay unknown."""
    clips = batches(material, talk_snr_db=(-2.0, 2.0))
    targets = torch.cat([each.targets for each in clips])
    assert {NOTHING, LABELS.index(UNKNOWN), LABELS.index("silence")} == set(targets.tolist())
    config = replace(PLAIN, talk=1.0, talk_snr_db=(-2.0, 2.0), silence=0.0, unknown=0.0)
    batch = next(draw_batches(Sampler(material, LABELS, config, 0), None, LogMel(), 0, stride=2))
    assert (batch.targets == NOTHING).all()
    logits = torch.randn(8, 50, len(LABELS))
    assert 0.0 == float(label_loss(logits, batch, 0.1))


def test_rows_without_loss_do_not_dilute_the_others() -> None:
    """The mean is over the clips that have a target."""
    targets = torch.full((2, 2, 50), NOTHING)
    targets[0, 0, 0] = 3
    logits = torch.zeros(2, 50, len(LABELS))
    loss = float(label_loss(logits, Batch(torch.zeros(0), targets), 0.0))
    assert np.log(len(LABELS)) == pytest.approx(loss, abs=1e-5)


def test_streams_have_talk_behind_them_too(material: Material) -> None:
    """A stream of single words is never silent between them where talk goes on."""
    quietest = {}
    for talk in (0.0, 1.0):
        config = replace(
            PLAIN, talk=talk, talk_snr_db=(5.0, 5.0), stream_speech=0.0, stream_pieces=1.0
        )
        streams = next(Sampler(material, LABELS, config, 0).streams(0))
        blocks = streams.unfold(1, 1600, 1600).square().mean(2).sqrt()
        quietest[talk] = float(blocks.amin(1).max())
    assert quietest[1.0] > 20 * quietest[0.0]


def test_without_speech_there_is_no_talk(material: Material) -> None:
    """A user with Speech Commands alone trains as before."""
    clips = batches(replace(material, speech={}), talk_snr_db=(-2.0, 2.0))
    assert NOTHING not in torch.cat([each.targets for each in clips])
    assert not Talk({}, [])


def test_loudness_is_that_of_the_loud_parts() -> None:
    """Pauses do not count; torch and NumPy agree."""
    sound = np.zeros(32_000, np.int16)
    sound[8_000:16_000] = 3000
    assert 3000.0 == pytest.approx(loudness(sound))
    mixed = float(augment.loudness(torch.from_numpy(sound)[None] / 32768.0)) * 32768.0
    assert loudness(sound) == pytest.approx(mixed, rel=1e-4)
    assert 1.0 == loudness(np.zeros(100, np.int16))


class Loud(torch.nn.Module):
    """Sure of a command in the second whose middle is loud."""

    config = NetworkConfig()  # whose rows these are

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (batch, rows, labels)."""
        middle = features[:, 44:-53:2].mean(2)
        logits = torch.zeros(len(features), middle.shape[1], len(LABELS))
        logits[..., LABELS.index(UNKNOWN)] = 8.0
        logits[..., 0] = 3.0 * middle
        return logits


def test_mining_finds_the_place(material: Material) -> None:
    """Recording and second of what the network takes for a command; the worst first."""
    recording = np.zeros(160_000, np.int16)
    recording[100_000:104_000] = np.random.default_rng(0).normal(0, 6000, 4_000)
    some = replace(material, words={}, noise={}, speech={"a": [recording // 50], "b": [recording]})
    first, *_ = mine(Loud(), LogMel(), some, LABELS, 10, 0)
    assert ("speech", "b", 0) == first[:3]
    assert 102_000 == pytest.approx(first.middle, abs=4_000)
    assert np.array_equal(recording, recording_at(some, first))
    assert [first] == from_lists(as_lists([first]), some)
    assert [] == mine(Loud(), LogMel(), replace(some, speech={"a": [recording * 0]}), LABELS, 5, 1)


class LoudSeconds(torch.nn.Module):
    """Sure of a command in a second that holds something loud; rows share no frame."""

    config = EncoderConfig()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (batch, rows, labels)."""
        loudest = features.unfold(1, 98, 98).amax(3).mean(2)
        logits = torch.zeros(*loudest.shape, len(LABELS))
        logits[..., LABELS.index(UNKNOWN)] = 8.0
        logits[..., 0] = 3.0 * loudest
        return logits


@pytest.mark.parametrize("turn", [0, 1, 2])
@pytest.mark.parametrize("at", [40_000, 150_000, 280_000])
def test_mining_finds_the_second_of_rows_apart(material: Material, at: int, turn: int) -> None:
    """At any speed, the second around the place holds what the network fired on."""
    recording = np.zeros(300_000, np.int16)
    recording[at - 500 : at + 500] = np.random.default_rng(0).normal(0, 6000, 1_000)
    some = replace(material, words={}, noise={}, speech={"a": [recording]})
    first, *_ = mine(LoudSeconds(), LogMel(), some, LABELS, 10, turn)
    assert at == pytest.approx(first.middle, abs=9_100)


@pytest.mark.parametrize("mixed", [False, True])
def test_mining_is_as_exact_as_training(material: Material, mixed: bool) -> None:
    """In mixed precision the network computes in bfloat16, and in float otherwise."""
    seen = []

    class Told(LoudSeconds):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            seen.append((torch.ones(1, 1) @ torch.ones(1, 1)).dtype)
            return super().forward(features)

    some = replace(material, words={}, noise={}, speech={"a": [np.ones(20_000, np.int16)]})
    mine(Told(), LogMel(), some, LABELS, 10, 0, mixed_precision=mixed)
    assert {torch.bfloat16 if mixed else torch.float32} == set(seen)


@pytest.mark.parametrize(("epochs_done", "turns"), [(None, [1]), (0, [1]), (3, [0, 1])])
def test_a_network_that_knows_nothing_is_not_asked_for_hard_negatives(
    material: Material,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    epochs_done: int | None,
    turns: list[int],
) -> None:
    """The first search is after an epoch, but where training begins with what was trained."""
    found = []
    monkeypatch.setattr("kws.train.fit.mine", lambda *given: found.append(given[5]) or [])
    config = FitConfig(epochs=2, network=NetworkConfig(channels=8), sampler=PLAIN, mine_every=1)
    start = None
    if epochs_done is not None:
        start = tmp_path / "start.pt"
        network = Network(config.network)
        about = {"average": network.state_dict(), "epoch": epochs_done, "options": {}}
        checkpoint.save(start, checkpoint.describe(network, config.features, LABELS) | about)
    fit(material, tmp_path / "run", config, start=start)
    assert turns == found


def test_mining_leaves_out_what_may_hold_commands(material: Material) -> None:
    """Speech without transcripts is no place to look for false accepts."""
    found = mine(Loud(), LogMel(), material, LABELS, 100, 0)
    talk = {"speech/talk"}
    assert talk <= {place.source for place in found}
    unknown = replace(material, untranscribed=frozenset(talk))
    assert not talk & {place.source for place in mine(Loud(), LogMel(), unknown, LABELS, 100, 0)}


def test_hard_negatives_are_met_again(material: Material) -> None:
    """Streams hold the mined place, wherever in its recording it lies."""
    marked = np.zeros(64_000, np.int16)
    marked[100:300] = 20_000
    some = replace(material, speech={"speech/talk": [marked]})
    sampler = Sampler(some, LABELS, replace(PLAIN, talk=0.0, stream_mined=1.0), 0)
    sampler.mined = [Place("speech", "speech/talk", 0, 200)]
    streams = next(sampler.streams(0))
    assert (streams.abs().amax(1) > 0.5).all()


def test_hard_negatives_of_another_network(material: Material, tmp_path: Path) -> None:
    """The verifier meets what the first network wrongly passes, from its checkpoint."""
    config = FitConfig(epochs=2, network=NetworkConfig(channels=8), sampler=PLAIN, mine_every=1)
    fit(material, tmp_path / "first", config)
    mined = checkpoint.load(tmp_path / "first" / "last.pt")["mined"]
    config = replace(config, epochs=1, mine_every=0)
    fit(material, tmp_path / "second", config, negatives=tmp_path / "first" / "last.pt")
    assert mined
    assert mined == checkpoint.load(tmp_path / "second" / "last.pt")["mined"]


def test_hard_negatives_of_other_material_are_refused(material: Material) -> None:
    """One line, not an index out of range in the middle of an epoch."""
    stored = as_lists([Place("speech", "speech/talk", 7, 0)])
    with pytest.raises(ModelError, match=r"are not in the recordings of this run .*IndexError"):
        from_lists(stored, material)
    with pytest.raises(ModelError, match="name the checkpoint of a run on the same recordings"):
        from_lists([["speech", "elsewhere", 0, 0]], material)


def test_a_run_resumed_between_searches_is_bit_equal(material: Material, tmp_path: Path) -> None:
    """The mined list comes out of the checkpoint; the next search finds what it would have."""
    config = FitConfig(
        epochs=4,
        network=NetworkConfig(channels=8),
        sampler=replace(PLAIN, epoch_size=32, stream_mined=0.5),
        mine_every=2,
    )
    fit(material, tmp_path / "whole", config)

    class Killed(BaseException):
        pass

    steps = Sampler.epoch

    def stop_in_last(self: Sampler, number: int) -> Iterator[Clips]:
        if number == 3:
            raise Killed
        yield from steps(self, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sampler, "epoch", stop_in_last)
        with pytest.raises(Killed):
            fit(material, tmp_path / "cut", config)
    assert checkpoint.load(tmp_path / "cut" / "last.pt")["mined"]
    fit(material, tmp_path / "cut", config, resume=True)
    whole, cut = (checkpoint.load(tmp_path / run / "last.pt") for run in ("whole", "cut"))
    assert whole["mined"] == cut["mined"]
    for name, tensor in whole["weights"].items():
        assert torch.equal(tensor, cut["weights"][name]), name
