"""The site: a page for every loss and public name, built strictly, and nothing in it is loaded from elsewhere."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import autorobustloss
from autorobustloss.registry import LOSSES, METHODS

pytest.importorskip("mkdocs", reason="the site is built with pip install 'autorobustloss[docs]'")

ROOT = Path(__file__).parents[1]
NAMES = sorted([*LOSSES, *METHODS])
LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "srcset",
    "link": "href",
    "use": "href",
    "object": "data",
}
"""What a browser loads without being asked; a link of a kind that is only read, such as `canonical`, is left out."""


class Page(HTMLParser):
    """What a page loads, where it leads, what its anchors are."""

    def __init__(self, path):
        super().__init__()
        self.loads, self.leads, self.anchors = [], [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and given.get("href"):
            self.leads.append(given["href"])
        elif given.get(LOADED.get(tag, "")) and given.get("rel") not in ("next", "prev", "canonical"):
            self.loads.append(given[LOADED[tag]])


def mkdocs(config, out):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(out)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site."""
    out = tmp_path_factory.mktemp("site")
    done = mkdocs(ROOT / "mkdocs.yml", out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def pages(site):
    """Return every page by its path."""
    return {path.relative_to(site).as_posix(): Page(path) for path in site.rglob("*.html")}


@pytest.mark.parametrize(
    ("text", "strict"),
    [("[good](index.md#here)\n\n## Here", True), ("[bad](no.md)", False), ("[bad](index.md#no)", False)],
)
def test_a_bad_link_is_an_error(text, strict, tmp_path):
    rules = re.search(r"^validation:\n(?:  .*\n)+", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.M)[0]
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Page\n\n{text}\n")
    (tmp_path / "mkdocs.yml").write_text(f"site_name: test\nplugins: []\n{rules}nav: [index.md]\n")
    assert (mkdocs(tmp_path / "mkdocs.yml", tmp_path / "out").returncode == 0) is strict


@pytest.mark.slow
def test_every_loss_and_method_has_a_page(site, pages):
    listed = {unquote(link) for link in pages["losses/index.html"].leads}
    for name in NAMES:
        text = (site / "losses" / f"{name}.html").read_text(encoding="utf-8")
        assert "<math" in text, name
        assert text.count('<svg viewBox="0 0 330') == 2, name
        assert re.search(r'<h2 id="source">.*?</h2>\s*<p>.{10,}', text, re.S), name
        curves = re.findall(r'<polyline class="(?:first|second)" points="([^"]*)"', text)
        assert len(curves) >= 2, name
        assert all(len(points.split()) >= 10 for points in curves), name
        assert f"{name}.html" in listed, name


@pytest.mark.slow
def test_ranks_are_those_of_the_table(site):
    """The column `rank` of the committed table, which `arl bench` wrote from unrounded accuracies."""
    table = (ROOT / "docs" / "evidence" / "held-out.md").read_text(encoding="utf-8")
    printed = re.findall(r"^\| (\S+) \|.*\| ([\d.]+) \| \S+ \|$", table, re.M)[:34]
    assert len(printed) == 34
    for name, rank in printed:
        text = (site / "losses" / f"{name}.html").read_text(encoding="utf-8")
        found = re.search(r"<td>all</td>\s*<td[^>]*>([\d.]+) \((\d+) of 34\)", text)
        assert float(found[1]) == pytest.approx(float(rank), abs=0.056), name
        assert int(found[2]) == 1 + sum(float(other) < float(rank) - 0.006 for _, other in printed), name


@pytest.mark.slow
def test_pictures_show_the_gradient():
    """Of a loss by its formula, of a method by another way to the same: forward correction under symmetric noise."""
    sys.path.insert(0, str(ROOT / "docs" / "generate"))
    try:
        import pictures
    finally:
        sys.path.pop(0)
    p = pictures.PROBABILITIES
    (gce,) = pictures.of_loss(autorobustloss.create_loss("gce")).values()
    assert gce == pytest.approx(p**0.7 * (1 - p), abs=1e-6)
    (fw,) = pictures.of_method(METHODS.create("fw", oracle=True)).values()
    off, on = 0.4 / 9, 0.6  # -d/dz_y of -log(p T)_y
    assert fw == pytest.approx(p * (1 - p) * (on - off) / (off + p * (on - off)), abs=1e-6)
    (mixed,) = pictures.of_method(METHODS.create("logitclip", tau=1e9)).values()
    assert mixed == pytest.approx(1 - p, abs=1e-6)


@pytest.mark.slow
def test_every_public_name_is_in_the_api(pages):
    anchors = set().union(*(page.anchors for path, page in pages.items() if path.startswith("api/")))
    modules = {"autorobustloss.analysis": "autorobustloss.losses.analysis"}
    modules |= {"autorobustloss.search": "autorobustloss.search.api.search"}
    modules |= {"autorobustloss.bench": "autorobustloss.benchmark.bench.bench"}
    for name in autorobustloss.__all__:
        full = f"autorobustloss.{name}"
        assert modules.get(full, full) in anchors, name


@pytest.mark.slow
def test_links_lead_somewhere(site, pages):
    for path, page in pages.items():
        if path == "404.html":
            continue
        for link in (*page.leads, *page.loads):
            scheme, _, target, _, anchor = urlsplit(link)
            if scheme:
                continue
            found = (site / path).parent / unquote(target) if target else site / path
            assert found.is_file(), (path, link)
            if anchor and found.suffix == ".html" and anchor != "__comments":
                known = pages[found.resolve().relative_to(site.resolve()).as_posix()].anchors
                assert unquote(anchor) in known, (path, link)


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(site, pages):
    for path, page in pages.items():
        assert not [link for link in page.loads if urlsplit(link).scheme not in ("", "data")], path
        assert not [link for link in page.loads if link.startswith("//")], path
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert "@import" not in text, style
        assert not re.findall(r"url\(['\"]?(?:https?:)?//[^)]*", text), style


@pytest.mark.slow
def test_search_needs_no_server(site):
    assert (site / "search" / "search_index.js").read_text(encoding="utf-8").startswith("var __index = ")
    assert "iframe-worker" in (site / "index.html").read_text(encoding="utf-8")
