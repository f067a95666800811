"""The built site holds together: every link, image and script of its pages, on a desk and on a phone.

`make docs` builds the pages, and Debian's `chromium` and `chromium-driver` open them; where one is missing, its tests
are skipped.
"""

import functools
import os
import shutil
import threading
import time
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

SITE = Path(__file__).resolve().parents[1] / "docs" / "_build" / "html"
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if "_static" not in path.parts)
PHONE, DESK = (390, 844), (1280, 900)

pytestmark = pytest.mark.skipif(not PAGES, reason=f"there is no site in {SITE}: run `make docs`")


class Page(HTMLParser):
    """The targets of a page's links and images, and the places in it that can be linked to."""

    def __init__(self, html):
        super().__init__()
        self.targets, self.places = set(), {"", "top"}
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.places |= {named[name] for name in ("id", "name") if named.get(name)}
        target = named.get({"a": "href", "link": "href", "img": "src", "script": "src"}.get(tag))
        if target and not urlsplit(target).scheme and not urlsplit(target).netloc:
            self.targets.add(target)


@pytest.fixture(scope="module")
def pages():
    return {name: Page((SITE / name).read_text("utf-8")) for name in PAGES}


def broken_targets(name, pages, site):
    """Yield the targets of a page that are not there: files, or places in pages."""
    for target in sorted(pages[name].targets):
        parts = urlsplit(target)
        reached = (site / name).parent / unquote(parts.path) if parts.path else site / name
        reached = Path(os.path.normpath(reached / "index.html" if reached.is_dir() else reached))
        inside = reached.is_file() and reached.is_relative_to(site)
        page = pages.get(reached.relative_to(site).as_posix()) if inside else None
        if not inside or (page and unquote(parts.fragment) not in page.places):
            yield target


def test_links_and_images_are_there(pages):
    broken = {name: list(broken_targets(name, pages, SITE)) for name in pages}
    assert not {name: targets for name, targets in broken.items() if targets}


def test_broken_targets_are_found(tmp_path):
    html = '<a id="here" href="#here"></a><a href="b.html#there">x</a><a href="https://elsewhere.example/x">x</a>'
    (tmp_path / "a.html").write_text(html + '<a href="#lost"></a><a href="c.html"></a><img src="p.png">', "utf-8")
    (tmp_path / "b.html").write_text('<h1 id="there"></h1><a href="../a.html"></a><a href="a.html#lost"></a>', "utf-8")
    pages = {name: Page((tmp_path / name).read_text("utf-8")) for name in ("a.html", "b.html")}
    assert list(broken_targets("a.html", pages, tmp_path)) == ["#lost", "c.html", "p.png"]
    assert list(broken_targets("b.html", pages, tmp_path)) == ["../a.html", "a.html#lost"]


@pytest.fixture(scope="module")
def address():
    """Serve the site, as browsers keep scripts of files from reading other files."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=SITE)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install '.[docs]'")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("there is no Chromium with its driver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium has none for root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


def resize(browser, size):
    width, height = size
    view = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", view)


MISSING_IMAGES = "return [...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)"
LOAD_IMAGES = "for (const image of document.images) image.loading = 'eager'"


def test_pages_open_without_errors(browser, address):
    resize(browser, DESK)
    browser.get_log("browser")
    wrong = {}
    for name in PAGES:
        browser.get(f"{address}/{name}")
        browser.execute_script(LOAD_IMAGES)
        loaded = until(lambda: not browser.execute_script(MISSING_IMAGES))
        complaints = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        if complaints or not loaded:
            wrong[name] = complaints, browser.execute_script(MISSING_IMAGES)
    assert not wrong


def until(true, seconds=5):
    """Return True once something is true, or False if it is not in that time."""
    end = time.monotonic() + seconds
    while not (found := bool(true())) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def test_search_finds_an_estimator(browser, address):
    browser.get(f"{address}/search.html?q=LeNetClassifier")
    results = "return [...document.querySelectorAll('#search-results li a')].map(a => a.href)"
    api = f"{address}/generated/sknn.LeNetClassifier.html"
    assert until(lambda: any(href.startswith(api) for href in browser.execute_script(results)))


# Of the page and of what holds its text; code, tables and outputs scroll by themselves.
HIDDEN_PIXELS = """
    const parts = document.querySelectorAll("html, body, .bd-content, .bd-article-container, .bd-article");
    return Math.max(...[...parts].map(part => part.scrollWidth - part.clientWidth));
"""


def test_no_page_scrolls_sideways_on_a_phone(browser, address):
    resize(browser, PHONE)
    hidden = {}
    for name in PAGES:
        browser.get(f"{address}/{name}")
        assert browser.execute_script("return document.documentElement.clientWidth") == PHONE[0]
        hidden[name] = browser.execute_script(HIDDEN_PIXELS)
    assert not {name: pixels for name, pixels in hidden.items() if pixels > 0}


def test_picture_of_an_estimator_fits_a_phone(browser, address):
    resize(browser, PHONE)
    drawn = [name for name in PAGES if "sk-top-container" in (SITE / name).read_text("utf-8")]
    assert drawn, "no page shows an estimator as scikit-learn draws it"
    for name in drawn:
        browser.get(f"{address}/{name}")
        browser.execute_script("document.querySelectorAll('.sk-toggleable__control').forEach(box => box.click())")
        assert browser.execute_script(HIDDEN_PIXELS) <= 0, name
        box = "const box = document.querySelector('.sk-top-container').getBoundingClientRect();"
        left, right = browser.execute_script(box + "return [box.left, box.right]")
        assert 0 <= left < right <= PHONE[0], name
