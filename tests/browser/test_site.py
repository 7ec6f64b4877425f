"""Three pages of the site, as built into site/ (or $SITE): they load alone, fit a phone, are accessible, turn dark."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SITE = Path(os.environ.get("SITE") or Path(__file__).parents[2] / "site")
PAGES = ("index.html", "choose.html", "losses/gce.html")
WIDTHS = (360, 800, 1280)


@pytest.fixture(params=PAGES)
def file(request):
    """Return a page of the site; skip the test where the site is not built."""
    if not (SITE / "index.html").is_file():
        pytest.skip(f"needs the site in {SITE}: mkdocs build, or its folder in $SITE")
    assert (SITE / request.param).is_file(), f"the site has no {request.param}"
    return SITE / request.param


def test_it_loads_alone_and_fits(file, opened):
    with opened(file, own=SITE) as page:
        assert page.locator("h1").count() == 1
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_accessible_in_either_theme(file, theme, opened, faults_of):
    with opened(file, own=SITE, theme=theme) as page:
        scheme = page.evaluate("document.body.dataset.mdColorScheme")
        assert (scheme == "slate") == (theme == "dark")
        assert faults_of(page) == []


def test_its_theme_is_switched_by_hand(file, opened):
    with opened(file, own=SITE) as page:
        seen = set()
        for _ in range(3):
            seen.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            page.locator("label.md-header__button[for^=__palette]:visible").first.click()
        assert len(seen) == 2
