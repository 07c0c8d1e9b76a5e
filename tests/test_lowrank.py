"""A matrix at any rank: drawn is its best approximation, counted the whole, and the code shown is the code."""

from __future__ import annotations

import numpy as np
import pytest

from studio.lowrank import CODE, NOTES, SIDE, Picture, explained, of_factors, of_runs, pictured, plain, read, shipped
from studio.store import Store
from studio.workspace import Workspace
from tests.exercised import train

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # of peft


def approximated(picture: Picture, rank: int) -> np.ndarray:
    """As the browser puts it together."""
    left, right = np.array(picture.left)[:, :rank], np.array(picture.right)[:rank]
    return (left * picture.values[:rank]) @ right


def test_numbers_are_those_of_the_whole_matrix() -> None:
    dice = np.random.default_rng(0)
    matrix = dice.normal(size=(90, 60))
    picture = pictured("Noise", "", matrix)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    for rank in (1, 7, 48):
        best = (left[:, :rank] * values[:rank]) @ right[:rank]
        assert picture.error(rank) == pytest.approx(np.linalg.norm(matrix - best) / np.linalg.norm(matrix), rel=1e-3)
    assert picture.parameters(7) == (7 * 150, 5400)
    assert np.array(picture.patch).shape == (SIDE, SIDE)
    assert read(plain(picture)) == picture


def test_what_is_drawn_is_a_part_of_the_best_approximation() -> None:
    dice = np.random.default_rng(1)
    up, down = dice.normal(size=(40, 3)), dice.normal(size=(3, 30))
    whole, parts = pictured("Small", "", up @ down), of_factors("Small", "", up, down)
    for picture in (whole, parts):
        assert len(picture.values) == 3  # rounding errors are no directions
        assert picture.error(3) == 0.0
        np.testing.assert_allclose(picture.patch, up @ down, rtol=1e-3, atol=1e-3)  # so small that all of it is drawn
        np.testing.assert_allclose(approximated(picture, 3), up @ down, rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(whole.values, parts.values, rtol=1e-3)


def test_the_shipped_update_has_few_directions_and_its_weight_many() -> None:
    update, weight = shipped()
    assert update.shape == weight.shape == (576, 576)
    assert update.error(16) < 0.35
    assert weight.error(16) > 0.7
    for picture in (update, weight):
        errors = [picture.error(rank) for rank in range(SIDE + 1)]
        assert errors == sorted(errors, reverse=True)
        np.testing.assert_allclose(np.linalg.norm(picture.values), picture.norm, rtol=1e-3)


@pytest.mark.parametrize("method", ["lora", "lora_scratch"])
def test_a_runs_update_is_b_times_a_with_its_scale(workspace: Workspace, method: str) -> None:
    from safetensors.numpy import load_file, save_file

    run = train(workspace, "reviews", method={"name": method, "r": 4, "lora_alpha": 8})
    file = run.adapter / "adapter_model.safetensors"
    dice, weights = np.random.default_rng(2), load_file(file)
    changed = {name: dice.normal(size=each.shape).astype(np.float32) for name, each in weights.items()}
    save_file(changed, file)
    (picture,) = of_runs(Store(workspace))
    products = {}
    for name, down in changed.items():
        if "lora_A" in name:
            products[name] = 2.0 * changed[name.replace("lora_A", "lora_B")] @ down
    most = max(np.linalg.norm(each) for each in products.values())
    assert picture.norm == pytest.approx(float(most), rel=1e-3)
    assert len(picture.values) == 4
    assert picture.error(4) == 0.0


def test_runs_without_two_factors_are_left_out(workspace: Workspace) -> None:
    assert of_runs(Store(workspace)) == []
    train(workspace, "reviews", method={"name": "lora", "use_dora": True})
    run = train(workspace, "reviews")
    (run.adapter / "adapter_model.safetensors").write_bytes(b"damaged")
    assert of_runs(Store(workspace)) == []


def test_the_code_is_the_files_own_and_each_word_on_peft_stands_beside_one_line() -> None:
    told = explained()
    assert "\n".join(line for line, _ in told) == CODE.read_text(encoding="utf-8").split("\n\n\n", 1)[1].rstrip()
    assert sorted(note for _, note in told if note) == sorted(NOTES.values())
