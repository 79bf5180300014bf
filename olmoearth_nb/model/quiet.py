"""Silence around code of others that logs, warns or draws bars, put back as it was afterwards."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

__all__ = ["no_stderr", "quiet"]

_LOUD = ("lightning", "pytorch_lightning", "rslearn", "olmoearth_pretrain_minimal", "torch")
# It reports at this level that a confusion matrix has no logger to go to.
_LEVELS = {"rslearn.train.lightning_module": logging.ERROR}
# A warning belongs to the module that it points at, which is the caller's: ours and the parser's too.
_POINTED_AT = (*_LOUD, "torchmetrics", "jsonargparse", "lightning_utilities", "olmoearth_nb")
_WARNING_MODULES = rf"({'|'.join(_POINTED_AT)})(\.|$)"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Lets Lightning and rslearn log warnings and worse only, and hides the warnings that they raise themselves."""
    changed: list[tuple[logging.Logger, int]] = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=_WARNING_MODULES)
        try:
            for name, logger in list(logging.root.manager.loggerDict.items()):
                if isinstance(logger, logging.Logger) and name.split(".")[0] in _LOUD:
                    level = _LEVELS.get(name, logging.WARNING)
                    # One without a level of its own has its parent's. To set one takes time, so only if need be.
                    if logger.level < level and (logger.level != logging.NOTSET or name in (*_LOUD, *_LEVELS)):
                        changed.append((logger, logger.level))
                        logger.setLevel(level)
            yield
        finally:
            for logger, level in changed:
                logger.setLevel(level)


@contextlib.contextmanager
def no_stderr() -> Iterator[None]:
    """Drops what is written to the standard error stream: rslearn draws bars there while it lists windows."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield
