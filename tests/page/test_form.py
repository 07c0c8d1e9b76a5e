"""Settings as widgets."""

from __future__ import annotations

import gradio as gr
import pytest

from studio.methods import methods
from tabs._form import Group


@pytest.mark.parametrize("name", sorted(methods()))
def test_which_layers_is_asked_after_a_methods_own_usual_settings(name: str) -> None:
    cls = methods()[name]
    with gr.Blocks():
        group = Group(cls)
    advanced = {fact.name for fact in group.facts if fact.advanced}
    usual = [field for field in group.widgets if field not in advanced]
    assert cls.picks not in usual[:-1]
