"""The pages in a real browser, where one is."""

import os
import shutil

import pytest
from report_runs import make_run

from mmcomformer.report import write_comparison_page, write_run_page

pytestmark = pytest.mark.browser

NAMES = [
    'cat',
    '<script>alert(1)</script>',
    'a class with a name that is rather long, synonym',
    '🐈',
]


@pytest.fixture(scope='module')
def browser():
    """Chromium, driven by playwright."""
    sync_api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    names = ('chromium', 'chromium-browser', 'google-chrome')
    path = os.environ.get('BROWSER_BINARY') or next(filter(None, map(shutil.which, names)), None)
    with sync_api.sync_playwright() as playwright:
        try:
            found = playwright.chromium.launch(executable_path=path, args=['--no-sandbox'])
        except sync_api.Error as error:
            pytest.skip(f'no browser: {str(error).splitlines()[0]}')
        yield found
        found.close()


@pytest.fixture(scope='module')
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pages')
    make_run(folder / 'a', names=NAMES, images=9, logs=4)
    make_run(folder / 'b', names=NAMES, method='Theirs')
    return {
        'run': write_run_page(folder / 'a'),
        'comparison': write_comparison_page([folder / 'a', folder / 'b'], folder / 'c.html'),
    }


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [1280, 390])
@pytest.mark.parametrize('kind', ['run', 'comparison'])
def test_page(browser, pages, kind, width, scheme):
    context = browser.new_context(viewport={'width': width, 'height': 900}, color_scheme=scheme)
    page = context.new_page()
    messages, requests = [], []
    page.on('console', lambda message: messages.append(message.text))
    page.on('pageerror', lambda error: messages.append(str(error)))
    page.on('request', lambda request: requests.append(request.url))
    page.goto(pages[kind].as_uri())
    assert messages == []
    assert {url for url in requests if not url.startswith('data:')} == {pages[kind].as_uri()}
    # what is wider scrolls in its own box, the page does not
    assert page.evaluate('document.documentElement.scrollWidth') == width
    assert page.evaluate('[...document.images].every(i => i.complete && i.naturalWidth > 0)')
    ink, paper = (
        sum(map(int, page.evaluate(f'getComputedStyle(document.body).{key}')[4:-1].split(',')))
        for key in ('color', 'backgroundColor')
    )
    assert (ink < paper) == (scheme == 'light')
    assert abs(ink - paper) > 400
    plot = page.evaluate('getComputedStyle(document.querySelector("svg.plot text")).fill')
    assert plot == page.evaluate('getComputedStyle(document.body).color')
    context.close()
