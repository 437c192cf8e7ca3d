"""The page as a whole: signing in, quality and releases, tables, the keyboard, phones, screen readers, prefixes."""

import csv
import io
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.proxy.conftest import proxying
from tests.service.api.conftest import PASSWORD
from tests.service.api.page.conftest import predict, sign_in, token_for
from tests.service.auth.provider import CLIENT, providing
from tests.service.processes import wait_for

HEAD = "id,size,a b,shop,kind,flag,when,y\n"
TABLE = HEAD + '7,0.1,3,"x|y",one,true,2020-02-03,да\n8,2.5,,<script>,two,false,2020-02-04 05:06:07,"a ""b""\n c"\n'


def upload(page: Page, text: str, name: str = "mine.csv") -> None:
    page.get_by_label("Drop a CSV file here").set_input_files(
        {"name": name, "mimeType": "text/csv", "buffer": text.encode()}
    )


def test_a_table_comes_back_with_its_own_columns_and_predictions(
    start_page: Any, open_page: Any, tmp_path: Path
) -> None:
    page = open_page(start_page())
    sign_in(page)
    upload(page, TABLE)
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download mine-scored.csv").click()
    saved.value.save_as(tmp_path / "scored.csv")
    rows = list(csv.reader(io.StringIO((tmp_path / "scored.csv").read_text("utf-8"), newline="")))

    width = len(HEAD.split(","))
    assert [row[:width] for row in rows] == list(csv.reader(io.StringIO(TABLE, newline="")))
    assert rows[0][width:] == ["prediction", "probability_да", "probability_нет", "warnings", "set"]
    assert {row[width] for row in rows[1:]} == {"да", "нет"}
    expect(page.locator("#scored")).to_contain_text("2 rows scored")
    expect(page.locator("#scored")).to_contain_text("doesn't use the columns id, y")


def test_a_table_with_mistakes_is_explained_by_row_and_column(start_page: Any, open_page: Any) -> None:
    page = open_page(start_page())
    sign_in(page)
    upload(page, HEAD + "7,abc,3,x|y,one,true,2020-02-03,1\n8,1,3,x|y,one,maybe,2020-02-03,1\n")

    expect(page.locator(".errors li")).to_have_text(
        ['row 1, size: expected a finite number, got "abc"', 'row 2, flag: expected true or false, got "maybe"']
    )


def test_a_table_that_the_page_cannot_read_is_left_to_the_service(start_page: Any, open_page: Any) -> None:
    page = open_page(start_page())
    sign_in(page)
    upload(page, "size;flag\n1;2;3\n")

    expect(page.locator("#scored .problem")).to_contain_text("separated by commas")


def test_quality_is_for_everyone_and_the_history_for_callers(start_page: Any, open_page: Any) -> None:
    page = open_page(start_page())
    facts, history = page.locator("#facts"), page.locator("#history li")
    expect(page.get_by_role("heading", level=1)).to_have_text("Predict y")
    expect(page.locator("#lead")).to_have_text("The model predicts да or нет from 6 columns of a row.")
    expect(facts).to_contain_text("0.8123")
    expect(facts).to_contain_text("0.78 to 0.84")
    expect(page.locator("#quality-lead")).to_contain_text("Of 100 test rows that are да it finds 44 (37 to 51)")
    expect(history).to_have_count(0)
    sign_in(page)

    expect(history).to_have_count(2)
    expect(history.first).to_contain_text("in service")
    expect(history.first).to_contain_text("by Ada: passed all checks")
    expect(history.first).to_contain_text("better than <b>the first one</b>")
    expect(page.locator("#slices li")).to_have_count(1)
    expect(page.locator("#slices li")).to_contain_text("shop <script>")
    page.get_by_role("button", name="Sign out").click()

    expect(page.locator("#history li, #slices li")).to_have_count(0)
    expect(page.locator("#history-lead")).to_contain_text("Sign in to see")


def test_who_is_not_signed_in_is_asked_to(start_page: Any, open_page: Any) -> None:
    page = open_page(start_page())
    page.get_by_role("button", name="Predict", exact=True).click()

    expect(page.get_by_label("User name")).to_be_focused()
    expect(page.get_by_role("alert").filter(has_text="Sign in first")).to_be_visible()


def test_a_wrong_password_is_told(start_page: Any, open_page: Any) -> None:
    page = open_page(start_page())
    page.get_by_label("User name").fill("anna")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("alert").filter(has_text="Wrong")).to_be_visible()


@pytest.mark.usefixtures("quick")
def test_a_sign_in_that_has_ended_is_asked_for_again(start_page: Any, open_page: Any) -> None:
    url = start_page()
    page = open_page(url)
    with httpx.Client(base_url=url, trust_env=False) as admin:
        admin.headers["Authorization"] = f"Bearer {token_for(url)}"
        admin.post("/admin/users", json={"username": "bert", "password": PASSWORD}).raise_for_status()
        sign_in(page, "bert")
        bert = {"Authorization": f"Bearer {token_for(url, 'bert')}"}
        admin.delete("/admin/users/bert").raise_for_status()
        # A worker notices when it looks at the database the next time.
        wait_for(lambda: admin.post("/predict", headers=bert).status_code == 401, "the end of the token")
    page.get_by_role("button", name="Predict", exact=True).click()

    expect(page.get_by_role("alert").filter(has_text="Your sign-in has ended")).to_be_visible()
    expect(page.get_by_label("User name")).to_be_focused()


def test_people_sign_in_at_their_organisation(start_page: Any, open_page: Any) -> None:
    with providing() as provider:
        provider.claims = {"sub": "1", "preferred_username": "anna", "groups": ["staff"]}
        client = {"oidc_client_id": CLIENT["client_id"], "oidc_client_secret": CLIENT["secret"]}
        url = start_page(oidc_issuer=provider.issuer, oidc_scopes={"predict": {"groups": ["staff"]}}, **client)
        provider.redirect_uri = f"{url}callback"
        page = open_page(url)
        page.get_by_role("link", name="Use your organisation").click()
        page.get_by_role("button", name="Sign out").wait_for()
        assert page.url == url
        predict(page)
        page.get_by_role("button", name="Sign out").click()

        expect(page.get_by_label("User name")).to_be_focused()
        assert not page.context.cookies()


def press_until(page: Page, key: str, selector: str) -> None:
    """Press a key until an element has the focus."""
    for _ in range(60):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{key} doesn't lead to {selector}")


def test_everything_can_be_done_by_keyboard_alone(start_page: Any, open_page: Any) -> None:
    page = open_page(start_page())
    press_until(page, "Tab", "#username")
    page.keyboard.type("anna")
    press_until(page, "Tab", "#password")
    page.keyboard.type("correct horse\n")
    page.get_by_role("button", name="Sign out").wait_for()
    expect(page.get_by_role("button", name="Predict", exact=True)).to_be_focused()
    press_until(page, "Shift+Tab", "#field-0")
    page.keyboard.press("Control+A")
    page.keyboard.type("0.25\n")
    expect(page.locator(".verdict")).to_be_visible()
    expect(page.get_by_role("status").first).to_contain_text("Predicted y:")
    press_until(page, "Tab", "#table")
    press_until(page, "Tab", "input[name=language]")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#snippets code")).to_contain_text("requests.post")
    press_until(page, "Tab", "#snippets button")


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_no_width_needs_sideways_scrolling_and_axe_finds_nothing_serious(
    start_page: Any, open_page: Any, width: int, scheme: str
) -> None:
    url = start_page()
    page = open_page(url, width, scheme, reduced_motion="reduce")
    found = [*violations(page)]
    page.get_by_label("size").fill("")
    sign_in(page)
    page.get_by_role("button", name="Predict", exact=True).click()
    found += violations(page)
    page.get_by_label("size").fill("99")
    predict(page)
    upload(page, TABLE)
    page.locator(".preview").wait_for()
    found += violations(page)
    widths = [scroll_width(page)]
    page = open_page(f"{url}docs", width, scheme, reduced_motion="reduce")
    page.locator("#sign-in-box summary").click()
    found += violations(page)
    for operation in page.locator(".operation > summary").all():
        if page.locator(".operation[open]").count() < 4:
            operation.click()
    widths.append(scroll_width(page))

    assert found == []
    assert widths == [width, width]


def scroll_width(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth"))


def violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['html']}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


@pytest.mark.slow
def test_the_page_works_behind_a_path_prefix(start_page: Any, open_page: Any, tmp_path: Path) -> None:
    api = start_page().removeprefix("http://").rstrip("/")
    with proxying(tmp_path / "proxy", api, PATH_PREFIX="/models/flights") as proxy:
        page = open_page(f"https://localhost:{proxy.port}/models/flights")
        sign_in(page)
        predict(page)
        upload(page, TABLE)
        page.locator(".preview").wait_for()
        assert f"https://localhost:{proxy.port}/models/flights/predict" in page.locator("#snippets code").inner_text()
        page.get_by_role("link", name="API").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Predictions of shop")
