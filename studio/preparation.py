"""A run's way to its first step: rows, model and method, told as they come."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from studio.config import RunConfig
from studio.data.kept import Kept
from studio.distributed import rank
from studio.events import DataReady, ModelReady, Note, Phase, VocabularyExtended
from studio.old_data import guard
from studio.workspace import RunFolder, Workspace

HELD_OUT_KEPT = 200  # rows kept for the chat


class StopAsked(Exception):
    """A person asked the run to end."""


class Rest(Exception):
    """The run rests until somebody lets it go on; the text says why, where nobody asked for it."""


class Preparation:
    """What a run's config asks for, made ready. Heeds flags and reports progress as the rest of the run does."""

    def __init__(self, folder: RunFolder, workspace: Workspace) -> None:
        self.folder = folder
        self.workspace = workspace
        self.events = folder.events
        self.config = RunConfig.parse(json.loads(folder.config.read_text(encoding="utf-8"))).settled()
        self.measured: Sequence[Any] = []  # rows of old data that the penalty may measure
        self._terms: list[str] = []  # that became tokens of their own
        self._kept = Kept(workspace.tokens)
        self._fingerprint = ""  # of the training rows
        self._read = ("", "")  # content hashes of all rows as they were read, and of those held out
        self._last_progress = 0.0
        self._last_lap = 0.0
        self._seconds: dict[str, float] = {}  # what took how long before the first step

    def prepare(self) -> tuple[Any, Any, Any]:
        """The model with its method, how it was loaded, and the rows as tokens: all that training needs."""
        self._last_lap = time.perf_counter()
        train, held_out, mapping = self._read_data()
        self.config.objective.check_rows(train, mapping)
        self._lap("data")
        loaded = self._load_model()
        self._lap("model")
        self._extend_vocabulary(loaded, train, mapping)
        prepared = self._tokenise(train, held_out, mapping, loaded.tokenizer)
        del train, held_out  # training needs their tokens only
        self._lap("data")
        model = self._attach(loaded, prepared)
        self._lap("method")
        return model, loaded, prepared

    def _read_data(self) -> tuple[Any, Any, Any]:
        from studio.data.library import divided, open_source

        self._phase("Preparing data")
        chosen = self.config.dataset
        opened = open_source(chosen.source, self.workspace, chosen.mapping(), chosen.version)
        shares = (chosen.validation_share, chosen.test_share)
        sides = divided(opened, shares, self.config.seed, chosen.split, chosen.split_column)
        self._read = sides.read.fingerprint, sides.validation.fingerprint if sides.validation else ""
        self._keep_held_out(sides.validation, opened.mapping)
        for row in sides.train.set_aside[:5]:
            self.events.append(Note(text=f"Line {row.line} of {opened.title} was left out: {row.reason}"))
        if sides.test is not None:
            self.events.append(Note(text=f"{len(sides.test.rows):,} rows are set apart for a last score."))
        return sides.train, sides.validation, opened.mapping

    def _keep_held_out(self, held_out: Any, mapping: Any) -> None:
        from studio.data.templates import to_messages

        if rank():
            return
        with self.folder.held_out.open("w", encoding="utf-8") as file:
            for row in (held_out.rows if held_out else [])[:HELD_OUT_KEPT]:
                if messages := to_messages(row, mapping):
                    file.write(json.dumps(messages, ensure_ascii=False) + "\n")

    def _load_model(self) -> Any:
        from studio.models.base import load, placement
        from studio.models.catalog import locate

        located = locate(self.config.model, self.workspace.models, self._fetched)
        self._phase(f"Loading {located.title}")
        place = placement(self.config.number_format)
        for text in self.config.method.notes(place.device):
            self.events.append(Note(text=text))
        return load(located, place, self.config.method.quantization(place.dtype), writes=self.config.objective.writes)

    def _fetched(self, name: str, done: float, total: float) -> None:
        self.progress(name, done / 1e6, total / 1e6, "MB")

    def _extend_vocabulary(self, loaded: Any, train: Any, mapping: Any) -> None:
        """Make frequent terms of the training rows tokens of their own, where that was asked for."""
        from studio.data.vocabulary import propose, texts_of
        from studio.models.vocabulary import extend

        asked, phase = self.config.vocabulary, "Looking for new tokens"
        if not asked.new_tokens:
            return
        self._phase(phase)
        found = propose(
            texts_of(train.rows, mapping),
            loaded.tokenizer,
            asked.new_tokens,
            asked.min_count,
            lambda done, total: self.progress(phase, done, total, "texts"),
        )
        if not found.terms:
            self.events.append(
                Note(text=f"No term that takes several tokens occurs {asked.min_count:,} times; the vocabulary stays.")
            )
            return
        self._terms = [each.term for each in found.terms]
        extend(loaded.model, loaded.tokenizer, self._terms)
        terms = [asdict(each) for each in found.terms]
        self.events.append(
            VocabularyExtended(terms=terms, tokens_before=found.tokens_before, tokens_after=found.tokens_after)
        )

    def _tokenise(self, train: Any, held_out: Any, mapping: Any, tokenizer: Any) -> Any:
        self._phase("Preparing data")
        training = self.config.training
        if held_out is not None and self.config.objective.writes:  # labels are cheap: all count in the last score
            held_out = replace(held_out, rows=held_out.rows[: training.eval_rows])
        prepared = self.config.objective.prepare(
            train,
            held_out,
            mapping,
            tokenizer,
            lambda done, total: self.progress("Preparing data", done, total, "rows"),
            self._kept,
        )
        guarded = guard(
            self.config,
            self.workspace,
            prepared,
            tokenizer,
            lambda done, total: self.progress("Preparing old data", done, total, "rows"),
            self._kept,
        )
        prepared, self.measured = guarded.prepared, guarded.measured
        for text in prepared.notes:
            self.events.append(Note(text=text))
        report, self._fingerprint = prepared.report, train.fingerprint
        self.events.append(
            DataReady(
                train_rows=len(prepared.train),
                validation_rows=len(prepared.validation),
                truncated_rows=report.truncated,
                skipped_rows=report.skipped,
                tokens=report.tokens,
                trained_tokens=report.trained_tokens,
                fingerprint=train.fingerprint,
            )
        )
        return prepared

    def _attach(self, loaded: Any, prepared: Any) -> Any:
        from transformers import set_seed

        from studio.training.trainer import planned_steps

        set_seed(self.config.seed)
        model = self.config.method.attach(loaded.model, planned_steps(self.config.training, len(prepared.train)))
        model = self.config.objective.assemble(model, prepared)
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self.events.append(
            ModelReady(
                name=loaded.located.title,
                parameters=loaded.parameters,
                trainable_parameters=trainable,
                device=loaded.placement.device,
                dtype=loaded.placement.dtype,
                reason=f"{loaded.placement.reason} {self._products(loaded.placement)[1]}".rstrip(),
            )
        )
        return model

    def _products(self, place: Any) -> tuple[Any, str]:
        from studio.models.base import products

        return products(place, exact=self.config.training.dtype != "auto")

    # -- telling -----------------------------------------------------------------------------------

    def _lap(self, what: str) -> None:
        """The time since the last lap went into `what`."""
        now = time.perf_counter()
        self._seconds[what] = self._seconds.get(what, 0.0) + now - self._last_lap
        self._last_lap = now

    def _phase(self, name: str) -> None:
        self._heed()
        self.progress(name, always=True)

    def progress(self, name: str, done: float = 0, total: float = 0, unit: str = "", *, always: bool = False) -> None:
        """Report progress, at most twice a second. A stop asked for meanwhile ends the run here."""
        now = time.monotonic()
        if always or now - self._last_progress >= 0.5:
            self._last_progress = now
            self.events.append(Phase(name=name, done=done, total=total, unit=unit))
            if not always:
                self._heed()

    def _heed(self) -> None:
        """End here where somebody asked for it."""
        if rank():  # the first decides for all
            return
        if self.folder.stop_flag.exists():
            raise StopAsked
        if self.folder.pause_flag.exists():
            raise Rest
