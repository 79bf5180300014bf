"""Watches the parts of a network at work: what each gives, and what some of them give in full."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from olmoearth_nb.errors import UsageError
from olmoearth_nb.traces.data import TraceModule

__all__ = ["ModuleWatch", "check_features", "tensors_of"]

_DEEPEST = 4


def check_features(network: torch.nn.Module, features: Sequence[str]) -> None:
    """Refuses names that no module has.

    Args:
        network: The network.
        features: Names of modules.

    Raises:
        UsageError: If there is no such module.
    """
    if isinstance(features, str):
        raise UsageError("Features are several names.", expected=f"features=[{features!r}]", found=repr(features))
    names = [name for name, _ in network.named_modules() if name]
    for feature in features:
        if feature not in names:
            near = difflib.get_close_matches(str(feature), names, n=3, cutoff=0.3) or names[:3]
            raise UsageError(
                "The model has no such module.",
                where="features",
                expected=f"one of {len(names)} names, {', '.join(map(repr, near))} say",
                found=repr(feature),
                fix="trace.modules() lists them.",
            )


class ModuleWatch:
    """Notes what the modules of a network give.

    Args:
        network: The network.
        features: Names of the modules whose tensors are kept.

    Attributes:
        features: As given.
        kept: Name of the module, with ``[i]`` if it gives several tensors -> one tensor a batch.
        layouts: For each batch which tokens an OlmoEarth encoder has, see :mod:`olmoearth_nb.model.trace.tokens`.
    """

    def __init__(self, network: torch.nn.Module, features: Sequence[str]) -> None:
        self._network = network
        self.features = tuple(features)
        self._wanted = set(features)
        self._shapes: dict[str, list[tuple[int, ...]]] = {}
        self._batch: dict[str, list[torch.Tensor]] = {}
        self.kept: defaultdict[str, list[torch.Tensor]] = defaultdict(list)
        self.layouts: list[Mapping[str, torch.Tensor] | None] = []
        self._layout: Mapping[str, torch.Tensor] | None = None

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Notes one pass of a batch."""
        self._batch, self._layout, self._shapes = {}, None, {}
        hooks = [
            module.register_forward_hook(functools.partial(self._note, name))
            for name, module in self._network.named_modules()
            if name
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        for name, tensors in self._batch.items():
            for index, tensor in enumerate(tensors):
                self.kept[name if len(tensors) == 1 else f"{name}[{index}]"].append(tensor)
        self.layouts.append(self._layout)

    def _note(self, name: str, module: torch.nn.Module, _: Any, output: Any) -> None:
        tensors = tensors_of(output)
        self._shapes.setdefault(name, []).extend(tuple(tensor.shape) for tensor in tensors)
        if name in self._wanted:
            # The next module may work in place.
            self._batch.setdefault(name, []).extend(tensor.detach().clone() for tensor in tensors)
        if self._wanted and isinstance(output, Mapping) and "tokens_and_masks" in output:
            self._layout = _layout(module, output["tokens_and_masks"])

    def modules(self) -> tuple[TraceModule, ...]:
        """All modules, with what they gave in the last batch."""
        found = []
        for name, module in self._network.named_modules():
            if not name:
                continue
            shapes = self._shapes.get(name, [])
            found.append(
                TraceModule(
                    name=name,
                    type=type(module).__name__,
                    parameters=sum(one.numel() for one in module.parameters()),
                    shape=shapes[0][1:] if shapes else None,
                    outputs=len(shapes),
                )
            )
        return tuple(found)


def _layout(encoder: Any, tokens: Any) -> dict[str, torch.Tensor] | None:
    """Tokens and masks of OlmoEarth by modality, in the order in which its blocks get them."""
    supported = getattr(encoder, "supported_modality_names", None)
    if supported is None or not hasattr(tokens, "_asdict"):
        return None
    given = {name: value for name, value in tokens._asdict().items() if isinstance(value, torch.Tensor)}
    # The order is that of a set, another one in each process, so that it has to be asked for in the same way.
    choose = getattr(sys.modules[type(encoder).__module__], "get_modalities_to_process", None)
    if choose is None:
        return None
    names = choose([name for name in given if not name.endswith("_mask")], supported)
    return {key: given[key].detach() for name in names for key in (name, f"{name}_mask") if key in given}


def tensors_of(value: Any, depth: int = 0) -> list[torch.Tensor]:
    """The tensors in what a module gives, in order.

    Args:
        value: A tensor, or anything that holds some.
        depth: How deep it lies.
    """
    if isinstance(value, torch.Tensor):
        return [value] if value.ndim else []
    if depth == _DEEPEST:
        return []
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts: Any = [getattr(value, field.name) for field in dataclasses.fields(value)]
    elif isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, list | tuple):
        parts = value
    else:
        return []
    return [tensor for part in parts for tensor in tensors_of(part, depth + 1)]
