"""Check the built site: broken links, missing alternative texts, and pages that scroll sideways.

    python docs/check_pages.py docs/_build/html [--screenshots FOLDER] [--without-browser]

Links and alternative texts are read from the HTML. Widths need Chromium or Chrome and Playwright:
each page is opened as on a phone, 390 pixels wide, and as on a desktop, 1280 pixels wide, in light
and in dark mode. Exits with 1 and a list if a page fails.
"""

import argparse
import shutil
import sys
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

BROWSERS = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"
ARGUMENTS = "--no-sandbox", "--disable-background-networking", "--disable-component-update"
WIDTHS = {"phone": (390, 844), "desktop": (1280, 800)}
# The theme keeps its choice of colors on the page's root.
CHOOSE_MODE = "mode => { document.documentElement.dataset.theme = mode; }"
# The widest elements that stick out, unless they are within a frame of their own that scrolls.
STICKING_OUT = """() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    const scrolls = element => element && element !== document.body && (
        ["auto", "scroll", "hidden"].includes(getComputedStyle(element).overflowX)
        || scrolls(element.parentElement));
    return [...document.querySelectorAll("body *")]
        .filter(e => e.getBoundingClientRect().right > width + 1 && !scrolls(e.parentElement))
        .map(e => `${e.tagName.toLowerCase()}.${e.className} ends at `
                  + Math.round(e.getBoundingClientRect().right))
        .slice(0, 3);
}"""
CONTRAST = """() => {
    const channels = color => color.match(/[\\d.]+/g).slice(0, 3).map(Number);
    const luminance = color => channels(color)
        .map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
    const text = luminance(getComputedStyle(document.querySelector("main, body")).color);
    const ground = luminance(getComputedStyle(document.body).backgroundColor);
    return (Math.max(text, ground) + .05) / (Math.min(text, ground) + .05);
}"""
MENU_FOLDS = """() => {
    const menu = document.querySelector(".bd-header .navbar-header-items");
    return !menu || getComputedStyle(menu).display === "none";
}"""
READABLE = 4.5  # the contrast of text that WCAG 2 asks for, level AA


class Page(HTMLParser):
    """The links, the anchors and the pictures of a page."""

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.links, self.anchors, self.without_text = [], {"", "top"}, []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.anchors.update(attributes[key] for key in ("id", "name") if attributes.get(key))
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])
        for key in ("src", "data"):
            if tag in ("img", "script", "object", "iframe") and attributes.get(key):
                self.links.append(attributes[key])
        if tag == "link" and attributes.get("rel") == "stylesheet":
            self.links.append(attributes["href"])
        if tag == "img" and attributes.get("alt") is None:
            self.without_text.append(attributes.get("src", "?"))


def pages_of(root):
    """The paths of all pages; the theme's static files hold templates that are none."""
    return [path for path in sorted(root.rglob("*.html")) if "_static" not in path.parts]


def static_problems(root):
    """Broken links within the site, and pictures without an alternative text."""
    pages = {path: Page(path) for path in pages_of(root)}
    for path, page in pages.items():
        name = path.relative_to(root)
        for source in page.without_text:
            yield f"{name}: the picture {source} has no alternative text"
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            if target.is_dir():
                target = target / "index.html"
            if not target.exists():
                yield f"{name}: {link} leads nowhere"
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{name}: {link} names an anchor that is not there"


@contextmanager
def open_browser():
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


def rendered_problems(root, folder=None):
    """Pages that scroll sideways, cannot be read, or whose menu does not fold on a phone."""
    with open_browser() as browser:
        for device, (width, height) in WIDTHS.items():
            # Without the network, what a page loads from elsewhere would only take time.
            tab = browser.new_page(viewport={"width": width, "height": height})
            tab.route(lambda url: not url.startswith("file:"), lambda route: route.abort())
            for path in pages_of(root):
                name = path.relative_to(root)
                tab.goto(path.as_uri(), wait_until="load")
                for element in tab.evaluate(STICKING_OUT):
                    yield f"{name}: scrolls sideways at {width} pixels: {element}"
                if device == "phone" and not tab.evaluate(MENU_FOLDS):
                    yield f"{name}: the menu does not fold at {width} pixels"
                for mode in ("light", "dark"):
                    tab.evaluate(CHOOSE_MODE, mode)
                    if tab.evaluate(CONTRAST) < READABLE:
                        yield f"{name}: the text is hard to read in {mode} mode"
                    if folder is not None:
                        file = f"{'-'.join(name.with_suffix('').parts)}-{width}-{mode}.png"
                        tab.screenshot(path=Path(folder, file), full_page=device == "desktop")
            tab.close()


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("root", type=Path, help="folder of the built site")
    parser.add_argument("--screenshots", type=Path, help="folder for pictures of all pages")
    parser.add_argument("--without-browser", action="store_true", help="do not measure widths")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    if not (root / "index.html").exists():
        parser.error(f"{options.root} has no index.html; build the site first")
    problems = list(static_problems(root))
    if options.without_browser:
        print("Widths, menus and colors were not checked.")
    else:
        if options.screenshots:
            options.screenshots.mkdir(parents=True, exist_ok=True)
        problems += rendered_problems(root, options.screenshots)
    for problem in problems:
        print(problem)
    print(f"{len(pages_of(root))} pages, {len(problems)} problems.")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
