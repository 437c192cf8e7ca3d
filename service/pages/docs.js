"use strict";
// Shows openapi.json and sends requests. Inserts text as text, never as HTML.
// URLs are relative to the page, so that it works behind a path prefix.
let token = "";
let description = {};

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

function resolve(schema) {
  return schema && schema.$ref ? schema.$ref.slice(2).split("/").reduce((at, key) => at[key], description) : schema || {};
}

function typeOf(schema) {
  const found = resolve(schema);
  if (found.anyOf) return [...new Set(found.anyOf.map(typeOf))].join(" or ");
  return found.enum ? found.enum.join(", ") : found.type || "any";
}

function fields(schema) {
  const table = element("table", "", element("tr", "", element("th", "field"), element("th", "type"), element("th", "")));
  for (const [name, each] of Object.entries(schema.properties || {})) {
    const needed = (schema.required || []).includes(name) ? "" : "optional. ";
    table.append(element("tr", "", element("td", name), element("td", typeOf(each)), element("td", needed + (resolve(each).description || ""))));
  }
  return table;
}

function form(path, method, operation) {
  const made = element("form");
  const inputs = (operation.parameters || []).filter((each) => each.in === "path").map((each) => {
    const input = element("input");
    input.required = true;
    made.append(element("label", each.name + " ", input));
    return [each.name, input];
  });
  const content = (operation.requestBody || {}).content || {};
  const kind = Object.keys(content)[0];
  const schema = kind ? resolve(content[kind].schema) : {};
  const body = element("textarea");
  if (kind) {
    body.value = schema.example ? JSON.stringify(schema.example, null, 2) : "";
    const items = resolve((resolve((schema.properties || {}).instances) || {}).items);
    made.append(fields(items.properties ? items : schema), element("p", "as " + kind), body);
  }
  const answer = element("pre");
  made.append(element("button", "Send"), answer);
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    const url = inputs.reduce((at, [name, input]) => at.replace(`{${name}}`, encodeURIComponent(input.value)), `.${path}`);
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    if (kind) headers["Content-Type"] = kind;
    const began = performance.now();
    const response = await fetch(url, { method, headers, body: kind ? body.value : undefined });
    const text = await response.text();
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: show it unchanged */ }
    answer.textContent = `${response.status} in ${(performance.now() - began).toFixed(0)} ms\n${shown}`;
  });
  return made;
}

async function show() {
  description = await (await fetch("openapi.json")).json();
  document.title = document.getElementById("title").textContent = description.info.title;
  document.getElementById("sign-in").hidden = !description.components.securitySchemes.single_sign_on;
  document.getElementById("summary").textContent = `${description.info.summary || ""}; version ${description.info.version}`;
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const head = element("summary", "", element("b", method.toUpperCase()), ` ${path}  ${operation.summary || ""}`);
      const details = element("details", "", head, element("p", operation.description || ""), form(path, method.toUpperCase(), operation));
      details.open = path === "/predict";
      document.getElementById("operations").append(details);
    }
  }
}

document.getElementById("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const response = await fetch("token", { method: "POST", body: new URLSearchParams(new FormData(event.target)) });
  const answer = await response.json();
  token = answer.access_token || "";
  event.target.querySelector("output").textContent = token ? `token for ${answer.expires_in} s` : answer.detail;
});
show();
