"""Downloads one file: size known beforehand, time limited, hash checked; nothing is kept of what fails."""

from __future__ import annotations

import base64
import hashlib
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from faceup.errors import WeightsError
from faceup.files import shown

MAX_PAGE_BYTES = 16 * 2**20
MAX_SECONDS = 3600.0
_CHUNK = 2**18

# Bytes so far and bytes in all.
OnBytes = Callable[[int, int], None]


class UnreachableError(WeightsError):
    """A place does not answer; without a network every place does not."""


@dataclass(frozen=True, slots=True)
class Network:
    """How to reach the outside.

    Attributes:
        proxy: URL of a proxy; None leaves it to the environment (`https_proxy`).
        cert: file of certificate authorities; None leaves it to the system.
        client_cert: file with the user's own certificate and key.
        timeout: seconds that a server may be silent.
    """

    proxy: str | None = None
    cert: str | None = None
    client_cert: str | None = None
    timeout: float = 30.0

    def open(self, url: str, accept: str = "*/*") -> Any:
        """Open an https:, http: or file: URL; user and password in it are sent as basic authentication.

        Raises:
            UnreachableError: no answer, or the answer is an error.
            WeightsError: nothing is there, no URL or another kind of it, or the certificates cannot be read.
        """
        if _split(url).scheme not in ("https", "http", "file"):
            raise WeightsError(f"{url}: only https, http and file URLs are read.")
        bare, headers = _without_password(url)
        request = urllib.request.Request(bare, headers={"Accept": accept, "User-Agent": "faceup"})
        for name, value in headers.items():
            request.add_unredirected_header(name, value)  # another host must not get the password
        try:
            return self._opener().open(request, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            error.close()
            # "Not found" is an answer; of the others, most pass.
            kind = WeightsError if error.code in (404, 410) else UnreachableError
            raise kind(f"{bare}: the server answers {error.code} {error.reason}.") from error
        except (OSError, HTTPException, ValueError) as error:
            raise UnreachableError(f"{bare}: cannot be reached ({getattr(error, 'reason', error)}).") from error

    def _opener(self) -> urllib.request.OpenerDirector:
        handlers: list[urllib.request.BaseHandler] = []
        if self.proxy:
            handlers.append(urllib.request.ProxyHandler({"http": self.proxy, "https": self.proxy}))
        try:
            context = ssl.create_default_context(cafile=self.cert)
            if self.client_cert:
                context.load_cert_chain(self.client_cert)
        except OSError as error:
            raise WeightsError(f"Certificates {self.cert or self.client_cert} cannot be read ({error}).") from error
        return urllib.request.build_opener(*handlers, urllib.request.HTTPSHandler(context=context))


def read_page(network: Network, url: str, accept: str) -> tuple[str, str, str]:
    """Return text, content type and final URL of a small page.

    Raises:
        UnreachableError: it cannot be had.
        WeightsError: it is larger than `MAX_PAGE_BYTES`.
    """
    with network.open(url, accept) as answer:
        try:
            data = answer.read(MAX_PAGE_BYTES + 1)
        except (OSError, HTTPException) as error:
            raise UnreachableError(f"{url}: broken off ({error}).") from error
        if len(data) > MAX_PAGE_BYTES:
            raise WeightsError(f"{url}: larger than {MAX_PAGE_BYTES} bytes.")
        return data.decode("utf-8", "replace"), answer.headers.get_content_type(), answer.geturl()


def download(
    network: Network, url: str, target: Path, *, size: int, sha256: str, on_bytes: OnBytes | None = None
) -> None:
    """Write what a URL gives to `target`, which the caller deletes when this fails.

    Raises:
        UnreachableError: it cannot be had, or not within `MAX_SECONDS`.
        WeightsError: it is not the file that was expected.
        OSError: `target` cannot be written.
    """
    bare, deadline, hasher, done = _without_password(url)[0], time.monotonic() + MAX_SECONDS, hashlib.sha256(), 0
    with network.open(url) as answer, target.open("wb") as file:
        while chunk := _some(answer, f"{bare}: broken off after {done} of {size} bytes"):
            done += len(chunk)
            if done > size:
                raise WeightsError(f"{bare}: longer than the {size} bytes expected; not the catalogued file.")
            if time.monotonic() > deadline:
                raise UnreachableError(f"{bare}: not done after {MAX_SECONDS:.0f} s.")
            hasher.update(chunk)
            file.write(chunk)
            if on_bytes is not None:
                on_bytes(done, size)
    if done < size:
        raise UnreachableError(f"{bare}: broken off after {done} of {size} bytes.")
    check(bare, done, hasher.hexdigest(), size=size, sha256=sha256)


def _some(answer: Any, broken: str) -> bytes:
    try:
        data: bytes = answer.read1(_CHUNK)
    except (OSError, HTTPException) as error:
        raise UnreachableError(f"{broken} ({error}).") from error
    return data


def read_checked(path: Path, *, size: int, sha256: str) -> bytes:
    """Return the bytes of a file of the user's after checking that it is the expected one.

    Raises:
        WeightsError: it cannot be read or is another file.
    """
    try:
        if not path.is_file() or path.stat().st_size != size:
            raise WeightsError(f"{shown(path)}: a file of {size} bytes with sha256 {sha256} is needed.")
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{shown(path)}: cannot be read ({error.strerror or error}).") from error
    check(shown(path), len(data), hashlib.sha256(data).hexdigest(), size=size, sha256=sha256)
    return data


def check(what: str, found_size: int, found_sha256: str, *, size: int, sha256: str) -> None:
    """Raise WeightsError unless size and hash are the expected ones."""
    if (found_size, found_sha256) != (size, sha256):
        raise WeightsError(
            f"{what}: not the catalogued file: expected {size} bytes with sha256 {sha256}, got {found_size} bytes with "
            f"{found_sha256}."
        )


def _without_password(url: str) -> tuple[str, dict[str, str]]:
    """Return the URL without user and password, which no message may show, and the header that carries them."""
    parts = _split(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    bare = urlunsplit(parts._replace(netloc=host))
    return bare, {"Authorization": "Basic " + base64.b64encode(unquote(user).encode()).decode()}


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        # Not the whole of it: what stands before the @ may be a password.
        raise WeightsError(
            f"{url.rpartition('@')[2]}: no URL ({error}); correct it, for a package index in pip's settings."
        ) from error
