"""The kinds of network that training knows, by their configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kws.train.embedding import EmbeddingConfig, EmbeddingNetwork
from kws.train.encoder import EncoderConfig, EncoderNetwork
from kws.train.network import Network, NetworkConfig

AnyConfig = NetworkConfig | EmbeddingConfig | EncoderConfig
AnyNetwork = Network | EmbeddingNetwork | EncoderNetwork

ARCHITECTURES: Mapping[str, type[AnyConfig]] = {
    "temporal": NetworkConfig,
    "embedding": EmbeddingConfig,
    "encoder": EncoderConfig,
}


def build(config: AnyConfig) -> AnyNetwork:
    """A network of random weights."""
    if isinstance(config, EmbeddingConfig):
        return EmbeddingNetwork(config)
    if isinstance(config, EncoderConfig):
        return EncoderNetwork(config)
    return Network(config)


def read_config(sizes: Mapping[str, Any]) -> AnyConfig:
    """A configuration out of its fields, as JSON or a checkpoint has them.

    Raises TypeError where they are of no kind of network.
    """
    exact: dict[str, Any] = {
        key: tuple(size) if isinstance(size, list | tuple) else size for key, size in sizes.items()
    }
    for name, kind in (("joined", EmbeddingConfig), ("queries", EncoderConfig)):
        if name in exact:  # which no other kind has
            return kind(**exact)
    return NetworkConfig(**exact)
