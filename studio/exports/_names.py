"""What a run's model, data and the run itself are called where others read it: by names, not by paths of a machine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from studio.data.library import title_of
from studio.errors import StudioError
from studio.exports import Source
from studio.models.catalog import BUNDLED, check_name


def base_name(source: Source) -> str:
    """What the base is called on the Hub; '' where it is not there."""
    model = source.config.model
    if bundled := BUNDLED.get(model):
        return bundled.hub_name
    with suppress(StudioError):
        check_name(model)
        return "" if model == "tiny" or is_path(model) else model
    return ""


def base(source: Source) -> str:
    """What the base is called, on the Hub or on that machine."""
    model = source.config.model
    return base_name(source) or (Path(model).name if is_path(model) else model)


def run_title(source: Source) -> str:
    """What the run is called."""
    config = source.config
    data = title_of(config.dataset.source, source.workspace)
    return " · ".join(filter(None, [config.method.title, base(source), data, config.label]))


def paths(source: Source) -> dict[str, str]:
    """Each path of this machine that the run's config holds → the name that stands for it."""
    config = source.config
    held = (config.model, config.dataset.source, config.old.source)
    return {each: Path(each).name for each in held if is_path(each)}


def is_path(text: str) -> bool:
    """Whether a model or a data set is named by where it lies."""
    return text.startswith((".", "~", "/")) or Path(text).is_absolute()
