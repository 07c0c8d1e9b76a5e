"""A run leaves the studio through the page."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import expect

from studio.adapter import save
from studio.config import RunConfig
from studio.methods import methods
from studio.models.tiny import tiny_model
from studio.workspace import Workspace
from tests.ui.conftest import Open, Studio, go
from tests.ui.steps import choose

pytestmark = pytest.mark.browser


def learnt(workspace: Workspace, method: str) -> str:
    folder = workspace.new_run(method)
    RunConfig.parse({"model": "tiny", "method": method}).save(folder.config)
    save(methods()[method]().attach(tiny_model()), folder.adapter)
    return folder.id


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_a_run_is_exported_fetched_and_deleted(studio: Studio, open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    go(page, "Export")
    expect(page.locator("#export-fits")).to_contain_text("Train a model first")
    expect(page.locator("#export-list")).to_contain_text("Nothing was exported yet")
    expect(page.locator("#export-start")).to_be_disabled()

    workspace = Workspace(studio.workspace)
    run = learnt(workspace, "lora")
    learnt(workspace, "prompt")
    go(page, "Start")
    go(page, "Export")
    choose(page, "export-run", "LoRA")
    choose(page, "export-form", "Merged model")
    expect(page.locator("#export-fits")).to_contain_text("of disk at most")
    choose(page, "export-run", "Prompt")
    expect(page.locator("#export-fits")).to_contain_text("no update of the base's weights")
    expect(page.locator("#export-start")).to_be_disabled()

    choose(page, "export-run", "LoRA")
    choose(page, "export-form", "Adapter")
    expect(page.locator("#export-start")).to_be_enabled()
    page.locator("#export-start").click()
    told = page.locator("#export-told")
    expect(told).to_contain_text("all of them finite", timeout=90_000)
    with page.expect_download() as fetched:
        told.get_by_role("link").click()
    assert fetched.value.suggested_filename.endswith("-adapter.zip")
    with zipfile.ZipFile(fetched.value.path()) as archive:
        assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= set(archive.namelist())

    row = page.locator("#export-list tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("LoRA")
    page.reload()
    go(page, "Export")
    expect(row).to_have_count(1)
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("#export-delete").click()
    expect(page.locator("#export-list")).to_contain_text("Nothing was exported yet")
    assert workspace.run(run).adapter.is_dir()
