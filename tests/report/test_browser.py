"""The report as a browser shows it: tables, pictures and plots are there, nothing is asked of the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from faceup.evaluate.evaluation import evaluate
from faceup.evaluate.measure import Settings
from tests.report.browser import executable, open_page

pytestmark = pytest.mark.skipif(executable() is None, reason="no Chromium is installed: apt-get install chromium")

SCRIPT = """
(async () => {
  const pictures = [...document.images];
  await Promise.all(pictures.map(picture => picture.decode().catch(() => null)));
  const seen = picture => picture.naturalWidth > 1 && picture.getBoundingClientRect().width > 20;
  const headings = [...document.querySelectorAll("h2")];
  const table = headings.find(h => h.textContent.startsWith("Table 5: similarity of every"));
  return {
    title: document.title,
    headings: headings.map(h => h.textContent),
    rows: [...table.nextElementSibling.querySelectorAll("tbody tr")].map(r => r.textContent),
    faces: pictures.filter(p => p.closest(".person")).map(seen),
    plots: pictures.filter(p => p.closest(".plot")).map(p => [seen(p), p.alt]),
    evaluation: document.querySelectorAll("table.evaluation tbody tr").length,
    wide: document.documentElement.scrollWidth <= document.documentElement.clientWidth,
    sources: pictures.filter(p => !p.src.startsWith("data:")).length,
  };
})()
"""


def test_the_report_opens_offline_with_everything_in_it(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run()
    evaluate([run], settings=Settings(rounds=100, pair_rounds=100))
    page = open_page(run / "report.html", SCRIPT, tmp_path / "profile")
    told = page.answer
    assert [url for url in page.requests if not url.startswith("data:")] == [(run / "report.html").as_uri()]
    assert page.complaints == []
    assert {"Summary", "Evaluation", "Pictures", "Settings"} <= set(told["headings"])
    assert len(told["rows"]) == 3
    assert told["rows"][0].startswith("LR image")
    assert "0.9" in told["rows"][0]
    assert len(told["faces"]) == 3 + 3 * 3 + 3
    assert all(told["faces"])
    assert len(told["plots"]) == 4
    assert all(shown for shown, _ in told["plots"])
    assert any("DET" in title for _, title in told["plots"])
    assert told["evaluation"] > 10
    assert told["sources"] == 0
    assert told["wide"], "the page itself must not scroll sideways"


def test_the_browser_sees_requests_and_errors_where_there_are_some(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<img src='http://faceup.invalid/x.png'><script>console.error('seen')</script><h2>x</h2>")
    told = open_page(page, "document.images[0].naturalWidth", tmp_path / "profile")
    assert "http://faceup.invalid/x.png" in told.requests
    assert any("seen" in text for text in told.complaints)
    assert told.answer == 0
