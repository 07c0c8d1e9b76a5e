"""Which files may be named by their path: any, unless others reach the page; then those of its workspace alone."""

from __future__ import annotations

import os
from pathlib import Path

WITHIN = "FINETUNE_STUDIO_WITHIN"  # environment variable: folders, as in PATH; whatever a studio starts inherits it


def may_name(path: Path) -> bool:
    """Whether a data set or a model may be read there. Where links lead counts, not where they lie. Raises OSError."""
    folders = os.environ.get(WITHIN)
    return not folders or any(path.resolve().is_relative_to(Path(each).resolve()) for each in folders.split(os.pathsep))
