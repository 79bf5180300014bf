from __future__ import annotations

import pytest
from matplotlib.axes import Axes

from olmoearth_nb.errors import MissingStepError
from olmoearth_nb.maps.training import plot_training


def curves(ax: Axes) -> dict[str, list[float]]:
    return {str(line.get_label()): list(line.get_ydata()) for line in ax.lines}


def test_losses_and_metrics_are_apart_and_the_best_epoch_is_marked() -> None:
    history = [
        {"epoch": 1, "lr": 0.1, "seconds": 2.0, "val_accuracy": 0.3, "val_loss": 3.0, "train_loss": 2.0},
        {"epoch": 2, "lr": 0.1, "seconds": 2.0, "val_accuracy": 0.5, "val_loss": 2.5, "train_loss": 1.0},
        {"epoch": 3, "lr": 0.1, "seconds": 2.0, "val_accuracy": 0.4, "val_loss": 2.6, "train_loss": 0.5},
    ]
    loss, metrics = plot_training(history, monitor="val_loss", best_score=2.5).axes
    assert list(curves(loss)) == ["train_loss", "val_loss", "best val_loss"]
    assert curves(loss)["val_loss"] == [3.0, 2.5, 2.6]
    assert list(loss.lines[0].get_xdata()) == [1, 2, 3]
    assert list(loss.lines[-1].get_xdata()) == [2, 2]
    assert list(curves(metrics)) == ["val_accuracy", "best val_loss"]


def test_parts_of_a_loss_are_losses_and_its_only_part_is_not_shown_twice() -> None:
    one = [{"epoch": 1, "train_loss": 2.0, "train_cls": 2.0, "val_loss": 1.0, "val_cls": 1.0}]
    (ax,) = plot_training(one).axes
    assert list(curves(ax)) == ["train_loss", "val_loss"]
    two = [{"epoch": 1, "train_loss": 3.0, "train_a": 2.0, "train_b": 1.0, "val_a": 0.5, "val_iou": 0.7}]
    loss, metrics = plot_training(two).axes
    assert list(curves(loss)) == ["train_loss", "train_a", "train_b", "val_a"]
    assert list(curves(metrics)) == ["val_iou"]


def test_no_epoch_no_curve() -> None:
    with pytest.raises(MissingStepError, match=r"no epoch to show yet.*fine_tune"):
        plot_training([])
