"""A small network of random weights, as the exporter sees it; nothing here was trained."""

from __future__ import annotations

import numpy as np
import torch

from export.build import build
from export.calibrate import calibrate
from export.fold import fold
from export.network import FoldedNetwork
from kws.config import DecisionConfig, FeatureConfig, VadConfig
from kws.evaluation.evalset import EvaluationSet
from kws.frontend import log_mel
from kws.model.manifest import Manifest
from kws.train.network import Network, NetworkConfig, parameter_count

torch.set_num_threads(1)  # a network this small only waits for further threads

LABELS = ("yes", "no", "silence", "unknown")
SIZES = NetworkConfig(labels=len(LABELS), channels=8, kernels=(5, 3), pool=42)
CLIPS = 24


def random_network(seed: int = 0) -> Network:
    """A network whose normalisations are all but the identity, in evaluation mode."""
    torch.manual_seed(seed)
    network = Network(SIZES)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.uniform_(-1.0, 1.0)
            module.running_var.uniform_(0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    # As of features: they are about 8 and vary by 4.
    network.feature_norm.running_mean.fill_(8.0)
    network.feature_norm.running_var.fill_(16.0)
    network.eval()
    _spread(network)
    return network


@torch.no_grad()
def _spread(network: Network) -> None:
    """Make each class the highest for some noise, and the posteriors firm."""
    torch.nn.init.normal_(network.classifier.weight)
    features = np.stack([log_mel(clip) for clip in random_audio(seed=9)])
    logits = network(torch.from_numpy(features))[:, -1]
    scale = 4.0 / logits.std(dim=0)
    network.classifier.weight.mul_(scale[:, None])
    network.classifier.bias.sub_(logits.mean(dim=0)).mul_(scale)


def random_audio(clips: int = CLIPS, seed: int = 0) -> np.ndarray:
    """Clips (clips, 16000) of noise, each with a level and a colour of its own."""
    generator = np.random.default_rng(seed)
    white = generator.normal(size=(clips, 16_000))
    colour = generator.uniform(-1.0, 1.0, (clips, 1))
    level = 10.0 ** generator.uniform(1.0, 4.0, (clips, 1))
    return np.clip((white + colour * np.roll(white, 1)) * level, -32768, 32767).astype(np.int16)


def clips_for(network: Network) -> EvaluationSet:
    """Noise, and as each clip's label the network's own."""
    audio = random_audio()
    features = np.stack([log_mel(clip) for clip in audio])
    with torch.no_grad():
        targets = network(torch.from_numpy(features))[:, -1].argmax(1).numpy()
    names = tuple(str(index) for index in range(len(audio)))
    return EvaluationSet(audio, targets, names, "validation", ())


def manifest_for(network: Network, folded: FoldedNetwork) -> Manifest:
    """What `python -m export` would write, but for the artefacts."""
    features = np.stack([log_mel(clip) for clip in random_audio(seed=1)])
    return Manifest(
        version=1,
        name="random",
        description="random weights",
        labels=LABELS,
        features=FeatureConfig(),
        vad=VadConfig(),
        decision=DecisionConfig(),
        thresholds={},
        artefacts={},
        parameters=parameter_count(network),
        licence="Apache-2.0",
        provenance={
            "kws_version": "0.0",
            "network": {"stride": SIZES.stride, "kernels": SIZES.kernels, "pool": SIZES.pool},
            "quantisation": {"ranges": calibrate(folded, features)},
        },
        measurements={},
    )


class Exported:
    """The network, what it is folded to, and all its files."""

    def __init__(self) -> None:
        self.trained = random_network()
        self.folded = fold(self.trained)
        self.manifest = manifest_for(self.trained, self.folded)
        self.contents = build(self.manifest, self.folded)
        self.clips = clips_for(self.trained)
