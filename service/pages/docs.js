// The page /docs: shows openapi.json by groups, and sends requests.
import { call, find, format, make, problemOf, setToken } from "./dom.js";

let description;

function resolve(schema) {
  return schema?.$ref ? schema.$ref.slice(2).split("/").reduce((at, key) => at[key], description) : schema ?? {};
}

function typeOf(schema) {
  const found = resolve(schema);
  if (found.anyOf) return [...new Set(found.anyOf.map(typeOf))].filter((name) => name !== "null").join(" or ");
  if (found.enum) return found.enum.join(", ");
  if (found.const !== undefined) return String(found.const);
  if (found.type === "array") return found.items ? `list of ${typeOf(found.items)}` : "list";
  const name = found.format ? `${found.type} (${found.format})` : found.type ?? "any";
  const { minimum, maximum } = found;
  return minimum !== undefined && maximum !== undefined && maximum < 1e38 ? `${name}, ${format(minimum)} to ${format(maximum)}` : name;
}

// The object whose fields are worth a table of their own: the schema, or what its list or its choice holds.
function objectIn(schema) {
  const found = resolve(schema);
  if (found.properties) return found;
  const inner = found.items ?? found.anyOf?.find((each) => resolve(each).type === "object") ?? found.additionalProperties;
  return inner && inner !== true ? objectIn(inner) : null;
}

// Text with `code` in backticks.
const prose = (text) => (text ?? "").split("`").map((part, place) => (place % 2 ? make("code", {}, part) : part));

// Rows of name, type and meaning.
function table(head, rows) {
  const heads = make("thead", {}, make("tr", {}, make("th", { scope: "col" }, head), make("th", { scope: "col" }, "Meaning")));
  const lines = rows.map(([name, type, about]) => make("tr", {}, make("th", { scope: "row" }, name, make("span", { class: "type" }, type)), make("td", {}, ...prose(about))));
  return make("table", {}, heads, make("tbody", {}, ...lines));
}

function fields(schema, depth = 0) {
  const made = make("div", {});
  const entries = Object.entries(schema.properties ?? {});
  if (!entries.length) return made;
  made.append(table("Field", entries.map(([name, each]) => {
    const about = [(schema.required ?? []).includes(name) ? "" : "optional", each.description ?? resolve(each).description ?? ""];
    return [name, typeOf(each), about.filter(Boolean).join("; ")];
  })));
  if (depth > 2) return made;
  for (const [name, each] of entries) {
    const inner = objectIn(each);
    if (inner && inner !== schema) made.append(make("details", {}, make("summary", { class: "tag" }, `Fields of ${name}`), make("div", { class: "nested" }, fields(inner, depth + 1))));
  }
  return made;
}

const contentOf = (part) => Object.entries(part?.content ?? {});

function response(status, part) {
  const head = [make("span", { class: status < 400 ? "status fine" : "status" }, status), ...prose(part.description)];
  const schemas = contentOf(part).map(([kind, { schema }]) => [kind, objectIn(schema) ?? null, schema]);
  if (!schemas.some(([, found, schema]) => found || schema)) return make("p", { class: "plain" }, ...head);
  const parts = schemas.map(([kind, found, schema]) => make("div", { class: "nested" }, make("p", { class: "tag" }, `${kind}${found ? (resolve(schema).type === "array" ? ", a list" : "") : `: ${typeOf(schema)}`}`), found ? fields(found) : ""));
  return make("details", { open: status < 300 }, make("summary", {}, ...head), ...parts);
}

function exampleOf(schema) {
  const found = resolve(schema);
  if (found.example) return found.example;
  if (!found.properties) return undefined;
  return Object.fromEntries((found.required ?? []).map((name) => [name, resolve(found.properties[name]).default ?? ""]));
}

function bodyOf(kind, example) {
  if (!example) return "";
  const [row] = example.instances ?? [];
  if (row && kind === "text/csv") return `${Object.keys(row).join(",")}\n${Object.values(row).join(",")}\n`;
  if (row && kind === "application/x-ndjson") return `${JSON.stringify(row)}\n`;
  return kind === "application/x-www-form-urlencoded" ? new URLSearchParams(example).toString() : JSON.stringify(example, null, 2);
}

// The form that sends a request: its parameters, its body, and the answer below.
function trial(path, method, operation, id) {
  const made = make("form", { class: "try" }, make("h4", {}, "Try it"));
  const grid = make("div", { class: "parameters" });
  const inputs = (operation.parameters ?? []).map((each) => {
    const isFlag = each.schema.type === "boolean";
    const input = isFlag ? make("select", {}, ...["", "true", "false"].map((value) => make("option", { value }, value))) : make("input", { required: each.required });
    grid.append(make("label", {}, `${each.name}${each.required ? "" : " (optional)"} `, input));
    return { ...each, input };
  });
  const kinds = contentOf(operation.requestBody);
  const body = make("textarea", { id: `${id}-body`, spellcheck: "false" });
  const kind = make("select", {}, ...kinds.map(([name]) => make("option", {}, name)));
  if (kinds.length) {
    const fill = () => { body.value = bodyOf(kind.value, exampleOf(kinds[0][1].schema)); };
    kind.addEventListener("change", fill);
    fill();
    if (kinds.length > 1) grid.append(make("label", {}, "Content type ", kind));
  }
  made.append(grid);
  if (kinds.length) made.append(make("label", { for: body.id }, kinds.length > 1 ? "Body" : `Body (${kinds[0][0]})`), body);
  const answer = make("pre", { tabindex: "0", role: "status", "aria-label": "Answer", hidden: true });
  made.append(make("div", { class: "actions" }, make("button", { class: "primary" }, "Send")), answer);
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    const inPath = inputs.filter((each) => each.in === "path").reduce((at, { name, input }) => at.replace(`{${name}}`, encodeURIComponent(input.value)), `.${path}`);
    const query = new URLSearchParams(inputs.filter((each) => each.in === "query" && each.input.value).map(({ name, input }) => [name, input.value]));
    const url = query.size ? `${inPath}?${query}` : inPath;
    const began = performance.now();
    const found = await call(url, { method: method.toUpperCase(), ...(kinds.length ? { body: body.value, headers: { "Content-Type": kind.value } } : {}) });
    const text = await found.text();
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: show it unchanged */ }
    answer.hidden = false;
    answer.textContent = `${found.status} in ${Math.round(performance.now() - began)} ms\n${shown}`;
  });
  return made;
}

function security(operation) {
  const scopes = [...new Set((operation.security ?? []).flatMap((each) => Object.values(each).flat()))];
  if (!operation.security) return "Needs no credential.";
  return `Needs a credential with the scope ${scopes.join(", ")}.`;
}

function show(path, method, operation, id) {
  const head = make("summary", {},
    make("span", { class: `method ${method}` }, method.toUpperCase()), make("h3", {}, operation.summary), make("code", { class: "path" }, path));
  const details = make("details", { class: "operation card", id }, head);
  // The body is made when it is opened: all of them together have thousands of elements.
  details.addEventListener("toggle", () => {
    if (!details.open || details.querySelector(".body")) return;
    const parts = [make("p", {}, ...prose(operation.description)), make("p", { class: "tag" }, security(operation))];
    if (operation.parameters) parts.push(make("h4", {}, "Parameters"), table("Parameter", operation.parameters.map((each) => [each.name, typeOf(each.schema), each.description ?? `part of the ${each.in}`])));
    const [body] = contentOf(operation.requestBody);
    const form = body && objectIn(body[1].schema);
    if (form) parts.push(make("h4", {}, "Request body"), fields(form));
    parts.push(trial(path, method, operation, id), make("h4", {}, "Responses"), make("div", { class: "responses" }, ...Object.entries(operation.responses).sort(([a], [b]) => a - b).map((each) => response(...each))));
    details.append(make("div", { class: "body" }, ...parts));
  });
  return details;
}

function group({ name, description: about }, operations, place) {
  const id = `group-${place}`;
  find("groups").append(make("a", { href: `#${id}` }, name));
  return make("section", { id, "aria-labelledby": `${id}-title` }, make("h2", { id: `${id}-title` }, name), make("p", {}, ...prose(about)),
    ...operations.map(([path, method, operation], number) => show(path, method, operation, `${id}-${number}`)));
}

async function signIn(event) {
  event.preventDefault();
  const form = event.target;
  const found = await call("token", { method: "POST", body: new URLSearchParams(new FormData(form)) });
  const answer = await problemOf(found);
  find("problem").textContent = found.ok ? "" : answer.detail;
  if (!found.ok) return;
  setToken(answer.access_token);
  find("who").textContent = `Signed in as ${form.elements.username.value}`;
  form.reset();
  find("sign-in-box").open = false;
}

async function start() {
  const found = await call("openapi.json");
  if (!found.ok) { find("summary").textContent = (await problemOf(found)).detail; return; }
  description = await found.json();
  document.title = `API · ${description.info.title}`;
  find("name").textContent = description.info.title.replace(/^Predictions of /, "");
  find("title").textContent = description.info.title;
  find("summary").textContent = `${description.info.summary ?? ""}; model version ${description.info.version}`;
  find("single-sign-on").hidden = !description.components.securitySchemes.single_sign_on;
  const all = Object.entries(description.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => [path, method, operation]));
  find("operations").append(...description.tags.map((tag, place) => group(tag, all.filter(([, , { tags }]) => tags.includes(tag.name)), place)));
  const first = find("operations").querySelector("details");
  if (first) first.open = true;
  find("sign-in").addEventListener("submit", signIn);
}

start();
