"""The report: a page that needs nothing else, whose numbers are right and whose text is escaped."""

import base64
import io
import json
import math
import os
import re
import shutil
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import FACES, ORIGINAL, encode
from golden.renew import GOLDEN
from PIL import Image

from mspt.arrays import RGB
from mspt.cli.reporting import report
from mspt.cli.scoring import score
from mspt.errors import ConfigError, DataError, WriteError
from mspt.image.crop import crop_centre_square
from mspt.image.preprocess import resize_rgb
from mspt.scores.page import render_report, write_report
from mspt.scores.read import Cells, ScoreRow, open_scores, write_rows
from mspt.scores.summary import Summary, summarise
from mspt.scores.thumbnails import THUMB_PX, thumbnail_uri


class Page(HTMLParser):
    """Checks that tags nest, and gathers what the tests ask for."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def write_file(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Write rows; what a row does not say is filled in."""
    cells: list[Cells] = [
        {"path": f"{number}.png", "score": None, "status": "ok", "error": "", "model": "base@1"}
        | row
        for number, row in enumerate(rows)
    ]
    columns = tuple(dict.fromkeys(name for row in cells for name in row))
    write_rows(path, columns, [ScoreRow(0, row["path"], None, "ok", row) for row in cells])
    return path


def summary_of(folder: Path, rows: Iterable[dict[str, Any]], shown: int = 3) -> Summary:
    return summarise(open_scores(write_file(folder / "s.csv", rows)), shown)


def page_of(summary: Summary, *, title: str = "T", picture: str | None = "data:,") -> Page:
    return Page(render_report(summary, title=title, picture_of=lambda row: picture))


def run(*arguments: str | Path) -> Result:
    done = CliRunner().invoke(report, [*map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_a_summary_counts_what_is_there(tmp_path: Path) -> None:
    rows = [{"score": value} for value in (0.5, 0.9, 0.1, 0.7)]
    rows += [{"path": "0.png", "score": 0.3, "model": "fast@1"}]  # a second face of that photo
    rows += [{"path": f"bad{i}", "status": "unreadable", "error": f"e{i}"} for i in range(5)]
    found = summary_of(tmp_path, rows)
    assert (found.rows, found.photos) == (10, 9)
    assert found.scores.tolist() == [0.5, 0.9, 0.1, 0.7, 0.3]
    assert found.models == ["base@1", "fast@1"]
    assert found.failed == {"unreadable": 5}
    assert [row.path for row in found.examples["unreadable"]] == ["bad0", "bad1", "bad2"]
    assert [row.score for row in found.best] == [0.9, 0.7, 0.5]
    assert [row.score for row in found.worst] == [0.1, 0.3]


@pytest.mark.parametrize(("rows", "best", "worst"), [(0, 0, 0), (1, 1, 0), (2, 1, 1), (9, 3, 3)])
def test_no_row_is_both_best_and_worst(rows: int, best: int, worst: int, tmp_path: Path) -> None:
    failed = {"status": "too_small", "error": "small"}
    found = summary_of(tmp_path, [failed, *({"score": 0.5} for _ in range(rows))])
    assert (len(found.best), len(found.worst)) == (best, worst)
    assert not {row.line for row in found.best} & {row.line for row in found.worst}


def test_measures_and_reasons_are_summed_up(tmp_path: Path) -> None:
    rows = [
        {"score": i / 10, "sharpness": i**2, "noise": "" if i % 2 else -i, "contrast": 1, "x": "?"}
        | {"reasons": f"too dark; small face: {90 + i} px enlarged" if i < 4 else ""}
        for i in range(10)
    ]
    found = summary_of(tmp_path, rows)
    sharpness, noise, contrast = found.measures
    assert (sharpness.name, sharpness.rows, sharpness.srcc) == ("sharpness", 10, pytest.approx(1))
    assert sharpness.quantiles == pytest.approx(
        np.quantile([i**2 for i in range(10)], [0.1, 0.5, 0.9])
    )
    assert (noise.rows, noise.srcc) == (5, pytest.approx(-1))
    assert math.isnan(contrast.srcc)
    assert found.reasons == {"too dark": 4, "small face": 4}
    text = page_of(found).text
    for said in ("sharpness", "+1.000", "-1.000", "–", "too dark", "40.0%"):
        assert said in text


def test_a_measure_that_is_no_number_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"s\.csv, line 3: noise 'much' is not a number"):
        summary_of(tmp_path, [{"score": 0.5, "noise": 1}, {"score": 0.5, "noise": "much"}])


def test_the_histogram_agrees_with_the_bands(tmp_path: Path) -> None:
    scores = [0.0, 0.199999, 0.2, 0.4, 0.6, 0.799999, 0.8, 1.0, 1.0]
    found = summary_of(tmp_path, [{"score": value} for value in scores])
    (svg,) = page_of(found).all("svg")
    assert svg["aria-label"] == (
        "Histogram of scores from 0 to 1: bad 2, poor 1, fair 1, good 2, excellent 3"
    )
    bars = page_of(found).all("rect")
    assert len(bars) == 20
    drawn = {band: 0 for band in ("bad", "poor", "fair", "good", "excellent")}
    for bar in bars:
        drawn[str(bar["class"])] += float(str(bar["height"])) > 0
    assert drawn == {"bad": 2, "poor": 1, "fair": 1, "good": 2, "excellent": 2}
    tallest = max(bars, key=lambda bar: float(str(bar["height"])))
    assert (tallest["class"], tallest["y"]) == ("excellent", "0.0")


def test_one_row_among_very_many_is_still_drawn(tmp_path: Path) -> None:
    found = summary_of(tmp_path, [{"score": 0.99}, *({"score": 0.01} for _ in range(5000))])
    heights = [float(str(bar["height"])) for bar in page_of(found).all("rect")]
    assert heights[-1] >= 1
    assert sum(height > 0 for height in heights) == 2


EVIL = "<script>alert(\"1\")<u> & 'größer' 日本 $title.png"


def test_everything_from_outside_is_escaped(tmp_path: Path) -> None:
    rows = [
        {"path": EVIL, "score": 0.5, "model": "<i>m", "reasons": "<u>r", "noise": 1},
        {"path": f"x/{EVIL}", "status": "<s>", "error": '<img src="http://x">'},
    ]
    for picture in ("data:,", None):
        page = page_of(summary_of(tmp_path, rows), title=f"<b>{EVIL}", picture=picture)
        assert {tag for tag, _ in page.tags}.isdisjoint({"script", "i", "u", "s"})
        for said in (
            EVIL,
            f"x/{EVIL}",
            "<i>m",
            "<u>r",
            "<s>",
            '<img src="http://x">',
            f"<b>{EVIL}",
        ):
            assert said in page.text
        alts = [image["alt"] for image in page.all("img")]
        assert alts == ([f"face in {EVIL}, score 0.500"] if picture else [])


def test_a_name_that_utf8_cannot_hold_ends_no_report(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text('{"path": "a\\udcff.png", "score": 0.5, "status": "ok", "error": "\\ud800"}\n')
    write_report(tmp_path / "r.html", summarise(open_scores(path), 1))
    assert "a\\udcff.png" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_the_page_of_real_photos_needs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cut.png").write_bytes(ORIGINAL.read_bytes()[:5000])
    options = ["-o", "s.csv", "--backend", "onnxruntime"]
    done = CliRunner().invoke(score, [str(FACES), "cut.png", *options])
    assert done.exit_code == 0
    done = run("s.csv", "-o", "r.html", "--within", str(FACES))
    assert (done.exit_code, done.stderr) == (0, "")
    text = Path("r.html").read_text(encoding="utf-8")
    assert len(text) < 12_000 + 11 * 8_000
    page = Page(text)
    assert not page.all("script")
    addresses = [
        str(attributes[name])
        for tag, attributes in page.tags
        for name in ("src", "href", "srcset", "data", "action")
        if name in attributes and tag != "a"  # followed by a click alone: to the photo
    ]
    assert len(addresses) == 1 + 11
    assert all(address.startswith("data:") for address in addresses)
    assert not re.search(r"url\(|@import|https?:", text)
    for said in (
        "Perceptual quality of 12 photos",
        "not a recognition score",
        "base@",
        "original.png",
        "cut.png: damaged or cut short",
    ):
        assert said in page.text
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))["faces"]["original.png"]["score"]
    assert page.all("img")[0]["alt"] == f"face in original.png, score {golden:.3f}"
    assert run("s.csv", "-o", "again.html", "--within", str(FACES)).exit_code == 0
    assert Path("again.html").read_bytes() == Path("r.html").read_bytes()


def test_the_page_fits_phones_dark_rooms_and_screen_readers(tmp_path: Path) -> None:
    rows = [{"score": 0.5}, {"status": "unreadable", "error": "e"}]
    text = render_report(summary_of(tmp_path, rows), title="T", picture_of=lambda row: None)
    page = Page(text)
    assert "prefers-color-scheme: dark" in text
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    assert page.all("html") == [{"lang": "en"}]
    headings = [tag for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert headings == ["h1", "h2", "h2", "h3", "h2", "h2"]
    names = [section["aria-labelledby"] for section in page.all("section")]
    assert names == [heading["id"] for heading in page.all("h2")]
    assert all(header["scope"] == "col" for header in page.all("th"))


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_text_and_bars_stand_out_from_their_ground_in_both_modes(tmp_path: Path) -> None:
    text = render_report(
        summary_of(tmp_path, [{"score": 0.5}]), title="", picture_of=lambda r: None
    )
    modes = re.findall(r":root \{(.*?)\}", text, flags=re.DOTALL)
    assert len(modes) == 2
    for mode in modes:
        colours = dict(re.findall(r"--([\w-]+): (#\w{6})", mode))
        for ground in ("page", "card"):
            for name, least in [("text", 7), ("faint", 4.5)]:
                assert contrast(colours[name], colours[ground]) >= least, (name, ground)
        for band in ("bad", "poor", "fair", "good", "excellent"):
            assert contrast(colours[band], colours["card"]) >= 3, band


def contrast(first: str, second: str) -> float:
    darker, lighter = sorted((luminance(first), luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def test_photos_that_are_gone_leave_a_placeholder_and_a_word(tmp_path: Path) -> None:
    scores = write_file(tmp_path / "s.csv", [{"path": "gone/a.png", "score": 0.5}])
    done = run(scores, "-o", tmp_path / "r.html")
    assert done.exit_code == 0
    assert done.stderr.startswith("1 thumbnails have no picture: their photos are not found")
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert not page.all("img")
    labels = [box.get("aria-label") for box in page.all("div") if box.get("role") == "img"]
    assert labels == ["no picture of a.png"]


def test_a_file_without_any_score_gets_a_page(tmp_path: Path) -> None:
    page = page_of(summary_of(tmp_path, [{"status": "unreadable", "error": "the file is empty"}]))
    assert "the file is empty" in page.text
    assert not page.all("svg")


def test_thumbs_0_shows_no_face_and_too_many_are_refused(tmp_path: Path) -> None:
    scores = write_file(tmp_path / "s.csv", [{"path": str(ORIGINAL), "score": 0.5}])
    assert run(scores, "-o", tmp_path / "r.html", "--thumbs", "0").exit_code == 0
    assert "<figure>" not in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert run(scores, "-o", tmp_path / "r.html", "--thumbs", "101").exit_code == 2


def test_what_cannot_be_written_leaves_the_old_page(tmp_path: Path) -> None:
    scores = write_file(tmp_path / "s.csv", [{"score": 0.5}])
    with pytest.raises(WriteError, match=r"no/r\.html: cannot be written: No such file"):
        run(scores, "-o", tmp_path / "no/r.html")
    with pytest.raises(ConfigError, match=r"r\.pdf: a report's name ends in \.html"):
        run(scores, "-o", tmp_path / "r.pdf")
    (tmp_path / "r.html").write_text("old")
    scores.write_text("path,score,status\na,much,ok\n")
    with pytest.raises(DataError, match="line 2: score 'much' is not a number"):
        run(scores, "-o", tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html", "s.csv"]


# Thumbnails


def thumbnail(path: Path | str, **cells: object) -> RGB:
    uri = thumbnail_uri(ScoreRow(2, str(path), 0.5, "ok", cells))
    assert uri is not None
    form, _, data = uri.partition(",")
    assert form == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def difference(first: RGB, second: RGB) -> float:
    return float(np.abs(first.astype(float) - second).mean())


def test_a_thumbnail_is_the_centred_square_that_was_scored(tmp_path: Path, face: RGB) -> None:
    wide = np.pad(face, ((0, 0), (200, 200), (0, 0)))
    (tmp_path / "wide.png").write_bytes(encode(wide, "PNG"))
    small = thumbnail(tmp_path / "wide.png", x1="", y1=None)
    assert small.shape == (THUMB_PX, THUMB_PX, 3)
    assert difference(small, resize_rgb(crop_centre_square(face), THUMB_PX, THUMB_PX)) < 6


def test_a_thumbnail_is_upright(tmp_path: Path, face: RGB) -> None:
    turned = Image.fromarray(face).transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned clockwise
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    assert difference(thumbnail(tmp_path / "turned.jpg"), thumbnail(ORIGINAL)) < 6


def test_a_box_is_cut_out_with_some_margin(tmp_path: Path, face: RGB) -> None:
    photo = np.zeros((900, 1400, 3), dtype=np.uint8)
    photo[400:720, 1000:1320] = face
    (tmp_path / "p.png").write_bytes(encode(photo, "PNG"))
    # 1.64 times 190 px around (1160, 560), as it is scored: 312 px, all of them face
    small = thumbnail(tmp_path / "p.png", x1="1065", y1="465", x2="1255", y2="655")
    assert difference(small, resize_rgb(face[4:316, 4:316], THUMB_PX, THUMB_PX)) < 6


@pytest.mark.parametrize(
    "box", [(-50, -50, 100, 100), (280, 280, 5000, 5000), (-1e6, 0, 1e6, 320), (0, 0, 0.5, 0.5)]
)
def test_a_box_at_or_beyond_the_edge_still_gives_a_picture(box: tuple[float, ...]) -> None:
    small = thumbnail(ORIGINAL, **dict(zip(("x1", "y1", "x2", "y2"), box, strict=True)))
    assert small.shape[0] == small.shape[1] <= THUMB_PX


@pytest.mark.parametrize(
    "box",
    [("5", "5", "5", "9"), ("9", "0", "5", "5"), ("a", "0", "5", "5"), ("-inf", "0", "inf", "5")],
)
def test_a_box_without_area_shows_the_whole_photo(box: tuple[str, ...]) -> None:
    cells: dict[str, object] = dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))
    assert difference(thumbnail(ORIGINAL, **cells), thumbnail(ORIGINAL)) == 0


def test_a_photo_that_is_no_image_has_no_thumbnail(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    for path in (tmp_path / "notes.txt", tmp_path / "gone.png", tmp_path):
        assert thumbnail_uri(ScoreRow(2, str(path), 0.5, "ok", {})) is None


def test_a_cut_shows_both_sides_and_all_that_is_dropped(tmp_path: Path) -> None:
    rows = "".join(f"p{i}.png,{i / 20},ok\n" for i in range(20))
    (tmp_path / "s.csv").write_text(f"path,score,status\n{rows}gone.png,,unreadable\n")
    file = open_scores(tmp_path / "s.csv")
    for options in ({"min_score": 0.5}, {"keep": 0.5}):
        cut = summarise(file, 3, **options).cut
        assert cut is not None
        assert (cut.min_score, cut.kept, cut.dropped) == (0.5, 10, 10)
        assert [row.path for row in cut.above] == ["p10.png", "p11.png", "p12.png"]
        assert [row.path for row in cut.below] == ["p9.png", "p8.png", "p7.png"]
        assert [row.path for row in cut.sample] == [f"p{i}.png" for i in (9, 7, 5, 4, 2, 0)]
    nothing = summarise(file, 3, min_score=0).cut
    assert nothing is not None
    assert (nothing.dropped, nothing.below, nothing.sample) == (0, [], [])
    assert summarise(file, 3).cut is None
    with pytest.raises(ConfigError, match="--min-score must lie in"):
        summarise(file, 3, min_score=2)


def test_the_page_of_a_cut_says_what_a_threshold_drops_and_links_to_the_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    names = ("a b.png", "b#.png", "c.png")
    for name in names:
        (tmp_path / "photos" / name).write_bytes(ORIGINAL.read_bytes())
    lines = [
        f"photos/{name},{score},ok,too dark"
        for name, score in zip(names, (0.9, 0.6, 0.2), strict=True)
    ]
    (tmp_path / "s.csv").write_text("\n".join(["path,score,status,reasons", *lines]))
    done = CliRunner().invoke(report, ["s.csv", "-o", "out.html", "--keep", "0.67"])
    assert done.exit_code == 0, done.output
    page = Page((tmp_path / "out.html").read_text())
    assert "A threshold of 0.6 keeps 2 and drops 1 of the scored rows." in page.text
    assert "Dropped, just below" in page.text
    assert "too dark" in page.text
    assert {link["href"] for link in page.all("a")} == {
        *("photos/a%20b.png", "photos/b%23.png", "photos/c.png")
    }
    with pytest.raises(ConfigError, match="give one of the two"):
        CliRunner().invoke(
            report,
            ["s.csv", "-o", "out.html", "--keep", "0.5", "--min-score", "0.5"],
            catch_exceptions=False,
        )


def test_needed_columns_are_enough_and_names_may_be_any_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(ORIGINAL.read_bytes())
    (tmp_path / "s.csv").write_text("path,score,status\n\\xff.png,0.5,ok\nb.png,,unreadable\n")
    done = CliRunner().invoke(report, ["s.csv", "-o", "out.html"], catch_exceptions=False)
    assert done.exit_code == 0
    assert [link["href"] for link in Page((tmp_path / "out.html").read_text()).all("a")] == [
        "%FF.png"
    ]


def test_all_folders_to_allow_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("work", "a b", "c"):
        (tmp_path / folder).mkdir()
        shutil.copy(ORIGINAL, tmp_path / folder)
    monkeypatch.chdir(tmp_path / "work")
    photos = [str(tmp_path / folder / ORIGINAL.name) for folder in ("a b", "c")]
    assert CliRunner().invoke(score, [*photos, "-o", "s.csv"]).exit_code == 0
    done = run("s.csv", "-o", "r.html")
    assert "2 photos were not opened, as they lie elsewhere than SCORES" in done.stderr
    assert f"--within '{tmp_path / 'a b'}' --within {tmp_path / 'c'}" in done.stderr
