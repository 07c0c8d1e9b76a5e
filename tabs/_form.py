"""Settings → widgets → Settings. The only code that turns one into the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.catalog import Entry, key_of
from studio.config import DatasetSettings, OldDataSettings, RunConfig, VocabularySettings
from studio.errors import StudioError
from studio.methods import Method, methods
from studio.objectives import objectives
from studio.penalties import penalties
from studio.settings import Facts, Settings, facts
from studio.trackers import PACKAGES, TrackerSettings, missing
from studio.training.settings import TrainingSettings


def widget(fact: Facts) -> Component:
    """The component that edits one field."""
    label = f"{fact.label} ({fact.unit})" if fact.unit and fact.unit != fact.label.lower() else fact.label
    info = fact.help + (f" [{fact.source}]" if fact.source else "")
    info = info.replace("*", "\N{ASTERISK OPERATOR}")  # a plain one begins italics, and none can be escaped here
    common: dict[str, Any] = {
        "label": label,
        "info": info,
        "interactive": True,
        "min_width": 220,
        "elem_classes": [f"field-{fact.name}"],
    }
    if fact.kind == "bool":
        return gr.Checkbox(fact.default, **common)
    if fact.kind == "choice":
        return gr.Dropdown(list(fact.choices), value=fact.default, **common)
    if fact.step is not None and fact.minimum is not None and fact.maximum is not None:
        return gr.Slider(fact.minimum, fact.maximum, fact.default, step=fact.step, **common)
    # A gr.Number shows 0 for "not set" and an optional number must be able to be empty.
    if fact.kind == "text" or fact.optional or fact.kind == "float":
        return gr.Textbox("" if fact.default is None else f"{fact.default}", max_lines=1, **common)
    # Without bounds: Gradio would refuse in its own words; the Settings say in a sentence what is wrong.
    return gr.Number(fact.default, precision=0, **common)


def value_of(fact: Facts, raw: Any) -> Any:
    """A widget's value as the field takes it; validation itself is the Settings' own."""
    if raw is None and fact.kind == "text" and not fact.optional:
        return ""  # a list that was cleared
    if isinstance(raw, str) and fact.kind in ("int", "float"):
        raw = raw.strip()
        if not raw:
            return None
        try:
            number = float(raw)
        except ValueError:
            return raw  # the Settings say in a sentence what is wrong with it
        return int(number) if fact.kind == "int" and number.is_integer() else number
    if fact.kind == "int" and isinstance(raw, float) and raw.is_integer():
        return int(raw)
    return raw


def shown(fact: Facts, value: Any) -> Any:
    """A field's value as its widget shows it; `value_of` reads it back."""
    written = fact.kind in ("text", "float") or fact.optional
    slider = fact.step is not None and fact.minimum is not None and fact.maximum is not None
    if fact.kind in ("bool", "choice") or slider or not written:
        return value
    return "" if value is None else f"{value}"


class Group:
    """The widgets of one Settings class: the usual ones, then the advanced ones folded away.

    `own` are widgets for fields that the page knows more about, such as a list of names; not drawn yet.
    """

    def __init__(
        self,
        cls: type[Settings],
        *,
        skip: Sequence[str] = (),
        more: str = "More",
        own: Mapping[str, Component] | None = None,
    ) -> None:
        self.facts = [fact for fact in facts(cls) if fact.name not in skip]
        self.widgets: dict[str, Component] = dict(own or {})
        picks = getattr(cls, "picks", "")  # methods inherit the setting that names layers, so it would come first
        usual = sorted((fact for fact in self.facts if not fact.advanced), key=lambda fact: fact.name == picks)
        advanced = [fact for fact in self.facts if fact.advanced]
        self._row(usual)
        if advanced:
            with gr.Accordion(more, open=False):
                self._row(advanced)

    def _row(self, chosen: Sequence[Facts]) -> None:
        with gr.Row(elem_classes="fields"):
            for fact in chosen:
                if fact.name in self.widgets:
                    self.widgets[fact.name].render()
                else:
                    self.widgets[fact.name] = widget(fact)

    def components(self) -> list[Component]:
        return [self.widgets[fact.name] for fact in self.facts]

    def parse(self, raw: Sequence[Any]) -> dict[str, Any]:
        return {fact.name: value_of(fact, value) for fact, value in zip(self.facts, raw, strict=True)}

    def values(self, settings: Settings) -> list[Any]:
        """What `components` show for these settings."""
        return [shown(fact, getattr(settings, fact.name)) for fact in self.facts]


class Choice:
    """A catalog's dropdown and, under it, the group of whatever is chosen, which `about` may introduce.

    The groups are tabs without a strip: only the chosen one is ever drawn, however many there are.
    """

    def __init__(
        self,
        label: str,
        entries: Mapping[str, type[Entry]],
        chosen: str,
        elem_id: str,
        about: Callable[[Any], str] | None = None,
    ) -> None:
        titles = [(f"{cls.title}: {cls.about}", key) for key, cls in entries.items()]
        self.name = gr.Dropdown(titles, value=chosen, label=label, interactive=True, elem_id=elem_id)
        self.groups: dict[str, Group] = {}
        with gr.Tabs(selected=chosen, elem_classes="choice") as groups:
            for key, cls in entries.items():
                with gr.Tab(cls.title, id=key):
                    if about:
                        gr.HTML(about(cls), apply_default_css=False, elem_classes="about")
                    self.groups[key] = Group(cls, more=f"More about {cls.title}")
        self.name.change(
            lambda name: gr.Tabs(selected=name),
            self.name,
            groups,
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )

    def components(self) -> list[Component]:
        return [self.name, *(part for group in self.groups.values() for part in group.components())]

    def parse(self, raw: Sequence[Any]) -> dict[str, Any]:
        name, at = raw[0], 1
        for key, group in self.groups.items():
            end = at + len(group.facts)
            if key == name:
                return {"name": key, **group.parse(raw[at:end])}
            at = end
        return {"name": name}

    def values(self, entry: Any) -> list[Any]:
        """What `components` show for this entry; those of the others stay as they are."""
        key = key_of(entry)
        found: list[Any] = [key]
        for name, group in self.groups.items():
            found += group.values(entry) if name == key else [gr.skip()] * len(group.facts)
        return found


class ConfigForm:
    """The whole of RunConfig except model and data set, which have widgets of their own.

    `about` introduces a method; `layers` builds what stands between the method and the rest; `old` chooses old data.
    """

    def __init__(self, about: Callable[[type[Method]], str], layers: Callable[[], None], old: Component) -> None:
        defaults = RunConfig.parse({}).to_dict()
        self.objective = Choice(
            "Objective: what is minimised", objectives(), defaults["objective"]["name"], "train-objective"
        )
        self.method = Choice(
            "Method: which weights learn", methods(), defaults["method"]["name"], "train-method", about
        )
        layers()
        self.training = Group(TrainingSettings, more="More about training")
        with gr.Accordion("Held-out rows and seed", open=False):
            self.dataset = Group(DatasetSettings, skip=["source"])
            self.general = Group(RunConfig, skip=["model"])
        with gr.Accordion("Keep what it knew, and new words", open=False):
            self.old = Group(OldDataSettings, own={"source": old})
            self.penalty = Choice(
                "Penalty: what holds it back", penalties(), defaults["penalty"]["name"], "train-penalty"
            )
            self.vocabulary = Group(VocabularySettings)
        absent = missing()
        with gr.Accordion("Trackers", open=False, visible=len(absent) < len(PACKAGES)):
            self.trackers = Group(TrackerSettings, skip=absent)
        self.parts: list[tuple[str, Choice | Group]] = [
            ("method", self.method),
            ("training", self.training),
            ("objective", self.objective),
            ("dataset", self.dataset),
            ("old", self.old),
            ("penalty", self.penalty),
            ("vocabulary", self.vocabulary),
            ("trackers", self.trackers),
            ("", self.general),
        ]

    def components(self) -> list[Component]:
        return [component for _, part in self.parts for component in part.components()]

    def on_change(self, handler: Callable[..., Any], inputs: list[Any], outputs: Any) -> None:
        """Call `handler` whenever anything in the form changes; of a burst, only the last counts."""
        gr.on(
            [component.change for component in self.components()],  # pyright: ignore[reportAttributeAccessIssue]
            handler,
            inputs,
            outputs,
            queue=False,
            show_progress="hidden",
            api_visibility="private",
            trigger_mode="always_last",
        )

    def pickers(self) -> dict[str, Component]:
        """Method → the widget in which it names layers, for those that do."""
        groups = self.method.groups
        return {key: groups[key].widgets[cls.picks] for key, cls in methods().items() if cls.picks in cls.model_fields}

    def chosen_method(self, raw: Sequence[Any]) -> Method:
        """The method as far as it can be told: where a setting is refused, its defaults and the layers it names."""
        values = self.method.parse(raw[: len(self.method.components())])
        cls = methods()[values.pop("name")]
        try:
            return cls.parse(values)
        except StudioError:
            named = {cls.picks: values[cls.picks] or ""} if cls.picks in values else {}
            return cls().model_copy(update=named)

    def writes(self, raw: Sequence[Any]) -> bool:
        """Whether the chosen objective needs a model that writes text."""
        return objectives()[raw[self.components().index(self.objective.name)]].writes

    def config(self, model: str, source: str, raw: Sequence[Any]) -> RunConfig:
        """The widgets' values as a RunConfig. Raises ConfigError."""
        values: dict[str, Any] = {"model": model}
        at = 0
        for name, part in self.parts:
            end = at + len(part.components())
            parsed = part.parse(raw[at:end])
            values.update({name: parsed} if name else parsed)
            at = end
        values["dataset"]["source"] = source
        return RunConfig.parse(values)

    def values(self, config: RunConfig) -> list[Any]:
        """What `components` show for this config."""
        return [value for name, part in self.parts for value in part.values(getattr(config, name) if name else config)]
