"""RAD-DINO of Microsoft: a DINOv2 ViT-B/14 taught chest radiographs; the class token, 768 features.

Perez-Garcia et al. 2024 (arXiv:2401.10815). The study names `model.safetensors` of microsoft/rad-dino (names of
Hugging Face's Dinov2Model) or its `backbone_compatible.safetensors` (official DINOv2 names), with the SHA-256.

Size, mean and standard deviation are those of the released `preprocessor_config.json`; the whole image is squeezed to
518 x 518, where the original shrinks the shorter side to 518 and cuts out the middle. That is 1,370 tokens an image,
about 3.5 s on one slow core: for sets of more than some hundred images take `dinov2` or a machine with many cores.

Known failure: outside chest radiography nothing is known of these features.
"""

import re
from collections.abc import Mapping
from functools import cache

import numpy as np
import torch

from chambit.measure.networks import inputs, vit
from chambit.measure.weights import Weights, refusal, tensors

version = "1"
SOURCE = "file"
PREPROCESSING = (
    "squeezed to 518 x 518 pixels, bicubic, antialiased; grey three times; mean 0.5307, standard deviation 0.2583"
)
SIDE = 518
MEAN, STD = (0.5307,) * 3, (0.2583,) * 3
BATCH = 8  # 64 images of 1,370 tokens would hold several gigabytes
_NAMES = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.mask_token": "mask_token",
    "embeddings.register_tokens": "register_tokens",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "layernorm": "norm",
    "attention.output.dense": "attn.proj",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
}
_QKV = ("query", "key", "value")


def features(images: np.ndarray, weights: Weights) -> np.ndarray:
    """Feature vectors float64 (N, 768) of images float32 (N, H, W) in [0, 1]."""
    return inputs.features(
        _network(weights),
        images,
        lambda x: inputs.standardised(inputs.resized(x, SIDE, "bicubic"), MEAN, STD),
        BATCH,
    )


@cache
def _network(weights: Weights) -> vit.VisionTransformer:
    found = tensors(weights, prefixes=("backbone.", "dinov2."))
    if any(name.startswith("embeddings.") for name in found):
        found = _official(found, weights)
    return vit.loaded(found, weights, "RAD-DINO")


def _official(found: Mapping[str, torch.Tensor], weights: Weights) -> dict[str, torch.Tensor]:
    """The tensors by the official DINOv2 names; query, key and value become one matrix, in this order."""
    out, apart = {}, {}
    for name, tensor in found.items():
        match = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", name)
        block, rest = (f"blocks.{match[1]}.", match[2]) if match else ("", name)
        if part := re.fullmatch(r"attention\.attention\.(query|key|value)\.(weight|bias)", rest):
            apart[block, part[2], part[1]] = tensor
            continue
        stem, _, kind = rest.rpartition(".")
        out[block + (_NAMES.get(rest) or f"{_NAMES.get(stem, stem)}.{kind}")] = tensor
    for block, kind in sorted({key[:2] for key in apart}):
        if lacking := [part for part in _QKV if (block, kind, part) not in apart]:
            what = f"it is not a RAD-DINO network: missing: {', '.join(lacking)} of {block}attention ({kind})"
            raise refusal(weights, what, "name the file that belongs to this extractor")
        out[f"{block}attn.qkv.{kind}"] = torch.cat([apart[block, kind, part] for part in _QKV])
    return out
