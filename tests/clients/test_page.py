"""The page of `predict --html` in headless Chromium, opened from disk (`make clients`)."""

import cv2
import numpy as np
import pytest
from clients import browser
from hands import hand, leave_run, leave_video, moving

from amvur_jax.hands.page import write_page

EVIL = "<img src=x onerror=document.title='run'>.jpg"
RED, GREEN = np.tile([[0.8, 0.1, 0.1]], (778, 1)), np.tile([[0.1, 0.6, 0.1]], (778, 1))
SHOWN = "return document.body.dataset.shown === '{}'"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Two pictures: a red hand that is sure, a green one that is not; between them one without a hand."""
    folder = tmp_path_factory.mktemp("page")
    sure = hand(at=(0.1, 0, 0.5))._replace(colors=RED, vertices_sigma_mm=np.full(778, 5.0))
    unsure = hand("left")._replace(colors=GREEN, vertices_sigma_mm=np.full(778, 20.0))
    pictures = (EVIL, "a", [sure]), ("none.jpg", "none", []), ("b.jpg", "b", [unsure])
    return write_page(folder, *leave_run(folder, *pictures))


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A video of 20 frames, 25 a second: a red hand that moves, later a green one too; and a photo."""
    folder = tmp_path_factory.mktemp("video")
    entry, lines = leave_video(folder, "clip.mp4", "clip", moving(20, 25))
    photos, others = leave_run(folder, ("b.jpg", "b", [hand()]))
    return write_page(folder, [entry, *photos], lines + others)


def mesh(chromium):
    """The canvas as it is seen, (H, W, 3) RGB."""
    canvas = chromium.driver.find_element("id", "mesh")
    chromium.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    chromium.painted()
    data = canvas.screenshot_as_png
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB).astype(int)


def hue(picture):
    """The mean colour of what is not background, and the share of it."""
    drawn = np.ptp(picture, -1) > 25
    return picture[drawn].mean(0), drawn.mean()


def shares(picture):
    """How much of a picture is rather red, and rather green."""
    red, green, _ = np.moveaxis(picture, -1, 0)
    return (red > 1.5 * green).mean(), (green > 1.5 * red).mean()


def changed(a, b):
    return (np.abs(a - b).max(-1) > 10).mean()


@pytest.mark.slow
def test_the_mesh_turns_shows_sigma_and_nothing_is_asked_of_the_network(page):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    with browser() as chromium:
        driver = chromium.driver
        driver.get(page.as_uri())
        chromium.until(SHOWN.format(0))
        assert driver.find_element("id", "title").text == EVIL
        assert driver.title != "run" and not driver.find_elements("css selector", "bdi img")
        first = mesh(chromium)
        color, share = hue(first)
        assert share > 0.05 and color[0] > 2 * max(color[1:])  # red

        canvas = driver.find_element("id", "mesh")
        ActionChains(driver).drag_and_drop_by_offset(canvas, 120, 40).perform()
        assert changed(first, turned := mesh(chromium)) > 0.02
        driver.execute_script("arguments[0].focus()", canvas)
        canvas.send_keys(Keys.ARROW_LEFT)
        assert changed(turned, mesh(chromium)) > 0.01
        canvas.send_keys("0")
        assert changed(first, mesh(chromium)) < 0.001

        driver.find_element("css selector", "input[value=sigma]").click()
        color, same = hue(mesh(chromium))
        assert color[2] > color[1] and abs(same - share) < 0.01  # the purple end of the scale
        assert "5" in driver.find_element("css selector", ".scale").text

        buttons = driver.find_elements("css selector", "nav li button")
        buttons[2].click()
        chromium.until(SHOWN.format(2))
        color, share = hue(mesh(chromium))
        assert share > 0.05 and color[:2].min() > 1.5 * color[2]  # the yellow end
        assert "left hand 1" in driver.find_element("id", "numbers").text.lower()
        driver.find_element("css selector", "input[value=photo]").click()
        color, _ = hue(mesh(chromium))
        assert color[1] > 1.5 * max(color[0], color[2])  # green

        buttons[2].send_keys(Keys.ARROW_LEFT)
        assert driver.find_element("id", "nothing").text == "no hand was found"
        assert not driver.find_element("id", "solid").is_displayed()

        chromium.note()
        assert chromium.logged == [] and chromium.abroad(page.as_uri()) == []


@pytest.mark.slow
def test_on_a_telephone_nothing_is_wider_than_the_screen(page):
    with browser() as chromium:
        metrics = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
        chromium.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        chromium.driver.get(page.as_uri())
        chromium.until(SHOWN.format(0))
        width = chromium.driver.execute_script("return document.documentElement.scrollWidth")
        assert width <= 360
        color, share = hue(mesh(chromium))
        assert share > 0.02 and color[0] > 2 * max(color[1:])


@pytest.mark.slow
def test_a_video_plays_and_is_held(video):
    from selenium.webdriver.common.keys import Keys

    with browser() as chromium:
        driver = chromium.driver
        driver.get(video.as_uri())
        chromium.until(SHOWN.format(0))
        play, scrub, time = (driver.find_element("id", name) for name in ("play", "scrub", "time"))
        assert play.text == "Pause"  # it plays by itself
        chromium.until("return Number(document.getElementById('scrub').value) >= 5")
        play.click()
        held, when = mesh(chromium), time.text
        for _ in range(5):
            chromium.painted()
        assert changed(held, mesh(chromium)) == 0 and time.text == when and play.text == "Play"

        scrub.send_keys(Keys.HOME)
        first = mesh(chromium)
        assert changed(first, held) > 0.01
        red, green = shares(first)
        assert red > 0.02 and green < 0.001 and time.text == "0.00 s of 0.76 s"
        scrub.send_keys(Keys.ARROW_RIGHT)
        assert time.text == "0.04 s of 0.76 s" and changed(first, mesh(chromium)) > 0.0005
        scrub.send_keys(Keys.END)
        last = mesh(chromium)
        assert min(shares(last)) > 0.01 and time.text == "0.76 s of 0.76 s"
        # the red one has gone to the right
        middles = [np.argwhere(x[..., 0] > 1.5 * x[..., 1])[:, 1].mean() for x in (first, last)]
        assert middles[1] - middles[0] > 0.1 * first.shape[1]

        canvas = driver.find_element("id", "mesh")
        driver.execute_script("arguments[0].focus()", canvas)
        canvas.send_keys(Keys.SPACE)
        assert play.text == "Pause"
        # after its end it begins again
        chromium.until("return Number(document.getElementById('scrub').value) < 15")
        canvas.send_keys(Keys.SPACE)
        driver.find_element("css selector", "input[value=sigma]").click()
        assert shares(mesh(chromium))[0] < 0.001
        said = driver.find_element("id", "numbers").text.lower()
        assert "left hand 2" in said and "in 10 of 20 frames" in said

        driver.find_elements("css selector", "nav li button")[1].click()
        chromium.until(SHOWN.format(1))
        assert not driver.find_element("id", "player").is_displayed()
        chromium.note()
        assert chromium.logged == [] and chromium.abroad(video.as_uri()) == []


@pytest.mark.slow
def test_who_wants_little_motion_starts_a_video_by_hand(video):
    with browser() as chromium:
        features = [{"name": "prefers-reduced-motion", "value": "reduce"}]
        chromium.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        chromium.driver.get(video.as_uri())
        chromium.until(SHOWN.format(0))
        still = mesh(chromium)
        for _ in range(5):
            chromium.painted()
        assert changed(still, mesh(chromium)) == 0
        assert chromium.driver.find_element("id", "time").text == "0.00 s of 0.76 s"
        chromium.driver.find_element("id", "play").click()
        chromium.until("return Number(document.getElementById('scrub').value) >= 3")
