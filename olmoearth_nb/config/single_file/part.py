"""What the parts of the schema have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict

from olmoearth_nb.config.yamlfile import join

__all__ = ["Part"]


class Part(BaseModel):
    """A part of the file: frozen, keys that nobody knows are kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    def unknown_keys(self, path: str = "") -> Iterator[tuple[str, type[Part]]]:
        """Paths of the keys that the schema does not know, each with the part that it stands in.

        Args:
            path: Path of this part.
        """
        for key in self.model_extra or {}:
            yield join(path, key), type(self)
        for name in type(self).model_fields:
            yield from _unknown(getattr(self, name), join(path, name))


def _unknown(value: object, path: str) -> Iterator[tuple[str, type[Part]]]:
    match value:
        case Part():
            yield from value.unknown_keys(path)
        case Mapping():
            for key, item in value.items():
                yield from _unknown(item, join(path, key))
        case list():
            for index, item in enumerate(value):
                yield from _unknown(item, join(path, index))
