from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.errors import SettingError
from training.fit.history import Epoch, History

FIRST = Epoch(1, 0.01, 0.7, 0.5, 0.4, 100.0, 0.0, 1.0)
HISTORY = History((FIRST, replace(FIRST, epoch=2, train_accuracy=0.8, eval_accuracy=0.75)))


def test_the_two_accuracy_series_have_a_value_for_each_epoch() -> None:
    assert HISTORY.train_accuracies == (0.5, 0.8)
    assert HISTORY.eval_accuracies == (0.4, 0.75)
    assert History((replace(FIRST, eval_accuracy=None),)).eval_accuracies == (None,)


def test_the_plot_shows_both_series_over_whole_epochs(tmp_path: Path) -> None:
    figure = HISTORY.plot()
    (axes,) = figure.axes
    drawn = [(line.get_label(), np.stack(line.get_data()).tolist()) for line in axes.get_lines()]
    assert drawn == [
        ("training, mean over the epoch", [[1, 2], [0.5, 0.8]]),
        ("validation, after the epoch", [[1, 2], [0.4, 0.75]]),
    ]
    assert all(tick == int(tick) for tick in axes.get_xticks())
    figure.savefig(tmp_path / "history.png")
    with Image.open(tmp_path / "history.png") as picture:
        assert picture.size == (1050, 600)


def test_without_an_evaluation_the_plot_has_one_line() -> None:
    (axes,) = History((replace(FIRST, eval_accuracy=None),)).plot().axes
    assert len(axes.get_lines()) == 1


def test_a_history_without_epochs_says_why_it_has_no_plot() -> None:
    with pytest.raises(SettingError, match=r"no epochs to plot.*Classifier\.fit"):
        History(()).plot()
