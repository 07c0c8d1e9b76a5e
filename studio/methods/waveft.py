"""Updates learnt as a few of their wavelets."""

from __future__ import annotations

from typing import Any, ClassVar

from studio.methods._layers import Layers, check_fits
from studio.methods._targeted import Targeted
from studio.settings import setting


class Waveft(Targeted):
    """Learn some entries of the update's wavelet decomposition; the inverse transform does the rest.

    Bilican et al. 2025, arXiv:2505.12532, section 3. Entries start at zero, so step 0 is the base model.
    """

    title: ClassVar[str] = "WaveFT"
    about: ClassVar[str] = "Learns a thousand wavelets of each layer's update: as FourierFT, but local."
    paper: ClassVar[str] = "Bilican et al. 2025, arXiv:2505.12532"
    when: ClassVar[str] = "When the adapter must be tiny."
    cost: ClassVar[str] = "More time and memory than LoRA, as each update is built whole; under a MB on disk."
    learning_rate: ClassVar[float] = 3e-4

    n_frequency: int = setting(
        1000,
        "Wavelets",
        ge=1,
        le=1_000_000,
        help="Entries that learn, in each layer.",
        source="Bilican et al. 2025, arXiv:2505.12532, section 4",
    )

    def check_layers(self, layers: Layers) -> None:
        check_fits("Wavelets", lambda one, other: self.n_frequency, layers)

    def peft_config(self, layers: Layers, steps: int) -> Any:
        from peft import WaveFTConfig

        return WaveFTConfig(n_frequency=self.n_frequency)
