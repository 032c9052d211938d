"""The page in a real browser: heard, shown, played, judged; refused and lost; light, dark, narrow.

Skipped where there is no Playwright or no Chromium: pip install playwright; apt install chromium.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

import earmark
from earmark.config import Calibration
from earmark.serve.rooms import Rooms
from earmark.serve.settings import Access
from tests.alerts.builders import Broker, Listener, free_port, needs_broker, until
from tests.processes import ROOT
from tests.serve.running import ask, noise, running

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt install chromium")
AXE = ROOT / "examples/node_modules/axe-core/axe.min.js"
POLICY = "Content Security"
# `finetune` without its generated negatives and with fewer folds, which take most of its time.
QUICK_FINETUNE = """
[start]
init = "base"
follow_clips = false
[training]
frozen = true
negatives_probability = 0.0
validation_fraction = 0.5
"""
RULES = """
[[rule]]
name = "any"
cooldown_seconds = 0
[mqtt]
port = {port}
node = "yard"
"""
FAKE = (
    "--no-sandbox",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)


@pytest.fixture(scope="module")
def rooster(tmp_path_factory):
    """A real recording as a fake microphone gives it: 48 kHz, again and again.

    It begins within the cry, so that this ends soon, and what comes before is its end.
    """
    folder = os.environ.get("EARMARK_ESC10")
    if not folder:
        return None
    clip = sorted((Path(folder) / "009 - Rooster").glob("*.ogg"))[0]
    samples, rate = soundfile.read(clip)
    path = tmp_path_factory.mktemp("sounds") / "rooster.wav"
    samples = np.roll(soxr.resample(samples, rate, 48_000), -48_000)
    soundfile.write(path, samples, 48_000, subtype="PCM_16")
    return path


@pytest.fixture
def real(rooster):
    """The same, for tests that need what it sounds like."""
    if rooster is None:
        pytest.skip("EARMARK_ESC10 does not name the folder of ESC-10")
    return rooster


@pytest.fixture(scope="module")
def browser(rooster):
    flags = [f"--use-file-for-fake-audio-capture={rooster}"] if rooster else []
    with playwright.sync_playwright() as started:
        made = started.chromium.launch(executable_path=CHROMIUM, args=[*FAKE, *flags])
        yield made
        made.close()


@contextlib.contextmanager
def opened(browser, address, **options):
    """Open the page; no fault of its own and no request elsewhere is let pass."""
    context = browser.new_context(**options)
    try:
        page = context.new_page()
        faults, asked = [], []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if POLICY in said.text else None)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"http://{address}/")
        yield page
        assert faults == []
        own = re.compile(rf"(http|ws)://{re.escape(address)}/|blob:|data:")
        assert [url for url in asked if not own.match(url)] == []
    finally:
        context.close()


def expect(page, selector, text, timeout=30_000):
    playwright.expect(page.locator(selector)).to_contain_text(text, timeout=timeout)


def test_it_names_a_real_recording_plays_and_downloads_it(browser, served, real, tmp_path):
    with opened(browser, served[1]) as page:
        page.keyboard.press("Tab")  # the way to the content, then the theme, then the button
        page.locator("#listen").focus()
        page.keyboard.press("Enter")
        expect(page, "#label", "Rooster")
        expect(page, "#events", "Rooster")
        expect(page, "#events .reason >> nth=-1", "threshold is")
        with page.expect_response(re.compile(r"/clips/\w+\.wav")) as answered:
            page.locator("#events .play").last.click()
        assert answered.value.status in (200, 206)
        page.locator("#listen").click()
        expect(page, "#state", "heard")
        for format, first in (("jsonl", "{"), ("audacity", "0."), ("raven", "Selection")):
            with page.expect_download() as download:
                page.locator(f"[data-format={format}]").click()
            text = download.value.path().read_text()
            assert text.startswith(first)
            assert "Rooster" in text
        painted = page.evaluate(
            "() => { const c = document.getElementById('spectrogram');"
            " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
            " return new Set(d).size }"
        )
        assert painted > 20


def test_a_file_is_sent_shown_whole_and_heard_where_it_is_clicked(browser, served, real):
    with opened(browser, served[1]) as page:
        page.set_input_files("#file", real)
        expect(page, "#state", "Click the picture")
        expect(page, "#events", "Rooster")
        with page.expect_response(re.compile(r"/sound\?start=")) as answered:
            page.locator("#spectrogram").click()
        assert answered.value.status == 200
        page.set_input_files("#file", {"name": "x.wav", "mimeType": "a/b", "buffer": b"no sound"})
        expect(page, "#alert", "x.wav")


def test_columns_stand_where_their_numbers_say(browser, served):
    with opened(browser, served[1]) as page:
        shown = page.evaluate(
            """async () => {
              const { Spectrogram } = await import("./spectrogram.js");
              const made = (tag) => document.body.appendChild(document.createElement(tag));
              const picture = new Spectrogram(made("canvas"), made("div"), made("div"));
              const put = (first) => picture.add(new Uint8Array(10).fill(9), 1, first);
              const seen = [];
              const look = () => seen.push([picture.first, picture.columns.length, picture.end]);
              picture.begin(25, 0);
              put(1500); look(); // joined a minute late
              put(1520); look(); // ten columns were left out
              seen.push(picture.columns.map((one) => one[0]).join(""));
              put(0); look(); // the server was started again
              picture.clear(false);
              put(0); put(4990); look(); // of a file, with what was left out
              return seen;
            }"""
        )
        assert shown == [
            [1500, 10, 60.4],
            [1500, 30, 61.2],
            "9" * 10 + "0" * 10 + "9" * 10,
            [0, 10, 0.4],
            [0, 1250, 200],
        ]


def test_an_event_teaches_a_class_that_was_only_named(browser, real, tmp_path):
    with running(sounds=tmp_path) as (_, address), opened(browser, address) as page:
        page.set_input_files("#file", real)
        expect(page, "#state", "Click the picture")
        page.locator("#class-name").fill("my rooster")
        page.get_by_role("button", name="It is …").first.click()
        page.locator("#class-name").fill("his rooster")  # typed while the panel is open
        page.locator("#class-name").blur()
        page.locator("#choice").select_option("his rooster")
        page.locator("#choice").select_option("my rooster")
        page.locator("#reviewing").focus()
        page.keyboard.press("ArrowRight")
        expect(page, "#taught", "my rooster")


def test_what_a_new_model_no_longer_names_is_said_before_it_is_taken(browser, tmp_path):
    with running(sounds=tmp_path) as (_, address), opened(browser, address) as page:
        _, _, body = ask(address, "GET", "/api/teach")
        report = {"accuracy": 0.9, "folds": 3, "classes": ["tap", "door"], "changed": []}
        training = {"state": "done", "model": "1", "report": report}
        answer = json.dumps({**json.loads(body), "training": training})
        page.route("**/api/teach", lambda route: route.fulfill(body=answer))
        page.reload()
        expect(page, "#names", "only tap, door. 10 classes of the present model are no longer")
        page.locator("#train").click()
        expect(page, "#teach .bad", "no class has clips so far; at least 2 classes are needed")


def test_a_room_is_sent_while_it_is_recorded(browser, tmp_path):
    with running(sounds=tmp_path) as (_, address), opened(browser, address) as page:
        expect(page, "#minutes", "0 minutes of this room so far; 6 an hour needs 10.")
        page.evaluate(
            """async () => {
              const { Teach } = await import("./teach.js");
              const teach = new Teach({ known: new Map() }, { classes: () => [] });
              await teach.refresh();
              const recording = { room: true, label: "background", word: "x", parts: [], count: 0 };
              Object.assign(recording, { button: teach.room, microphone: { sampleRate: 8000 } });
              for (let n = 0; n < 2000; n += 1) {
                teach.gather(recording, new Int16Array(800).fill(n % 7));
              }
              await recording.sending;
            }"""
        )
        expect(page, "#taught", "background36 clips")  # three minutes, in pieces of five seconds
        page.locator("#rate").fill("1")
        expect(page, "#minutes", "3 minutes of this room so far; 1 an hour needs 60.")


def test_one_recording_ends_where_another_begins(browser, tmp_path):
    with running(sounds=tmp_path) as (_, address), opened(browser, address) as page:
        page.locator("#class-name").fill("tap")
        page.locator("#record").click()
        expect(page, "#record", "Stop (1 s)")
        page.locator("#room").click()
        expect(page, "#taught", "tap1 clip")
        expect(page, "#room", "Stop (1 s)")
        playwright.expect(page.locator("#record")).to_have_text("Record")
        page.locator("#room").click()
        expect(page, "#taught", "background1 clip")
        playwright.expect(page.locator("#room")).to_have_text("Record this room")


def test_undo_follows_what_the_server_took_back(browser, real, tmp_path):
    with running(sounds=tmp_path) as (site, address), opened(browser, address) as page:
        page.set_input_files("#file", real)
        expect(page, "#state", "Click the picture")
        verdict = page.locator("#events .verdict").last
        verdict.get_by_text("Right").click()
        expect(page, "#taught", "Rooster1 clip")
        page.locator("#class-name").fill("tap")
        page.set_input_files("#clips", real)
        expect(page, "#taught", "tap1 clip")
        page.locator("#undo").click()
        expect(page, "#told", "Taken back: tap, 1 clip.")
        playwright.expect(verdict).to_have_text("Rooster")  # it is judged still
        site.teaching.sounds.undo()  # by another page
        page.locator("#undo").click()
        expect(page, "#teach .bad", "nothing to take back")
        playwright.expect(verdict).to_have_text("Rooster")


def test_what_was_replaced_comes_too_late(browser, served):
    twice = (
        "() => { const b = document.getElementById('listen');"
        " b.click(); setTimeout(() => b.click(), 30) }"
    )
    site, address = served

    def streams():
        return {stream.id for stream in site.hub.streams()}

    with opened(browser, address) as page:
        for _ in range(2):  # stopped and begun again at once, while the last session still ends
            before = streams()
            page.locator("#listen").click()
            expect(page, "#state", "Listening")
            expect(page, "#clock", "dB")
            last = streams() - before
            assert len(last) == 1
            page.evaluate(twice)
            assert until(lambda last=last: not last & streams())
            page.wait_for_timeout(300)  # for what is said of its end
            playwright.expect(page.locator("#listen-text")).to_have_text("Stop")
            expect(page, "#state", "Listening")
            page.locator("#listen").click()
            expect(page, "#state", "heard")
        held = []
        page.route("**/api/files*", lambda route: held.append(route))  # it takes long
        sent = {"name": "x.wav", "mimeType": "audio/wav", "buffer": b"x"}
        with page.expect_event("requestfailed"):  # it is aborted
            page.set_input_files("#file", sent)
            expect(page, "#state", "Sending x.wav")
            page.locator("#listen").click()
        expect(page, "#state", "Listening")
        assert len(held) == 1


def test_a_file_is_heard_and_judged_by_keys(browser, real, tmp_path):
    with running(sounds=tmp_path) as (_, address), opened(browser, address) as page:
        page.set_input_files("#file", real)
        expect(page, "#state", "Click the picture")
        focused = "() => document.activeElement.id || document.activeElement.className"
        page.get_by_role("slider", name="The whole recording").focus()
        page.keyboard.press("End")
        page.keyboard.press("ArrowLeft")
        for _ in range(10):
            page.keyboard.press("PageDown")
        with page.expect_response(re.compile(r"/sound\?start=2\.")) as answered:
            page.keyboard.press("Enter")
        assert answered.value.status == 200
        playwright.expect(page.locator("#hush")).to_be_visible()
        page.wait_for_function("() => +spectrogram.getAttribute('aria-valuenow') > 3")
        page.keyboard.press("Enter")
        playwright.expect(page.locator("#hush")).to_be_hidden()

        page.get_by_role("button", name="Right: Rooster at").first.focus()
        page.keyboard.press("Enter")
        expect(page, "#taught", "Rooster1 clip")
        assert page.evaluate(focused) == "play"
        page.locator("#undo").click()
        playwright.expect(page.locator("#taught")).to_have_text("")
        page.locator("#review").click()
        for left in range(page.locator("#events .event").count(), 0, -1):
            expect(page, "#reviewing", f" {left} to go")
            page.keyboard.press("ArrowLeft")
        expect(page, "#reviewing", "All events are judged.")
        assert page.evaluate(focused) == "reviewing"
        page.keyboard.press("Backspace")
        expect(page, "#reviewing", "1 to go")


def test_names_of_events_stand_whole_or_not_at_all(browser, served):
    with opened(browser, served[1]) as page:
        shown = page.evaluate(
            """async () => {
              const { Spectrogram } = await import("./spectrogram.js");
              const made = () => document.body.appendChild(document.createElement("div"));
              const canvas = document.body.appendChild(document.createElement("canvas"));
              const picture = new Spectrogram(canvas, made(), made());
              picture.blocks.style.width = "600px";
              picture.clear(false);
              [0, 1, 300].forEach((onset, id) =>
                picture.mark({ id, onset, offset: onset + 1, label: "Church bells" }, () => {}));
              picture.place(0, 600);
              return [...picture.blocks.querySelectorAll("span")].map((one) => !one.hidden);
            }"""
        )
        assert shown == [False, True, True]


def test_hours_of_events_leave_a_list_that_is_bounded_and_few_marks(browser, served):
    with opened(browser, served[1]) as page:
        marks = page.evaluate(
            """async () => {
              const { Events } = await import("./events.js");
              const { Spectrogram } = await import("./spectrogram.js");
              const made = (tag) => document.body.appendChild(document.createElement(tag));
              const picture = new Spectrogram(made("canvas"), made("div"), made("div"));
              const list = document.getElementById("events");
              const events = new Events(list, made("audio"), picture);
              for (let n = 0; n < 510; n += 1) {
                const times = { onset: 10 * n, offset: 10 * n + 1, clip: "x", why: "" };
                events.add({ id: `e${n}`, label: "Crow", score: 0.9, ...times });
              }
              picture.place(5070, 5100);
              return [...picture.marks.keys()];
            }"""
        )
        assert marks == [f"e{n}" for n in range(504, 510)]  # of two pictures' length
        assert page.locator("#events .event").count() == 500
        expect(page, "#event-count", "510")
        expect(page, "#more-events", "The last 500 of 510; downloads have all.")


def test_a_page_that_is_left_takes_its_file_along(browser, served, real):
    site, address = served
    with opened(browser, address) as page:
        page.set_input_files("#file", real)
        expect(page, "#state", "Click the picture")
        held = set(site.uploads._folder.iterdir())
        page.reload()
        assert until(lambda: not held & set(site.uploads._folder.iterdir()))


def test_clips_dropped_on_the_teaching_part_are_of_the_named_class(browser, tmp_path):
    with running(sounds=tmp_path) as (_, address), opened(browser, address) as page:
        expect(page, "#minutes", "0 minutes")
        dropped = page.evaluate_handle(
            """async () => {
              const { toWav } = await import("./wav.js");
              const wav = toWav([new Int16Array(16000).fill(99)], 16000);
              const transfer = new DataTransfer();
              for (const name of ["a.wav", "b.wav"]) transfer.items.add(new File([wav], name));
              return transfer;
            }"""
        )
        page.dispatch_event("#teach", "drop", {"dataTransfer": dropped})
        expect(page, "#teach .bad", "Give the class a name first.")
        page.locator("#class-name").fill("tap")
        page.dispatch_event("#train", "drop", {"dataTransfer": dropped})
        expect(page, "#taught", "tap2 clips")


def test_thresholds_and_classes_act_at_once(browser, served, real):
    with opened(browser, served[1]) as page:
        page.locator("#listen").click()
        expect(page, "#label", "Rooster")
        page.get_by_text("Classes and thresholds").click()
        page.locator("#none").click()
        expect(page, "#near", "is switched off")  # what comes near on a busy machine varies
        expect(page, "#label", "none of these", timeout=5000)


def test_a_microphone_that_is_refused_or_absent_is_said_plainly(browser, served):
    cases = (("NotAllowedError", "refused"), ("NotFoundError", "No microphone"))
    with opened(browser, served[1]) as page:
        for name, words in cases:
            page.evaluate(
                "name => { navigator.mediaDevices.getUserMedia = () =>"
                " Promise.reject(new DOMException('', name)) }",
                name,
            )
            page.locator("#listen").click()
            expect(page, "#alert", words)
            playwright.expect(page.locator("#alert")).to_have_attribute("role", "alert")


def test_a_server_that_is_started_again_is_found_again(browser):
    port = free_port()
    with contextlib.ExitStack() as first:
        first.enter_context(running(Access(port=port)))
        shown = first.enter_context(contextlib.ExitStack())
        page = shown.enter_context(opened(browser, f"127.0.0.1:{port}"))
        page.locator("#listen").click()
        expect(page, "#state", "Listening")
        keep, first_server = shown.pop_all(), first.pop_all()
        first_server.close()
        with keep:
            expect(page, "#alert", "connection to the server was lost")
            with running(Access(port=port)):
                expect(page, "#note", "were missed")
                expect(page, "#state", "Listening")
                page.locator("#listen").click()
                expect(page, "#state", "heard")


def test_a_server_with_another_token_is_not_asked_for_ever(browser):
    port = free_port()
    with contextlib.ExitStack() as both:
        first = both.enter_context(contextlib.ExitStack())
        first.enter_context(running(Access(port=port, token="a-first-token")))
        page = both.enter_context(opened(browser, f"127.0.0.1:{port}"))
        expect(page, "h1", "Earmark")
        expect(page, "p", "open the address that earmark serve printed")
        page.goto(f"http://127.0.0.1:{port}/?token=a-first-token")
        page.locator("#listen").click()
        expect(page, "#state", "Listening")
        first.close()
        expect(page, "#alert", "connection to the server was lost")
        with running(Access(port=port, token="another-token")):
            expect(page, "#alert", "open the address that earmark serve printed")
            playwright.expect(page.locator("#listen-text")).to_have_text("Listen")


def test_a_model_that_cannot_be_fetched_is_said_and_asked_for_again(browser):
    with running() as (site, address), opened(browser, address) as page:
        page.locator("#listen").click()
        expect(page, "#state", "Listening")
        page.route("**/api/model", lambda route: route.abort())
        site.hub.use(earmark.load("base"))
        expect(page, "#alert", "is asked for again; what sounds meanwhile is missed")
        expect(page, "#model", "10 classes")
        page.unroute("**/api/model")
        expect(page, "#model", "50 classes")
        playwright.expect(page.locator("#alert")).to_be_hidden()
        assert until(lambda: [len(one.session.classes) for one in site.hub.streams()][-1:] == [50])


def test_a_source_of_the_server_hides_the_thresholds_of_the_page(browser, tmp_path):
    path = tmp_path / "night.wav"
    soundfile.write(path, noise(60.0), 16_000)
    with running(files=(path,)) as (_, address), opened(browser, address) as page:
        box = page.locator("#rules-box")
        playwright.expect(box).to_be_visible()
        page.get_by_role("button", name="night.wav").click()
        expect(page, "#state", "Listening to night.wav")
        expect(page, "#clock", "dB")
        playwright.expect(box).to_be_hidden()
        page.locator("#listen").click()
        playwright.expect(box).to_be_visible()


def test_the_page_goes_on_with_a_source_of_the_server_when_the_model_changes(browser, tmp_path):
    path = tmp_path / "night.wav"
    soundfile.write(path, noise(60.0), 16_000)
    with running(files=(path,)) as (site, address), opened(browser, address) as page:
        page.get_by_role("button", name="night.wav").click()
        expect(page, "#clock", "dB")
        site.use(earmark.load("base"))
        expect(page, "#model", "50 classes")
        assert until(lambda: [len(one.session.classes) for one in site.hub.streams()] == [50])
        expect(page, "#state", "Listening to night.wav")
        expect(page, "#listen-text", "Stop")


def test_thresholds_that_cannot_be_fetched_are_asked_for_again(browser, tmp_path):
    classifier = earmark.load("esc10")
    Rooms(tmp_path).write(classifier, Calibration(thresholds=(0.9999,) * 10), {"minutes": 1})
    with (
        running(sounds=tmp_path, classifier=classifier) as (_, address),
        opened(browser, address) as page,
    ):
        page.route("**/api/model", lambda route: route.abort())
        page.locator("#leave-room").click()
        expect(page, "#alert", "is asked for again.")
        page.unroute("**/api/model")
        playwright.expect(page.locator("#alert")).to_be_hidden()


@pytest.mark.skipif(shutil.which("nginx") is None, reason="no nginx: apt install nginx")
def test_it_works_under_a_subpath_behind_a_real_nginx(browser, served, real, tmp_path):
    port = free_port()
    (tmp_path / "nginx.conf").write_text(
        f"""
        daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log; worker_processes 1;
        events {{ worker_connections 64; }}
        http {{
          access_log off; client_max_body_size 100m;
          client_body_temp_path {tmp_path}/a; proxy_temp_path {tmp_path}/b;
          fastcgi_temp_path {tmp_path}/c; uwsgi_temp_path {tmp_path}/d; scgi_temp_path {tmp_path}/e;
          server {{
            listen 127.0.0.1:{port};
            location /sounds/here/ {{
              proxy_pass http://{served[1]}/;
              proxy_http_version 1.1;
              proxy_set_header Host $http_host;
              proxy_set_header Upgrade $http_upgrade;
              proxy_set_header Connection upgrade;
              proxy_set_header X-Forwarded-Prefix /sounds/here;
            }}
          }}
        }}"""
    )
    nginx = subprocess.Popen(
        [shutil.which("nginx") or "", "-p", tmp_path, "-c", tmp_path / "nginx.conf"],
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for_port(port)
        address = f"127.0.0.1:{port}/sounds/here"
        with opened(browser, address) as page:
            page.locator("#listen").click()
            expect(page, "#events", "Rooster")
            with page.expect_response(re.compile(r"/sounds/here/clips/\w+\.wav")) as answered:
                page.locator("#events .play").last.click()
            assert answered.value.status in (200, 206)
    finally:
        nginx.terminate()
        nginx.wait(10)


@needs_broker
def test_the_whole_way_from_a_first_sound_to_an_alert_about_a_class_of_one_s_own(
    browser, serve, real, tmp_path
):
    """Open, hear, correct, teach, train, take, hear it named, and the broker has the alert."""
    broker = Broker(tmp_path)
    broker.start()
    listener = Listener(broker.port)
    own, rules, recipe = tmp_path / "own", tmp_path / "rules.toml", tmp_path / "quick.toml"
    rules.write_text(RULES.format(port=broker.port), encoding="utf-8")
    recipe.write_text(QUICK_FINETUNE, encoding="utf-8")
    words = ("--sounds", own, "--recipe", recipe, "--alerts", rules, "--keep", tmp_path / "kept")
    process, _, address, _ = serve(*words)
    try:
        with opened(browser, address) as page:
            page.locator("#listen").click()
            expect(page, "#events", "Rooster")
            page.locator("#listen").click()
            expect(page, "#state", "heard")
            for label, folder in (("my rooster", "009 - Rooster"), ("my rain", "002 - Rain")):
                page.locator("#class-name").fill(label)
                clips = sorted((Path(os.environ["EARMARK_ESC10"]) / folder).glob("*.ogg"))[1:4]
                page.set_input_files("#clips", clips)
                expect(page, "#taught", f"{label}3 clips")
            page.locator("#review").click()  # the keys: not this; taken back; it is my rooster
            expect(page, "#reviewing", "Rooster")
            page.keyboard.press("ArrowLeft")
            expect(page, "#taught", "background")
            page.locator("#undo").click()
            playwright.expect(page.locator("#taught")).not_to_contain_text("background")
            page.locator("#review").click()
            page.locator("#choice").select_option("my rooster")
            page.locator("#reviewing").focus()
            page.keyboard.press("ArrowRight")
            expect(page, "#taught", "my rooster4 clips")
            assert len((own / "labels.csv").read_text().splitlines()) == 8
            page.locator("#train").click()
            expect(page, "#report", "Right in cross-validation", timeout=240_000)
            expect(page, "#model", "50 classes")  # until the new one is taken
            page.locator("#take").click()
            expect(page, "#model", "2 classes")
            page.locator("#listen").click()
            expect(page, "#label", "my rooster")
            assert until(lambda: "my rooster" in {one["label"] for one in listener.alerts})
            page.locator("#listen").click()
            expect(page, "#events", "my rooster")
            page.locator("#back").click()
            expect(page, "#model", "50 classes")
        alert = next(one for one in listener.alerts if one["label"] == "my rooster")
        assert (alert["rule"], alert["state"]) == ("any", "ON")
        assert until(lambda: Path(alert["clip"]).is_file())
        told = listener.on("homeassistant/binary_sensor/yard_my_rooster/sound/config")
        assert [one["name"] for one in told] == ["my rooster"]  # of the model that was taken
        of_rooster = listener.on("earmark/yard/rooster")
        assert {one["label"] for one in of_rooster if "label" in one} == {"Rooster"}
        process.send_signal(signal.SIGINT)
        assert process.wait(30) in (0, 130)
    finally:
        listener.stop()
        broker.stop()


def test_thresholds_of_a_room_are_used_and_taken_back_while_it_listens(browser, real, tmp_path):
    classifier = earmark.load("esc10")
    Rooms(tmp_path).write(classifier, Calibration(thresholds=(0.9999,) * 10), {"minutes": 1})
    with (
        running(sounds=tmp_path, classifier=classifier) as (_, address),
        opened(browser, address) as page,
    ):
        page.locator("#listen").click()
        expect(page, "#label", "none of these")
        expect(page, "#near", "Rooster")  # it was heard
        expect(page, "#label", "none of these")
        playwright.expect(page.locator("#events")).not_to_contain_text("Rooster")
        page.locator("#leave-room").click()
        expect(page, "#label", "Rooster")
        playwright.expect(page.locator("#leave-room")).to_be_hidden()


def test_it_fits_a_phone_in_both_themes(browser, served):
    for scheme in ("light", "dark"):
        size = {"width": 360, "height": 740}
        with opened(browser, served[1], viewport=size, color_scheme=scheme) as page:
            expect(page, "#none", "None")
            assert page.locator("html").get_attribute("data-theme") == scheme
            wide = page.evaluate("() => document.documentElement.scrollWidth")
            assert wide <= 360
            page.locator("#theme").click()
            assert page.locator("html").get_attribute("data-theme") != scheme


def test_axe_finds_nothing_to_mend_in_either_theme(browser, real, tmp_path):
    if not AXE.exists():
        pytest.skip("no axe: npm ci --prefix examples")
    options = {"color_scheme": "light", "bypass_csp": True}  # the page itself loads no axe
    with running(sounds=tmp_path) as (_, address), opened(browser, address, **options) as page:
        page.locator("#listen").click()
        page.locator("#events .event").first.wait_for(timeout=30_000)
        for summary in page.locator("summary").all():
            summary.click()
        page.locator("#review").click()
        page.evaluate(AXE.read_text(encoding="utf-8"))
        for theme in ("light", "dark"):
            assert page.locator("html").get_attribute("data-theme") == theme
            found = page.evaluate("() => axe.run()")
            assert [one["id"] for one in found["violations"]] == []
            assert len(found["passes"]) > 20
            page.locator("#theme").click()


def _wait_for_port(port):
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("nginx did not start")
