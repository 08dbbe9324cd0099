"""Galleries on disk: what was enrolled comes back, nothing else opens, and a wrong key, model or byte is refused."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from faceup.errors import ConfigError, DataError
from faceup.gallery.crypt import Cipher, new_derivation, raw_key, read_secret
from faceup.gallery.model import Model
from faceup.gallery.rows import Rows, checked_date, from_bytes, to_bytes
from faceup.gallery.store import Gallery

MODEL = Model("squares", "1", ("0" * 64,), "{}", 16)
OTHER = Model("squares", "1", ("1" * 64,), "{}", 16)
KEY = bytes(range(32))
PASSPHRASE = b"correct horse battery staple"


def some_rows(count: int, *, seed: int = 0, per_subject: int = 2, until: str = "", name: str = "p") -> Rows:
    vectors = np.random.default_rng(seed).standard_normal((count, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    subjects = tuple(f"{name}{i // per_subject}" for i in range(count))
    samples = tuple(f"{name}/{i}.jpg" for i in range(count))
    return Rows(subjects, samples, ("a" * 64,) * count, (until,) * count, vectors)


def same(a: Rows, b: Rows) -> bool:
    return a.names() == b.names() and np.array_equal(a.vectors, b.vectors)


def test_rows_come_back_from_their_bytes() -> None:
    rows = some_rows(9)
    assert same(from_bytes(to_bytes(rows), 16), rows)
    with pytest.raises(DataError, match="damaged"):
        from_bytes(b"PAR1 no such thing", 16)
    with pytest.raises(DataError, match="damaged"):
        from_bytes(to_bytes(rows), 15)


@pytest.mark.parametrize("secret", [None, KEY, PASSPHRASE], ids=["plain", "key", "passphrase"])
@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_add_remove_expire(tmp_path: Path, secret: bytes | None, kind: str) -> None:
    folder = tmp_path / "gallery"
    first, more = some_rows(80), some_rows(7, seed=1, name="q", until="2024-05-31")
    Gallery.create(folder, MODEL, first, kind=kind, secret=secret)
    assert same(Gallery.open(folder, secret).rows(), first)
    Gallery.open(folder, secret).add(more)
    gallery = Gallery.open(folder, secret)
    assert gallery.rows().subjects == first.subjects + more.subjects
    with pytest.raises(DataError, match="is there already"):
        gallery.add(some_rows(1))
    searcher, expired = gallery.searcher(date(2024, 5, 31))
    assert (expired, searcher.subjects) == (0, 44)
    for query, subject in zip(more.vectors, more.subjects, strict=True):
        (found,) = searcher.search(query[None], 1)
        assert (found[0].subject, round(found[0].cosine, 5)) == (subject, 1.0)
    searcher, expired = gallery.searcher(date(2024, 6, 1))
    assert (expired, searcher.subjects) == (7, 40), "an expired row must not be searched, even before it is deleted"
    assert gallery.expire(date(2024, 6, 1)) == ("q0", "q1", "q2", "q3")
    assert same(Gallery.open(folder, secret).rows(), first)
    with pytest.raises(DataError, match="'nobody' is not enrolled; nothing was removed"):
        gallery.remove(["p0", "nobody"])
    assert gallery.remove(["p0", "p39"]) == 4
    left = Gallery.open(folder, secret)
    assert set(left.rows().subjects) == {f"p{i}" for i in range(1, 39)}
    named = {entry["file"] for entry in [*left.header["parts"], left.header["index_file"]] if entry}
    assert {path.name for path in folder.iterdir()} == named | {"gallery.json", "lock", "audit.jsonl"}, (
        "nothing old is left behind"
    )


def test_nothing_readable_is_in_an_encrypted_gallery(tmp_path: Path) -> None:
    rows = some_rows(4, name="Jane Doe ")
    Gallery.create(tmp_path / "plain", MODEL, rows)
    Gallery.create(tmp_path / "sealed", MODEL, rows, kind="hnsw", secret=PASSPHRASE)
    content = {name: b"".join(p.read_bytes() for p in (tmp_path / name).iterdir()) for name in ("plain", "sealed")}
    for needle in (b"Jane Doe", rows.vectors.tobytes()[:32], PASSPHRASE):
        assert needle not in content["sealed"]
    assert b"Jane Doe" in content["plain"]
    assert rows.vectors.tobytes()[:32] in content["plain"]


def test_a_wrong_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACEUP_GALLERY_KEY", raising=False)
    Gallery.create(tmp_path / "a", MODEL, some_rows(4), secret=KEY)
    Gallery.create(tmp_path / "b", MODEL, some_rows(4), secret=PASSPHRASE)
    for folder in ("a", "b"):
        for wrong in (bytes(32)[:31] + b"\x01", b"another long passphrase"):
            with pytest.raises(DataError, match="key"):
                Gallery.open(tmp_path / folder, wrong)
        with pytest.raises(ConfigError, match="is encrypted: give --key-file"):
            Gallery.open(tmp_path / folder)


def test_changed_files_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "gallery"
    for secret in (None, KEY):
        gallery = Gallery.create(folder, MODEL, some_rows(6), secret=secret)
        gallery.add(some_rows(3, seed=2, name="r"))
        header = folder / "gallery.json"
        good = header.read_text()
        for change in ({"model_sha256": OTHER.sha256}, {"parts": json.loads(good)["parts"][:1]}, {"index": "ivf"}):
            header.write_text(json.dumps({**json.loads(good), **change}))
            with pytest.raises(DataError, match=r"was changed|hash is wrong"):
                Gallery.open(folder, secret)
        header.write_text(json.dumps({key: value for key, value in json.loads(good).items() if key != "model"}))
        with pytest.raises(DataError, match=r"damaged header .*model"):
            Gallery.open(folder, secret)
        header.write_text(good)
        part = folder / json.loads(good)["parts"][0]["file"]
        data = part.read_bytes()
        part.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(DataError, match="damaged: its sha256"):
            Gallery.open(folder, secret).rows()
        part.unlink()
        with pytest.raises(DataError, match="cannot be read"):
            Gallery.open(folder, secret).rows()
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def test_a_part_of_another_gallery_does_not_open(tmp_path: Path) -> None:
    """Even with the same key, and with the hash in the header put right by somebody who has the key's seal removed."""
    cipher = Cipher(KEY, new_derivation(KEY))
    sealed = cipher.seal(b"rows", b"gallery A, part 1")
    assert cipher.open(sealed, b"gallery A, part 1") == b"rows"
    with pytest.raises(DataError, match="wrong, or the file was changed"):
        cipher.open(sealed, b"gallery B, part 1")
    assert cipher.seal(b"rows", b"x") != cipher.seal(b"rows", b"x"), "every file gets a nonce of its own"


def test_another_model_is_refused(tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "gallery", MODEL, some_rows(2))
    gallery.require(MODEL)
    with pytest.raises(DataError, match="embeddings of two models cannot be compared"):
        gallery.require(OTHER)


def test_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert raw_key(KEY) == KEY
    assert raw_key(KEY.hex().encode() + b"\n") == KEY
    assert raw_key(b"thirty-two printable characters!") is None, "a text is a passphrase, whatever its length"
    path = tmp_path / "key"
    path.write_bytes(b"short\n")
    with pytest.raises(ConfigError, match="at least 12 characters"):
        read_secret(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_secret(tmp_path / "nowhere")
    path.write_bytes(PASSPHRASE + b"\n")
    assert read_secret(path) == PASSPHRASE
    monkeypatch.setenv("FACEUP_GALLERY_KEY", KEY.hex())
    assert raw_key(read_secret(None) or b"") == KEY
    monkeypatch.delenv("FACEUP_GALLERY_KEY")
    assert read_secret(None) is None


def test_a_header_cannot_ask_for_endless_work() -> None:
    derivation = {**new_derivation(PASSPHRASE), "n": 2**30}
    with pytest.raises(DataError, match="in a known way"):
        Cipher(PASSPHRASE, derivation)


def test_scrypt_is_the_standards() -> None:
    """RFC 7914, section 12: the vector for N = 1024, r = 8, p = 16 begins with fd ba be 1c."""
    from faceup.gallery.crypt import _key

    derivation = {"kind": "scrypt", "salt": b"NaCl".hex(), "n": 1024, "r": 8, "p": 16}
    assert _key(b"password", derivation)[:4].hex() == "fdbabe1c"


@pytest.mark.parametrize("text", ["2024-02-30", "31.12.2024", "2024-1-1", "tomorrow"])
def test_dates(text: str) -> None:
    assert checked_date("2024-02-29") == "2024-02-29"
    with pytest.raises(ConfigError, match="YYYY-MM-DD"):
        checked_date(text)
