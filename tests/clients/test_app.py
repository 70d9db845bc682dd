"""`scripts/app.py` as somebody at this machine meets it: Chromium on loopback (`make clients`)."""

import base64
import os
import pathlib
import queue
import signal
import socket
import subprocess
import sys
import threading
import urllib.request

import cv2
import numpy as np
import pytest
from clients import browser

ROOT = pathlib.Path(__file__).parents[2]
PHOTO = ROOT / "amvur_jax" / "assets" / "photos" / "digit_IMG_1187_0.jpg"


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """The app's process; `address` is where it listens, `folder` where it may leave files."""
    pytest.importorskip("gradio", reason="no gradio: make clients")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # A shell that puts these tests into its background has them, and what they start, ignore Ctrl-C.
    command = ["env", "--default-signal=INT", sys.executable]
    command += [str(ROOT / "scripts" / "app.py"), f"--port={port}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    folder = tmp_path_factory.mktemp("left")
    places = os.environ | {"TMPDIR": str(folder)}
    with subprocess.Popen(command, cwd=ROOT, env=places, **pipes) as app:
        lines, said = queue.Queue(), []
        threading.Thread(target=lambda: [lines.put(x) for x in app.stdout], daemon=True).start()
        try:
            while not said or not said[-1].startswith("http://"):
                said.append(lines.get(timeout=180))
            app.address, app.folder = said[-1].split()[0], folder
            yield app
        finally:
            app.kill()


@pytest.mark.slow
def test_it_listens_to_this_machine_alone(app):
    port = int(app.address.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    with pytest.raises(OSError):
        # on Linux a second address of the same machine, which one that listens to all answers
        socket.create_connection(("127.0.0.2", port), timeout=5)


@pytest.mark.slow
def test_a_photo_is_dropped_and_its_hand_turned(app, tmp_path):
    from selenium.webdriver import ActionChains

    def mesh():
        chromium.painted()
        data = driver.find_element("id", "mesh").screenshot_as_png
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)

    broken = tmp_path / "broken.jpg"
    broken.write_bytes(PHOTO.read_bytes()[:500])
    with browser((1400, 1100)) as chromium:
        driver = chromium.driver
        driver.get(app.address)
        upload = "#photo input[type=file]"
        # gradio puts its parts there one after the other
        there = f"return ['{upload}', '#start', '#files'].every((x) => document.querySelector(x))"
        for path, words in ((None, "there is no photo yet"), (broken, "broken.jpg: is truncated")):
            chromium.until(there)
            if path:
                driver.find_element("css selector", upload).send_keys(str(path))
                chromium.until("return document.querySelector('#photo img')")
            driver.find_element("id", "start").click()
            chromium.until(
                "const said = document.querySelector('#shown [role=alert]');"
                f"return said && said.textContent.startsWith('{words}')"
            )
        driver.refresh()
        chromium.until(there)
        driver.find_element("css selector", upload).send_keys(str(PHOTO))
        chromium.until("return document.querySelector('#photo img')")
        driver.find_element("id", "start").click()
        chromium.until("return document.querySelector('#shown iframe')", 300)
        chromium.until("return document.querySelectorAll('#files a').length >= 5")
        links = [a.get_attribute("href") for a in driver.find_elements("css selector", "#files a")]

        driver.switch_to.frame(driver.find_element("css selector", "#shown iframe"))
        chromium.until("return document.body.dataset.shown === '0'")
        before = mesh()
        ActionChains(driver).drag_and_drop_by_offset(
            driver.find_element("id", "mesh"), 120, 40
        ).perform()
        assert (np.abs(before - mesh()).max(-1) > 10).mean() > 0.02
        saved = driver.find_element("id", "save").get_attribute("href")
        assert "hand 1" in driver.find_element("id", "numbers").text.lower()

        (glb,) = [link for link in links if link.endswith(".glb")]
        assert glb.startswith(app.address)
        with urllib.request.urlopen(glb) as answer:
            assert answer.read() == base64.b64decode(saved.partition(",")[2])
        chromium.note()
        assert chromium.abroad(app.address) == []
        assert not [line for line in chromium.logged if line.startswith("SEVERE")]


@pytest.mark.slow
def test_when_it_ends_no_photo_is_left(app):
    assert any(app.folder.iterdir())
    app.send_signal(signal.SIGINT)
    app.wait(timeout=60)
    assert not [path for path in app.folder.rglob("*") if path.is_file()]
