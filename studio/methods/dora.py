"""LoRA that learns lengths and directions apart."""

from __future__ import annotations

from typing import ClassVar, Literal

from studio.methods.lora import Lora


class Dora(Lora):
    """Split each weight into lengths and directions, m V / |V|; LoRA learns V's update, and m learns itself.

    Liu et al. 2024, arXiv:2402.09353, section 4. Lengths are those of the rows that give one output each.
    """

    title: ClassVar[str] = "DoRA"
    about: ClassVar[str] = "LoRA that learns how long each weight vector is apart from where it points."
    paper: ClassVar[str] = "Liu et al. 2024, arXiv:2402.09353"
    when: ClassVar[str] = "At low ranks, 4 to 8, where LoRA falls short of full fine-tuning."
    cost: ClassVar[str] = "LoRA's room on disk; a quarter to a half more time and memory while training."
    family: ClassVar[str] = "update"

    use_dora: Literal[True] = True  # pyright: ignore[reportIncompatibleVariableOverride]  # unlabelled: no form asks
