// Code that sends what the form holds: curl, Python and pandas.
import { make } from "./dom.js";

const inShell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// JSON texts are Python texts too, but for lone surrogates, which no form can hold.
const inPython = (value) => (typeof value === "boolean" ? (value ? "True" : "False") : JSON.stringify(value));

const rowInPython = (row, indent) =>
  `{\n${Object.entries(row).map(([name, value]) => `${indent}    ${inPython(name)}: ${inPython(value)},\n`).join("")}${indent}}`;

function curl(url, row, query) {
  return `curl ${inShell(`${url}predict?${new URLSearchParams(query)}`)} \\
  -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
  -d ${inShell(JSON.stringify({ instances: [row] }))}`;
}

function python(url, row, query) {
  return `import os
import requests

row = ${rowInPython(row, "")}
response = requests.post(
    ${inPython(`${url}predict`)},
    params=${JSON.stringify(query)},
    headers={"Authorization": f"Bearer {os.environ['TOKEN']}"},
    json={"instances": [row]},
)
response.raise_for_status()
print(response.json())`;
}

function pandas(url, row) {
  return `import io
import os
import pandas as pd
import requests

table = pd.DataFrame([${rowInPython(row, "")}])  # any number of rows
response = requests.post(
    ${inPython(`${url}predict`)},
    headers={"Authorization": f"Bearer {os.environ['TOKEN']}", "Content-Type": "text/csv; charset=utf-8"},
    data=table.to_csv(index=False).encode(),
)
response.raise_for_status()
scored = table.join(pd.read_csv(io.BytesIO(response.content)))
print(scored.T)`;
}

const LANGUAGES = { curl, Python: python, pandas };

// Fill `container` with a choice of language and the code; return the function that updates it.
export function makeSnippets(container, url) {
  const code = make("code"), copy = make("button", { type: "button", class: "quiet" }, "Copy"), told = make("span", { class: "visually-hidden", role: "status" });
  const choices = Object.keys(LANGUAGES).map((name, place) => make("label", { class: "choice" }, make("input", { type: "radio", name: "language", value: name, checked: place === 0 }), make("span", {}, name)));
  const form = make("form", { class: "choices" }, make("fieldset", {}, make("legend", { class: "visually-hidden" }, "Language"), ...choices), told, copy);
  let row = {}, query = {};
  const show = () => { code.textContent = LANGUAGES[form.elements.language.value](url, row, query); };
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  copy.addEventListener("click", async () => {
    const done = await navigator.clipboard.writeText(code.textContent).then(() => "Copied", () => "Select and copy it");
    copy.textContent = told.textContent = done;
    setTimeout(() => { copy.textContent = "Copy"; told.textContent = ""; }, 2000);
  });
  const pre = make("pre", { tabindex: "0", role: "region", "aria-label": "Code" }, code);
  container.replaceChildren(make("div", { class: "snippet" }, form, pre));
  return (...given) => { [row, query] = given; show(); };
}
