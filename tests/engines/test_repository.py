"""Model repositories on disk: versions, policies, and that a bad model stops no other."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import ModelLoadError
from engines.model_config import VersionPolicy
from engines.repository import ModelEntry, choose_versions, model_file, scan, scan_all
from tests.engines.config_text import BASE, ensemble, step


@pytest.fixture
def root(tmp_path: Path) -> Path:
    home = tmp_path / "models"
    home.mkdir()
    return home


def add(root: Path, name: str, text: str = BASE, versions: tuple[str, ...] = ("1",)) -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "config.pbtxt").write_text(text)
    for version in versions:
        (folder / version).mkdir()
    return folder


def only(root: Path) -> ModelEntry:
    (entry,) = scan(root)
    assert len(entry.error.splitlines()) <= 1
    assert bool(entry.error) == (entry.versions == ())
    return entry


def test_models_come_by_name_and_a_bad_one_stops_no_other(root: Path) -> None:
    add(root, "b")
    add(root, "a", BASE + "max_batch_size: 3")
    add(root, "c").joinpath("config.pbtxt").write_bytes(b"\xff")
    (root / "d").mkdir()
    (root / ".git").mkdir()
    (root / "README.md").write_text("x")
    entries = scan(root)
    assert [entry.name for entry in entries] == ["a", "b", "c", "d"]
    assert [entry.versions for entry in entries] == [(), (1,), (), ()]
    assert f"{root}/a/config.pbtxt:5: " in entries[0].error
    assert entries[1] == ModelEntry("b", root / "b", entries[1].config, (1,))
    assert "is not UTF-8 at byte 0" in entries[2].error
    assert f"{root}/d/config.pbtxt: 'config.pbtxt' is not in 'd'" in entries[3].error


def test_an_empty_repository_has_no_models(root: Path) -> None:
    assert scan(root) == []


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        ("", (12,)),
        ("latest { num_versions: 2 }", (3, 12)),
        ("latest { num_versions: 9 }", (1, 3, 12)),
        ("all { }", (1, 3, 12)),
        ("specific { versions: [ 12, 7, 1 ] }", (1, 12)),
    ],
)
def test_version_policy(root: Path, policy: str, served: tuple[int, ...]) -> None:
    folder = add(root, "m", f"{BASE}version_policy {{ {policy} }}", ("1", "3", "12", "0", "04", "-5", "x", "²", "1.0"))
    (folder / "99").write_text("a file is no version")
    assert only(root).versions == served


def test_no_version_says_what_to_do(root: Path) -> None:
    add(root, "m", versions=())
    entry = only(root)
    assert "there is no version folder; put the model file into m/1" in entry.error
    assert "batchyard build m" in entry.error
    assert entry.config is not None


def test_a_policy_that_serves_nothing(root: Path) -> None:
    add(root, "m", BASE + "version_policy { specific { versions: [ 2 ] } }", ("1", "3"))
    assert "version_policy serves [2], found [1, 3]" in only(root).error


def test_an_ensemble_needs_a_version_folder_that_may_be_empty(root: Path) -> None:
    folder = add(root, "m", ensemble(step("a", "x", "y")), ())
    assert "there is no version folder" in only(root).error
    (folder / "1").mkdir()
    assert only(root).versions == (1,)


@pytest.mark.parametrize("name", ["absent", "file", "loop"])
def test_a_repository_that_is_none(root: Path, name: str) -> None:
    (root / "file").write_text("x")
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(ModelLoadError, match=f"model repository '{root / name}': .*; give a folder"):
        scan(root / name)


def test_links_that_leave_the_repository_are_refused(root: Path, tmp_path: Path) -> None:
    outside = add(tmp_path, "outside")
    (root / "a").symlink_to(outside)
    add(root, "b", versions=()).joinpath("1").symlink_to(outside)
    add(root, "c").joinpath("config.pbtxt").unlink()
    (root / "c" / "config.pbtxt").symlink_to(outside / "config.pbtxt")
    add(root, "d")
    first, second, third, good = scan(root)
    assert first.error == f"{root}/a: a link that leads out of the repository; copy the folder there"
    assert second.error == f"{root}/b/1: a link that leads out of the repository; copy the folder there"
    assert "'config.pbtxt' is a link that leads out of 'c'" in third.error
    assert good.error == ""


def test_links_inside_the_repository_are_followed(root: Path) -> None:
    folder = add(root, "a")
    (folder / "2").symlink_to(folder / "1")
    (root / "b").symlink_to(folder)
    assert [(entry.name, entry.versions, entry.error) for entry in scan(root)] == [("a", (2,), ""), ("b", (2,), "")]


def test_a_link_to_nothing_is_told(root: Path) -> None:
    (root / "gone").symlink_to(root / "nowhere")
    (root / "ring").symlink_to(root / "ring")
    assert [entry.name for entry in scan(root)] == ["gone", "ring"]
    assert all("cannot be opened: " in entry.error for entry in scan(root))


@pytest.mark.parametrize(("name", "shown"), [("a\nb", "a\\nb"), ("a\u2028b", "a\\u2028b"), ("a\udcffb", "a\\udcffb")])
def test_a_name_that_does_not_print(root: Path, name: str, shown: str) -> None:
    add(root, name)
    assert only(root).name == shown
    assert "rename it" in only(root).error


def test_a_name_in_two_repositories_is_an_error_for_both(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "more"
    other.mkdir()
    add(root, "m")
    add(other, "m")
    add(other, "n")
    first, second, good = scan_all([root, other])
    assert first.error == second.error
    assert f"{root}/m and {other}/m: model name 'm' is there 2 times" in first.error
    assert (first.versions, second.versions) == ((), ())
    assert (good.name, good.versions, good.error) == ("n", (1,), "")


def test_model_file(root: Path, tmp_path: Path) -> None:
    folder = add(root, "m")
    config = only(root).config
    assert config is not None
    with pytest.raises(
        ModelLoadError, match=r"model 'm' version 1: 'model.onnx' is not in '1'.*build NAME.*default_model_filename"
    ):
        model_file(config, folder / "1", "model.onnx")
    (folder / "1" / "model.onnx").write_bytes(b"")
    assert model_file(config, folder / "1", "model.onnx") == folder / "1" / "model.onnx"
    (tmp_path / "secret").write_bytes(b"")
    (folder / "1" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelLoadError, match="'link' is a link that leads out of '1'"):
        model_file(config, folder / "1", "link")


@pytest.mark.parametrize("name", ["../config.pbtxt", "/etc/hosts", "."])
def test_model_file_stays_in_its_folder(root: Path, name: str) -> None:
    folder = add(root, "m")
    config = only(root).config
    assert config is not None
    with pytest.raises(ModelLoadError, match=f"model 'm' version 1: '{name}' is no path inside its folder"):
        model_file(config, folder / "1", name)


def test_default_model_filename_goes_before_the_default(root: Path) -> None:
    folder = add(root, "m", f'{BASE}default_model_filename: "parts/a.onnx"')
    (folder / "1" / "parts").mkdir()
    (folder / "1" / "parts" / "a.onnx").write_bytes(b"")
    config = only(root).config
    assert config is not None
    assert model_file(config, folder / "1", "model.onnx") == folder / "1" / "parts" / "a.onnx"


@given(st.lists(st.integers(1, 50), unique=True).map(sorted), st.integers(1, 60), st.lists(st.integers(1, 50)))
def test_policies_serve_what_is_there(found: list[int], latest: int, specific: list[int]) -> None:
    assert choose_versions(VersionPolicy("all"), found) == tuple(found)
    newest = choose_versions(VersionPolicy("latest", latest), found)
    assert newest == tuple(found)[max(0, len(found) - latest) :]
    assert set(choose_versions(VersionPolicy("specific", specific=tuple(specific)), found)) == {*found} & {*specific}
