from __future__ import annotations

import json
import os
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from olmoearth_nb import archive
from olmoearth_nb.archive import MANIFEST_NAME, FileRecord, Manifest, unpack, unpacked, verified
from olmoearth_nb.errors import BundleError

CONTENT = {"p/a.txt": b"one", "p/deep/b.bin": bytes(range(256)) * 20, "note.md": b""}


def manifest_of(content: dict[str, bytes], *, name: str = "p", version: str = "1.0.0") -> Manifest:
    files = {path: FileRecord.of(data) for path, data in sorted(content.items())}
    return Manifest(name=name, version=version, files=files)


def made(path: Path, content: dict[str, bytes] = CONTENT) -> Path:
    manifest_of(content).write(path, content)
    return path


def forged(path: Path, members: dict[str, bytes], *, content: dict[str, bytes] = CONTENT, **changes: int) -> Path:
    """An archive with other members than its manifest says."""
    with zipfile.ZipFile(path, "w") as file:
        for name, data in {MANIFEST_NAME: manifest_of(content).text, **members}.items():
            info = zipfile.ZipInfo(name)
            for key, value in changes.items():
                setattr(info, key, value)
            file.writestr(info, data)
    return path


@settings(max_examples=20, deadline=None)
@given(
    content=st.dictionaries(
        st.from_regex(r"[a-z]{3,8}(/[a-z0-9]{3,8}){0,2}\.x", fullmatch=True), st.binary(), max_size=6
    ),
    moments=st.lists(st.integers(0, 2**31), min_size=6, max_size=6),
    seed=st.randoms(),
)
def test_the_same_content_is_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, bytes], moments: list[int], seed: object
) -> None:
    folder = tmp_path_factory.mktemp("same")
    made(folder / "first.zip", content)
    names = list(content)
    seed.shuffle(names)  # type: ignore[attr-defined]
    sources: dict[str, archive.Source] = {}
    for name, moment in zip(names, moments, strict=False):
        file = folder / str(len(sources))
        file.write_bytes(content[name])
        os.utime(file, (moment, moment))
        file.chmod(0o600 if moment % 2 else 0o755)
        sources[name] = file
    manifest = Manifest(name="p", version="1.0.0", files={name: FileRecord.of(sources[name]) for name in names})
    manifest.write(folder / "second.zip", sources)
    assert (folder / "first.zip").read_bytes() == (folder / "second.zip").read_bytes()
    assert verified(folder / "second.zip").files == {name: FileRecord.of(content[name]) for name in content}


def test_what_was_packed_is_unpacked(tmp_path: Path) -> None:
    path = made(tmp_path / "a.zip")
    unpack(path, tmp_path / "out")
    assert {name: (tmp_path / "out" / name).read_bytes() for name in CONTENT} == CONTENT
    with zipfile.ZipFile(path) as file:
        assert file.namelist() == [MANIFEST_NAME, *sorted(CONTENT)]
        assert {(one.date_time, one.compress_type) for one in file.infolist()} == {((1980, 1, 1, 0, 0, 0), 0)}


@pytest.mark.parametrize("name", [MANIFEST_NAME, "p/a.txt", "p/deep/b.bin"])
def test_one_flipped_byte_is_found(tmp_path: Path, name: str) -> None:
    path = made(tmp_path / "a.zip")
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        start = file.getinfo(name).header_offset + 30 + len(name)
    data[start + 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match="damaged or incomplete"):
        verified(path)
    with pytest.raises(BundleError):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out" / name).exists()


def test_another_content_of_the_same_length_is_found(tmp_path: Path) -> None:
    path = forged(tmp_path / "a.zip", {**CONTENT, "p/a.txt": b"two"})
    with pytest.raises(BundleError, match=r"p/a\.txt: A file of the bundle is not what the manifest says"):
        verified(path)
    with pytest.raises(BundleError):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out" / "p" / "a.txt").exists()
    assert list((tmp_path / "out").rglob(".*")) == []


@pytest.mark.parametrize("length", [0, 10, 200, -1])
def test_truncated_archives(tmp_path: Path, length: int) -> None:
    path = made(tmp_path / "a.zip")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(BundleError, match="damaged or incomplete"):
        verified(path)


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/evil",
        "p/../../evil",
        "p\\evil",
        "C:evil",
        "p//evil",
        "./evil",
        "p/evil/",
        "NUL.txt",
        "p/evil.",
        "P/A.TXT",
        "p/a.txt/evil",
        "p",
        "evil\n",
        "x" * 300,
    ],
)
def test_names_that_leave_the_folder_or_hide_another_file(tmp_path: Path, name: str) -> None:
    content = {**CONTENT, name: b"evil"}
    path = forged(tmp_path / "a.zip", content, content=content)
    with pytest.raises(BundleError, match="must not be unpacked"):
        unpack(path, tmp_path / "out" / "inner")
    assert not (tmp_path / "out").exists()
    with pytest.raises(BundleError, match="can't be unpacked on every computer"):
        made(tmp_path / "b.zip", content)
    assert not (tmp_path / "b.zip").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_occurs_twice(tmp_path: Path) -> None:
    path = made(tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("p/a.txt", b"two")
    with pytest.raises(BundleError, match="must not be unpacked"):
        verified(path)


def test_missing_and_additional_files(tmp_path: Path) -> None:
    fewer = {name: data for name, data in CONTENT.items() if name != "note.md"}
    with pytest.raises(BundleError, match=r"lacks a file\. Found no note\.md"):
        verified(forged(tmp_path / "a.zip", fewer))
    with pytest.raises(BundleError, match=r"does not list\. Found p/more"):
        verified(forged(tmp_path / "b.zip", {**CONTENT, "p/more": b""}))
    with pytest.raises(BundleError, match=r"another size .* Expected 3 bytes; found 4"):
        verified(forged(tmp_path / "c.zip", {**CONTENT, "p/a.txt": b"four"}))


def test_links_and_compressed_files_are_refused(tmp_path: Path) -> None:
    link = forged(tmp_path / "a.zip", CONTENT, external_attr=(stat.S_IFLNK | 0o777) << 16)
    with pytest.raises(BundleError, match=r"not made by this package\. Found a link"):
        verified(link)
    bomb = {"p/zeros": bytes(10_000_000)}
    packed = forged(tmp_path / "b.zip", bomb, content=bomb, compress_type=zipfile.ZIP_DEFLATED)
    assert packed.stat().st_size < 20_000
    with pytest.raises(BundleError, match="Found compressed"):
        unpack(packed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_zip_files_and_newer_formats(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("data.txt", b"x")
    with pytest.raises(BundleError, match="It is no bundle"):
        verified(tmp_path / "a.zip")
    for text, match in (
        (json.dumps({"format": 2}), "newer format"),
        ("[]", "can't be read"),
        (manifest_of({}).text.decode() + " ", "was changed"),
        (manifest_of({}, name="../p").text.decode(), "was changed"),
    ):
        with zipfile.ZipFile(tmp_path / "b.zip", "w") as file:
            file.writestr(MANIFEST_NAME, text)
        with pytest.raises(BundleError, match=match):
            verified(tmp_path / "b.zip")
    with pytest.raises(BundleError, match="The bundle is missing"):
        verified(tmp_path / "none.zip")


def test_a_file_that_changes_meanwhile(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="has changed while it was read"):
        source = tmp_path / "file"
        source.write_bytes(b"one")
        manifest = manifest_of({"p/a": b"one"})
        source.write_bytes(b"two")
        manifest.write(tmp_path / "a.zip", {"p/a": source})
    assert not (tmp_path / "a.zip").exists()


def test_the_cache_is_filled_once_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLMOEARTH_NB_CACHE", str(tmp_path / "cache"))
    folder, manifest = unpacked(made(tmp_path / "a.zip"))
    assert folder.parent == tmp_path / "cache" / "bundles"
    inode = (folder / "p" / "a.txt").stat().st_ino
    assert unpacked(made(tmp_path / "elsewhere.zip"))[0] == folder
    (folder / "p" / "deep" / "b.bin").unlink()  # as if a process had been killed before it came there
    (folder / "note.md").write_bytes(b"edited")
    assert unpacked(tmp_path / "a.zip") == (folder, manifest)
    assert {name: (folder / name).read_bytes() for name in CONTENT} == CONTENT
    assert (folder / "p" / "a.txt").stat().st_ino == inode
    other = {**CONTENT, "note.md": b"other"}
    assert unpacked(made(tmp_path / "b.zip", other))[0] != folder


def test_half_an_extraction_leaves_no_file_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLMOEARTH_NB_CACHE", str(tmp_path / "cache"))
    path = made(tmp_path / "a.zip")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(archive, "_copy", killed)
        with pytest.raises(KeyboardInterrupt):
            unpacked(path)
    assert [one for one in (tmp_path / "cache").rglob("*") if one.is_file()] == []
    folder, _ = unpacked(path)
    assert {name: (folder / name).read_bytes() for name in CONTENT} == CONTENT


@pytest.mark.slow
def test_a_file_of_more_than_four_gigabytes(tmp_path: Path) -> None:
    source = tmp_path / "checkpoint.ckpt"
    with source.open("wb") as file:
        file.truncate(2**32 + 5)
        file.seek(2**32 + 1)
        file.write(b"end")
    record = FileRecord.of(source)
    assert record.size == 2**32 + 5
    manifest = Manifest(name="p", version="1.0.0", files={"p/checkpoint.ckpt": record})
    path = tmp_path / "a.zip"
    manifest.write(path, {"p/checkpoint.ckpt": source})
    source.unlink()
    unpack(path, tmp_path / "out")  # compares every digest
    with (tmp_path / "out" / "p" / "checkpoint.ckpt").open("rb") as file:
        file.seek(2**32)
        assert file.read() == b"\0end\0"
