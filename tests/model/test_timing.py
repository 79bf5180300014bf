from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from olmoearth_nb.model import timing


class _Net(torch.nn.Module):
    """A product of 64 × 32 × 16 numbers, and attention of 2 heads over 5 queries and 7 keys of 8 numbers."""

    def forward(self, inputs: list[dict[str, Any]]) -> torch.Tensor:
        torch.randn(64, 32) @ torch.randn(32, 16)
        query, key = torch.randn(1, 2, 5, 8), torch.randn(1, 2, 7, 8)
        return torch.nn.functional.scaled_dot_product_attention(query, key, key)


def test_operations_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    net, calls = _Net(), []

    def run(_: Any, samples: list[Any]) -> None:
        calls.append(len(samples))
        with torch.inference_mode():
            net(samples)

    monkeypatch.setattr(timing, "forward", run)
    sample: Any = ({}, {}, SimpleNamespace(num_crops_in_window=3))
    loaded: Any = SimpleNamespace(module=net, device=torch.device("cpu"))
    cost = timing._cost(loaded, sample, batch_size=4)
    product, attention = 2 * 64 * 32 * 16, 2 * 2 * 5 * 7 * (8 + 8)
    assert cost.gflop == pytest.approx(3 * (product + attention) / 1e9)
    assert calls == [1, 1, 4]
    assert cost.crops == 3
    assert cost.weights == 0
    assert cost.seconds > 0
