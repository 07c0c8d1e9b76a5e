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
from studio.rewards import Reward, rewards
from studio.settings import Facts, Settings, facts
from studio.store import State, Store
from studio.trackers import PACKAGES, TrackerSettings, missing
from studio.training.settings import TrainingSettings
from tabs._shared import QUIET, run_choices


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
    if fact.kind in ("text", "list") or fact.optional or fact.kind == "float":
        return gr.Textbox(shown(fact, fact.default), max_lines=1, **common)
    # Without bounds: Gradio would refuse in its own words; the Settings say in a sentence what is wrong.
    return gr.Number(fact.default, precision=0, **common)


def value_of(fact: Facts, raw: Any) -> Any:
    """A widget's value as the field takes it; validation itself is the Settings' own."""
    if raw is None and fact.kind == "text" and not fact.optional:
        return ""  # a list that was cleared
    if fact.kind == "list" and isinstance(raw, str):
        return [each.strip() for each in raw.split(",") if each.strip()]
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
    if fact.kind == "list":
        return ", ".join(map(str, value))
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
        self.name.change(lambda name: gr.Tabs(selected=name), self.name, groups, **QUIET)

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


class Choices:
    """Rewards, of which any number may be chosen: a checkbox each, and under it its settings once it is ticked.

    The style sheet hides those of the others, so that a tick waits for no server.
    """

    def __init__(self, entries: Mapping[str, type[Reward]], elem_id: str) -> None:
        self.entries = entries
        self.ticks: dict[str, gr.Checkbox] = {}
        self.groups: dict[str, Group] = {}
        with gr.Column(elem_classes="choices", elem_id=elem_id):
            for key, cls in entries.items():
                with gr.Column(elem_classes="entry"):
                    self.ticks[key] = gr.Checkbox(
                        False,
                        label=cls.title,
                        info=cls.about,
                        interactive=True,
                        elem_id=f"{elem_id}-{key}",
                        elem_classes="tick",
                    )
                    own = {fact.name: _run_picker(fact) for fact in facts(cls) if cls.runs_of and fact.name == "run"}
                    self.groups[key] = Group(cls, more=f"More about {cls.title}", own=own)

    def offer_runs(self, tab: gr.Tab, store: Store) -> None:
        """Whenever `tab` is opened, list the runs that rewards can be given by."""
        pickers = {key: group.widgets["run"] for key, group in self.groups.items() if self.entries[key].runs_of}

        def offer() -> Any:
            done = [state for state in store.states() if state.status == "done"]
            return {
                picker: gr.Dropdown(
                    run_choices([state for state in done if _objective(state) in self.entries[key].runs_of])
                )
                for key, picker in pickers.items()
            }

        if pickers:
            tab.select(offer, None, list(pickers.values()), **QUIET)

    def components(self) -> list[Component]:
        return [part for key, group in self.groups.items() for part in (self.ticks[key], *group.components())]

    def parse(self, raw: Sequence[Any]) -> dict[str, Any]:
        """Key → settings of each that is ticked, as a config holds them."""
        found, at = {}, 0
        for key, group in self.groups.items():
            end = at + 1 + len(group.facts)
            if raw[at]:
                found[key] = group.parse(raw[at + 1 : end])
            at = end
        return found

    def values(self, entries: Any) -> list[Any]:
        """What `components` show for these entries by key; the settings of the others stay as they are."""
        found: list[Any] = []
        for key, group in self.groups.items():
            chosen = key in entries
            found += [chosen, *(group.values(entries[key]) if chosen else [gr.skip()] * len(group.facts))]
        return found


def _run_picker(fact: Facts) -> gr.Dropdown:
    """A list of runs for the setting that names one; who draws it fills it."""
    return gr.Dropdown(
        [],
        value="",
        allow_custom_value=True,
        label=fact.label,
        info=fact.help,
        interactive=True,
        min_width=220,
        elem_classes=[f"field-{fact.name}"],
        render=False,
    )


def _objective(state: State) -> str:
    return str(state.config.get("objective", {}).get("name", ""))


class ConfigForm:
    """The whole of RunConfig except model and data set, which have widgets of their own.

    `about` introduces a method; `layers` builds what stands between the method and the rest; `old` chooses old data.
    """

    def __init__(self, about: Callable[[type[Method]], str], layers: Callable[[], None], old: Component) -> None:
        defaults = RunConfig.parse({}).to_dict()
        self.objective = Choice(
            "Objective: what is minimised", objectives(), defaults["objective"]["name"], "train-objective"
        )
        rewarded = objectives()[defaults["objective"]["name"]].rewarded
        with gr.Accordion("Rewards: what scores an answer", visible=rewarded) as scoring:
            self.rewards = Choices(rewards(), "train-rewards")
        self.objective.name.change(
            lambda name: gr.Accordion(visible=objectives()[name].rewarded), self.objective.name, scoring, **QUIET
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
        self.parts: list[tuple[str, Choice | Choices | Group]] = [
            ("method", self.method),
            ("training", self.training),
            ("objective", self.objective),
            ("dataset", self.dataset),
            ("old", self.old),
            ("penalty", self.penalty),
            ("vocabulary", self.vocabulary),
            ("trackers", self.trackers),
            ("rewards", self.rewards),
            ("", self.general),
        ]

    def components(self) -> list[Component]:
        return [component for _, part in self.parts for component in part.components()]

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
        if not objectives()[values["objective"]["name"]].rewarded:
            values["rewards"] = {}  # ticked for another objective, and hidden now
        return RunConfig.parse(values)

    def values(self, config: RunConfig) -> list[Any]:
        """What `components` show for this config."""
        return [value for name, part in self.parts for value in part.values(getattr(config, name) if name else config)]
