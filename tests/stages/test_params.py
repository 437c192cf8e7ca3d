"""params.yaml: whatever is not allowed is told with key, value and what is allowed."""

from pathlib import Path

import pytest

from stages import _params
from stages._errors import UserError

WRONG = {
    "n_estimators: 0": ("n_estimators: 100", "n_estimators: got 0"),
    "n_estimators: many": ("n_estimators: 100", "n_estimators: got 'many'"),
    "n_trees: 5\nn_estimators: 100": (
        "n_estimators: 100",
        "n_trees: unknown key (value 5); allowed: model, n_estimators",
    ),
    "model: forest": ("model: random_forest", "model: got 'forest'; input should be 'random_forest'"),
    "test_size: 0.9": ("test_size: 0.33", "split.test_size: got 0.9"),
    "time_column: null": ("time_column: time_hour", "split.time_column: got null"),
    "ignore: [arrival]": ("ignore: []", "data.ignore: names the target"),
}


def test_the_committed_file_is_allowed(root: Path) -> None:
    assert _params.load(root / "params.yaml").n_estimators == 100


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_value_is_told_with_its_key(root: Path, tmp_path: Path, wrong: str) -> None:
    right, expected = WRONG[wrong]
    text = (root / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text.replace(right, wrong), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        _params.load(tmp_path / "params.yaml")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
