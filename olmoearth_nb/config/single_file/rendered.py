"""Values as the text of a file."""

from __future__ import annotations

import json
from typing import Any

import yaml

__all__ = ["json_text", "yaml_text"]

_HEADER = "# Made by olmoearth-nb from olmoearth_config.yaml.\n"


class _Dumper(yaml.SafeDumper):
    """No anchors for values that occur twice."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def json_text(value: Any) -> str:
    """JSON, indented.

    Args:
        value: Anything that ``json`` takes.
    """
    return json.dumps(value, indent=2) + "\n"


def yaml_text(value: Any) -> str:
    """YAML, keys in their order, short lists on one line.

    Args:
        value: Anything that YAML can write.
    """
    return _HEADER + yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
