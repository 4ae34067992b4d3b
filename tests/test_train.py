"""Training: the network streams, batches repeat, and a stopped run goes on to the same bits."""

import json
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: `pip install kws[train]`")

import kws  # noqa: E402
from kws.config import KEYWORDS, LABELS, FeatureConfig  # noqa: E402
from kws.errors import DataError, KwsError, ModelError  # noqa: E402
from kws.frontend import log_mel  # noqa: E402
from kws.model.manifest import find_manifest, read_manifest  # noqa: E402
from kws.train import augment, checkpoint  # noqa: E402
from kws.train.__main__ import main  # noqa: E402
from kws.train.features import LogMel  # noqa: E402
from kws.train.fit import FitConfig, begin_with, draw_batches, fit  # noqa: E402
from kws.train.graphs import read_network  # noqa: E402
from kws.train.learner import (  # noqa: E402
    Batch,
    Learner,
    LearnerConfig,
    command_indexes,
    distil_loss,
    label_loss,
    peak_loss,
)
from kws.train.materials import Material, load_material  # noqa: E402
from kws.train.network import Network, NetworkConfig, parameter_count  # noqa: E402
from kws.train.options import with_options  # noqa: E402
from kws.train.prior import class_shares, without_prior  # noqa: E402
from kws.train.sampler import Clips, Sampler, SamplerConfig  # noqa: E402
from kws.train.targets import ANYWHERE, NOTHING, clip_losses, row_targets  # noqa: E402
from kws.train.tones import bursts, strikes, tones  # noqa: E402

torch.set_num_threads(1)  # nets this small only wait for further threads

TINY = FitConfig(
    epochs=3,
    network=NetworkConfig(channels=8),
    sampler=SamplerConfig(epoch_size=32, batch_size=16, streams=2),
)


@pytest.fixture(scope="module")
def material() -> Material:
    """Made-up words: each a tone of its own pitch in noise."""
    generator = np.random.default_rng(0)
    seconds = np.arange(16_000) / 16_000

    def clips(pitch: float, count: int) -> np.ndarray:
        tone = 4000 * np.sin(2 * np.pi * pitch * seconds) * (np.abs(seconds - 0.5) < 0.2)
        return (tone + generator.normal(0, 100, (count, 16_000))).astype(np.int16)

    words = {word: clips(200 + 250 * i, 6) for i, word in enumerate((*KEYWORDS, "zero"))}
    noise = generator.normal(0, 300, 48_000).astype(np.int16)
    validation = np.concatenate([words[word][:2] for word in KEYWORDS])
    return Material(
        words=words,
        speech={"talk": [clips(3500, 1)[0]]},
        noise={"hiss": [noise]},
        validation=(validation, np.repeat(np.arange(len(KEYWORDS)), 2)),
        sources=("made up",),
        problems=(),
    )


@pytest.fixture(scope="module")
def network() -> Network:
    """A network whose normalisations are no identities, in evaluation mode."""
    torch.manual_seed(0)
    network = Network().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_()
            module.bias.data.normal_()
    return network


def test_network_fits_its_budget() -> None:
    """The shipped sizes see exactly one second and have at most 80,000 parameters."""
    assert 98 == Network().config.receptive_field
    assert parameter_count(Network()) <= 80_000


def test_steps_equal_the_sliding_network(network: Network) -> None:
    """Stepping from the initial state gives the rows of the network slid over silence + audio."""
    audio = np.random.default_rng(1).normal(0, 3000, 24_000).astype(np.int16)
    features = torch.from_numpy(log_mel(audio))[:146]
    with torch.no_grad():
        offline = network(torch.cat((torch.zeros(96, 40), features))[None])[0]
        state = network.initial_state()
        rows = []
        for start in range(0, len(features), 2):
            row, state = network.step(features[None, start : start + 2], state)
            rows.append(row[0])
    assert offline.shape == (73, 12)
    assert float((offline - torch.stack(rows)).abs().max()) < 1e-4


def test_torch_front_end_equals_numpy() -> None:
    """The training front end gives the reference's features to float rounding."""
    audio = np.random.default_rng(2).normal(0, 2000, 16_000).astype(np.int16)
    twin = LogMel()(torch.from_numpy(audio / 32768.0).float()[None])[0].numpy()
    assert np.abs(twin - log_mel(audio)).max() < 1e-4


def test_batches_repeat_and_epochs_differ(material: Material) -> None:
    """An epoch is a function of seed and number."""

    def batch(epoch: int) -> Clips:
        return next(Sampler(material, LABELS, TINY.sampler, 3).epoch(epoch))

    assert torch.equal(batch(0)[0], batch(0)[0])
    assert not torch.equal(batch(0)[0], batch(1)[0])
    audio = batch(0)[0]
    assert torch.isfinite(audio).all()
    assert audio.abs().max() <= 1.0


def test_every_class_is_drawn(material: Material) -> None:
    """All twelve classes appear in an epoch, and nothing else where nobody talks behind them."""
    config = replace(TINY.sampler, epoch_size=512, talk=0.0)
    targets = torch.cat([b.targets for b in Sampler(material, LABELS, config, 0).epoch(0)])
    assert set(range(12)) == set(targets.tolist())


def test_noise_is_mixed_at_the_requested_ratio() -> None:
    """The level of what is added is the requested number of decibels below the clip's."""
    generator = torch.Generator().manual_seed(0)
    audio = torch.randn(4, 16_000, generator=generator) * 0.1
    noise = torch.randn(4, 16_000, generator=generator)
    snr_db = torch.tensor([0.0, 10.0, 20.0, -5.0])
    added = augment.mix_noise(audio, noise, snr_db) - audio
    measured = 20 * torch.log10(augment.level(audio) / augment.level(added))[:, 0]
    assert torch.allclose(snr_db, measured, atol=0.1)


def test_words_are_moved_by_as_much_as_requested(material: Material) -> None:
    """Words keep their place where nothing is to be moved, else they wander up to the limit."""
    config = replace(
        TINY.sampler,
        silence=0.0,
        unknown=0.0,
        talk=0.0,
        preceded=0.0,
        rate=0.0,
        batch_size=64,
        epoch_size=64,
    )
    start = 8_000
    click = np.zeros((1, 16_000), np.int16)
    click[0, start : start + 160] = 20_000
    clicks = replace(material, words=dict.fromkeys(material.words, click))

    def places(shift: float) -> torch.Tensor:
        sampler = Sampler(clicks, LABELS, replace(config, shift=shift, noisy=0.0, room=0.0), 0)
        return next(sampler.epoch(0)).audio.abs().gt(0).float().argmax(1)

    assert {start} == set(places(0.0).tolist())
    moved = places(0.1) - start
    assert moved.min() < -1400
    assert 1400 < moved.max()
    assert moved.abs().max() <= 1600


def test_commands_are_drawn_equally_often_or_as_often_as_there_are_clips(
    material: Material,
) -> None:
    """The option `balanced` says which."""
    clip = next(iter(material.words.values()))[:1]
    words = {word: np.repeat(clip, 21 if word == "yes" else 1, axis=0) for word in LABELS[:10]}
    config = replace(TINY.sampler, silence=0.0, unknown=0.0, talk=0.0, epoch_size=512)

    def share_of_yes(balanced: bool) -> float:
        sampler = Sampler(
            replace(material, words=words), LABELS, replace(config, balanced=balanced), 0
        )
        drawn = torch.cat([batch.targets for batch in sampler.epoch(0)])
        return float((drawn == LABELS.index("yes")).float().mean())

    assert 0.06 < share_of_yes(True) < 0.14
    assert 0.64 < share_of_yes(False) < 0.76


def test_narrow_microphones_and_telephones_lack_the_upper_bands() -> None:
    """As many microphones as requested; a line passes a voice's band with the noise of 8 bits."""
    responses = [
        augment.device_responses(200, 161, share, torch.Generator().manual_seed(0))
        for share in (0.0, 1.0)
    ]
    above = [float((each[:, 159] / each[:, 40]).median()) for each in responses]  # 7.95 and 2 kHz
    assert above[1] < above[0] / 3
    time = torch.arange(16_000) / 16_000
    low, high = (0.25 * torch.sin(2 * torch.pi * hertz * time) for hertz in (1000, 5000))
    received = augment.over_telephone(torch.stack((low, low + high)))
    ratio_db = 20 * torch.log10(low.norm() / (received - low).norm(dim=1))
    assert ((30 < ratio_db) & (ratio_db < 42)).all()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_clips_go_over_a_telephone(material: Material, share: float) -> None:
    """All of them, noise too, or none; batches of which none is drawn pass."""
    config = replace(TINY.sampler, codec=share, epoch_size=64, batch_size=64)
    audio = next(Sampler(material, LABELS, config, 0).epoch(0)).audio
    spectrum = torch.fft.rfft(audio).abs().square()
    above = spectrum[:, 4500:].sum() / spectrum.sum()
    assert above < 0.005 if share else above > 0.02
    rarely = Sampler(material, LABELS, replace(TINY.sampler, codec=0.01), 0)
    assert 2 == len(list(rarely.epoch(0)))


def test_noises_come_at_other_speeds_and_in_rooms(material: Material) -> None:
    """A hum is up to half as high again or lower, and rings on where it stops in a room."""
    hum = 8000 * np.sin(2 * np.pi * 1000 * np.arange(48_000) / 16_000)
    struck = np.where(np.arange(48_000) % 16_000 < 4_000, hum, 0.0)

    def noises(sound: np.ndarray, **options: float) -> torch.Tensor:
        config = replace(
            TINY.sampler, batch_size=64, epoch_size=64, silence=1.0, unknown=0.0, **options
        )
        hums = replace(material, noise={"hum": [sound.astype(np.int16)]})
        clips = next(Sampler(hums, LABELS, config, 0).epoch(0)).audio
        return clips[clips.abs().amax(1) > 0.01]

    def pitches(clips: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfft(clips).abs().argmax(1)  # Hz, as they last a second

    assert {1000} == set(pitches(noises(hum, noise_rate=1.0, noise_room=0.0)).tolist())
    changed = pitches(noises(hum, noise_rate=1.5, noise_room=0.0)).float()
    assert 660 <= changed.min() < 750
    assert 1350 < changed.max() <= 1505

    def quiet(clips: torch.Tensor) -> torch.Tensor:
        blocks = clips[:, :16_000].reshape(len(clips), 50, 320).abs().amax(2)
        return blocks.quantile(0.6, dim=1) / blocks.amax(1)

    assert quiet(noises(struck, noise_rate=1.0, noise_room=0.0)).max() < 0.001
    assert quiet(noises(struck, noise_rate=1.0, noise_room=1.0)).median() > 0.001


def test_recorded_noises_come_more_often_than_made_ones(material: Material) -> None:
    """However many sources there are of either kind; a longer one more often than a shorter."""
    hiss = np.zeros(16_000, np.int16)
    noise = {"long": [hiss] * 9, "short": [hiss], "tones": [hiss], "strikes": [hiss]}
    config = replace(TINY.sampler, noise_made=0.4)
    share = Sampler(replace(material, noise=noise), LABELS, config, 0).noise_share
    np.testing.assert_allclose([0.45, 0.15, 0.2, 0.2], share)
    only = replace(material, noise={"tones": [hiss]})
    assert [1.0] == Sampler(only, LABELS, config, 0).noise_share.tolist()


def test_shift_moves_by_whole_samples() -> None:
    """A shift without stretch moves the samples and fills with silence."""
    audio = torch.arange(1.0, 16_001.0)[None] / 16_000
    moved = augment.shift_and_stretch(audio, torch.tensor([0.25]), torch.tensor([1.0]))
    assert torch.allclose(moved[0, 4000:], audio[0, :12_000], atol=1e-3)
    assert float(moved[0, :3999].abs().max()) == 0.0


def test_streams_repeat_and_are_as_long_as_two_clips(material: Material) -> None:
    """Streams without commands are a function of seed and epoch, and pair up with clips."""

    def streams(epoch: int) -> torch.Tensor:
        return next(Sampler(material, LABELS, TINY.sampler, 3).streams(epoch))

    assert torch.equal(streams(0), streams(0))
    assert not torch.equal(streams(0), streams(1))
    assert torch.isfinite(streams(0)).all()
    assert (2, 196, 40) == tuple(LogMel()(streams(0)).shape)


def test_clips_join_in_pairs_and_keep_their_own_rows(material: Material, network: Network) -> None:
    """A pair's first and last row give the logits that its clips get alone."""
    config = replace(TINY.sampler, warped=0.0, masked_frames=0, masked_bands=0)
    clips, streams = (Sampler(material, LABELS, config, seed) for seed in (0, 1))
    alone = next(clips.epoch(0))
    batch = next(draw_batches(clips, streams, LogMel(), 0, stride=2))
    with torch.no_grad():
        each = network(LogMel()(alone.audio))[:, 0]
        rows = network(batch.features)
    pairs = len(batch.targets)
    assert (8, 2, 50) == tuple(batch.targets.shape)
    assert 8 + config.streams == len(batch.features)
    assert torch.allclose(each, rows[:pairs, [0, -1]].flatten(0, 1), atol=1e-4)
    ends = torch.stack((batch.targets[:, 0, 0], batch.targets[:, 1, -1]), dim=1)
    assert torch.equal(alone.targets, ends.flatten())


def test_any_network_and_front_end_is_trained(material: Material, tmp_path: Path) -> None:
    """A narrower network on more bands, taught by a wider one."""
    config = replace(
        TINY,
        epochs=1,
        features=FeatureConfig(bands=64, window=400, fft_size=1024),
        network=NetworkConfig(channels=8, bands=64),
        teacher=NetworkConfig(channels=12, bands=64),
    )
    scores = fit(material, tmp_path, config)
    network, features, labels, _ = checkpoint.load_network(tmp_path / "last.pt")
    assert (config.network, config.features, LABELS) == (network.config, features, labels)
    with torch.no_grad():
        frames = LogMel(features)(torch.from_numpy(material.validation[0] / 32768.0).float())
        right = network(frames)[:, -1].argmax(1).numpy() == material.validation[1]
    assert scores.accuracy == pytest.approx(right.mean(), abs=1e-6)
    assert config.teacher == checkpoint.load_network(tmp_path / "teacher.pt")[0].config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": FeatureConfig(bands=64, fft_size=1024)}, "--set network.bands=64"),
        ({"features": FeatureConfig(bands=128)}, "too narrow"),
        ({"features": FeatureConfig(coefficients=13)}, "features.coefficients at 0"),
        ({"network": NetworkConfig(pool=9)}, "sees 92"),
        ({"teacher": NetworkConfig(bands=13)}, "--set teacher.bands=40"),
    ],
)
def test_front_end_and_networks_go_together(
    material: Material, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    """What does not fit is told before anything is trained or written."""
    with pytest.raises(ModelError, match=message):
        fit(material, tmp_path / "run", replace(TINY, **change))
    assert not (tmp_path / "run").exists()


def test_rows_have_the_word_they_cover_as_target() -> None:
    """Rows between two clips have a word as target while they cover all of it and nothing else."""
    spoken = torch.tensor([[20, 60], [30, 70], [0, 97], ANYWHERE])
    targets = torch.tensor([3, 5, 7, 10])
    rows = row_targets(targets, spoken, frames=98, stride=2)
    assert (2, 2, 50) == tuple(rows.shape)
    # The first word leaves the window at frame 20; the second is covered from frame 71 on.
    assert 11 * [3] + 39 * [NOTHING] == rows[0, 0].tolist()
    assert 36 * [NOTHING] + 14 * [5] == rows[0, 1].tolist()
    # A clip that is word from end to end has its own row only; silence any without the word.
    assert 1 * [7] + 49 * [NOTHING] == rows[1, 0].tolist()
    assert 46 * [NOTHING] + 4 * [10] == rows[1, 1].tolist()


def test_every_clip_weighs_the_same_in_the_loss() -> None:
    """A clip that many rows cover counts no more than one that a single row does."""
    targets = torch.full((1, 2, 50), NOTHING)
    targets[0, 0, :40] = 0
    targets[0, 1, -1] = 1
    logits = torch.zeros(1, 50, len(LABELS))
    logits[0, :40, 0] = 50.0  # the many are right
    wrong = float(clip_losses(logits, targets, label_smoothing=0.0).mean())
    assert np.log(len(LABELS)) / 2 == pytest.approx(wrong, abs=1e-3)


def test_mixed_clips_have_both_targets(material: Material) -> None:
    """Features and targets are mixed by the same shares; the loss lies between those of both."""
    config = replace(TINY.sampler, warped=0.0, masked_frames=0, masked_bands=0, streams=0)
    mixed_config = replace(config, mixup=0.5)
    plain, mixed = (
        next(draw_batches(Sampler(material, LABELS, each, 0), None, LogMel(), 0, stride=2))
        for each in (config, mixed_config)
    )
    assert plain.mixed_targets is None
    assert mixed.mixed_targets is not None
    assert mixed.mixed_share is not None
    assert torch.equal(plain.targets, mixed.targets)
    assert 0.0 < float(mixed.mixed_share.max()) <= 0.5
    sources = [
        next(i for i, own in enumerate(plain.targets) if torch.equal(own, other))
        for other in mixed.mixed_targets
    ]
    wanted = plain.features.lerp(plain.features[sources], mixed.mixed_share[:, None, None])
    assert torch.allclose(wanted, mixed.features, atol=1e-5)
    logits = torch.randn(len(mixed.targets), 50, len(LABELS))
    whole = [float(clip_losses(logits, t, 0.0)[0].mean()) for t in (mixed.targets, *mixed[2:3])]
    alone = Batch(*(part[:1] for part in mixed))
    share = float(mixed.mixed_share[0])
    wanted_loss = (1.0 - share) * whole[0] + share * whole[1]
    assert wanted_loss == pytest.approx(float(label_loss(logits[:1], alone, 0.0)), rel=1e-4)


def test_warped_bands_move_up_for_a_shorter_tract() -> None:
    """A peak moves to the band of the multiplied frequency; factor 1 changes nothing."""
    front_end = LogMel()
    hertz = front_end.centres
    features = torch.zeros(3, 1, 40)
    features[:, 0, 20] = 1.0
    warped = augment.warp_bands(features, torch.tensor([1.0, 1.1, 0.9]), hertz)
    assert torch.equal(features[0], warped[0])
    for row, factor in ((1, 1.1), (2, 0.9)):
        nearest = int((hertz - hertz[20] * factor).abs().argmin())
        assert nearest == int(warped[row, 0].argmax())


def test_student_comes_closer_to_its_teacher(material: Material) -> None:
    """Steps against a teacher's logits lower the divergence from them."""
    torch.manual_seed(0)
    config = LearnerConfig(distil_weight=5.0)
    student = Learner(Network(NetworkConfig(channels=8)), LABELS, config)
    clips, streams = (Sampler(material, LABELS, TINY.sampler, seed) for seed in (0, 1))
    batch = next(draw_batches(clips, streams, LogMel(), 0, stride=2))
    wide = Network(NetworkConfig(channels=12))
    with torch.no_grad():
        taught = wide(batch.features) * 3.0
    divergence = [student.step(batch, 3e-3, taught).distil for _ in range(12)]
    assert divergence[-1] < 0.7 * divergence[0]
    assert float(distil_loss(taught, taught, 2.0)) == pytest.approx(0.0, abs=1e-4)


def test_training_begins_with_what_an_exported_model_computes(material: Material) -> None:
    """The shipped model's graph becomes a network in training mode with the same posteriors."""
    models = Path(kws.__file__).parent / "models"
    clips, streams = (Sampler(material, LABELS, TINY.sampler, seed) for seed in (0, 1))
    features = next(draw_batches(clips, streams, LogMel(), 0, stride=2)).features
    network = Network()
    provenance_of = begin_with(network, Path("commands"), features)
    assert "commands" == provenance_of["model"]
    # Where the weights come from is kept; these began with nothing.
    provenance = read_manifest(find_manifest("commands")).provenance
    assert provenance["training"]["seed"] == provenance_of["seed"]
    assert not provenance["started_from"]
    assert "started_from" not in provenance_of
    exported = read_network((models / "commands.window.onnx").read_bytes())
    with torch.no_grad():
        assert torch.allclose(exported(features), network.eval()(features), atol=1e-3)
        assert torch.allclose(exported(features), network.train()(features), atol=0.3)
    with pytest.raises(ModelError, match="other sizes"):
        begin_with(Network(NetworkConfig(channels=8)), models / "commands.json", features)


@pytest.mark.parametrize("device", ["cuda:99", "toaster"])
def test_a_device_that_is_not_there_is_one_line(
    device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Raised before any recording is read: here there are none."""
    folders = ["--data", str(tmp_path), "--out", str(tmp_path / "run")]
    assert 1 == main([*folders, "--device", device])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"kws: torch finds no device '{device}' here")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is at hand")
def test_training_on_a_gpu_is_training(material: Material, tmp_path: Path) -> None:
    """Its checkpoints are read without one, and a CPU goes on from them."""
    config = replace(TINY, epochs=1, sampler=replace(TINY.sampler, talk=0.5, mixup=0.3))
    fit(material, tmp_path / "gpu", config, device="cuda")
    start = tmp_path / "gpu" / "last.pt"
    network, *_ = checkpoint.load_network(start)
    assert "cpu" == next(network.parameters()).device.type
    fit(material, tmp_path / "cpu", TINY, start=start, frozen_teachers=[start])


def test_where_weights_come_from_is_not_forgotten(tmp_path: Path) -> None:
    """A run that begins with a checkpoint says what that one had begun with, too."""
    network = Network(NetworkConfig(channels=8))
    about = checkpoint.describe(network, FeatureConfig(), LABELS)
    about |= {"average": network.state_dict(), "epoch": 4, "options": {"seed": 3}}
    checkpoint.save(tmp_path / "a.pt", {**about, "started_from": {"published": "0f"}})
    provenance_of = begin_with(network, tmp_path / "a.pt", torch.zeros(1, 98, 40))
    assert {"epochs_done": 4, "seed": 3, "started_from": {"published": "0f"}} == provenance_of


def test_prior_of_training_is_taken_out(network: Network) -> None:
    """Equal evidence gives equal posteriors, whatever shares the classes had in training."""
    balanced = without_prior(network, LABELS, silence=0.1, unknown=0.4)
    change = (balanced.classifier.bias - network.classifier.bias).detach()
    assert torch.allclose(change[:10], torch.zeros(10))
    assert np.log(0.05 / 0.1) == pytest.approx(float(change[LABELS.index("silence")]), abs=1e-5)
    assert np.log(0.05 / 0.4) == pytest.approx(float(change[LABELS.index("unknown")]), abs=1e-5)


def test_streams_without_commands_count_as_unknown() -> None:
    """Their weight in the loss adds to unknown's share and takes from all others alike."""
    shares = class_shares(silence=0.1, unknown=0.3, peak_weight=0.8)  # of which an eighth counts
    assert {"silence": pytest.approx(0.1 / 1.1), "unknown": pytest.approx(0.4 / 1.1)} == shares
    assert {"silence": 0.1, "unknown": 0.3} == class_shares(0.1, 0.3, peak_weight=0.0)


def test_peak_loss_punishes_the_highest_command_alone() -> None:
    """A stream costs what its highest smoothed command score costs; unknown costs nothing."""
    quiet = torch.zeros(1, 20, len(LABELS))
    quiet[..., LABELS.index("unknown")] = 20.0
    spike = quiet.clone()
    spike[0, 5:9, LABELS.index("stop")] = 40.0
    commands = command_indexes(LABELS)
    assert float(peak_loss(quiet, commands)) < 1e-3
    assert float(peak_loss(spike, commands)) > 5.0


@pytest.mark.parametrize("make", [tones, bursts, strikes])
def test_made_up_sounds_repeat_and_fit_16_bits(make: Callable[..., Iterator[np.ndarray]]) -> None:
    """Sounds made from nothing repeat with their seed and reach half of full scale."""
    first = list(make(5, np.random.default_rng(1)))
    again = list(make(5, np.random.default_rng(1)))
    for sound, same in zip(first, again, strict=True):
        assert np.array_equal(sound, same)
        assert (np.int16, 48_000) == (sound.dtype, len(sound))
        assert 16_000 == np.abs(sound.astype(int)).max()


@pytest.mark.parametrize(("teacher", "mixup"), [(None, 0.0), (NetworkConfig(channels=12), 0.3)])
def test_resumed_run_is_bit_equal(
    material: Material, tmp_path: Path, teacher: NetworkConfig | None, mixup: float
) -> None:
    """A run killed in its second epoch and resumed ends with the weights of one that was not."""
    config = replace(TINY, teacher=teacher, sampler=replace(TINY.sampler, mixup=mixup))
    fit(material, tmp_path / "whole", config)

    class Killed(BaseException):
        pass

    steps = Sampler.epoch

    def stop_in_second(self: Sampler, number: int):  # type: ignore[no-untyped-def]
        for index, batch in enumerate(steps(self, number)):
            if number == 1 and index == 1:
                raise Killed
            yield batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sampler, "epoch", stop_in_second)
        with pytest.raises(Killed):
            fit(material, tmp_path / "cut", config)
    fit(material, tmp_path / "cut", config, resume=True)
    if teacher is not None:
        assert teacher == checkpoint.load_network(tmp_path / "whole/teacher.pt")[0].config
    whole, cut = (checkpoint.load(tmp_path / run / "last.pt") for run in ("whole", "cut"))
    for kind in ("weights", "average"):
        for name, tensor in whole[kind].items():
            assert torch.equal(tensor, cut[kind][name]), name
        for name, tensor in whole.get("teacher", {}).get(kind, {}).items():
            assert torch.equal(tensor, cut["teacher"][kind][name]), name
    logs = [
        [json.loads(line) for line in (tmp_path / run / "log.jsonl").read_text().splitlines()]
        for run in ("whole", "cut")
    ]
    for log in logs:
        for row in log:
            del row["seconds"]
    assert logs[0] == logs[1]
    assert [1, 2, 3] == [row["epoch"] for row in logs[0]]


@pytest.mark.parametrize("killed", [2, 3])
def test_a_run_stopped_between_two_files_is_whole_when_resumed(
    material: Material, tmp_path: Path, killed: int
) -> None:
    """Wherever between best, teacher and last a run ends, the resumed one writes all of them."""
    config = replace(TINY, epochs=2, teacher=NetworkConfig(channels=8))
    fit(material, tmp_path / "whole", config)
    save, calls = checkpoint.save, iter(range(1, 1_000))

    def stop(path: Path, state: dict[str, Any]) -> None:
        if next(calls) == killed:
            raise KeyboardInterrupt
        save(path, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(material, tmp_path / "cut", config)
    fit(material, tmp_path / "cut", config, resume=True)
    for name in ("best.pt", "teacher.pt", "last.pt"):
        whole, cut = (checkpoint.load(tmp_path / run / name) for run in ("whole", "cut"))
        assert whole["epoch"] == cut["epoch"]
        for key, tensor in whole["average"].items():
            assert torch.equal(tensor, cut["average"][key]), (name, key)
    (tmp_path / "cut" / "teacher.pt").unlink()  # of a release that wrote it after the last file
    fit(material, tmp_path / "cut", config, resume=True)
    teacher = checkpoint.load(tmp_path / "cut" / "teacher.pt")
    assert checkpoint.load(tmp_path / "whole" / "teacher.pt")["scores"] == teacher["scores"]
    assert config.teacher == checkpoint.load_network(tmp_path / "cut" / "teacher.pt")[0].config


@pytest.mark.parametrize("name", ["last.part", "teacher.pt", "log.jsonl", "best.part"])
def test_what_cannot_be_written_is_told_before(
    material: Material, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder in the place of a file ends a run before it begins, not after an epoch."""
    (tmp_path / "run" / name).mkdir(parents=True)
    monkeypatch.setattr("kws.train.fit._run_epoch", None)  # never reached
    with pytest.raises(ModelError, match=rf"{name} is no file that can be written"):
        fit(material, tmp_path / "run", TINY)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(KwsError, match=r"cannot write .*file"):
        fit(material, tmp_path / "file" / "run", TINY)


@pytest.mark.parametrize("sizes", [{"labels": 2**24}, {"channels": 2**40}, {"stem_kernel": 2**30}])
def test_a_checkpoint_takes_no_more_memory_than_its_weights(
    tmp_path: Path, sizes: dict[str, int]
) -> None:
    """A small file that describes a network of gigabytes is refused before any are taken."""
    config = NetworkConfig(channels=4)
    state = checkpoint.describe(Network(config), FeatureConfig(), LABELS)
    state["network"] |= sizes
    checkpoint.save(tmp_path / "x.pt", {**state, "average": Network(config).state_dict()})
    with pytest.raises(ModelError, match=r"x\.pt does not fit this version of kws"):
        checkpoint.load_network(tmp_path / "x.pt")


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("weights"),
        lambda state: state.pop("epoch"),
        lambda state: state.update(epoch="two"),
        lambda state: state.update(best=None),
        lambda state: state.update(weights={}),
        lambda state: state.update(optimizer=3),
        lambda state: state.pop("options"),
    ],
)
def test_a_foreign_checkpoint_is_one_line(
    material: Material, tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    """A checkpoint with parts missing or of other kinds is refused by name when resumed."""
    config = replace(TINY, epochs=1)
    fit(material, tmp_path, config)
    state = checkpoint.load(tmp_path / "last.pt")
    change(state)
    checkpoint.save(tmp_path / "last.pt", {k: v for k, v in state.items() if k != "version"})
    with pytest.raises(ModelError, match=r"last\.pt (does not fit|is of a run)") as refusal:
        fit(material, tmp_path, config, resume=True)
    assert "\n" not in str(refusal.value)


def test_a_killed_process_loses_no_more_than_its_epoch(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL at any moment leaves a whole checkpoint, from which the run goes on to the same."""
    config = replace(TINY, epochs=6)
    fit(material, tmp_path / "whole", config)
    last = tmp_path / "cut/last.pt"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as here: the bits depend on it
    arguments = (material, tmp_path / "cut", config)
    process = multiprocessing.get_context("spawn").Process(target=fit, args=arguments)
    process.start()
    while not last.exists() and process.is_alive():
        time.sleep(0.001)
    process.kill()
    process.join()
    assert -signal.SIGKILL == process.exitcode
    done = checkpoint.load(last)["epoch"]
    assert 1 <= done < 6
    fit(material, tmp_path / "cut", config, resume=True)
    whole, cut = (checkpoint.load(tmp_path / run / "last.pt") for run in ("whole", "cut"))
    assert all(
        torch.equal(tensor, cut["average"][name]) for name, tensor in whole["average"].items()
    )
    log = (tmp_path / "cut/log.jsonl").read_text().splitlines()
    assert [1, 2, 3, 4, 5, 6] == [json.loads(line)["epoch"] for line in log]


def test_run_folder_is_not_overwritten(material: Material, tmp_path: Path) -> None:
    """A second run into the same folder, or a resume with other options, is refused."""
    fit(material, tmp_path, replace(TINY, epochs=1))
    with pytest.raises(ModelError, match="--resume"):
        fit(material, tmp_path, replace(TINY, epochs=1))
    with pytest.raises(ModelError, match="other options"):
        fit(material, tmp_path, replace(TINY, seed=9, epochs=1), resume=True)


def test_full_disk_keeps_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that fails leaves the earlier checkpoint whole and no debris."""
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"epoch": 1})

    def full(part: Path, content: bytes) -> None:
        with part.open("wb") as file:
            file.write(content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(path, {"epoch": 2})
    monkeypatch.undo()
    assert 1 == checkpoint.load(path)["epoch"]
    assert [path] == list(tmp_path.iterdir())


def test_a_run_goes_on_after_a_full_disk(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The epoch whose checkpoint found no room is run again, and logged once."""
    write = Path.write_bytes
    wrote: list[Path] = []

    def full(part: Path, content: bytes) -> int:
        wrote.append(part)
        if len(wrote) > 3:  # best.pt and last.pt of the first epoch, one of the second
            raise OSError(28, "No space left on device")
        return write(part, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        fit(material, tmp_path, TINY)
    monkeypatch.undo()
    fit(material, tmp_path, TINY, resume=True)
    log = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [1, 2, 3] == [json.loads(line)["epoch"] for line in log]
    assert not list(tmp_path.glob("*.part"))


def test_pickle_in_place_of_a_checkpoint_is_refused(tmp_path: Path) -> None:
    """A pickle that would run code, a text file and a missing file are ModelErrors."""
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "text.pt").write_text("no weights")
    for name in ("evil.pt", "text.pt", "missing.pt"):
        with pytest.raises(ModelError):
            checkpoint.load(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_missing_keyword_is_a_clear_error(tmp_path: Path) -> None:
    """Data without clips of some keyword names the keyword."""
    import soundfile

    (tmp_path / "yes").mkdir()
    soundfile.write(tmp_path / "yes/a_nohash_0.wav", np.zeros(16_000, np.int16), 16_000)
    with pytest.raises(DataError, match="no training clips of no, up"):
        load_material(tmp_path, LABELS, None)


def test_options_are_changed_by_their_dotted_names() -> None:
    """Whole numbers fit where fractions are; the rest stays as it was."""
    changed = with_options(FitConfig(), ["sampler.noisy=1", "sampler.snr_db=(0.0, 9.0)", "seed=3"])
    sampler = replace(SamplerConfig(), noisy=1.0, snr_db=(0.0, 9.0))
    assert changed == replace(FitConfig(), sampler=sampler, seed=3)


@pytest.mark.parametrize(
    "change", ["noise_rate=0", "noise_made=2", "noise_room=-1", "shift=-1", "narrow=2"]
)
def test_what_cannot_be_drawn_is_a_clear_error(change: str) -> None:
    """Before recordings are read, by the option's name."""
    with pytest.raises(ValueError, match=rf"expected .*sampler\.{change.partition('=')[0]}.*, got"):
        with_options(FitConfig(), [f"sampler.{change}"])


def test_command_line_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No data folder named is a usage error; a missing one is a failure of one line."""
    monkeypatch.delenv("KWS_DATA", raising=False)
    with pytest.raises(SystemExit) as stopped:
        main(["--out", str(tmp_path / "run")])
    assert 2 == stopped.value.code
    capsys.readouterr()
    nowhere = ["--out", str(tmp_path / "run"), "--data", str(tmp_path / "none")]
    for change, message in (
        ("sampler.noise=0.5", "there is no option sampler.noise; known here are epoch_size"),
        ("epochs.long=1", "epochs has no parts"),
        ("sampler.noisy=loud", "expected a number"),
        ("epochs=2.5", "expected a value of its kind"),
        ("sampler=1", "expected a value of its kind"),
        ("epochs", "expected NAME=VALUE"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main([*nowhere, "--set", change])
        assert 2 == stopped.value.code
        assert message in capsys.readouterr().err
    assert 1 == main([*nowhere, "--set", "sampler.noisy=1", "learner.peak_weight=0.25"])
    assert "there is no folder" in capsys.readouterr().err
    assert 1 == main(nowhere)
    assert "there is no folder" in capsys.readouterr().err
