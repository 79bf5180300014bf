"""Fine-tune the model of a configuration with Lightning, resumable, and without leaving a trace in the process."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from rslearn.train.data_module import RslearnDataModule
from rslearn.train.lightning_module import RestoreConfig

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import ConfigError, ModelError, OlmoEarthError, TrainingError
from olmoearth_nb.model.batches import worker_context
from olmoearth_nb.model.checkpoints import load_weights, read_checkpoint
from olmoearth_nb.model.devices import leave_precision
from olmoearth_nb.model.history import HISTORY_NAME, LAST_NAME, TrainingResult, read_training, write_training
from olmoearth_nb.model.load import build_modules, read_model_config
from olmoearth_nb.model.quiet import no_stderr, quiet
from olmoearth_nb.model.splits import check_split
from olmoearth_nb.model.trainer import build_trainer
from olmoearth_nb.model.training_log import Log, TrainingLog, seed_all
from olmoearth_nb.progress import Progress
from olmoearth_nb.store.dataset import open_dataset

__all__ = ["TrainingResult", "fine_tune", "read_training"]

_DEFAULT_SEED = 0


def fine_tune(
    model_yaml: Path,
    *,
    variables: Mapping[str, str],
    dataset_path: Path,
    trainer_dir: Path,
    max_epochs: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    num_workers: int | None = None,
    seed: int | None = None,
    progress: Progress = None,
    resume: bool = True,
    random_weights: bool = False,
    log: Log | None = None,
) -> TrainingResult:
    """Trains the model of ``model.yaml`` with the trainer that it describes.

    Checkpoints and ``history.json`` go to ``trainer_dir``. A training that was ended, killed even, goes on from the
    last complete epoch there. With the same seed, the same files and the same number of workers the result is the same,
    resumed or not, as far as torch's operations and rslearn's random crops (which it does not seed) allow.

    Args:
        model_yaml: The configuration.
        variables: Template variable -> value.
        dataset_path: The rslearn dataset with the labelled windows.
        trainer_dir: Where checkpoints go; made if need be.
        max_epochs: Instead of ``trainer.max_epochs``.
        device: ``cuda``, ``mps``, ``cpu``; None for what the configuration says, or the best there is.
        precision: ``32``, ``bf16-mixed``, ``16-mixed``; None for what the configuration says.
        num_workers: Processes that read, instead of the configuration's number.
        seed: Seed of all random numbers; None for ``seed_everything`` of the configuration, or 0.
        progress: See :mod:`olmoearth_nb.progress`.
        resume: Go on from ``last.ckpt``; else start anew.
        random_weights: Start encoders from random weights in place of pretrained ones, which nothing is fetched for.
        log: Takes a line of text after every epoch.

    Raises:
        ConfigError: If the configuration can't be used.
        MissingDependencyError: If a package is missing that it needs.
        MissingStepError: If there is no dataset.
        ModelError: If the model can't be built, or the weights that it starts from are missing.
        TrainingError: If a split has no windows, ``last.ckpt`` is of another model, or training fails.
    """
    config = read_model_config(model_yaml, variables)
    last = trainer_dir / LAST_NAME
    trainer_dir.mkdir(parents=True, exist_ok=True)
    if not resume:
        for name in (LAST_NAME, HISTORY_NAME):
            (trainer_dir / name).unlink(missing_ok=True)
    seed = _seed(config, seed)
    begun = _begun(last)
    with quiet(), isolate_rng():
        if seed is not None:
            seed_all(seed)
        module, data = build_modules(
            config,
            {**variables, "DATASET_PATH": str(dataset_path)},
            where=str(model_yaml),
            random=random_weights or begun is not None,
            weights=begun,
        )
        _check_data(data, dataset_path)
        if begun is not None:
            with _resuming():
                load_weights(module, begun, where=str(last))
        else:
            _check_start(module, where=str(model_yaml))
        trainer = build_trainer(
            config,
            folder=trainer_dir,
            max_epochs=max_epochs,
            device=device,
            precision=precision,
            where=str(model_yaml),
        )
        leave_precision(module, config, trainer.strategy.root_device)
        training_log = TrainingLog(trainer_dir, seed=seed, progress=progress, log=log)
        vars(trainer)["callbacks"].insert(0, training_log)
        try:
            with _prepared(data, num_workers):
                _fit(trainer, module, data, last if last.exists() else None)
        finally:
            training_log.close()
    result = training_log.result(trainer, finished=True)
    write_training(trainer_dir, result)
    return result


def _seed(config: Mapping[str, Any], seed: int | None) -> int | None:
    if seed is not None:
        return seed
    match config.get("seed_everything", True):
        case False:
            return None
        case True | None:
            return _DEFAULT_SEED
        case int() as number:
            return number
        case other:
            raise ConfigError("The seed is no number.", where="model.yaml: seed_everything", found=repr(other))


def _check_data(data: LightningDataModule, dataset_path: Path) -> None:
    dataset = open_dataset(dataset_path)
    if isinstance(data, RslearnDataModule):
        for split in ("train", "val"):
            check_split(data, dataset, split)


def _begun(last: Path) -> dict[str, Any] | None:
    """Weights of the training that was begun, if one was."""
    if not last.exists():
        return None
    with _resuming():
        weights: dict[str, Any] = read_checkpoint(last)["state_dict"]
    return weights


@contextlib.contextmanager
def _resuming() -> Iterator[None]:
    try:
        yield
    except ModelError as error:
        raise TrainingError(
            f"The training that was begun can't be resumed: {error.what}",
            where=error.where,
            expected=error.expected,
            found=error.found,
            fix="Use the model.yaml that it was begun with, or start anew (resume=False).",
        ) from error


def _check_start(module: LightningModule, *, where: str) -> None:
    """Looks for the weights that a training starts from before windows are read, which takes long."""
    restore = getattr(module, "restore_config", None)
    if not isinstance(restore, RestoreConfig):
        return
    reason = None
    try:
        with foreign_code(ModelError, "it can't be looked for"):
            there = restore.restore_path.exists()
    except ModelError as error:
        there, reason = False, error.what
    if not there:
        raise ModelError(
            "The weights that the training starts from are missing.",
            where=f"{where}: model.init_args.restore_config.init_args.restore_path",
            found=f"no {restore.restore_path}" + (f" ({reason})" if reason else ""),
            fix="Put the file there, or give another path; random weights (--random-weights, random_weights=True) "
            "start without it.",
        )


@contextlib.contextmanager
def _prepared(data: LightningDataModule, num_workers: int | None) -> Iterator[None]:
    """A data module that lists windows quietly, reads in forked processes, and leaves no files behind."""
    if isinstance(data, RslearnDataModule):
        if num_workers is not None:
            data.num_workers = num_workers
        # Listing windows is quick, and processes for it would need a __main__ guard in scripts.
        data.init_workers = 0
    setup, loader = data.setup, getattr(data, "_get_dataloader", None)

    def quiet_setup(stage: str) -> None:
        with no_stderr():
            setup(stage)

    def forked_loader(split: str) -> Any:
        made: Any = loader(split) if loader is not None else None
        if made is not None and made.num_workers > 0:
            made.multiprocessing_context = worker_context()
        return made

    # On the object, not its class: it is ours alone.
    vars(data).update(setup=quiet_setup, _get_dataloader=forked_loader)
    try:
        yield
    finally:
        for dataset in getattr(data, "datasets", {}).values():
            _delete_listing(dataset)


def _delete_listing(dataset: Any) -> None:
    """Deletes the file of windows that rslearn's dataset keeps for its workers, however deep it is wrapped."""
    while dataset is not None:
        path = getattr(dataset, "dataset_examples_fname", None)
        if path is not None:
            Path(path).unlink(missing_ok=True)
        dataset = getattr(dataset, "dataset", None)


def _fit(trainer: Trainer, module: LightningModule, data: LightningDataModule, checkpoint: Path | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    try:
        with foreign_code(TrainingError, "Training failed"):
            trainer.fit(module, datamodule=data, ckpt_path=checkpoint)
    except TrainingError as error:
        cause = error.__cause__
        if isinstance(cause, SystemExit) and isinstance(cause.__context__, KeyboardInterrupt):
            # Lightning ends the process and leaves Ctrl+C without effect; a notebook has to survive it.
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from cause
        if cause is None or isinstance(cause, OlmoEarthError):
            raise
        raise TrainingError(
            error.what,
            where=f"epoch {trainer.current_epoch + 1}",
            fix="Use a smaller data.init_args.batch_size." if "out of memory" in str(cause) else None,
        ) from cause
