// Code that sends what the form holds: curl, Python and pandas.
import { make } from "./dom.js";

const inShell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// JSON texts are Python texts too, but for lone surrogates, which no form can hold.
const inPython = (value) => (typeof value === "boolean" ? (value ? "True" : "False") : JSON.stringify(value));

const rowInPython = (row, indent) =>
  `{\n${Object.entries(row).map(([name, value]) => `${indent}    ${inPython(name)}: ${inPython(value)},\n`).join("")}${indent}}`;

function curl(url, row) {
  return `curl ${inShell(`${url}predict?explain=true`)} \\
  -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
  -d ${inShell(JSON.stringify({ instances: [row] }))}`;
}

function python(url, row) {
  return `import os
import requests

row = ${rowInPython(row, "")}
response = requests.post(
    ${inPython(`${url}predict`)},
    params={"explain": "true"},
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
print(table.join(pd.read_csv(io.StringIO(response.text))))`;
}

const LANGUAGES = { curl, Python: python, pandas };

function snippet(name) {
  const code = make("code"), button = make("button", { type: "button", class: "quiet" }, "Copy"), told = make("span", { class: "visually-hidden", role: "status" });
  button.setAttribute("aria-label", `Copy ${name}`);
  button.addEventListener("click", async () => {
    const done = await navigator.clipboard.writeText(code.textContent).then(() => "Copied", () => "Select and copy it");
    button.textContent = told.textContent = done;
    setTimeout(() => { button.textContent = "Copy"; told.textContent = ""; }, 2000);
  });
  const pre = make("pre", { tabindex: "0", role: "region", "aria-label": `${name} code` }, code);
  return { code, element: make("div", { class: "snippet" }, make("div", { class: "head" }, make("h3", {}, name), told, button), pre) };
}

// Fill `container` with the snippets; return the function that updates them.
export function makeSnippets(container, url) {
  const made = Object.entries(LANGUAGES).map(([name, write]) => ({ write, ...snippet(name) }));
  container.replaceChildren(...made.map((each) => each.element));
  return (row) => { for (const { code, write } of made) code.textContent = write(url, row); };
}
