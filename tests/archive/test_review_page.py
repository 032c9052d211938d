"""The page's review of an archive, as a process and in a real browser.

Skipped where there is no Playwright or no Chromium: pip install playwright; apt install chromium.
"""

import csv
import http.client
import json
import re
import shutil
import signal

import pytest

from tests.processes import start

pytest.importorskip("fastapi")
TWICE = """() => {
  for (const _ of "12") document.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
}"""  # before an answer can come: one verdict
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
def review(label, recordings, tmp_path):
    """A review that goes on, and the name and port of its page."""
    label(recordings)
    words = ("results", "out", "--review", "review", "--per_class", 2)
    process = start("earmark", *words, cwd=tmp_path)
    said = next(line.decode() for line in process.stderr if b"http://" in line)
    yield process, said.partition("http://")[2].partition("/")[0]
    process.kill()
    process.communicate()


def rows(folder):
    return list(csv.DictReader((folder / "review" / "review.csv").read_text().splitlines()))


def ask(address, method, path, value=None):
    connection = http.client.HTTPConnection(address, timeout=20)
    connection.request(method, path, None if value is None else json.dumps(value))
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, data


def judge(address, clip, verdict, true_label=""):
    value = {"clip": clip, "verdict": verdict, "true_label": true_label}
    return ask(address, "POST", "/api/review/verdicts", value)


def test_verdicts_over_http_and_precision_in_the_end(review, tmp_path):
    process, address = review
    status, data = ask(address, "GET", "/api/review")
    clips = json.loads(data)["clips"]
    assert status == 200
    assert len(clips) == 6
    assert all("score" not in clip for clip in clips)
    assert ask(address, "GET", "/clips/0")[1].startswith((b"ID3", b"RIFF", b"\xff\xfb"))
    assert ask(address, "GET", "/pictures/0")[1].startswith(b"\x89PNG")
    for path in ("/clips/99", "/pictures/-1"):
        assert ask(address, "GET", path)[0] == 404
    for clip, verdict, expected in ((0, "perhaps", 422), (99, "yes", 422), ("x", "yes", 422)):
        assert judge(address, clip, verdict)[0] == expected
    assert judge(address, 0, "yes")[0] == 200
    judge(address, 1, "no", "rain")
    judge(address, 2, "no")
    judge(address, 2, "")  # taken back
    kept = rows(tmp_path)
    assert [row["verdict"] for row in kept] == ["yes", "no", "", "", "", ""]
    assert kept[1]["true_label"] == "rain"
    (tmp_path / "review" / kept[5]["path"]).unlink()
    assert ask(address, "GET", "/clips/5")[0] == 404
    process.send_signal(signal.SIGINT)
    said, faults = process.communicate(timeout=30)
    assert process.returncode == 0, faults
    precision = csv.DictReader(said.decode().splitlines())
    (own,) = (row for row in precision if row["threshold"] == "own")
    assert (own["label"], own["judged"], own["right"]) == (kept[0]["label"], "2", "1")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt install chromium")
def test_it_is_judged_by_keys_in_a_browser(review, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    process, address = review
    flags = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page()
        faults = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text))
        with page.expect_response(re.compile(r"/clips/\d")) as sounded:
            page.goto(f"http://{address}/")
        assert sounded.value.status in (200, 206)
        left = page.locator("#left")

        def press(*keys, to_go):
            for key in keys:
                page.keyboard.press(key)
            playwright.expect(left).to_have_text(f"{to_go} to go")

        press(to_go=6)
        picture = page.locator(".spectrogram")
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 20
        page.evaluate(TWICE)
        press(to_go=5)
        press("ArrowLeft", to_go=4)
        press("ArrowDown", "ArrowRight", to_go=3)  # it is another class
        press("ArrowLeft", to_go=2)
        press("Backspace", to_go=3)
        playwright.expect(page.locator("#classes tr >> nth=1")).to_contain_text("50 %")
        page.locator("#done").click()
        playwright.expect(page.locator("#state")).to_contain_text("can be closed")
        browser.close()
    assert faults == []
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert b"own,2,1,0.500," in said
    assert [row["verdict"] for row in rows(tmp_path)] == ["yes", "no", "no", "", "", ""]
    assert rows(tmp_path)[2]["true_label"] == rows(tmp_path)[0]["label"]
