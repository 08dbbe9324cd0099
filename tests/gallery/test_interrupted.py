"""A change that is killed between its two entries: the log says that it was begun, and whether it was made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from faceup.cli.main import main
from faceup.errors import DataError
from faceup.gallery import audit
from faceup.gallery.enrol import Enrolled
from faceup.gallery.store import Gallery
from tests.gallery.test_store import MODEL, some_rows

# Kills itself just before or just after the change is written, in the place of the power cut.
KILLED = """
import os, signal, sys
from faceup.cli import gallery as commands
from faceup.cli.main import main
from faceup.gallery.enrol import Enrolled
from faceup.gallery.store import Gallery
from tests.gallery.test_store import MODEL, some_rows

when, arguments = sys.argv[1], sys.argv[2:]
write = Gallery._replace_rows

def killed(self, kept, added):
    if when == "after":
        write(self, kept, added)
    os.kill(os.getpid(), signal.SIGKILL)

Gallery._replace_rows = killed
commands._enrolled = lambda *_: (Enrolled(some_rows(3, seed=1, name="q"), (), 3), MODEL)
main(["gallery", *arguments])
"""
CHANGES = {
    "add": ["add", "GALLERY", "pictures"],
    "remove": ["remove", "GALLERY", "p0"],
    "expire": ["expire", "GALLERY", "--date", "2024-06-01"],
}


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    folder = tmp_path / "gallery"
    Gallery.create(folder, MODEL, some_rows(6, until="2024-05-31"))
    return folder


def changed(folder: Path, action: str, when: str) -> int:
    words = [str(folder) if word == "GALLERY" else word for word in CHANGES[action]]
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        [sys.executable, "-c", KILLED, when, *words], cwd=root, timeout=120, check=False, capture_output=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    ).returncode  # fmt: skip


@pytest.mark.parametrize("action", ["add", "remove", "expire"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_change_is_told_and_whether_it_was_made(
    gallery: Path, action: str, when: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(Gallery.open(gallery).rows())
    assert changed(gallery, action, when) == -signal.SIGKILL
    after = len(Gallery.open(gallery).rows())
    assert (after != before) == (when == "after")
    found = audit.verify(gallery)
    assert found.interrupted == (audit.Interrupted(2, action, when == "after"),)
    assert main(["audit", "verify", str(gallery)]) == 0
    told = "the gallery was changed" if when == "after" else "the gallery was not changed"
    assert f"entry 2, {action}: begun and not ended (killed, or still under way); {told}" in capsys.readouterr().out
    # What is done next does not blur it.
    with audit.changing(gallery, "add", {}) as change:
        Gallery.open(gallery).add(some_rows(2, seed=3, name="r"), first=change.begin)
    assert audit.verify(gallery).interrupted == (audit.Interrupted(2, action, when == "after"),)


def test_a_whole_change_has_two_entries_and_a_refused_one_says_so(
    gallery: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = some_rows(3, seed=1, name="q")
    monkeypatch.setattr("faceup.cli.gallery._enrolled", lambda *_: (Enrolled(rows, (), 3), MODEL))
    assert main(["gallery", "add", str(gallery), "pictures", "--purpose", "case 1"]) == 0
    printed = capsys.readouterr().out.strip()
    assert main(["gallery", "remove", str(gallery), "nobody"]) == 1
    assert main(["gallery", "add", str(gallery), "pictures"]) == 1  # the same names again
    assert main(["gallery", "expire", str(gallery), "--date", "2024-01-01"]) == 0
    entries = [json.loads(line) for line in (gallery / audit.LOG).read_text().splitlines()]
    assert [(e["action"], e.get("stage"), e.get("of")) for e in entries] == [
        ("build", None, None),
        *(("add", "begun", None), ("add", "done", 2)),
        *(("add", "begun", None), ("add", "failed", 4)),
        *(("expire", "begun", None), ("expire", "done", 6)),
    ]
    assert printed.endswith(entries[2]["hash"])
    assert (entries[2]["settings"], entries[2]["purpose"]) == ({"added": 3}, "case 1")
    assert entries[4]["settings"] == {"error": "DataError"}
    assert audit.verify(gallery).interrupted == ()
    assert Gallery.open(gallery).expire(date(2023, 1, 1)) == ()


def test_changes_from_python_are_recorded_without_being_asked(tmp_path: Path) -> None:
    folder = tmp_path / "gallery"
    made = Gallery.create(folder, MODEL, some_rows(4))
    made.add(some_rows(2, seed=1, name="q"))
    with pytest.raises(DataError, match="is not enrolled"):
        made.remove(["nobody"])
    made.remove(["q0"])
    made.expire(date(2024, 6, 1))
    entries = [json.loads(line) for line in (folder / audit.LOG).read_text().splitlines()]
    assert [(e["action"], e.get("stage"), e["settings"]) for e in entries] == [
        ("build", None, {"pictures": 4}),
        *(("add", "begun", {"pictures": 2}), ("add", "done", {})),
        *(("remove", "begun", {"subjects": 1}), ("remove", "done", {})),
        *(("expire", "begun", {"date": "2024-06-01"}), ("expire", "done", {})),
    ]
    assert audit.verify(folder).entries == 7


def test_a_build_that_fails_at_its_record_leaves_nothing(tmp_path: Path) -> None:
    def refuse(_: Gallery) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(Exception, match="No space left"):
        Gallery.create(tmp_path / "gallery", MODEL, some_rows(2), finish=refuse)
    assert list(tmp_path.iterdir()) == []
