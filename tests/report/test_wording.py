"""Words that decide: 'match' never without its threshold and error rate, 'lead' always."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from faceup.errors import DataError
from faceup.evaluate.evaluation import evaluate
from faceup.evaluate.measure import Settings
from faceup.report.html import write_report
from tests.evaluate.conftest import make

# Where the word may stand: in the names of rates, and where a text says that something is none.
ALLOWED = (
    r"None is a match: that word needs a threshold and its false match rate",
    r"false (non-)?match rate",
    r"no match without a threshold and its error rate",
)


def strays(text: str) -> list[str]:
    plain = re.sub(r"data:[^\"]*|<style>.*?</style>|<[^>]*>", " ", text, flags=re.DOTALL)
    for phrase in ALLOWED:
        plain = re.sub(phrase, " ", plain, flags=re.IGNORECASE)
    return [plain[max(0, m.start() - 30) : m.end() + 30] for m in re.finditer(r"match", plain, re.IGNORECASE)]


def test_no_report_says_match(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    evaluate([run], settings=Settings(rounds=100, pair_rounds=100), plots=False)
    for name in ("report.html", "evaluation/metrics.md"):
        text = (run / name).read_text(encoding="utf-8")
        assert strays(text) == [], name
        assert "nvestigative lead" in text
    assert strays("<p>This is a match.</p>") != []


def test_flags_stand_beside_the_picture(make_run: Callable[..., Path]) -> None:
    run = make_run()
    rows = "sr,probe,eye_lr_px,cosine_lr,cosine_bicubic,agreement,consistency_psnr,flagged,reasons,unchecked\n"
    rows += "sisn,001_cam1.png,10,0.1,0.2,,,1,cosine_lr cosine_bicubic,agreement consistency_psnr\n"
    (run / "alarm.csv").write_text(rows)
    text = write_report(run).read_text(encoding="utf-8")
    assert text.count("FLAGGED by the hallucination alarm: cosine_lr, cosine_bicubic") == 1
    assert "1/1 (100.0\u00a0%)" in text
    (run / "alarm.csv").write_text(rows.replace("cosine_lr cosine_bicubic", "nonsense"))
    with pytest.raises(DataError, match="reasons must name measures"):
        write_report(run)
