"""Trackers: other programs that a run's curves are written to as well. `studio.training.tracking` does the writing."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from studio.errors import ConfigError
from studio.settings import Settings, facts, setting

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "trackio": "trackio", "mlflow": "mlflow-skinny"}


class TrackerSettings(Settings):
    """Which ones; keys and addresses of servers come from the environment alone, as each tracker's manual says."""

    tensorboard: bool = setting(
        False,
        "TensorBoard",
        help="Writes event files into 'trackers/tensorboard' of the workspace.",
        source="pip install tensorboard",
    )
    wandb: Literal["off", "offline", "online"] = setting(
        "off",
        "Weights & Biases",
        help="'offline' writes into 'trackers/wandb' of the workspace, for 'wandb sync'; 'online' also sends what the "
        "curves show and the run's settings to the account of the environment variable WANDB_API_KEY.",
        source="pip install wandb",
    )
    trackio: bool = setting(
        False,
        "Trackio",
        help="Writes a database into 'trackers/trackio' of the workspace, or where the environment variable "
        "TRACKIO_DIR says; with TRACKIO_SPACE_ID it is sent to that Space.",
        source="pip install trackio",
    )
    mlflow: bool = setting(
        False,
        "MLflow",
        help="Writes files into 'trackers/mlruns' of the workspace, or to the server that the environment variable "
        "MLFLOW_TRACKING_URI names.",
        source="pip install mlflow-skinny",
    )
    project: str = setting(
        "finetune-studio",
        "Project",
        min_length=1,
        max_length=100,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]*$",
        help="Under which trackers file the run; the run has its own name there.",
    )

    def chosen(self) -> list[str]:
        """Keys of the trackers that are asked for."""
        return [name for name in PACKAGES if getattr(self, name) not in (False, "off")]

    def check(self) -> None:
        """Raise ConfigError where one is asked for that is not installed."""
        for name in missing():
            if name in self.chosen():
                raise ConfigError(
                    f"{title(name)} is not installed on this machine.",
                    remedy=f"Install it with 'pip install {PACKAGES[name]}', or switch it off under 'Trackers'.",
                )


def missing() -> list[str]:
    """Keys of the trackers that are not installed."""
    return [name for name in PACKAGES if find_spec(name) is None]


def title(name: str) -> str:
    """What people call a tracker."""
    return next(fact.label for fact in facts(TrackerSettings) if fact.name == name)
