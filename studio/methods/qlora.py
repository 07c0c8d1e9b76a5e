"""LoRA on a base whose frozen weights are kept in 4 or 8 bits."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import platform
import shutil
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any, ClassVar, Literal

from studio.errors import ConfigError
from studio.methods._layers import Layers
from studio.methods.lora import Lora
from studio.models.structure import Structure
from studio.settings import setting

# Of what torch calls CUDA: NVIDIA's drivers, Jetson's, those of Windows' Linux, AMD's.
_SIGNS_OF_A_GPU = ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/dxg", "/dev/kfd")


class Qlora(Lora):
    """Keep the frozen weights in 4 or 8 bits and learn a LoRA beside them.

    Dettmers et al. 2023, arXiv:2305.14314, section 3; 8 bits: arXiv:2208.07339. The adapter learns
    to make up for the rounding as well, so it belongs to the quantised base.
    """

    title: ClassVar[str] = "QLoRA"
    about: ClassVar[str] = "LoRA beside weights held in 4 or 8 bits: large models on small GPUs."
    paper: ClassVar[str] = "Dettmers et al. 2023, arXiv:2305.14314"
    when: ClassVar[str] = "When the base does not fit into the GPU's memory otherwise."
    cost: ClassVar[str] = "A quarter of the frozen weights' memory; slower than LoRA; small models lose by rounding."
    merges: ClassVar[bool] = False  # inside 4 bits merging destroys it: it belongs onto the unquantised base

    bits: Literal["4", "8"] = setting(
        "4",
        "Bits",
        help="Of each frozen weight. 4 takes a quarter of the memory of bfloat16, 8 half and rounds less.",
        source="Dettmers et al. 2023, arXiv:2305.14314; 2022, arXiv:2208.07339",
    )
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = setting(
        "nf4",
        "4-bit format",
        advanced=True,
        help="nf4 spaces its 16 values for weights with a bell curve and loses less; fp4 is a plain float.",
        source="Dettmers et al. 2023, arXiv:2305.14314, section 3 and table 2",
    )
    bnb_4bit_use_double_quant: bool = setting(
        True,
        "Double quantisation",
        advanced=True,
        help="Quantises the scales of the 4-bit blocks too: saves about 0.4 bits a weight, costs next to nothing.",
        source="Dettmers et al. 2023, arXiv:2305.14314, section 3",
    )

    def quantization(self, dtype: Any = "auto") -> Any:
        """See Method. Raises ConfigError where bitsandbytes is missing or does not load."""
        _require_bitsandbytes(importlib.import_module)
        import torch
        from transformers import BitsAndBytesConfig

        from studio.models.base import placement

        if self.bits == "8":
            # It says at every layer of every step that inputs are cast to float16: hundreds of lines a second.
            logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
            return BitsAndBytesConfig(load_in_8bit=True)
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=self.bnb_4bit_quant_type,
            bnb_4bit_use_double_quant=self.bnb_4bit_use_double_quant,
            bnb_4bit_compute_dtype=getattr(torch, placement(dtype).dtype),
        )

    def weight_bytes(self, structure: Structure, each: int) -> int:
        """See Method. Linear layers in `bits`, with a scale for each 64 weights; the rest as it is.

        Scales are float32, or 8 bits where they are quantised too (Dettmers et al. 2023, section 3); in 8 bits there
        is one for each output.
        """
        packed = sum(map(prod, structure.linear().values()))
        scale = 0.0 if self.bits == "8" else (8 if self.bnb_4bit_use_double_quant else 32) / 64
        rest = sum(map(prod, structure.weights.values())) - packed
        return round(packed * (int(self.bits) + scale) / 8) + each * rest

    def leaner(self, *, gpu: bool) -> str:
        return ""

    def check_machine(self) -> None:
        _require_bitsandbytes(importlib.util.find_spec)
        if self._reads_back_eight_bits and not _may_have_a_gpu():
            raise _no_dora()

    def check_layers(self, layers: Layers) -> None:
        if self._halves == 2:
            raise ConfigError(
                f"{self.init_lora_weights} cannot begin with weights that are kept in {self.bits} bits.",
                remedy="Set 'Start' to default, gaussian or orthogonal.",
            )
        super().check_layers(layers)

    def attach(self, model: Any, steps: int = 0) -> Any:
        """See Method. The norms are frozen and compute in float32 by themselves, so nothing is cast.

        Raises ConfigError on a base that was not loaded with `quantization()`, too.
        """
        if not getattr(model, "is_quantized", False):
            raise ConfigError("QLoRA needs a quantised base.", remedy="Load the model with the method's quantization.")
        if self._reads_back_eight_bits and model.device.type != "cuda":
            raise _no_dora()
        return super().attach(model, steps)

    def notes(self, device: str) -> list[str]:
        if device == "cuda":
            return ["Choose the optimizer paged_adamw_8bit to have its state in main memory when the GPU's is full."]
        told = [
            f"QLoRA in {self.bits} bits runs on this device, but it is made for NVIDIA GPUs: here it is slower than "
            "LoRA, and with small models it saves no peak memory."
        ]
        if self.bits == "4":
            told.append(
                "Small models lose by rounding: at 135 million parameters, 4 bits cost about 0.65 nats of loss before "
                "training. LoRA is the better choice here unless the model would not fit otherwise."
            )
        return told

    @property
    def _reads_back_eight_bits(self) -> bool:
        return self.bits == "8" and self.use_dora


def _no_dora() -> ConfigError:
    return ConfigError(
        "DoRA cannot read 8-bit weights back on this device.", remedy="Switch DoRA off, or set 'Bits' to 4."
    )


def _may_have_a_gpu() -> bool:
    """False only where torch could find none; a driver without a GPU counts."""
    there = any(Path(sign).exists() for sign in _SIGNS_OF_A_GPU)
    return there or platform.system() == "Windows" or shutil.which("nvidia-smi") is not None


def _require_bitsandbytes(find: Callable[[str], object]) -> None:
    """`find` looks the package up, or imports it: a build for other hardware is there but does not load."""
    try:
        found = find("bitsandbytes")
    except Exception:  # whatever its loader says
        found = None
    if found is None:
        raise ConfigError(
            "QLoRA needs bitsandbytes, which is not installed or does not load on this machine.",
            remedy="Install it with 'pip install bitsandbytes', or choose LoRA.",
        )
