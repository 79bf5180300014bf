"""Places on file systems of fsspec (s3, gs, az, memory), and what to say when they can't be reached."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import fsspec
from upath import UPath

from olmoearth_nb.border import describe
from olmoearth_nb.errors import MissingDependencyError, OlmoEarthError, StorageError, UsageError

__all__ = ["Place", "place_of", "reaching"]

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"}
_LOCAL = ("", "file", "local")
_URL = re.compile(r"([a-z][a-z0-9+.-]+)://(.*)", re.DOTALL)
# What pathlib makes of a URL.
_SQUEEZED = re.compile(rf"({'|'.join(_EXTRAS)}|memory):/([^/].*)", re.DOTALL)


@dataclass(frozen=True)
class Place:
    """A folder, or a file, on a file system of fsspec.

    Attributes:
        url: Its URL, without a slash at the end.
        options: Options of the file system; those that are not given come from fsspec's own configuration
            (``FSSPEC_S3_ENDPOINT_URL``, ``~/.config/fsspec``), and credentials from where the store's library looks.
    """

    url: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)  # keys may be among them

    @property
    def protocol(self) -> str:
        """What stands before ``://``."""
        return self.url.partition("://")[0]

    @property
    def path(self) -> str:
        """What stands behind ``://``: the bucket and the key."""
        return self.url.partition("://")[2]

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> Place:
        """The folder that it lies in."""
        return Place(self.url.rpartition("/")[0], self.options)

    @property
    def key(self) -> str:
        """Tells places apart, also those of the same URL on other servers; fit for a folder's name."""
        configured = fsspec.config.conf.get(self.protocol, {})
        servers = [
            *(source.get("endpoint_url") for source in (self.options, configured)),
            *(dict(source.get("client_kwargs") or {}).get("endpoint_url") for source in (self.options, configured)),
            *(os.environ.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")),
            *(source.get("account_name") for source in (self.options, configured)),
        ]
        return hashlib.sha256(json.dumps([self.url, *servers], default=str).encode()).hexdigest()[:16]

    def open(self) -> Any:
        """The file system; the same object for the same options.

        Raises:
            MissingDependencyError: If the package for it is not installed.
            UsageError: If there is no such file system, or an option does not fit.
        """
        try:
            return fsspec.filesystem(self.protocol, **self.options)
        except ImportError as error:
            extra = _EXTRAS.get(self.protocol)
            raise MissingDependencyError(
                f"{self.protocol}:// needs a package that is not installed: {error}.",
                where=self.url,
                fix=f"pip install 'olmoearth-nb[{extra}]'." if extra else None,
            ) from error
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"There is no such file system: {error}.",
                where=self.url,
                expected="a local path, s3://…, gs://…, az://… or another protocol of fsspec",
            ) from error


def place_of(given: str | PathLike[str]) -> Place | Path:
    """Where something lies that somebody named.

    Args:
        given: A path, a URL, a ``UPath``, or a path that was made of a URL.

    Returns:
        A path if it is on this machine, as it was given, else the place.

    Raises:
        UsageError: If a URL names no folder.

    Example:
        >>> place_of("s3://bucket/run/").url
        's3://bucket/run'
    """
    options: Mapping[str, Any] = {}
    if isinstance(given, UPath) and given.protocol not in _LOCAL:
        options = dict(given.storage_options)
        given = str(given)
    found = _URL.fullmatch(str(given)) or (_SQUEEZED.fullmatch(str(given)) if isinstance(given, Path) else None)
    if found is None or isinstance(given, bytes):
        return given  # type: ignore[return-value]  # whatever it is: who wants a path says what is wrong with it
    protocol, path = found.groups()
    if protocol in _LOCAL:
        return Path(path)
    if not path.strip("/"):
        raise UsageError("The URL names no folder.", where=str(given), expected=f"{protocol}://bucket/folder")
    return Place(f"{protocol}://{path.strip('/')}", options)


@contextlib.contextmanager
def reaching(place: Place, *, fix: str | None = None) -> Iterator[None]:
    """Says in one sentence why a place can't be reached, whatever library the error comes from.

    Args:
        place: The place.
        fix: What to do if the network is away.

    Raises:
        StorageError: If the block fails.
    """
    try:
        yield
    except OlmoEarthError:
        raise
    except FileNotFoundError as error:
        raise StorageError(
            f"It is not there: {describe(error)}",
            where=place.url,
            fix="Check the name of the bucket, and the endpoint (FSSPEC_S3_ENDPOINT_URL); buckets are not made here.",
        ) from error
    except PermissionError as error:
        raise StorageError(
            f"The credentials do not permit this: {describe(error)}",
            where=place.url,
            fix="Runs read, write, list and delete there; a project is only read and listed.",
        ) from error
    except Exception as error:  # each store's library, and each below it, has exceptions of its own
        raise StorageError(
            f"It can't be reached: {describe(error)}", where=place.url, fix=fix or "Check network and credentials."
        ) from error
