"""A gallery on disk: a folder with a header, parts of rows, perhaps an index, and the audit log.

    gallery.json    format, model, cipher, kind of index, and every other file with its sha256
    NAME.part       rows as Parquet; AES-256-GCM if the gallery is encrypted
    NAME.index      a FAISS index (`ivf`, `hnsw`), likewise
    audit.jsonl     the audit log

Every change is in the audit log, from Python too. It writes new files and then replaces the header, in one move; files
that no header names are left-overs of a kill and are deleted by the next change. The header of an encrypted gallery is
sealed too, so nobody without the key can leave out a part or claim another model.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from faceup.errors import ConfigError, DataError, unknown_name
from faceup.files import sha256_hex, shown, whole_folder, whole_or_not_at_all
from faceup.gallery import audit
from faceup.gallery import index as faiss_index
from faceup.gallery import rows as row_files
from faceup.gallery.crypt import ENVIRONMENT, Cipher, new_derivation
from faceup.gallery.model import Model, model_from
from faceup.gallery.rows import Rows

FORMAT = 1
PART_ROWS = 65_536


class Gallery:
    """An open gallery; see the module. `create` and `open` make one."""

    def __init__(self, folder: Path, header: dict[str, Any], cipher: Cipher | None) -> None:
        self.folder, self.header, self.cipher = folder, header, cipher
        self.model: Model = model_from(header["model"])

    @classmethod
    def create(
        cls,
        folder: Path,
        model: Model,
        rows: Rows,
        *,
        kind: str = "flat",
        secret: bytes | None = None,
        finish: Callable[[Gallery], None] | None = None,
    ) -> Gallery:
        """Write a new gallery, whole or not at all, and open it.

        Args:
            folder: must not exist.
            model: made the embeddings.
            rows: what to enrol.
            kind: of the index: `flat`, `ivf` or `hnsw`.
            secret: key or passphrase; None leaves the gallery unencrypted.
            finish: called with the gallery before its folder gets its name, to begin the audit log in it; without it
                the gallery records the number of pictures.

        Raises:
            DataError: the folder exists or cannot be written, or two rows are of one name.
        """
        if kind not in faiss_index.KINDS:
            raise unknown_name("index", kind, faiss_index.KINDS)
        derivation = new_derivation(secret) if secret is not None else None
        header = {
            "faceup_gallery": FORMAT,
            "id": secrets.token_hex(16),
            "model": model.as_dict(),
            "model_sha256": model.sha256,
            "cipher": {"name": "AES-256-GCM", "key": derivation} if derivation else None,
            "index": kind,
            "parts": [],
            "index_file": None,
        }
        with whole_folder(folder, refuse_existing) as staging:
            gallery = cls(staging, header, Cipher(secret, derivation) if secret is not None and derivation else None)
            gallery._replace_rows([], rows)
            if finish is None:
                audit.append(staging, "build", {"pictures": len(rows)})
            else:
                finish(gallery)
        gallery.folder = folder
        return gallery

    @classmethod
    def open(cls, folder: Path, secret: bytes | None = None) -> Gallery:
        """Open a gallery and check its header; parts are checked when they are read.

        Raises:
            ConfigError: it is encrypted and there is no key.
            DataError: no gallery, a damaged header, or the wrong key.
        """
        path = folder / audit.HEADER
        try:
            header = json.loads(path.read_bytes())
            seal = header.pop("seal")
            cipher, number, _ = header["cipher"], header["faceup_gallery"], header["model"]
        except OSError as error:
            raise DataError(f"{shown(folder)}: no gallery ({error.strerror or error}).") from error
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise DataError(f"{shown(path)}: damaged header ({error!r}).") from error
        if number != FORMAT:
            raise DataError(f"{shown(path)}: a gallery of format {number}; this faceup reads {FORMAT}.")
        opener = None
        if cipher is not None:
            if secret is None:
                raise ConfigError(f"{shown(folder)} is encrypted: give --key-file FILE, or set {ENVIRONMENT}.")
            opener = Cipher(secret, cipher["key"])
        gallery = cls(folder, header, opener)
        gallery._check_seal(seal)
        return gallery

    @staticmethod
    def is_one(folder: Path) -> bool:
        """Tell whether a path is a gallery's folder."""
        return (folder / audit.HEADER).is_file()

    @property
    def encrypted(self) -> bool:
        """Whether its files are encrypted."""
        return self.cipher is not None

    def require(self, model: Model) -> None:
        """Raise DataError unless the gallery's embeddings were made by `model`."""
        if self.header["model_sha256"] != model.sha256 or self.model.sha256 != model.sha256:
            raise DataError(
                f"{shown(self.folder)} was made with {_described(self.model)}, the search uses {_described(model)}: "
                "embeddings of two models cannot be compared. Build the gallery again with this model."
            )

    def rows(self) -> Rows:
        """Return all rows, whatever their retention date.

        Raises:
            DataError: a part is missing, damaged, or of another gallery.
        """
        return row_files.joined([self._part(entry) for entry in self.header["parts"]], self.model.dimension)

    def usable(self, today: date) -> tuple[Rows, int]:
        """Return the rows that may be used today, and how many are past their retention date."""
        rows = self.rows()
        return rows.unexpired(today)

    def searcher(
        self,
        today: date,
        only: Collection[str] | None = None,
        *,
        nprobe: int = faiss_index.NPROBE,
        ef_search: int = faiss_index.EF_SEARCH,
    ) -> tuple[faiss_index.Searcher, int]:
        """Return the search over the rows that may be used today, and how many are past their retention date.

        Args:
            today: rows whose retention date lies before it are left out.
            only: subjects to look for; None for all.
            nprobe: cells that a search of `ivf` looks into.
            ef_search: breadth of a search of `hnsw`.

        Raises:
            DataError: a file is damaged, or a subject of `only` is not enrolled.
        """
        rows, expired = self.usable(today)
        if only is not None:
            rows = rows.of_subjects(only)
        entry = self.header["index_file"]
        if entry is None or expired or only is not None:
            return faiss_index.Searcher(rows), expired
        index = faiss_index.index_from_bytes(self._read(entry), len(rows))
        kind = self.header["index"]
        return faiss_index.Searcher(rows, kind, index=index, nprobe=nprobe, ef_search=ef_search), expired

    def add(self, rows: Rows, *, first: Callable[[], None] | None = None) -> None:
        """Enrol more pictures.

        Args:
            rows: what to enrol.
            first: called before anything is written, with the gallery locked: `begin` of a change of
                `faceup.gallery.audit`, of which the caller knows more. Without it the gallery records it itself.

        Raises:
            DataError: a picture of that name is enrolled already, or the audit log cannot be written.
        """
        with self._recorded("add", {"pictures": len(rows)}, first) as begin, self._changing():
            begin()
            self._replace_rows(self.header["parts"], rows)

    def remove(self, subjects: Sequence[str], *, first: Callable[[], None] | None = None) -> int:
        """Delete subjects and return how many rows they had; `first` as for `add`.

        Raises:
            DataError: one of them is not enrolled; nothing is deleted then.
        """
        with self._recorded("remove", {"subjects": len(subjects)}, first) as begin, self._changing():
            rows = self.rows()
            if missing := sorted(set(subjects) - set(rows.subjects)):
                raise DataError(f"{shown(self.folder)}: {missing[0]!r} is not enrolled; nothing was removed.")
            gone = np.isin(np.array(rows.subjects, dtype=object), list(subjects))
            begin()
            self._replace_rows([], rows.taken(~gone))
            return int(gone.sum())

    def expire(self, today: date, *, first: Callable[[], None] | None = None) -> tuple[str, ...]:
        """Delete the rows whose retention date lies before `today` and return their subjects; `first` as for `add`."""
        with self._recorded("expire", {"date": today.isoformat()}, first) as begin, self._changing():
            rows = self.rows()
            gone = rows.expired(today)
            begin()
            if gone.any():
                self._replace_rows([], rows.taken(~gone))
            return tuple(sorted(set(rows.taken(gone).subjects)))

    @contextmanager
    def _recorded(
        self, action: str, settings: Mapping[str, Any], first: Callable[[], None] | None
    ) -> Iterator[Callable[[], None]]:
        """Give what records the beginning of a change: the caller's, or an entry of its own."""
        if first is not None:
            yield first
            return
        with audit.changing(self.folder, action, settings) as change:
            yield change.begin

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            with (self.folder / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                current = json.loads((self.folder / audit.HEADER).read_bytes())
                self._check_seal(current.pop("seal"), current)
                self.header = current
                yield
        except OSError as error:
            raise DataError(f"{shown(self.folder)}: cannot be changed ({error.strerror or error}).") from error

    def _replace_rows(self, kept: Sequence[dict[str, Any]], added: Rows) -> None:
        """Write the new rows beside the parts that stay, then the header, then delete what it no longer names."""
        before = [self._part(entry) for entry in kept]
        everything = row_files.joined([*before, added], self.model.dimension)
        if len(set(everything.samples)) != len(everything):
            twice = next(name for name in added.samples if everything.samples.count(name) > 1)
            raise DataError(f"{shown(self.folder)}: the picture {twice!r} is there already; remove its subject first.")
        parts = [*kept]
        for start in range(0, len(added), PART_ROWS):
            chosen = np.zeros(len(added), dtype=bool)
            chosen[start : start + PART_ROWS] = True
            part = added.taken(chosen)
            parts.append({**self._write(row_files.to_bytes(part), "part"), "rows": len(part)})
        header = {**self.header, "parts": parts, "index_file": None}
        if header["index"] != "flat":
            built = faiss_index.build_index(everything.vectors, header["index"])
            header["index_file"] = self._write(faiss_index.index_to_bytes(built), "index")
        text = json.dumps({**header, "seal": self._seal(header)}, indent=1, sort_keys=True)
        with whole_or_not_at_all(self.folder / audit.HEADER) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        self.header = header
        named = {entry["file"] for entry in [*parts, header["index_file"]] if entry}
        for path in self.folder.iterdir():
            if path.suffix in (".part", ".index") and path.name not in named:
                path.unlink()

    def _bound(self, file: str) -> bytes:
        return json.dumps([FORMAT, self.header["id"], self.header["model_sha256"], file]).encode()

    def _write(self, data: bytes, ending: str) -> dict[str, Any]:
        name = f"{secrets.token_hex(8)}.{ending}"
        if self.cipher is not None:
            data = self.cipher.seal(data, self._bound(name))
        with (self.folder / name).open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        return {"file": name, "sha256": sha256_hex(data)}

    def _read(self, entry: dict[str, Any]) -> bytes:
        path = self.folder / Path(entry["file"]).name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f"{shown(path)}: cannot be read ({error.strerror or error}).") from error
        if sha256_hex(data) != entry["sha256"]:
            raise DataError(f"{shown(path)}: damaged: its sha256 is not the one in {audit.HEADER}.")
        return data if self.cipher is None else self.cipher.open(data, self._bound(entry["file"]))

    def _part(self, entry: dict[str, Any]) -> Rows:
        return row_files.from_bytes(self._read(entry), self.model.dimension)

    def _seal(self, header: dict[str, Any]) -> str:
        """Return what shows that a header is as it was written: sealed with the key, or a hash against accidents."""
        content = json.dumps(header, sort_keys=True).encode()
        return sha256_hex(content) if self.cipher is None else self.cipher.seal(b"", content).hex()

    def _check_seal(self, seal: str, header: dict[str, Any] | None = None) -> None:
        content = self.header if header is None else header
        if self.cipher is None:
            if seal != self._seal(content):
                raise DataError(f"{shown(self.folder / audit.HEADER)}: damaged header: its hash is wrong.")
            return
        try:
            self.cipher.open(bytes.fromhex(seal), json.dumps(content, sort_keys=True).encode())
        except (DataError, ValueError, TypeError) as error:
            raise DataError(f"{shown(self.folder)}: the key is wrong, or {audit.HEADER} was changed.") from error


def refuse_existing(folder: Path) -> None:
    """Raise DataError if something stands where a gallery is to be made."""
    if os.path.lexists(folder):
        raise DataError(f"{shown(folder)} exists already; add to it with `faceup gallery add`, or choose another name.")


def _described(model: Model) -> str:
    return f"{model.name} (model hash {model.sha256[:12]})"
