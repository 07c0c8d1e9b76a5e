"""Updates learnt as a few of their frequencies."""

from __future__ import annotations

from typing import Any, ClassVar

from studio.methods._layers import Layers, check_fits
from studio.methods._targeted import Targeted
from studio.models.flow import Flow
from studio.settings import setting


class Fourierft(Targeted):
    """Learn some entries of the update's two-dimensional spectrum; the inverse Fourier transform does the rest.

    Gao et al. 2024, arXiv:2405.03003, section 3. Here the entries start at zero, so step 0 is the base model;
    the paper draws them at random.
    """

    title: ClassVar[str] = "FourierFT"
    about: ClassVar[str] = "Learns a thousand frequencies of each layer's update: a tenth of LoRA's weights or less."
    paper: ClassVar[str] = "Gao et al. 2024, arXiv:2405.03003"
    when: ClassVar[str] = "When the adapter must be tiny."
    cost: ClassVar[str] = (
        "Two to three times LoRA's time and more memory, as each update is built whole; under a MB on disk."
    )
    learning_rate: ClassVar[float] = 3e-3
    kept_inputs: ClassVar[float] = 0
    kept_outputs: ClassVar[float] = 1
    kept_weights: ClassVar[float] = 1

    n_frequency: int = setting(
        1000,
        "Frequencies",
        ge=1,
        le=1_000_000,
        help="Entries that learn, in each layer.",
        source="Gao et al. 2024, arXiv:2405.03003, section 4",
    )
    scaling: float = setting(
        300.0,
        "Scale",
        gt=0,
        le=10_000,
        advanced=True,
        search=(10, 1000),
        help="What the update is multiplied by.",
        source="Gao et al. 2024, arXiv:2405.03003, table 8",
    )

    def count(self, layers: Layers, flow: Flow) -> int:
        return self.n_frequency * len(layers)

    def check_layers(self, layers: Layers) -> None:
        check_fits("Frequencies", lambda one, other: self.n_frequency, layers)

    def peft_config(self, layers: Layers, steps: int) -> Any:
        from peft import FourierFTConfig

        return FourierFTConfig(n_frequency=self.n_frequency, scaling=self.scaling, init_weights=True)
