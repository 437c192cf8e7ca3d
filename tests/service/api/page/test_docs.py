"""/docs: what the API can do, in groups, and trying it."""

from typing import Any

from playwright.sync_api import expect

from tests.service.api.conftest import PASSWORD


def test_operations_are_in_groups_with_predictions_first_and_administration_last(
    start_page: Any, open_page: Any
) -> None:
    page = open_page(f"{start_page()}docs")
    groups = page.get_by_role("heading", level=2).all_inner_texts()[1:]

    assert (groups[0], groups[-1]) == ("Predictions", "Administration")
    assert page.locator(".operation").count() == 26
    expect(page.locator(".operation").first).to_contain_text("Predict from one row or many")


def test_an_operation_shows_what_it_takes_and_gives_and_can_be_tried(start_page: Any, open_page: Any) -> None:
    page = open_page(f"{start_page()}docs")
    page.locator("#sign-in-box summary").click()
    page.get_by_label("User name").fill("anna")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("status").first).to_have_text("Signed in as anna")
    first = page.locator(".operation").first
    first.get_by_label("explain").select_option("true")
    first.get_by_role("button", name="Send").click()

    expect(first.locator("pre")).to_contain_text("200 in")
    expect(first.locator("pre")).to_contain_text('"base_value"')
    expect(first.locator(".responses details").first).to_contain_text("probabilities")
    expect(first.locator(".responses")).to_contain_text("403")


def test_a_table_can_be_tried_too(start_page: Any, open_page: Any) -> None:
    page = open_page(f"{start_page()}docs")
    first = page.locator(".operation").first
    first.get_by_label("Content type").select_option("text/csv")
    assert first.get_by_label("Body").input_value().startswith("size,a b,shop")
    first.get_by_role("button", name="Send").click()

    expect(first.locator("pre")).to_contain_text("401 in")
