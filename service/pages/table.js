// A table that comes back scored: read CSV, send the model's columns, join the predictions to the rows.
import { count, find, format, make, problemOf } from "./dom.js";
import { shareList } from "./answer.js";
import { predict } from "./predict.js";

const LARGEST = 64 * 1024 * 1024;
const SHOWN_ROWS = 5;
const SHOWN_ERRORS = 10;
const DELIMITERS = [",", ";", "\t", "|"];

// Split CSV into rows of cells (RFC 4180); empty lines are left out, as the service leaves them out.
export function parse(text, delimiter) {
  const rows = [];
  let row = [], cell = "", isQuoted = false, start = 0;
  const special = new RegExp(`["\\r\\n${delimiter === "|" ? "\\|" : delimiter}]`, "g");
  const take = (end) => { cell += text.slice(start, end); };
  const close = () => { row.push(cell); cell = ""; };
  for (let found; (found = special.exec(text));) {
    const at = found.index, mark = found[0];
    if (isQuoted) {
      if (mark !== '"') continue;
      take(at);
      if (text[at + 1] === '"') { cell += '"'; special.lastIndex = at + 2; } else isQuoted = false;
      start = special.lastIndex;
      continue;
    }
    take(at);
    start = at + 1;
    if (mark === '"') { isQuoted = true; continue; }
    close();
    if (mark === delimiter) continue;
    if (mark === "\r" && text[at + 1] === "\n") special.lastIndex = start = at + 2;
    if (row.length > 1 || row[0] !== "") rows.push(row);
    row = [];
  }
  take(text.length);
  close();
  if (row.length > 1 || row[0] !== "") rows.push(row);
  return rows;
}

const quote = (cell, delimiter) => (/["\r\n]/.test(cell) || cell.includes(delimiter) ? `"${cell.replaceAll('"', '""')}"` : cell);
export const write = (rows, delimiter) => rows.map((row) => `${row.map((cell) => quote(cell, delimiter)).join(delimiter)}\n`).join("");

const clean = (name) => name.trim().replace(/\s*[\t\n\v\f\r]+\s*/g, " ");

// Read a file whose header names some of the features. Return null if only the service can tell what it is.
async function read(file, features) {
  if (file.size > LARGEST) return null;
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    return null;
  }
  const first = text.split(/\r|\n/, 1)[0];
  const known = (delimiter) => parse(first, delimiter).flat().filter((name) => features.has(clean(name))).length;
  const delimiter = DELIMITERS.reduce((best, each) => (known(each) > known(best) ? each : best));
  const rows = parse(text, delimiter);
  const isWhole = known(delimiter) > 0 && rows.every((row) => row.length === rows[0].length);
  return isWhole ? { rows, delimiter } : null;
}

// Return the body to send: the columns of the model alone. The names of the others are shown.
function select({ rows, delimiter }, features) {
  const places = rows[0].flatMap((name, place) => (features.has(clean(name)) ? [place] : []));
  const others = rows[0].filter((name) => !features.has(clean(name)));
  return { body: write(rows.map((row) => places.map((place) => row[place])), delimiter), others };
}

function errorLine(error) {
  const where = [error.instance === undefined ? "" : `row ${error.instance + 1}`, error.field ?? ""].filter(Boolean).join(", ");
  return make("li", {}, `${where}: expected ${error.expected}, got ${error.got}`);
}

function failure(answer) {
  const errors = answer.errors ?? [];
  const text = errors.length ? `Nothing was scored: ${count(answer.error_count)} ${answer.error_count === 1 ? "mistake" : "mistakes"} in the file.` : answer.detail;
  const parts = [make("p", { class: "problem" }, text)];
  if (errors.length) parts.push(make("ul", { class: "errors" }, ...errors.slice(0, SHOWN_ERRORS).map(errorLine)));
  return parts;
}

const round = (cell) => (cell !== "" && Number.isFinite(Number(cell)) ? format(Number(cell)) : cell);

function preview(rows) {
  const names = rows[0].map((name) => make("th", { scope: "col" }, name));
  const body = rows.slice(1, SHOWN_ROWS + 1).map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, cell))));
  const table = make("table", { class: "preview" }, make("thead", {}, make("tr", {}, ...names)), make("tbody", {}, ...body));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "First rows" }, table);
}

// What the predictions are: how often each class, or the mean and the range.
function summary(model, predictions) {
  if (model.task === "regression") {
    const values = predictions.map(Number);
    const [low, high] = values.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    return make("p", {}, `Predicted ${model.target}: ${format(mean)} on average, from ${format(low)} to ${format(high)}.`);
  }
  const counts = new Map();
  for (const each of predictions) counts.set(each, (counts.get(each) ?? 0) + 1);
  const found = [...counts].sort(([, a], [, b]) => b - a);
  return shareList(found.map(([name, times]) => ({ name, share: times / predictions.length, text: count(times) })));
}

function download(text, name) {
  const link = make("a", { class: "button primary", download: name }, `Download ${name}`);
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  return link;
}

function success(model, file, table, others, text) {
  const scored = parse(text, ",");
  const joined = table && table.rows.length === scored.length ? table.rows.map((row, place) => [...row, ...scored[place]]) : null;
  const delimiter = joined ? table.delimiter : ",";
  const rows = joined ?? scored;
  const warned = scored.slice(1).filter((row) => row[scored[0].indexOf("warnings")]).length;
  const notes = [];
  if (others.length) notes.push(`The model doesn't use ${others.length === 1 ? "the column" : "the columns"} ${others.slice(0, SHOWN_ERRORS).join(", ")}; the file keeps ${others.length === 1 ? "it" : "them"}.`);
  if (!joined) notes.push("The file has the predictions alone, in the order of your rows.");
  if (warned) notes.push(`${count(warned)} ${warned === 1 ? "row has a value" : "rows have values"} unlike the training rows; the column warnings names them.`);
  return [
    make("h3", {}, `${count(scored.length - 1)} ${scored.length === 2 ? "row" : "rows"} scored`),
    summary(model, scored.slice(1).map(([prediction]) => prediction)),
    ...notes.map((note) => make("p", { class: "muted" }, note)),
    make("div", { class: "actions" }, download(write(rows, delimiter), file.name.replace(/(\.[a-z]+)?$/i, "-scored.csv"))),
    preview(rows.map((row) => [...row.slice(-scored[0].length).map(round), ...row.slice(0, -scored[0].length)])),
  ];
}

export function setUpTable(model, example, mayPredict) {
  const features = new Set(model.features.map((feature) => feature.name));
  const zone = find("drop"), input = find("table"), result = find("scored");
  const score = async (file) => {
    if (!file) return;
    if (!mayPredict()) return;
    result.replaceChildren(make("p", { class: "muted" }, `Scoring ${file.name}…`));
    const table = await read(file, features);
    const { body, others } = table ? select(table, features) : { body: file, others: [] };
    const { response } = await predict(["coverage"], "text/csv", body);
    const parts = response.ok ? success(model, file, table, others, await response.text()) : failure(await problemOf(response));
    result.replaceChildren(...parts);
    find("status").textContent = parts[0].textContent;
  };
  input.addEventListener("change", async () => { await score(input.files[0]); input.value = ""; });
  // A file that misses the zone would replace the page.
  for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
  document.addEventListener("dragover", () => zone.classList.add("over"));
  for (const name of ["dragleave", "drop"]) document.addEventListener(name, () => zone.classList.remove("over"));
  document.addEventListener("drop", (event) => score(event.dataTransfer.files[0]));
  const sample = write([Object.keys(example), Object.values(example).map(String)], ",");
  find("sample").href = URL.createObjectURL(new Blob([sample], { type: "text/csv" }));
}
