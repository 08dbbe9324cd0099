"""The report: safe, self-contained, honest about what is generated, and the same for the same folder."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from faceup.errors import DataError
from faceup.metrics.table5 import table5
from faceup.report import panels
from faceup.report.html import write_report
from faceup.report.run_folder import read_run
from faceup.report.tables import write_tables

MakeRun = Callable[..., Path]
VOID = {"meta", "img", "br", "input", "link", "hr"}
HOSTILE = [
    "<script>alert(1)</script>",
    '" onmouseover="alert(2)',
    "'><img src=https://example.org/x.png>",
    "{{ 7 * 7 }}{% raw %}",
    "=HYPERLINK(1)",
    "Ünïcödé 名前 🙂",
    "rtl \u202eevil",
    "line\nbreak\x1b[31m",
    "long" * 2500,
]


class Node:
    """An element: tag, attributes, children, text."""

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag, self.attributes = tag, attributes
        self.parts: list[Node | str] = []

    @property
    def children(self) -> list[Node]:
        """The elements straight below this one."""
        return [part for part in self.parts if isinstance(part, Node)]

    def all(self, tag: str = "", **attributes: str) -> list[Node]:
        """Return the elements below this one with a tag and a word in each of the given attributes."""
        found = []
        for child in self.children:
            words = {name: child.attributes.get(name, "").split() for name in attributes}
            if tag in ("", child.tag) and all(value in words[name] for name, value in attributes.items()):
                found.append(child)
            found += child.all(tag, **attributes)
        return found

    @property
    def text(self) -> str:
        """All text below this element."""
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)


class Tree(HTMLParser):
    """Builds the tree of a page and refuses tags that do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.root = Node("root", {})
        self.open = [self.root]
        self.feed(html)
        self.close()
        assert self.open == [self.root], f"not closed: {[node.tag for node in self.open[1:]]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice in <{tag}>"
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].parts.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].parts.append(Node(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.open[-1].parts.append(data)


def page(run: Path) -> Node:
    return Tree(write_report(run).read_text(encoding="utf-8")).root


def assert_self_contained(root: Node) -> None:
    loading = {"src", "href", "srcset", "data", "action", "poster", "background", "xlink:href", "formaction", "ping"}
    for node in root.all():
        assert node.tag not in ("script", "link", "iframe", "object", "embed", "base", "form", "video", "audio", "use")
        for name, value in node.attributes.items():
            assert not name.startswith("on"), f"{name} in <{node.tag}>"
            if name in loading:
                assert value.startswith(("data:image/png;base64,", "#")), f"{name}={value[:40]}"
            if name == "style":
                assert re.fullmatch(r"--w: \d+px", value)
    for style in root.all("style"):
        assert not re.search(r"url\(|@import|expression", style.text)


def test_the_page_loads_nothing_and_says_so_to_the_browser(make_run: MakeRun) -> None:
    root = page(make_run())
    assert_self_contained(root)
    assert len(root.all("img")) == 3 + 3 * 4
    policy = next(m for m in root.all("meta") if m.attributes.get("http-equiv") == "Content-Security-Policy")
    rules = dict(part.strip().split(" ", 1) for part in policy.attributes["content"].split(";"))
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    anchors = {a.attributes["href"] for a in root.all("a")}
    assert anchors == {"#" + s.attributes["id"] for s in root.all("section") if "Candidate" in s.text}


def test_hostile_names_stay_text(make_run: MakeRun) -> None:
    run = make_run(subjects=HOSTILE, warnings=HOSTILE, command=["faceup", *HOSTILE])
    root = page(run)
    assert_self_contained(root)
    headings = [" ".join(h.text.split()) for h in root.all("h3")]
    assert "Candidate <script>alert(1)</script>" in headings
    assert "Candidate {{ 7 * 7 }}{% raw %}" in headings
    assert "Candidate =HYPERLINK(1)" in headings
    assert "Candidate Ünïcödé 名前 🙂" in headings
    assert "Candidate rtl \\u202eevil" in headings
    assert "Candidate line\\x0abreak\\x1b[31m" in headings
    assert all(len(heading) < 80 for heading in headings)
    # The whole of a long name can still be read, by pointing at it.
    assert "long" * 2500 in {b.attributes.get("title") for b in root.all("bdi")}
    text = (run / "report.html").read_text(encoding="utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e]", text)


def test_every_generated_picture_is_marked_and_beside_its_original(make_run: MakeRun) -> None:
    run = make_run(generated=["bicubic", "sisn"], generative=["bicubic", "sisn"])
    root = page(run)
    with (run / "pictures" / "pictures.csv").open(encoding="utf-8") as stream:
        listed = list(csv.DictReader(stream))
    pixels = {name: _pixels((run / "pictures" / name).read_bytes()) for name in (row["file"] for row in listed)}
    figures = {_pixels(_png(f.all("img")[0])): f for f in root.all("figure")}
    assert len(figures) == len(listed)
    for row in listed:
        figure = figures[pixels[row["file"]]]
        badge = "".join(b.text for b in figure.all("span", **{"class": "badge"}))
        marks = (figure.attributes["class"], badge, "GENERATED" in figure.all("img")[0].attributes["alt"])
        if row["generated"] == "1":
            assert marks == ("generated", "GENERATED", True)
        else:
            assert marks[0] in ("gallery", "original")
            assert not marks[2]
    for strip in root.all("div", **{"class": "strip"}):
        assert [f.attributes["class"] for f in strip.children] == ["original", "generated", "generated"]
    style = root.all("style")[0].text
    assert re.search(r"\.generated \.frame \{[^}]*dashed", style)


@pytest.mark.parametrize(("generated", "generative"), [(["sisn"], []), ([], ["sisn"])])
def test_one_source_that_calls_a_picture_generated_is_enough(
    make_run: MakeRun, generated: list[str], generative: list[str]
) -> None:
    root = page(make_run(generated=generated, generative=generative))
    kinds = [[f.attributes["class"] for f in s.children] for s in root.all("div", **{"class": "strip"})]
    assert kinds == [["original", "enlarged", "generated"]] * 4


def test_overlays_lie_on_the_pixels_that_detections_names(make_run: MakeRun) -> None:
    run = make_run(subjects=["001"], strangers=0, probe_size=(16, 32))
    figures = {f.attributes["class"]: f for f in page(run).all("figure")}
    for kind, width, height in (
        ("gallery", 64, 80),
        ("original", 16, 32),
        ("enlarged", 64, 128),
        ("generated", 64, 128),
    ):
        (svg,) = figures[kind].all("svg")
        assert svg.attributes["viewbox"] == f"0 0 {width} {height}"
        assert svg.attributes["preserveaspectratio"] == "none"
        (rect,) = svg.all("rect")
        box = [float(rect.attributes[name]) for name in ("x", "y", "width", "height")]
        # Pixel centres are integers in faceup and halves in SVG.
        assert box == [width / 4 + 0.5, height / 8 + 0.5, width / 2, height * 3 / 4]
        dots = [(float(c.attributes["cx"]), float(c.attributes["cy"])) for c in svg.all("circle")]
        parts = [(0.375, 0.375), (0.625, 0.375), (0.5, 0.5), (0.4375, 0.75), (0.5625, 0.75)]
        assert dots == [(x * width + 0.5, y * height + 0.5) for x, y in parts]


def test_no_face_and_unknown_people_are_shown_as_they_are(make_run: MakeRun) -> None:
    root = page(make_run())
    panels_of = {" ".join(s.all("h3")[0].text.split()): s for s in root.all("section")}
    assert list(panels_of) == ["Candidate 001", "Candidate 002", "Candidate 003", "Unknown person"]
    results = [[r.text for r in f.all("span", **{"class": "result"})] for f in panels_of["Candidate 002"].all("figure")]
    assert results == [
        [],
        ["no face found"],
        ["similarity 0.790000", "rank 1 of 3"],
        ["similarity 0.690000", "rank 1 of 3"],
    ]
    assert [len(f.all("svg")) for f in panels_of["Candidate 002"].all("figure")] == [1, 0, 1, 1]
    stranger = panels_of["Unknown person"].all("figure")[0]
    assert [r.text for r in stranger.all("span", **{"class": "result"})] == [
        "first leads: 003 (0.202000), 002 (0.201000), 001 (0.200000)"
    ]


def test_listed_pairs_name_the_pictures_that_were_compared_and_no_leads(make_run: MakeRun) -> None:
    run = make_run()
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    record["recipe"]["pairs"] = "pairs.csv"
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    listed = {("001", "003"), ("002", "002")}
    with (run / "similarity.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if (row["probe_subject"], row["gallery_subject"]) in listed]
    with (run / "similarity.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    root = page(run)
    told = {r.text for r in root.all("span", **{"class": "result"})}
    other = {row["similarity"] for row in rows if row["genuine"] == "0"}
    assert {text for text in told if "003/" in text} == {
        f"with 003/g.jpg (other person): similarity {value}" for value in other
    }
    assert any(re.fullmatch(r"with 002/g.jpg \(same person\): (similarity 0\.\d{6}|not compared)", t) for t in told)
    assert not any("lead" in text or "rank" in text for text in told)
    # All but the stranger show people of the gallery, whatever was listed.
    assert "1/4 (25.0 %) of other or unknown people" in " ".join(root.text.replace("\u00a0", " ").split())


def test_the_words_are_those_of_a_lead(make_run: MakeRun) -> None:
    run = make_run()
    text = page(run).text
    assert "investigative lead" in text.lower()
    assert "match" not in (run / "report.html").read_text(encoding="utf-8").lower()


def test_counts_have_their_denominators(make_run: MakeRun) -> None:
    root = page(make_run())
    summary = root.all("table")[0]
    rows = [[cell.text.replace("\u00a0", " ").strip() for cell in r.children] for r in summary.all("tbody")[0].children]
    # 4 probes, of which one has no face before super-resolution; 3 of them are of candidates.
    assert rows[0][:5] == ["LR image", "1/4 (25.0 %)", "1", "0", "0/4 (0.0 %)"]
    assert rows[0][5:] == ["0.593333", "0.890000", "2/3", "2/3"]
    assert rows[2] == ["sisn", "0/4 (0.0 %)", "0", "0", "0/4 (0.0 %)", "0.690000", "0.690000", "3/3", "3/3"]
    text = " ".join(root.text.split())
    assert "Failures to enrol: 0/3 (0.0 %)" in text
    assert "3/4 (75.0 %) of 3 candidates with gallery pictures and 1/4 (25.0 %) of other or unknown people" in text


def test_the_table_of_the_report_is_table_csv(make_run: MakeRun) -> None:
    folder = make_run(subjects=[f"{i:03d}" for i in range(11)])
    run = read_run(folder)
    write_tables(table5(run.similarity, run.sr), run.similarity, run.record, folder)
    with (folder / "table.csv").open(encoding="utf-8") as stream:
        wanted = [[row["sr"], *(row[f"{i:03d}"] for i in range(11))] for row in csv.DictReader(stream)]
    root = page(folder)
    screen = root.all("div", **{"class": "screen"})[0].all("tbody")[0]
    assert [[cell.text.strip() for cell in row.children][:12] for row in screen.children] == wanted
    # On paper the same cells follow in blocks.
    blocks = root.all("div", **{"class": "paper"})[0].all("tbody")
    for i, row in enumerate(screen.children):
        pieces = [cell.text for block in blocks for cell in block.children[i].children[1:]]
        assert pieces == [cell.text for cell in row.children[1:]]


def test_the_same_folder_gives_the_same_bytes(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    first = write_report(run).read_bytes()
    shutil.copytree(run, tmp_path / "elsewhere", ignore=shutil.ignore_patterns("report.html"))
    assert write_report(tmp_path / "elsewhere").read_bytes() == first
    assert str(tmp_path).encode() not in first
    # The only time in the page is that of the run.
    assert set(re.findall(rb"\d{4}-\d\d-\d\dT[\d:]{8}", first)) == {b"2026-01-02T03:04:05"}


def test_settings_weights_and_warnings_are_there(make_run: MakeRun) -> None:
    text = page(make_run(warnings=["3 files were left out"], command=["faceup", "run", "--out", "a b"])).text
    for part in (
        "faceup run --out 'a b'",
        "3 files were left out",
        "ab" * 32,
        "cd" * 32,
        "2.14.0",
        "Apache-2.0",
        "1.25",
    ):
        assert part in text
    assert "yes, generative" in text


def test_it_says_when_only_the_first_candidates_have_pictures(make_run: MakeRun) -> None:
    root = page(make_run(with_pictures=2, strangers=0))
    assert "Pictures are shown for the first 2 of 3 candidates" in " ".join(root.text.split())
    assert len(root.all("section")) == 2


def test_a_report_that_grows_too_large_stops_and_says_so(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "EMBEDDED_LIMIT", 1)
    root = page(make_run(strangers=0))
    assert len(root.all("section")) == 1
    text = " ".join(root.text.split())
    assert "Pictures are shown for the first 1 of 3 candidates; 2 more with pictures in the run folder" in text


def test_large_pictures_are_reduced_and_small_ones_keep_their_pixels(make_run: MakeRun) -> None:
    run = make_run(subjects=["001"], strangers=0, gallery_size=(600, 900))
    figures = {f.attributes["class"]: f for f in page(run).all("figure")}
    (image,) = figures["gallery"].all("img")
    assert PilImage.open(io.BytesIO(_png(image))).size == (320, 480)
    assert figures["gallery"].all("svg")[0].attributes["viewbox"] == "0 0 600 900"
    assert "600 × 900 px, reduced here" in figures["gallery"].text
    (original,) = figures["original"].all("img")
    assert original.attributes["class"] == "pixelated"
    stored = next(r for r in read_run(run).pictures.to_dict("records") if (r["sr"], r["role"]) == ("none", "probe"))
    assert _pixels(_png(original)) == _pixels((run / "pictures" / stored["file"]).read_bytes())


def test_a_gallery_picture_kept_smaller_than_it_is_has_its_face_in_the_right_place(make_run: MakeRun) -> None:
    run = make_run(subjects=["001"], strangers=0, gallery_size=(301, 903))
    (listed,) = (r for r in read_run(run).pictures.to_dict("records") if r["role"] == "gallery")
    file = run / "pictures" / listed["file"]
    PilImage.open(file).resize((100, 301)).save(file)
    figure = page(run).all("figure", **{"class": "gallery"})[0]
    assert figure.all("svg")[0].attributes["viewbox"] == "0 0 301 903"
    assert "301 × 903 px, reduced here" in figure.text
    assert figure.all("img")[0].attributes["height"] == "903"
    PilImage.open(file).resize((100, 320)).save(file)
    with pytest.raises(DataError, match="100 x 320 px, but detections"):
        write_report(run)


@pytest.mark.parametrize(
    "name", ["run.json", "similarity.csv", "detections.csv", "pictures/pictures.csv", "pictures/004.png"]
)
@pytest.mark.parametrize("harm", ["missing", "empty", "noise", "cut"])
def test_a_missing_or_damaged_file_is_named_and_the_old_report_stays(make_run: MakeRun, name: str, harm: str) -> None:
    run = make_run()
    before = write_report(run).read_bytes()
    file = run / name
    data = file.read_bytes()
    if harm == "missing":
        file.unlink()
    else:
        # The cut leaves half a line.
        file.write_bytes({"empty": b"", "noise": b"\xff\xfe\x00noise", "cut": data[: len(data) * 2 // 3]}[harm])
    with pytest.raises(DataError, match=re.escape(name.rpartition("/")[2])):
        write_report(run)
    assert (run / "report.html").read_bytes() == before
    assert [f.name for f in run.iterdir() if f.name.startswith(".")] == []


@pytest.mark.parametrize(("place", "key", "value"), [("recipe", "data", None), ("", "defaults", [])])
def test_an_edited_record_is_named(make_run: MakeRun, place: str, key: str, value: object) -> None:
    run = make_run()
    record = json.loads((run / "run.json").read_text())
    (record[place] if place else record)[key] = value
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=rf"run\.json.*{key}"):
        write_report(run)


def test_no_folder_no_report(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such run folder"):
        write_report(tmp_path / "absent")


def _png(image: Node) -> bytes:
    return base64.b64decode(image.attributes["src"].removeprefix("data:image/png;base64,"), validate=True)


def _pixels(png: bytes) -> bytes:
    return np.asarray(PilImage.open(io.BytesIO(png)).convert("RGB")).tobytes()
