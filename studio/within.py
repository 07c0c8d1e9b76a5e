"""Which files may be named by their path: any, unless others reach the page; then only those of its workspace."""

from __future__ import annotations

import os
from pathlib import Path

WITHIN = "FINETUNE_STUDIO_WITHIN"  # environment variable: the folder; whatever a studio starts inherits it


def may_name(path: Path) -> bool:
    """Whether a data set or a model may be read there. Where links lead counts, not where they lie. Raises OSError."""
    folder = os.environ.get(WITHIN)
    return not folder or path.resolve().is_relative_to(Path(folder).resolve())
