"""Models, adapters and checkpoints by others: nothing in them is run, whatever they are called and say."""

from __future__ import annotations

import json
import pickle
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from jinja2 import TemplateError

from studio import adapter, checkpoints
from studio.config import RunConfig
from studio.data import bounded
from studio.errors import ModelError, StudioError
from studio.events import Continued
from studio.jobs import create_run
from studio.models.base import load, load_tokenizer, placement
from studio.models.catalog import Located, check_name, locate, on_hub
from studio.models.tiny import tiny_model, tiny_tokenizer
from studio.training import state
from studio.workspace import Workspace

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # of peft
MESSAGES = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]


class Armed:
    """Leaves a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return Path.touch, (self.canary,)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """Is there once something was run."""
    return tmp_path / "run"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def model(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "model"))


def loaded(folder: Path) -> Any:
    """As a run loads it, from its name on."""
    located = locate(str(folder), folder.parent / "models", lambda *_: None)
    return load(located, placement("float32"))


def change(file: Path, **values: Any) -> None:
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps(known | values), encoding="utf-8")


# -- pickles -------------------------------------------------------------------------------------------------


def pickles(canary: Path, folder: Path) -> list[bytes]:
    """The same in each way in which weights are pickled."""
    torch.save({"a": Armed(canary)}, folder / "zip")
    torch.save({"a": Armed(canary)}, folder / "old", _use_new_zipfile_serialization=False)
    saved = [(folder / name).read_bytes() for name in ("zip", "old")]
    return [*saved, *(pickle.dumps(Armed(canary), protocol) for protocol in range(6))]


def test_the_canary_sings(canary: Path, tmp_path: Path) -> None:
    """Each would do harm, if it were unpickled."""
    for data in pickles(canary, tmp_path)[2:]:
        pickle.loads(data)
        canary.unlink()


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model.pt", "consolidated.pth", "m.ckpt"])
def test_pickled_weights_are_not_loaded(name: str, model: Path, canary: Path, tmp_path: Path) -> None:
    (model / "model.safetensors").unlink()
    for data in pickles(canary, tmp_path):
        (model / name).write_bytes(data)
        with pytest.raises(ModelError):
            loaded(model)
    assert not canary.exists()


def test_what_is_pickled_under_another_name_is_called_so(model: Path, canary: Path, tmp_path: Path) -> None:
    for data in pickles(canary, tmp_path)[:2]:
        (model / "model.safetensors").write_bytes(data)
        with pytest.raises(ModelError, match="pickled, whatever its name says"):
            check_name(str(model))


def test_a_pickle_beside_sound_weights_is_not_looked_at(model: Path, canary: Path) -> None:
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "tokenizer.pkl", "vocab.pt"):
        (model / name).write_bytes(pickle.dumps(Armed(canary)))
    loaded(model)
    assert not canary.exists()


@pytest.mark.parametrize("shard", ["evil.bin", "../evil.bin", "/etc/passwd", "../other.safetensors", 7, None])
def test_a_list_of_weights_names_no_pickle_and_leads_nowhere(shard: Any, model: Path, canary: Path) -> None:
    (model / "model.safetensors").rename(model / "part.safetensors")
    (model / "evil.bin").write_bytes(pickle.dumps(Armed(canary)))
    (model.parent / "evil.bin").write_bytes(pickle.dumps(Armed(canary)))
    index = {"metadata": {}, "weight_map": {"model.norm.weight": shard, "a": "part.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(ModelError, match="names weights that are no"):
        loaded(model)
    assert not canary.exists()


def test_an_adapter_is_not_unpickled(tmp_path: Path, canary: Path) -> None:
    from studio.methods.lora import Lora

    attached = Lora(r=2).attach(tiny_model())
    folder = tmp_path / "adapter"
    adapter.save(attached, folder)
    for data in pickles(canary, tmp_path):
        (folder / "adapter_model.safetensors").write_bytes(data)
        with pytest.raises(ModelError):
            adapter.attach_saved(tiny_model(), folder)
        (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
        with pytest.raises(ModelError, match="pickled"):
            adapter.attach_saved(tiny_model(), folder)
        (folder / "adapter_model.bin").unlink()
    assert not canary.exists()


def test_a_checkpoint_goes_on_without_what_was_put_into_it(
    workspace: Workspace, tiny_config: Any, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names under which transformers keeps pickles mean nothing here."""
    from studio.job import Job

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    config: RunConfig = tiny_config(training={"max_steps": 2, "save_steps": 1, "answer_rows": 0})
    folder = create_run(workspace, config)
    Job(folder, workspace).run()
    newest, _ = checkpoints.newest(folder.checkpoints)
    assert newest is not None
    evil = pickle.dumps(Armed(canary))
    for name in ("rng_state.pth", "optimizer.pt", "scheduler.pt", "training_args.bin", "scaler.pt", "weights.bin"):
        (newest.path / name).write_bytes(evil)
    assert newest.damage() == ""
    state.read(newest.path)
    Job(folder, workspace).run()
    assert any(isinstance(event, Continued) for event in folder.events.read_from()[0])
    assert not canary.exists()


@pytest.mark.parametrize("name", ["state.safetensors", "weights.safetensors", "state.json", "trainer_state.json"])
def test_a_checkpoint_that_was_changed_is_not_read(name: str, tmp_path: Path, canary: Path) -> None:
    made = checkpoints.write(tmp_path / "kept", 1, lambda folder: (folder / name).touch())
    (made.path / name).write_bytes(pickle.dumps(Armed(canary)))
    assert "not as it was written" in made.damage()
    assert checkpoints.newest(tmp_path / "kept")[0] is None


# -- code ----------------------------------------------------------------------------------------------------

EVIL = "import pathlib; pathlib.Path({!r}).touch()\nclass Evil: pass\n"


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"auto_map": {"AutoModelForCausalLM": "evil.Evil", "AutoConfig": "evil.Evil"}}),
        ("config.json", {"auto_map": {"AutoConfig": "evil.Evil"}, "model_type": "evil", "architectures": ["Evil"]}),
        ("config.json", {"auto_map": {"AutoModel": "someone/evil--evil.Evil"}, "architectures": ["Evil"]}),
        ("config.json", {"architectures": ["os.system"], "model_type": "../evil"}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": [None, "e.E"]}, "tokenizer_class": "Evil"}),
        ("tokenizer_config.json", {"tokenizer_class": "evil.Evil"}),
        ("generation_config.json", {"custom_generate": "someone/evil", "trust_remote_code": True}),
    ],
)
def test_code_that_a_model_brings_is_not_run(file: str, values: dict[str, Any], model: Path, canary: Path) -> None:
    for name in ("evil.py", "modeling_evil.py", "custom_generate/generate.py", "__init__.py"):
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_text(EVIL.format(str(canary)), encoding="utf-8")
    change(model / file, **values)
    with suppress(ModelError):
        found = loaded(model)
        assert type(found.model).__module__.startswith("transformers.")
        assert type(found.tokenizer).__module__.startswith("transformers.")
    assert not canary.exists()


@pytest.mark.parametrize(
    "values",
    [
        {"attn_implementation": "someone/evil-attention"},
        {"_attn_implementation": "kernels-community/x"},
        {"_attn_implementation_internal": {"": "someone/evil:fn"}},
        {"text_config": {"attn_implementation": "someone/evil"}},
        {"experts_implementation": "someone/evil"},
    ],
)
def test_no_part_of_a_model_is_fetched_as_code(values: dict[str, Any], model: Path) -> None:
    change(model / "config.json", **values)
    with pytest.raises(ModelError, match="asks for code from"):
        check_name(str(model))


def test_a_config_nested_without_end_is_refused(model: Path) -> None:
    (model / "config.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000, encoding="utf-8")
    with pytest.raises(ModelError, match=r"config\.json .* cannot be read"):
        check_name(str(model))


@pytest.mark.parametrize(
    "name",
    [
        *("--trust-remote-code/x", "-m/x", "--help", "a/b --x", "$(touch hit)", "`touch hit`", "a;touch hit", "a|b/c"),
        *("file:///etc/passwd", "http://127.0.0.1/x", "//evil.example/x", "a/b@main", "a/b\n--x", "a/..", "a" * 300),
        *("CON", "NUL/x\0", "a/b?x=1", "a/b#c", "%2e%2e/x", "\u202ea/b"),
    ],
)
def test_a_models_name_is_a_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        check_name(name)
    assert on_hub("owner/name")
    assert not list(Path.cwd().glob("hit*"))


# -- chat templates ------------------------------------------------------------------------------------------

DOUBLING = "{%% set ns = namespace(x=%s) %%}{%% for i in range(60) %%}{%% set ns.x = %s %%}{%% endfor %%}{{ ns.x }}"
ENDLESS = {
    "loops": "{% for a in range(9999) %}" * 3 + "{% endfor %}" * 3,
    "loops that write": "{% for a in range(9999) %}" * 2 + "x" * 90_000 + "{% endfor %}" * 2,
    "calls": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(80) }}",
    "loops in themselves": "{% for m in [[[]]] recursive %}{{ loop([[[]], [[]]]) }}{% endfor %}",
    "a range": "{{ range(10**9)|list }}",
    "a power": "{{ 10 ** 10 ** 10 }}",
    "products": "{% set ns = namespace(x=9999) %}{% for i in range(60) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "a long text": "{{ 'x' * 10000000000 }}",
    "a long list": "{{ [0] * 10000000000 }}",
    "texts joined": DOUBLING % ("'x'", "ns.x ~ ns.x"),
    "texts added": DOUBLING % ("'x'", "ns.x + ns.x"),
    "blocks": DOUBLING.replace("{%% set ns.x = %s %%}", "{%% set t %%}{{ ns.x }}{{ ns.x }}{%% endset %%}%.0s"
                               "{%% set ns.x = t %%}") % ("'x'", ""),
    "lists in lists": DOUBLING % ("[1]", "[ns.x, ns.x]"),
    "objects in objects": DOUBLING % ("[1]", "{'a': ns.x, 'b': ns.x}"),
    "pairs in pairs": DOUBLING % ("[1]", "(ns.x, ns.x)"),
    "a wide text": "{{ 'x'.center(10000000000) }}",
    "a wide format": "{{ '{:>9999999999}'.format(1) }}",
    "a wide format by name": "{{ (['{:>9999999999}']|map(attribute='format')|first)(1) }}",
    "a format of its own width": "{{ '{:{w}}'.format(1, w='9' * 9) }}",
    "a wide percent": "{{ '%9999999999d' % 1 }}{{ '%9999999999d'|format(1) }}",
    "a starred percent": "{{ '%*d' % (9999, 1) }}",
    "replaced": "{% set a = 'x' * 9999 %}{% set c = a.replace('x', a) %}{{ c.replace('x', a) }}",
    "replaced by a filter": "{% set a = 'x' * 9999 %}{% set c = a|replace('x', a) %}{{ c|replace('x', a) }}",
    "joined": "{% set a = 'x' * 9999 %}{{ a.join(a) }}{{ (a * 99).join(a * 9) }}",
    "joined by a filter": "{% set a = 'x' * 9999 %}{{ a|join(a) }}",
    "tabs": "{{ '\t'.expandtabs(9999) }}",
    "wrapped": "{{ 'a b'|wordwrap(1, wrapstring='x' * 9999) }}",
    "indented": "{{ messages|tojson(indent=9999) }}",
    "bytes": "{% set x = 5 %}{{ x.to_bytes(9999, 'big') }}",
    "slices": "{% set x = 'x' * 9999 * 999 %}" + "{% set y = x[1:] %}" * 99,
    "brackets": "{{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}",
    "conditions": "{% if 1 %}" * 5_000 + "{% endif %}" * 5_000,
    "length": "x" * (bounded.LONGEST + 1),
}  # fmt: skip


@pytest.fixture
def tokenizer(sound: Path) -> Any:
    return load_tokenizer(sound, "It")


@pytest.mark.parametrize("name", ENDLESS)
def test_a_chat_template_comes_to_an_end(name: str, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "SECONDS", 3.0)
    tokenizer.chat_template = ENDLESS[name]
    with pytest.raises(ModelError, match="chat template"):
        tokenizer.apply_chat_template(MESSAGES, tokenize=False)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ ''|attr('__class__') }}", "{{ ''['__class__'] }}",
        "{{ raise_exception.__globals__['os'].system('x') }}", "{{ cycler.__init__.__globals__.os.popen('x') }}",
        "{{ self._TemplateReference__context.__class__.__name__ }}", "{{ namespace.__init__.__globals__.keys() }}",
        "{{ messages.append(1) }}", "{{ messages.__class__ }}", "{% include '/etc/passwd' %}", "{% import 'os' as o %}",
        "{{ '{0.__class__}'.format(messages) }}", "{{ messages|map(attribute='__class__')|list }}",
        "{{ strftime_now.__globals__.datetime }}", "{{ loop.__class__ }}", "{{ dict.__class__.__call__.__globals__ }}",
        "{% set ns = namespace(__class__=1) %}", "{{ range.__self__ }}", "{{ (1).__class__ }}",
    ],
)  # fmt: skip
def test_a_chat_template_reaches_nothing(template: str, tokenizer: Any) -> None:
    tokenizer.chat_template = template
    with suppress(ModelError, TemplateError, TypeError):
        said = tokenizer.apply_chat_template(MESSAGES, tokenize=False)
        assert not said.replace("Undefined", "").strip("[], "), said


def test_what_others_write_in_a_message_is_no_template(tokenizer: Any) -> None:
    text = "{{ 7 * 7 }}{% for x in range(9) %}x{% endfor %}{{ ''.__class__ }}"
    assert text in tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False)


def test_sound_templates_say_what_they_said(tokenizer: Any) -> None:
    """Also with all that templates of well-known models use."""
    from transformers.utils import chat_template_utils as theirs

    for template in (
        tokenizer.chat_template,
        "{{ '%s says %d' % ('a', 3) }}{{ '{} {}'.format('a', 'b') }}{{ '%s'|format('a') }}",
        "{{ messages[1:]|length }}{{ messages|map(attribute='role')|join(', ') }}{{ messages|tojson(indent=4) }}",
        "{%- for m in messages %}{{ loop.index0 }}{{ loop.last }}{{ loop.length }}{{ m['content']|trim }}"
        "{{ m.content.split('i')[-1].strip() }}{% if m.role in ['user'] %}{% continue %}{% endif %}{% endfor %}",
        "{% generation %}{{ messages[0].content }}{% endgeneration %}{{ strftime_now('%Y') }}",
        "{% macro f(x, y=2) %}{{ x }}{{ y }}{% endmacro %}{{ f(1) }}{% for a in [] %}{% else %}none{% endfor %}",
        "{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}{{ {'b': 1, 'a': 2}|dictsort }}",
        "{{ messages|selectattr('role', 'equalto', 'user')|list|length }}{{ none is none }}{{ x is defined }}",
        "{{ 7 % 2 }}{{ 2 ** 3 }}{{ 1.5 * 2 }}{{ 'a' * 3 }}{{ 'a' ~ 1 }}{{ 'abc'[::-1] }}{{ ('x', 'y')|first }}",
    ):
        plain = theirs._cached_compile_jinja_template(template).render(messages=MESSAGES)
        assert theirs.render_jinja_template([MESSAGES], chat_template=template)[0][0] == plain


def test_long_conversations_have_room(tokenizer: Any) -> None:
    """A step more for each step that there is: a bound must not be met by a thousand turns."""
    talk = [{"role": "user", "content": f"message {i}"} for i in range(1_000)]
    tokenizer.chat_template = "{% for a in messages %}{% for b in messages %}{% endfor %}{{ a.content }}{% endfor %}"
    assert "message 999" in tokenizer.apply_chat_template(talk, tokenize=False)


def test_a_tiny_model_is_still_one(sound: Path, tmp_path: Path) -> None:
    """The refusals above refuse what is wrong in each, not the folder."""
    check_name(str(sound))
    found = load(Located(sound, "It", "folder"), placement("float32"))
    assert found.parameters == tiny_model().num_parameters()
    with pytest.raises(StudioError):
        check_name(str(tmp_path / "absent"))
