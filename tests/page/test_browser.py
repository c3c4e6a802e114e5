"""The page as a browser shows it: nothing is cut off or hidden, on a telephone and on a desk, and nothing complains."""

import base64
import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ablate.page import page
from ablate.run.study_record import StudyRecord
from tests.verdict.worlds import DOMAINS, World, write, write_chain

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")]

QUICK = World(evaluations=8, tokens=300_000)
MANY = {f"qa_{share}": -0.01 + 0.0004 * share for share in range(11, 51)}

# Put into a copy of the page, of which a frame then has the width of a screen: the window of a headless browser
# cannot be as narrow as a telephone's. What is found is written as the page's title.
MEASURE = """<script>
const errors = [];
addEventListener("error", event => errors.push(event.message || "a resource"), true);
addEventListener("securitypolicyviolation", event => errors.push(event.blockedURI));
addEventListener("load", () => {
  for (const fold of document.querySelectorAll("details")) if (OPEN) fold.open = true;
  const root = document.documentElement, headline = document.getElementById("headline") || document.querySelector("h1");
  const box = headline.getBoundingClientRect(), scrolled = element => element.closest(".wide, .scroll");
  const texts = [...document.querySelectorAll("p, td, th, dd, dt, span, h1, h2, code, figcaption, summary")];
  const cut = texts.filter(text => !scrolled(text) && text.getClientRects().length
    && (text.getBoundingClientRect().right > innerWidth + 1 || text.getBoundingClientRect().left < -1));
  parent.postMessage({
    width: innerWidth, scrollWidth: root.scrollWidth, errors,
    headline: {text: headline.innerText, top: box.top, height: box.height, colour: getComputedStyle(headline).color,
               visible: headline.checkVisibility({opacityProperty: true, visibilityProperty: true})},
    paper: getComputedStyle(document.body).backgroundColor,
    cut: cut.map(text => text.tagName + " " + text.textContent.slice(0, 60)),
    names: [...document.querySelectorAll(".arm .row > span:first-child")].filter(name => name.innerText.length < 8)
      .map(name => name.getBoundingClientRect().height),
    hints: [...document.querySelectorAll(".sideways")].filter(hint => hint.checkVisibility()).length,
    images: [...document.images].map(image => image.naturalWidth * image.naturalHeight),
    figures: [...document.querySelectorAll("figure")].map(figure => {
      const svg = figure.querySelector("svg").getBoundingClientRect(); return [figure.id, svg.width, svg.height]; }),
    texts: [...document.querySelectorAll("figure svg text")].map(text => text.getBoundingClientRect().width),
  }, "*");
});
</script>"""
FRAME = """<!doctype html><body style="margin: 0">
<iframe src="%s" style="width: %dpx; height: 3000px; border: 0"></iframe>
<script>addEventListener("message", event => {
  document.title = btoa(unescape(encodeURIComponent(JSON.stringify(event.data)))); });</script>"""


def seen(study: StudyRecord, width: int, everything_open: bool = False, dark: bool = False) -> dict:
    """What the browser makes of the page of a study on a screen of this width, in pixels."""
    return shown(study.folder / "report", width, everything_open, dark)


def shown(folder: Path, width: int, everything_open: bool = False, dark: bool = False) -> dict:
    """What it makes of the page in a folder."""
    text = (folder / "index.html").read_text(encoding="utf-8")
    script = MEASURE.replace("OPEN", str(everything_open).lower())
    name = hashlib.sha256(f"{width} {script} {dark}".encode()).hexdigest()[:8]
    copy, frame = folder / f"copy-{name}.html", folder / f"frame-{name}.html"
    copy.write_text(text.replace("<head>", f"<head>{script}", 1), encoding="utf-8")
    frame.write_text(FRAME % (copy.name, width), encoding="utf-8")
    dumped = browse(frame, dark)
    title = re.search("<title>([^<]+)</title>", dumped)
    assert title, f"the page did not load: {dumped[:300]}"
    return json.loads(base64.b64decode(title[1]))


def browse(path: Path, dark: bool) -> str:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--window-size=1600,1200"]
    if dark:
        flags.append("--blink-settings=preferredColorScheme=0")
    flags += [f"--user-data-dir={path.parent / 'profile'}", "--virtual-time-budget=10000", "--dump-dom"]
    assert BROWSER
    command = [BROWSER, *flags, path.resolve().as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> StudyRecord:
    record = write(tmp_path_factory.mktemp("outputs"), QUICK)
    page.write(record)
    return record


@pytest.fixture(scope="module")
def crowded(tmp_path_factory) -> StudyRecord:
    """More arms than are shown in detail, some of them in trouble, with a long name."""
    outcomes = {("qa_12", 0): "diverged", ("qa_13", 1): "killed", ("qa_14", 2): "running"}
    effects = {"a_name_that_is_much_longer_than_any_other_arms_name": 0.004, **MANY}
    record = write(
        tmp_path_factory.mktemp("outputs"),
        World(effects=effects, outcomes=outcomes, evaluations=4, tokens=200_000, seeds=(0, 1, 2)),
    )
    page.write(record)
    return record


@pytest.fixture(scope="module")
def chained(tmp_path_factory) -> StudyRecord:
    """Three phases, of which the second has other domains."""
    other = {{"science": "chat"}.get(domain, domain): values for domain, values in DOMAINS.items()}
    first = dataclasses.replace(QUICK, phase="pretraining")
    second = dataclasses.replace(first, phase="tune", domains=other, tokens=100_000)
    third = dataclasses.replace(first, phase="polish", tokens=100_000, outcomes={("qa_12", 0): "diverged"})
    record = write_chain(tmp_path_factory.mktemp("outputs"), first, second, third, seeds=list(first.seeds))
    page.write(record)
    return record


@pytest.mark.parametrize("width", [400, 760, 900, 1200])
@pytest.mark.parametrize("which", ["study", "crowded", "chained"])
def test_nothing_is_wider_than_the_screen(which, width, request):
    found = seen(request.getfixturevalue(which), width, everything_open=True)
    assert found["width"] == width
    assert found["scrollWidth"] <= width
    assert not found["cut"]
    assert not found["errors"]


def test_a_short_name_stands_in_one_line_beside_what_is_noted_of_its_arm(crowded):
    found = seen(crowded, 400, everything_open=True)
    assert len(found["names"]) > 30
    assert max(found["names"]) < 30


def test_the_headline_is_what_one_sees_first(study):
    headline = seen(study, 400)["headline"]
    assert headline["text"].startswith("qa_20 is better than base by")
    assert headline["visible"]
    assert headline["height"] > 20
    assert headline["top"] < 500  # on the first screen of a telephone


def test_every_figure_is_drawn(study):
    found = seen(study, 1200)
    assert [name for name, _, _ in found["figures"]] == ["parallel", "losses", "saturation", "mixture", "schedule"]
    assert all(width > 700 and height > 100 for _, width, height in found["figures"])
    assert all(pixels > 0 for pixels in found["images"])
    assert len(found["texts"]) > 100
    assert all(width > 0 for width in found["texts"])


def test_the_figure_of_phases_is_drawn(chained):
    figures = {name: (width, height) for name, width, height in seen(chained, 1200)["figures"]}
    assert min(figures["phases"]) > 500


def test_a_figure_that_must_be_scrolled_says_so(study):
    narrow, wide = (seen(study, width) for width in (400, 1200))
    assert narrow["hints"] == len(narrow["figures"])
    assert wide["hints"] == 0


def test_dark_paper_has_light_ink(study):
    light, dark = (seen(study, 1200, dark=dark) for dark in (False, True))
    assert _brightness(light["paper"]) > 240 > 60 > _brightness(light["headline"]["colour"])
    assert _brightness(dark["paper"]) < 40 < 200 < _brightness(dark["headline"]["colour"])


def _brightness(colour: str) -> float:
    channels = [float(number) for number in re.findall(r"[\d.]+", colour)[:3]]
    return sum(channels) / 3


def test_what_is_too_wide_is_found(study):
    """The measurement itself: a page with a line that cannot be broken is found out."""
    path = study.folder / "report/index.html"
    before = path.read_text(encoding="utf-8")
    try:
        wide = "<p style='width: 2000px; max-width: none'>wide</p></main><script>undefined_name</script>"
        path.write_text(before.replace("</main>", wide), encoding="utf-8")
        found = seen(study, 760)
    finally:
        path.write_text(before, encoding="utf-8")
    assert found["scrollWidth"] > 2000
    assert found["cut"] == ["P wide"]
    assert found["errors"]
