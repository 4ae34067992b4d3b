"""Which part of a word decided: occlusion saliency, which needs the network's posteriors only.

A patch of time and frequency is silenced and the posterior of a label is read again; where it
falls, the patch mattered (Zeiler and Fergus, arXiv 1311.2901). Gradients would cost less, but a
runtime has none, and an int8 graph could not give them at all.
"""

from __future__ import annotations

import numpy as np

from kws.frontend import FloatArray
from kws.model.runtimes import Backend

PATCH = (12, 8)  # frames, bands
STEP = (4, 4)


def occlusion(backend: Backend, features: FloatArray, label: int) -> FloatArray:
    """How much of a label's posterior each point carries: (frames, bands) -> the same, in [-1, 1].

    Negative where a patch speaks against the label. Each point is the mean over the patches that
    cover it.
    """
    frames, bands = features.shape
    corners = [
        (frame, band)
        for frame in range(1 - PATCH[0] + STEP[0], frames, STEP[0])
        for band in range(1 - PATCH[1] + STEP[1], bands, STEP[1])
    ]
    masks = np.zeros((len(corners), frames, bands), bool)
    for mask, (frame, band) in zip(masks, corners, strict=True):
        mask[max(0, frame) : frame + PATCH[0], max(0, band) : band + PATCH[1]] = True
    whole = backend.run(features[None])[0, label]
    occluded = backend.run(np.where(masks, np.float32(0.0), features))[:, label]
    total = np.tensordot(whole - occluded, masks, axes=1)
    mean: FloatArray = (total / np.maximum(1, masks.sum(axis=0))).astype(np.float32)
    return mean
