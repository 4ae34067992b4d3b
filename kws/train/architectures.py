"""The kinds of network that training knows, by their configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kws.train.embedding import EmbeddingConfig, EmbeddingNetwork
from kws.train.network import Network, NetworkConfig

AnyConfig = NetworkConfig | EmbeddingConfig
AnyNetwork = Network | EmbeddingNetwork

ARCHITECTURES: Mapping[str, type[AnyConfig]] = {
    "temporal": NetworkConfig,
    "embedding": EmbeddingConfig,
}


def build(config: AnyConfig) -> AnyNetwork:
    """A network of random weights."""
    if isinstance(config, EmbeddingConfig):
        return EmbeddingNetwork(config)
    return Network(config)


def read_config(sizes: Mapping[str, Any]) -> AnyConfig:
    """A configuration out of its fields, as JSON or a checkpoint has them.

    Raises TypeError where they are of no kind of network.
    """
    exact: dict[str, Any] = {
        key: tuple(size) if isinstance(size, list | tuple) else size for key, size in sizes.items()
    }
    return EmbeddingConfig(**exact) if "joined" in exact else NetworkConfig(**exact)
