"""PEFT adapters that others trained: what their configs may say here, and the same in the words of our settings."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import studio.methods
from studio.catalog import Chosen
from studio.data.labels import Head
from studio.errors import ConfigError, ModelError
from studio.methods import Method, methods
from studio.methods._layers import ALL_LINEAR, names_for
from studio.proof import Shapes

OWN = "STUDIO"  # the kind of adapters that methods of ours save (`studio.models.own`)
KINDS = {  # peft's name of what we have as a method → its key
    "LORA": "lora",
    "ADALORA": "adalora",
    "IA3": "ia3",
    "LOHA": "loha",
    "LOKR": "lokr",
    "VERA": "vera",
    "OFT": "oft",
    "C3A": "c3a",
    "FOURIERFT": "fourierft",
    "GRALORA": "gralora",
    "HIRA": "hira",
    "MISS": "miss",
    "ROAD": "road",
    "SHIRA": "shira",
    "PREFIX_TUNING": "prefix",
    "PROMPT_TUNING": "prompt",
    "P_TUNING": "ptuning",
}
# Fields of peft's configs that only say how a frozen base is changed: none fetches, opens or imports anything.
_PLAIN = frozenset(
    """
    task_type peft_type r target_modules exclude_modules lora_alpha lora_dropout fan_in_fan_out bias use_rslora
    modules_to_save layers_to_transform layers_pattern rank_pattern alpha_pattern trainable_token_indices use_dora
    lora_bias ensure_weight_tying init_lora_weights target_r init_r tinit tfinal deltaT beta1 beta2 orth_reg_weight
    total_step feedforward_modules init_ia3_weights alpha rank_dropout module_dropout use_effective_conv2d init_weights
    decompose_both decompose_factor rank_dropout_scale projection_prng_key save_projection vera_dropout d_initial
    oft_block_size coft eps block_share use_cayley_neumann num_cayley_neumann_terms block_size block_size_pattern
    n_frequency scaling random_loc_seed n_frequency_pattern hybrid_r gralora_dropout gralora_k hira_dropout
    miss_dropout mini_r variant group_size mask_type random_seed num_virtual_tokens token_dim
    num_transformer_submodules num_attention_heads num_layers encoder_hidden_size prefix_projection
    encoder_reparameterization_type encoder_num_layers encoder_dropout
    """.split()  # noqa: SIM905
)
# Fields that count only while an adapter is made; what they named is finished by now, or is told by the person.
_PAST = frozenset(
    """
    auto_mapping peft_version base_model_name_or_path revision inference_mode megatron_core qalora_group_size
    runtime_config eva_config prompt_tuning_init prompt_tuning_init_text tokenizer_name_or_path tokenizer_kwargs
    """.split()  # noqa: SIM905
)
_RANDOM_STARTS = (True, False, "gaussian", "orthogonal", "eva")  # the base stays as it is beneath them
_RANKED = ("LORA", "LOHA", "VERA", "GRALORA", "HIRA", "MISS")  # whose rank is a side of some weight
_PROMPTS = ("PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING")
_CLASSIFIES = "SEQ_CLS"  # the task of those that name labels
_MOST = 1_000_000  # of any whole number that says how large something is
_SEEDS = ("projection_prng_key", "random_loc_seed", "random_seed", "total_step", "tinit", "tfinal", "deltaT")
_MOST_INSIDE = {"encoder_hidden_size": 65_536, "encoder_num_layers": 10, "init_r": 4096, "target_r": 4096}
_LONGEST_PATTERN = 4_000  # characters
_PATTERN_SECONDS = 10.0  # in which all patterns must have been tried on all names of layers


@dataclass(frozen=True)
class Adapter:
    """What an adapter says of itself, checked."""

    config: dict[str, Any]  # as adapter_config.json shall hold it
    kind: str  # peft's name, or OWN
    base: str  # what it was trained on, as it calls that; '' where it does not say
    writes: bool  # whether it was made for a model that writes text
    classifies: bool = False  # its head lies among its weights
    notes: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        key = KINDS.get(self.kind) or str(self.config["method"]["name"])
        return "DoRA" if self.config.get("use_dora") else methods()[key].title

    @property
    def rank(self) -> int | None:
        values = self.config["method"] if self.kind == OWN else self.config
        found = values.get("init_r" if self.kind == "ADALORA" else "r")
        return found if isinstance(found, int) else None


def read(about: dict[str, Any], weights: Shapes) -> Adapter:
    """What an adapter_config.json says, beside the shapes of its weights. Raises ModelError for what cannot be here."""
    try:
        return _read(about, weights)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:  # a list where a number belongs
        raise ModelError("The adapter's config is damaged.", remedy="Bring it as it was saved.") from error


def _read(about: dict[str, Any], weights: Shapes) -> Adapter:
    kind, named = about.get("peft_type"), about.get("base_model_name_or_path")
    base = named if isinstance(named, str) else ""
    if kind == OWN:
        return Adapter(_own(about, base), OWN, base, _writes(about))
    if not isinstance(kind, str) or kind not in KINDS:
        titles = ", ".join(methods()[key].title for key in KINDS.values())
        raise ModelError(f"The adapter is of a kind that is not known here ({kind!r:.60}).", remedy=f"Known: {titles}.")
    classifies = about.get("task_type") == _CLASSIFIES
    if classifies and kind in _PROMPTS:
        raise ModelError(
            "The adapter is a learnt prompt in front of a classifier, whose head is read otherwise here.",
            remedy="Train it here with 'Classification'.",
        )
    notes: list[str] = []
    config = _kept(about, kind, notes)
    _check_sizes(config, kind, weights)
    _check_patterns(config)
    kept = {**config, "base_model_name_or_path": base or None}
    return Adapter(kept, kind, base, _writes(about), classifies, notes)


def _writes(about: dict[str, Any]) -> bool:
    task = about.get("task_type")
    if task in ("CAUSAL_LM", None):
        return True
    if task in ("FEATURE_EXTRACTION", _CLASSIFIES):
        return False
    raise ModelError(
        f"The adapter was made for another task ({task!r:.40}), and its head cannot be used here.",
        remedy="Bring adapters that write (CAUSAL_LM) or classify (SEQ_CLS), or those that a studio saved.",
    )


def _own(about: dict[str, Any], base: str) -> dict[str, Any]:
    """That of a method of ours. Raises ModelError."""
    if not isinstance(about.get("method"), dict):
        raise ModelError("The adapter does not say by which method it learnt.", remedy="Export it again.")
    try:
        Chosen(studio.methods, Method).parse(about["method"])
    except ConfigError as error:
        raise ModelError(f"The adapter cannot be used here: {error.problem}", remedy="Update the studio.") from None
    return {"peft_type": OWN, "method": about["method"], "base_model_name_or_path": base}


def _kept(about: dict[str, Any], kind: str, notes: list[str]) -> dict[str, Any]:
    """The fields that say what the adapter is. Raises ModelError where another one would change it."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    known = {each.name: _default(each) for each in dataclasses.fields(PEFT_TYPE_TO_CONFIG_MAPPING[kind])}  # pyright: ignore[reportArgumentType]
    kept = {name: value for name, value in about.items() if name in known and name in _PLAIN}
    others = {name: value for name, value in about.items() if name not in kept and name not in _PAST}
    for name, value in others.items():
        if name in known and value and value != known[name]:
            raise ModelError(
                f"The adapter uses '{name[:60]}', which is not supported here.",
                remedy="Merge it into its base where it was trained, and bring the whole model.",
            )
    if strange := sorted(name[:40] for name, value in others.items() if name not in known and value):
        notes.append(f"Not known to the PEFT that is installed, and left out: {', '.join(strange[:10])}.")
    if "init_lora_weights" in kept:
        start = kept["init_lora_weights"]
        if not any(start is each or start == each for each in _RANDOM_STARTS):
            raise ModelError(
                f"The adapter began as {str(start)[:40]!r}, which changes the base beneath it too.",
                remedy="Save it with path_initial_model_for_weight_conversion, which makes plain LoRA of it.",
            )
        kept["init_lora_weights"] = True  # what it began as is overwritten by what it learnt
    return kept


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else None


def _check_sizes(config: dict[str, Any], kind: str, weights: Shapes) -> None:
    """Refuse numbers for which memory would be taken that the weights do not fill."""
    sides = {side for shape in weights.values() for side in shape}
    ranks = [config.get("r", 0), *dict(config.get("rank_pattern") or {}).values()] if kind in _RANKED else []
    strange = [each for each in ranks if isinstance(each, int) and each not in sides]
    whole = {name: value for name, value in config.items() if type(value) is int and name not in _SEEDS}
    strange += [value for name, value in whole.items() if value > _MOST_INSIDE.get(name, _MOST)]
    tokens, wide = (config.get(name) or 0 for name in ("num_virtual_tokens", "token_dim"))
    filled = sum(shape[0] * shape[1] for shape in weights.values() if len(shape) == 2)
    if kind in _PROMPTS and not 0 < tokens * wide <= filled:
        strange.append(tokens)
    if strange:
        raise ModelError(
            f"The adapter's config and its weights do not belong together: it says {strange[0]}, and no weight is so "
            "large.",
            remedy="Bring both files as they were saved.",
        )


def _check_patterns(config: dict[str, Any]) -> None:
    for pattern in patterns(config):
        try:
            if len(pattern) > _LONGEST_PATTERN:
                raise ValueError
            re.compile(pattern)
        except (re.error, ValueError, RecursionError, OverflowError):
            raise ModelError(
                "The adapter's config names its layers by a pattern that is none.", remedy="Bring it as it was saved."
            ) from None


def patterns(config: dict[str, Any]) -> list[str]:
    """What the config holds that peft reads as regular expressions."""
    found = [config.get(name) for name in ("target_modules", "exclude_modules", "layers_pattern")]
    for name in ("rank_pattern", "alpha_pattern", "block_size_pattern", "n_frequency_pattern"):
        found += list(config.get(name) or {})
    return [each for each in found if isinstance(each, str) and each != ALL_LINEAR]


def try_patterns(config: dict[str, Any], names: Iterable[str]) -> None:
    """Refuse patterns that would take for ever on the names of a model's layers."""
    names = list(names)
    with _within(_PATTERN_SECONDS):
        for pattern in patterns(config):
            for each in (re.compile(pattern), re.compile(rf"(.*\.)?({pattern})$")):  # peft writes both
                for name in names:
                    each.match(name)


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Matching looks for signals, so that one ends it; where there are none, such as on Windows, nothing does."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(*_: Any) -> None:
        raise ModelError(
            "The adapter's config names its layers by a pattern that would take for ever.",
            remedy="Name the layers themselves in its target_modules.",
        )

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# -- in the words of our settings ------------------------------------------------------------------------


def method_of(adapter: Adapter, attached: Any, linear: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """The method as a config of ours holds it, and what it cannot say.

    `attached` is the adapter on its base, whose linear layers are called `linear`.
    """
    if adapter.kind == OWN:
        return adapter.config["method"], []
    key = "dora" if adapter.config.get("use_dora") else KINDS[adapter.kind]
    cls, notes = methods()[key], []
    values = {name: adapter.config[name] for name in cls.model_fields if adapter.config.get(name) is not None}
    values.pop("init_lora_weights", None)
    for name in ("target_modules", "rank_pattern"):
        values.pop(name, None)
    if "target_modules" in cls.model_fields:
        values |= _layers(attached, set(linear), notes)
    if "rank_pattern" in cls.model_fields:
        values |= _ranks(attached, adapter.rank, notes)
    chosen: dict[str, Any] = {"name": key}
    for name, value in values.items():
        try:
            cls.parse({name: value})
            chosen[name] = value
        except ConfigError:
            title = cls.model_fields[name].title or name
            notes.append(f"'{title}' is {str(value)[:60]}, which the form cannot say; the adapter is used as it is.")
    if kept := adapter.config.get("modules_to_save"):
        notes.append(f"It replaces whole layers of the base: {', '.join(map(str, kept))[:200]}.")
    if adapter.config.get("bias", "none") != "none":
        notes.append("It learnt biases of the base, too.")
    return chosen, notes


def _layers(attached: Any, linear: set[str], notes: list[str]) -> dict[str, str]:
    """The layers that it sits on, as our form names them."""
    found = set(getattr(attached, "targeted_module_names", []))
    if found == linear:
        return {"target_modules": ALL_LINEAR}
    if others := sorted(found - linear):
        notes.append(f"It sits on layers that methods here leave alone, such as {others[0]}.")
    names = names_for(found & linear, linear)
    return {"target_modules": names} if names else {}


def _ranks(attached: Any, rank: int | None, notes: list[str]) -> dict[str, str]:
    """Layers of another rank than most, and a word where the strength of some differs."""
    layers = {name: module for name, module in attached.base_model.model.named_modules() if hasattr(module, "lora_A")}
    ranks = {name: module.r.get("default", rank) for name, module in layers.items()}
    if len(set(Counter(round(module.scaling.get("default", 0), 6) for module in layers.values()))) > 1:
        notes.append("Some layers speak more strongly than others (alpha / rank differs).")
    groups: dict[int, set[str]] = {}
    for name, each in ranks.items():
        if each != rank:
            groups.setdefault(each, set()).add(name)
    parts = [
        f"{name}={each}" for each, some in sorted(groups.items()) for name in names_for(some, list(layers)).split(", ")
    ]
    return {"rank_pattern": ", ".join(parts)} if parts else {}


def objective_of(heads: list[Head]) -> dict[str, Any]:
    """The objective of an adapter with these heads beside it; without any, it writes text."""
    if not heads:
        return {"name": "next_token"}
    if len(heads) > 1:
        return {"name": "multitask"}
    if heads[0].name == "reward" and heads[0].kind == "number":
        return {"name": "reward_model"}
    return {"name": "classify", "label_column": heads[0].name[:500], "kind": heads[0].kind}
