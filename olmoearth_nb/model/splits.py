"""Which windows of a dataset belong to a split, and what to say if none does."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable

from rslearn.dataset import Dataset, Window
from rslearn.train.data_module import RslearnDataModule
from rslearn.train.dataset import SplitConfig

from olmoearth_nb.errors import TrainingError
from olmoearth_nb.model.samples import check_layers, missing_input

__all__ = ["check_split", "no_windows", "split_windows"]


def split_windows(data: RslearnDataModule, dataset: Dataset, split: str) -> list[Window]:
    """Windows of a split by the configuration's groups, names, tags and number, in rslearn's order.

    Args:
        data: Data module.
        dataset: The dataset.
        split: ``train``, ``val``, ``test`` or ``predict``.
    """
    config = data.split_configs[split]
    # None and an empty list mean all to rslearn.
    listed = dataset.load_windows(groups=config.groups or None, names=config.names or None)
    windows = [window for window in listed if _has_tags(window, config)]
    windows.sort(key=lambda window: hashlib.sha256(window.name.encode()).hexdigest())
    return windows[: config.num_samples] if config.num_samples else windows


def _has_tags(window: Window, config: SplitConfig) -> bool:
    return all(
        key in window.options and (not value or window.options[key] == value)
        for key, value in (config.tags or {}).items()
    )


def check_split(data: RslearnDataModule, dataset: Dataset, split: str) -> None:
    """Refuses a split without a usable window, before a training starts.

    Args:
        data: Data module.
        dataset: The dataset.
        split: The split.

    Raises:
        ConfigError: If an input's layer is not in the dataset.
        TrainingError: If there is none; says what was looked for and what the dataset holds.
    """
    check_layers(data.inputs, dataset)
    reasons: Counter[str] = Counter()
    for window in split_windows(data, dataset, split):
        reason = missing_input(data.inputs, window)
        if reason is None:
            return
        reasons[reason] += 1
    raise no_windows(data, dataset, split, reasons)


def no_windows(data: RslearnDataModule, dataset: Dataset, split: str, reasons: Counter[str]) -> TrainingError:
    """The error for a split without a usable window.

    Args:
        data: Data module.
        dataset: The dataset.
        split: The split.
        reasons: Why windows of the split can't be used, with their number.
    """
    config = data.split_configs[split]
    wanted = [f"{name} {value}" for name, value in (("groups", config.groups), ("names", config.names)) if value]
    wanted += [f"{key}: {value}" for key, value in (config.tags or {}).items()]
    if reasons:
        found = "; ".join(f"{count} of which {reason}" for reason, count in reasons.most_common(3))
        found = f"{reasons.total()} windows: {found}"
    else:
        found = _holdings(dataset.load_windows(), config.tags or {})
    return TrainingError(
        f"The split {split!r} has no window to use.",
        where=f"{dataset.path}, model.yaml: data.init_args.{split}_config",
        expected=f"windows with {', '.join(wanted)}" if wanted else "windows",
        found=found,
    )


def _holdings(windows: Iterable[Window], tags: Iterable[str]) -> str:
    counts = Counter(
        ", ".join([f"group {window.group}", *(f"{tag}: {window.options.get(tag, 'not set')}" for tag in tags)])
        for window in windows
    )
    listed = "; ".join(f"{count} with {what}" for what, count in counts.most_common(8))
    return listed or "no windows at all"
