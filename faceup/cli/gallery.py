"""`faceup gallery`."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from faceup import defaults
from faceup.errors import ConfigError
from faceup.files import check_writable, shown, whole_or_not_at_all
from faceup.runtime.device import DEVICES

if TYPE_CHECKING:
    from faceup.gallery.enrol import Enrolled, Networks

F = TypeVar("F", bound=Callable[..., Any])
_FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))


def _with(*options: Callable[[F], F]) -> Callable[[F], F]:
    def wrap(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return wrap


_KEY = click.option(
    "--key-file", type=click.Path(path_type=Path), help="Key or passphrase of the encryption [FACEUP_GALLERY_KEY]."
)
_PURPOSE = click.option("--purpose", default="", help="Why; goes into the audit log.")
_NETWORKS = _with(
    click.option("--recognizer", default=defaults.RECOGNIZER, show_default=True, metavar="NAME[:FILE]"),
    click.option("--detector", default="mtcnn", show_default=True, metavar="NAME"),
    click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True),
)


@click.group("gallery")
def command() -> None:
    """Galleries of embeddings that stay: searched fast, encrypted if wished, every use in an audit log."""


@command.command("build")
@_FOLDER
@click.argument("pictures", metavar="PICTURES")
@click.option("--index", "kind", type=click.Choice(["flat", "ivf", "hnsw"]), default="flat", show_default=True)
@click.option("--retain-until", default="", metavar="YYYY-MM-DD", help="Last day on which the pictures may be used.")
@_with(_KEY, _PURPOSE, _NETWORKS)
def build(
    folder: Path, pictures: str, kind: str, retain_until: str, key_file: Path | None, purpose: str, **networks: Any
) -> None:
    """Enrol PICTURES (a folder, CSV or YAML as for `faceup run`) in a new gallery DIR.

    With --key-file, or the key in FACEUP_GALLERY_KEY, the gallery is encrypted.
    """
    from faceup.gallery import audit
    from faceup.gallery.crypt import read_secret
    from faceup.gallery.enrol import Networks, need_some
    from faceup.gallery.rows import checked_date
    from faceup.gallery.store import Gallery, refuse_existing

    refuse_existing(folder)
    secret = read_secret(key_file)
    made_with = Networks(**networks)
    enrolled, model = _enrolled(made_with, pictures, checked_date(retain_until))
    need_some(enrolled)
    heads: list[str] = []

    def record(gallery: Gallery) -> None:
        heads.append(audit.append(gallery.folder, "build", _about(gallery.header["id"], enrolled), purpose=purpose))

    Gallery.create(folder, model, enrolled.rows, kind=kind, secret=secret, finish=record)
    sealed = "encrypted" if secret is not None else "not encrypted"
    _say(enrolled, f"built {shown(folder)} ({sealed}, {kind})", heads[0])


@command.command("add")
@_FOLDER
@click.argument("pictures", metavar="PICTURES")
@click.option("--retain-until", default="", metavar="YYYY-MM-DD", help="Last day on which the pictures may be used.")
@_with(_KEY, _PURPOSE, _NETWORKS)
def add(folder: Path, pictures: str, retain_until: str, key_file: Path | None, purpose: str, **networks: Any) -> None:
    """Enrol more PICTURES in the gallery DIR; the model must be the gallery's."""
    from faceup.gallery import audit
    from faceup.gallery.crypt import read_secret
    from faceup.gallery.enrol import Networks, need_some
    from faceup.gallery.rows import checked_date
    from faceup.gallery.store import Gallery

    gallery = Gallery.open(folder, read_secret(key_file))
    enrolled, model = _enrolled(Networks(**networks), pictures, checked_date(retain_until))
    gallery.require(model)
    need_some(enrolled)
    told = _about(gallery.header["id"], enrolled)
    with audit.changing(folder, "add", told, purpose=purpose) as change:
        gallery.add(enrolled.rows, first=change.begin)
        change.result["added"] = len(enrolled.rows)
    _say(enrolled, f"added to {shown(folder)}", change.head)


@command.command("remove")
@_FOLDER
@click.argument("subjects", metavar="SUBJECT...", nargs=-1, required=True)
@_with(_KEY, _PURPOSE)
def remove(folder: Path, subjects: tuple[str, ...], key_file: Path | None, purpose: str) -> None:
    """Delete subjects from the gallery DIR."""
    from faceup.gallery import audit
    from faceup.gallery.crypt import read_secret
    from faceup.gallery.enrol import subjects_hash
    from faceup.gallery.store import Gallery

    gallery = Gallery.open(folder, read_secret(key_file))
    subjects = tuple(dict.fromkeys(subjects))
    told = {"subjects": len(subjects), "subjects_sha256": subjects_hash(gallery.header["id"], subjects)}
    with audit.changing(folder, "remove", told, purpose=purpose) as change:
        count = gallery.remove(subjects, first=change.begin)
        change.result["pictures"] = count
    click.echo(f"removed {count} pictures of {len(subjects)} subjects; audit {change.head}")


@command.command("expire")
@_FOLDER
@click.option("--date", "day", default="", metavar="YYYY-MM-DD", help="Delete what expired before it [today].")
@_with(_KEY, _PURPOSE)
def expire(folder: Path, day: str, key_file: Path | None, purpose: str) -> None:
    """Delete the pictures whose retention date is over; a search leaves them out even before."""
    from faceup.gallery import audit
    from faceup.gallery.crypt import read_secret
    from faceup.gallery.enrol import subjects_hash
    from faceup.gallery.rows import checked_date
    from faceup.gallery.store import Gallery

    gallery = Gallery.open(folder, read_secret(key_file))
    until = date.fromisoformat(checked_date(day)) if day else today()
    with audit.changing(folder, "expire", {"date": until.isoformat()}, purpose=purpose) as change:
        subjects = gallery.expire(until, first=change.begin)
        change.result["subjects"] = len(subjects)
        change.result["subjects_sha256"] = subjects_hash(gallery.header["id"], subjects)
    click.echo(f"{len(subjects)} subjects had pictures that expired; audit {change.head}")


@command.command("info")
@_FOLDER
@_KEY
def info(folder: Path, key_file: Path | None) -> None:
    """Print what the gallery DIR holds, after checking every file of it."""
    from faceup.gallery.crypt import read_secret
    from faceup.gallery.store import Gallery

    gallery = Gallery.open(folder, read_secret(key_file))
    rows = gallery.rows()
    _, expired = gallery.usable(today())
    limits = sorted(limit for limit in rows.retain_until if limit)
    click.echo(f"pictures: {len(rows)}\nsubjects: {len(set(rows.subjects))}\nindex: {gallery.header['index']}")
    click.echo(f"model: {gallery.model.name} {gallery.model.version}, hash {gallery.model.sha256}")
    click.echo(f"encrypted: {'yes, AES-256-GCM' if gallery.encrypted else 'no'}")
    click.echo(
        f"retention: {len(limits)} pictures have a date, the next {limits[0] if limits else '-'}; {expired} over"
    )


@command.command("search")
@_FOLDER
@click.argument("pictures", metavar="PICTURES")
@click.option("--purpose", required=True, help="Why; goes into the audit log.")
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Subjects printed per picture.")
@click.option("--threshold", type=click.FloatRange(-1, 1), help="Leave out smaller cosines.")
@click.option("--nprobe", type=click.IntRange(1), default=64, show_default=True, help="Cells searched (ivf).")
@click.option("--ef-search", type=click.IntRange(1), default=256, show_default=True, help="Breadth (hnsw).")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="CSV file to write in place of printing.")
@_with(_KEY, _NETWORKS)
def search(
    folder: Path,
    pictures: str,
    purpose: str,
    top: int,
    threshold: float | None,
    nprobe: int,
    ef_search: int,
    out: Path | None,
    key_file: Path | None,
    **networks: Any,
) -> None:
    """Compare PICTURES (a picture, folder, CSV or YAML) with the gallery DIR.

    A cosine is an investigative lead, never a match; see docs/conventions.md.
    """
    from faceup.gallery import audit
    from faceup.gallery.crypt import read_secret
    from faceup.gallery.enrol import Networks
    from faceup.gallery.results import search_results
    from faceup.gallery.store import Gallery

    if threshold is not None and math.isnan(threshold):  # no range of click's leaves it out
        raise ConfigError(f"A threshold is a cosine between -1 and 1, got {threshold}.")
    gallery = Gallery.open(folder, read_secret(key_file))
    if out is not None:
        check_writable(out)
    searcher, expired = gallery.searcher(today(), nprobe=nprobe, ef_search=ef_search)
    enrolled, model = _enrolled(Networks(**networks), pictures, "", role="probe")
    gallery.require(model)
    settings = {
        **_about(gallery.header["id"], enrolled),
        "top": top,
        "threshold": threshold,
        "index": searcher.kind,
        "model": model.sha256,
        "probes_sha256": sorted([*enrolled.rows.pictures, *(row.sample.sha256 for row in enrolled.failed)]),
    }
    # Before the search: a search that nobody could record must not happen.
    head = audit.append(folder, "search", settings, purpose=purpose)
    text = search_results(searcher, enrolled, top, threshold)
    if out is not None:
        with whole_or_not_at_all(out, follow=True) as path:
            path.write_text(text, encoding="utf-8", newline="")
        click.echo(f"wrote {shown(out)}")
    else:
        click.echo(text, nl=False)
    if expired:
        click.echo(f"note: {expired} pictures are past their retention date and were left out", err=True)
    click.echo(f"audit {head}", err=True)


def today() -> date:
    """Return today's date in UTC."""
    return datetime.now(timezone.utc).date()


def _enrolled(networks: Networks, pictures: str, retain_until: str, **role: Any) -> tuple[Enrolled, Any]:
    from faceup.cli._progress import bars
    from faceup.gallery.enrol import enrol

    stages, model = networks.build()
    with bars() as step:
        told = enrol(
            pictures,
            stages,
            retain_until=retain_until,
            progress=lambda done, total: step("pictures", done, total),
            **role,
        )
    return told, model


def _about(gallery_id: str, enrolled: Enrolled) -> dict[str, Any]:
    return {"gallery": gallery_id, "pictures": enrolled.seen, "failed": len(enrolled.failed)}


def _say(enrolled: Enrolled, done: str, head: str) -> None:
    for row in enrolled.failed:
        click.echo(f"note: {row.sample.sample_id}: {row.message or 'no face found'} (failure to enrol)")
    people = len(set(enrolled.rows.subjects))
    click.echo(f"{done}: {len(enrolled.rows)} of {enrolled.seen} pictures, {people} subjects; audit {head}")
