"""The form of one row: what it asks for, what it sends, and what comes back."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from service import model
from tests.service.api.conftest import Artifact
from tests.service.api.page.conftest import predict, sign_in, token_for
from tests.service.artifacts import Root, contract, graph, stump, with_contract


def ask(url: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return the API's answer to the row, with explanations."""
    body, headers = {"instances": [row]}, {"Authorization": f"Bearer {token_for(url)}"}
    found = httpx.post(f"{url}predict?explain=true&coverage=0.9", json=body, headers=headers, trust_env=False)
    return dict(found.raise_for_status().json())


def example_of(url: str) -> dict[str, Any]:
    document = httpx.get(f"{url}openapi.json", trust_env=False).json()
    return dict(document["components"]["schemas"]["Instance"]["example"])


def bars(page: Page) -> list[tuple[str, float]]:
    """Return the lines of the bar chart: label and number."""
    rows = [row.inner_text().replace("\u2212", "-").split("\t") for row in page.locator(".reasons tbody tr").all()]
    return [(cells[0], float(cells[-1].rstrip("\u00a0 %"))) for cells in rows]


@pytest.mark.parametrize("target", ["binary", "boolean", "multiclass", "regression"])
def test_the_example_is_filled_in_and_predicted_with_bars_that_add_up(
    start_page: Any, open_page: Any, target: str
) -> None:
    url = start_page(target)
    page = open_page(url)
    sign_in(page)
    predict(page)
    answer = ask(url, example_of(url))
    label, shown = answer["predictions"][0], page.locator(".verdict").inner_text()
    (average, first), *contributions, (this, last) = bars(page)

    assert float(shown) == pytest.approx(label, rel=1e-3) if target == "regression" else shown == str(label).lower()
    for name, share in answer.get("probabilities", [{}])[0].items():
        number = page.locator(".shares li", has_text=re.compile(rf"^{re.escape(name)}")).locator(".right").inner_text()
        assert float(number.rstrip("\u00a0%")) == pytest.approx(100 * share, abs=0.006)
    if target == "regression":
        low, high = (f"{end:.4g}" for end in answer["intervals"][0])
        expect(page.locator("#answer")).to_contain_text(
            f"In 90\u00a0% of such rows the truth is between {low} and {high}."
        )
    else:
        labels = " or ".join(str(each).lower() for each in answer["sets"][0])
        expect(page.locator("#answer")).to_contain_text(f"A set that holds the truth in 90\u00a0% of rows: {labels}.")
    assert (average, this) == ("Average row", "This row")
    assert first + sum(number for _, number in contributions) == pytest.approx(last, abs=1e-9)
    assert {name.split()[0] for name, _ in contributions} == {name.split()[0] for name in example_of(url)}


def test_an_empty_field_is_a_missing_value(start_page: Any, open_page: Any) -> None:
    url = start_page()
    page = open_page(url)
    sign_in(page)
    page.get_by_label("a b", exact=True).fill("")
    page.get_by_label("shop", exact=True).select_option("(missing)")
    with page.expect_request("**/predict?**") as sent:
        predict(page)
    row = example_of(url)

    assert sent.value.post_data_json == {"instances": [{name: row[name] for name in row.keys() - {"a b", "shop"}}]}
    assert "a b (missing)" in page.locator(".reasons").inner_text()


def test_a_wrong_input_is_explained_at_its_field_and_not_sent(start_page: Any, open_page: Any) -> None:
    page = open_page(start_page())
    sign_in(page)
    size = page.get_by_label("size")
    size.fill("")
    page.get_by_role("button", name="Predict", exact=True).click()

    expect(size).to_be_focused()
    expect(size).to_have_attribute("aria-invalid", "true")
    expect(size).to_have_accessible_description(re.compile("Fill in a value"))
    expect(page.locator(".verdict")).to_have_count(0)
    size.fill("0.5")
    predict(page)
    expect(size).to_have_attribute("aria-invalid", "false")
    expect(page.locator("#stale")).to_be_hidden()
    size.fill("0.6")
    expect(page.locator("#stale")).to_be_visible()


def test_what_the_service_refuses_is_explained_at_its_field(start_page: Any, open_page: Any) -> None:
    page = open_page(start_page(strict=("size", "kind")))
    sign_in(page)
    size = page.get_by_label("size")
    size.fill("1e9")
    page.get_by_role("button", name="Predict", exact=True).click()

    expect(size).to_have_accessible_description(re.compile(r"Expected a finite number from .* to .*, got 1000000000"))
    expect(size).to_be_focused()
    assert page.get_by_label("kind").locator("option").all_inner_texts() == ["(choose)", "one", "two"]


def test_values_unlike_training_are_predicted_with_a_warning(start_page: Any, open_page: Any) -> None:
    page = open_page(start_page())
    sign_in(page)
    page.get_by_label("kind", exact=True).select_option("Another value…")
    page.get_by_label("kind: another value").fill("three")
    page.get_by_label("size").fill("77")
    with page.expect_request("**/predict?**") as sent:
        predict(page)

    assert sent.value.post_data_json["instances"][0]["kind"] == "three"
    expect(page.get_by_label("kind", exact=True)).to_have_accessible_description(re.compile("Unlike the training rows"))
    expect(page.get_by_label("size")).to_have_accessible_description(re.compile("Unlike the training rows"))
    expect(page.locator(".beyond")).to_have_count(2)


@pytest.mark.parametrize("name", ["<script>", "x|y", "é"])
def test_any_text_of_a_category_is_only_text(start_page: Any, open_page: Any, name: str) -> None:
    page = open_page(start_page())
    scripts = page.locator("script").count()
    sign_in(page)
    page.get_by_label("shop", exact=True).select_option(name)
    predict(page)

    assert f"shop {name}" in page.locator(".reasons").inner_text()
    assert page.locator("script").count() == scripts


@pytest.mark.parametrize("language", ["curl", "Python", "pandas"])
def test_the_code_gives_the_answer_of_the_form(start_page: Any, open_page: Any, language: str) -> None:
    url = start_page()
    page = open_page(url)
    page.get_by_label("shop", exact=True).select_option("é")
    page.get_by_label("a b", exact=True).fill("")
    page.get_by_label("kind", exact=True).select_option("Another value…")
    page.get_by_label("kind: another value").fill("it's $HOME")
    page.get_by_text(language, exact=True).click()
    code = page.locator("#snippets code").inner_text()
    sign_in(page)
    predict(page)
    command = ["bash", "-c", code] if language == "curl" else [sys.executable, "-c", code]
    environment = {"TOKEN": token_for(url), "PATH": "/usr/bin:/bin", "NO_PROXY": "*"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    number = page.locator(".shares .right").first.inner_text().rstrip("\u00a0%")
    assert page.locator(".verdict").inner_text() in done.stdout
    assert any(f"{100 * float(found):.4g}" == number for found in re.findall(r"0\.\d+", done.stdout))


def test_a_long_form_can_be_searched_and_any_name_of_a_column_is_sent(
    serve: Any, open_page: Any, tmp_path: Path
) -> None:
    first, second, *others = contract(30).features
    second = second.model_copy(update={"name": "constructor", "nullable": True})
    features = (first.model_copy(update={"name": "__proto__"}), second, *others)
    root = Root(tmp_path)
    root.write(with_contract(graph([stump()], columns=30), contract(features=features).model_dump_json()))
    with serve(Artifact(root, model.load(root.model)), tmp_path) as (address, _):
        page = open_page(f"http://{address}/")
        sign_in(page)
        page.get_by_label("Find a column").fill("PROTO")
        expect(page.locator(".field:visible")).to_have_count(1)
        page.get_by_label("__proto__").fill("1e300")
        page.get_by_role("button", name="Predict", exact=True).click()
        expect(page.locator(".field .problem:not(:empty)")).to_have_text(["Expected a finite number, got 1e+300"])
        page.get_by_label("__proto__").fill("0.75")
        with page.expect_request("**/predict?*") as sent:
            predict(page)

    assert sent.value.post_data_json["instances"][0].items() >= {"__proto__": 0.75, "x29": 0}.items()
    expect(page.locator(".verdict")).to_have_text("yes")
    expect(page.locator("#answer")).to_contain_text("no background rows")
    expect(page.locator(".reasons")).to_have_count(0)
