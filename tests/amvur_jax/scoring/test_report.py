"""The report: one file, nothing from outside, every name escaped."""

from html.parser import HTMLParser

import numpy as np
import pytest
from eval_case import arrays

from amvur_jax.data.layouts import LAYOUTS
from amvur_jax.scoring import report, uncertainty
from amvur_jax.scoring.tables import score


class Links(HTMLParser):
    """Collects what a page loads, and its text."""

    def __init__(self):
        super().__init__()
        self.loaded, self.tags, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loaded += [v for k, v in attrs if k in ("src", "srcset", "href", "data", "action")]

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def scored():
    return score(*arrays(), names=[f"A<b>&{i % 2}/{i:04d}" for i in range(20)])


def read(text):
    links = Links()
    links.feed(text)
    return links


def test_it_loads_nothing_from_outside_and_escapes_names(scored):
    rng = np.random.default_rng(0)
    points = uncertainty.points(rng.normal(0, 0.01, (20, 20, 3)), np.full((20, 20, 3), -9.0))
    kinds = {"joints": points, "vertices": points}
    summary = scored.summary() | {"uncertainty": uncertainty.summarize(kinds, scored.names)}
    frames = {i: {"crop": np.zeros((8, 8, 3), np.uint8)} for i in range(20)}
    page = report.page(
        scored,
        summary,
        title="A title",
        subtitle="x <script>",
        published=LAYOUTS["ho3d_v2"].published,
        points=kinds,
        frames=frames,
        typical=[0, 3],
    )
    found = read(page)
    assert len(found.loaded) > 20
    assert all(link.startswith("data:image/") for link in found.loaded)
    assert not {"script", "link", "iframe", "b>"} & set(found.tags)
    assert "http" not in page.replace("http-equiv", "")
    assert "A<b>&0/0014" in found.text
    for expected in (
        "HaMeR",
        "this checkpoint",
        f"{summary['pa_mpjpe_mm']:.1f}",
        "xyz_procrustes_al_auc3d",
    ):
        assert expected in found.text


def test_without_frames_or_sigmas_it_is_a_page_all_the_same(scored, monkeypatch):
    monkeypatch.setattr(report.plots, "svg", lambda *_, **__: b"<svg/>")
    found = read(report.page(scored, scored.summary(), title="t", subtitle="s"))
    assert "The 10 worst frames" in found.text
    assert "sigma" not in found.text


def test_the_same_scores_make_the_same_picture(scored):
    pictures = [report.plots.svg(report.plots.pck, scored.scores) for _ in range(2)]
    assert pictures[0] == pictures[1]
