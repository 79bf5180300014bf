from __future__ import annotations

from pathlib import Path

import pytest
from upath import UPath

from olmoearth_nb.errors import StorageError, UsageError
from olmoearth_nb.remote.places import Place, place_of, reaching


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("s3://bucket/run/", "s3://bucket/run"),
        (Path("s3://bucket/run"), "s3://bucket/run"),  # as command lines make it
        (UPath("s3://bucket/run"), "s3://bucket/run"),
        (Path("memory://a/b"), "memory://a/b"),
        ("abfs://container/a b", "abfs://container/a b"),
    ],
)
def test_urls_are_places(given: str | Path, url: str) -> None:
    place = place_of(given)
    assert isinstance(place, Place)
    assert place.url == url


@pytest.mark.parametrize("given", ["folder", "/a/b", Path("c/d"), "~/x", "s3:/bucket", UPath("/a/b"), "C:\\data"])
def test_paths_stay_what_they_are(given: str | Path) -> None:
    assert place_of(given) is given


def test_file_urls_are_paths() -> None:
    assert place_of("file:///a/b") == Path("/a/b")


def test_options_of_a_upath_are_kept_and_not_shown() -> None:
    place = place_of(UPath("s3://bucket/run", key="k", secret="hidden"))
    assert isinstance(place, Place)
    assert place.options == {"key": "k", "secret": "hidden"}
    assert "hidden" not in repr(place)


def test_the_same_url_on_another_server_is_another_place(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = Place("s3://a/b"), Place("s3://a/b", {"endpoint_url": "http://127.0.0.1:1"})
    assert one.key == Place("s3://a/b", {"key": "k"}).key != two.key
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:2")
    assert one.key not in (Place("s3://a/c").key, two.key)


def test_a_url_without_a_folder_is_refused() -> None:
    with pytest.raises(UsageError, match="names no folder"):
        place_of("s3://")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FileNotFoundError("no bucket"), "It is not there: FileNotFoundError: no bucket. Check the name of the bucket"),
        (PermissionError("denied"), "do not permit this: PermissionError: denied"),
        (RuntimeError("whatever"), "can't be reached: RuntimeError: whatever. Check network and credentials."),
    ],
)
def test_errors_of_all_libraries_are_told_alike(error: Exception, text: str) -> None:
    with pytest.raises(StorageError, match=text):
        with reaching(Place("s3://bucket/run")):
            raise error
