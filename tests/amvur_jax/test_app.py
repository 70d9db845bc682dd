"""What the app answers, without its library; tests/clients/test_app.py has it in a browser."""

import html
import re
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hands import SIZE, faces, hand

from amvur_jax import app
from amvur_jax import predict as predict_module
from amvur_jax.errors import UserError


class Made:
    """A reconstructor of as many hands as the first pixel's red."""

    faces = faces()

    def sights(self, image, focal=None, boxes=None, focal_source="given"):
        self.asked = focal
        return [hand(focal=100.0)] * int(image[0, 0, 0])

    def hands(self, sights):
        return sights


@pytest.fixture(autouse=True)
def no_drawing(monkeypatch):
    monkeypatch.setattr(predict_module, "overlay", lambda image, hands, faces: image)


def photo(folder, hands):
    path = folder / f"photo_{hands}.png"
    PIL.Image.new("RGB", SIZE, (hands, 0, 0)).save(path)
    return str(path)


def test_it_shows_the_page_of_the_run_and_gives_all_its_files(tmp_path):
    made = Made()
    element, files = app.answer(made, photo(tmp_path, 2), " 26mm ", tmp_path)
    (page,) = [path for path in map(Path, files) if path.name == "index.html"]
    (shown,) = re.findall(r'<iframe [^>]*srcdoc="([^"]*)"></iframe>$', element)
    assert html.unescape(shown) == page.read_text()
    assert "allow-same-origin" not in element
    names = {"index.html", "hands.jsonl", "hands.npz", "pictures.jsonl", "photo_2_overlay.jpg"}
    assert {Path(f).name for f in files} == names | {f"photo_2.{k}" for k in ("glb", "obj", "ply")}
    assert made.asked == (26.0, "mm")
    assert len(np.load(page.with_name("hands.npz"))["side"]) == 2


def test_answers_do_not_meet(tmp_path):
    """The same photo again, as two people ask: each has files of its own."""
    first, second = (app.answer(Made(), photo(tmp_path, 1), "", tmp_path)[1] for _ in range(2))
    assert not set(first) & set(second) and all(Path(f).is_file() for f in first + second)


def test_what_is_wrong_is_said_without_the_folders_of_the_server(tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"nothing")
    for given, focal, words in [
        (None, "", "there is no photo yet"),
        (str(broken), "", "^broken.jpg: is truncated"),
        (photo(tmp_path, 0), "", "^photo_0.png: no hand was found"),
        (photo(tmp_path, 1), "far", "focal=far"),
    ]:
        with pytest.raises(UserError, match=words):
            app.answer(Made(), given, focal, tmp_path)


def test_without_its_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match=r"pip install 'amvur-jax\[app\]'"):
        app.gradio()
