// The answer to one row: label or value, probabilities, set or interval, and the reasons as a bar chart.
import { format, make, percent } from "./dom.js";

const SHOWN = 8;

const nameOf = (label) => String(label);
const show = (value) => String(value).replace(/^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(:00)?$/, "$1 $2");

// A bar from `start` to `end`, both from 0 to 1. The policy forbids style attributes, so the script sets properties.
export function bar(start, end, kind = "") {
  const made = make("i", { class: kind });
  made.style.left = `${100 * Math.min(start, end)}%`;
  made.style.width = `${100 * Math.abs(end - start)}%`;
  return made;
}

export function mark(at, kind = "mark") {
  const made = make("i", { class: kind });
  made.style.left = `calc(${100 * at}% - 1px)`;
  return made;
}

// A bar for each name; `at` is the threshold.
export function shareList(found) {
  return make("ul", { class: "shares" }, ...found.slice(0, 10).map(({ name, share, text, at, isChosen }) => {
    const track = make("span", { class: "track", "aria-hidden": "true" }, bar(0, share));
    if (at !== undefined) track.append(mark(at));
    return make("li", { class: isChosen ? "chosen" : "" }, make("span", {}, name), track, make("span", { class: "right" }, text));
  }));
}

function shares(model, answer) {
  const found = Object.entries(answer.probabilities[0]);
  if (model.task !== "binary") found.sort(([, a], [, b]) => b - a);
  return shareList(found.map(([name, share]) => ({
    name, share, text: percent(share), isChosen: name === nameOf(answer.predictions[0]),
    at: name === nameOf(model.positive) ? model.threshold : undefined,
  })));
}

function scoreOf(model, answer) {
  if (model.task === "regression") return answer.predictions[0];
  return answer.probabilities[0][nameOf(model.task === "binary" ? model.positive : answer.predictions[0])];
}

function headline(model, answer) {
  const parts = [make("p", { class: "verdict" }, model.task === "regression" ? format(answer.predictions[0]) : nameOf(answer.predictions[0]))];
  if (model.task === "regression") parts.push(make("p", { class: "muted" }, `predicted ${model.target}`));
  if (model.task === "binary") {
    const side = nameOf(answer.predictions[0]) === nameOf(model.positive) ? "above" : "not above";
    parts.push(make("p", { class: "muted" }, `The probability of ${nameOf(model.positive)} is ${percent(scoreOf(model, answer))}, ${side} the threshold of ${percent(model.threshold)}.`));
  }
  return parts;
}

function coverage(model, answer, wanted) {
  if (answer.intervals) {
    const [low, high] = answer.intervals[0];
    return make("p", {}, `In ${percent(wanted)} of such rows the truth is between `, make("b", {}, format(low)), " and ", make("b", {}, format(high)), ".");
  }
  if (!answer.sets) return undefined;
  const names = answer.sets[0].map(nameOf).join(" or ") || "none of the classes";
  return make("p", {}, `A set that holds the truth in ${percent(wanted)} of rows: `, make("b", {}, names), ".");
}

// Decimals so that the last digit means something: one less than the error has, or four digits of exact numbers.
function decimals(values, error) {
  const unit = error > 0 ? error : Math.max(...values.map(Math.abs)) / 1000;
  return Math.min(8, Math.max(0, Math.ceil(-Math.log10(unit || 1))));
}

// Each contribution moves the score from where the ones before it left it. Rounded sums, not rounded terms, are
// subtracted, so that the shown numbers add up.
export function steps(base, contributions, total, digits) {
  const round = (value) => Number(value.toFixed(digits));
  let sum = base;
  const found = contributions.map(([name, value]) => {
    const start = sum;
    sum += value;
    return { name, value, start, end: sum, shown: round(round(sum) - round(start)) };
  });
  if (found.length) found.at(-1).shown = round(round(total) - round(found.at(-1).start));
  return found;
}

function reasonRow(label, value, text, bars, kind) {
  const head = make("th", { scope: "row" }, label);
  if (value !== undefined) head.append(" ", make("span", {}, value));
  const track = make("span", { class: "track", "aria-hidden": "true" }, ...bars);
  return make("tr", { class: kind }, head, make("td", {}, track), make("td", { class: "right" }, text));
}

function reasonTable(model, row, explained, error, total, shown) {
  const { base_value: base, ...rest } = explained;
  const sorted = Object.entries(rest).sort(([, a], [, b]) => Math.abs(b) - Math.abs(a));
  const kept = sorted.slice(0, shown), others = sorted.slice(shown);
  if (others.length) kept.push([null, others.reduce((sum, [, value]) => sum + value, 0)]);
  const isShare = model.task !== "regression";
  const scale = isShare ? 100 : 1;
  const digits = decimals([base, total].map((value) => value * scale), error * scale);
  const all = steps(base * scale, kept.map(([name, value]) => [name, value * scale]), total * scale, digits);
  const ends = [base * scale, total * scale, ...all.map((each) => each.end)];
  const low = Math.min(...ends), span = Math.max(...ends) - low || 1;
  const at = (value) => 0.02 + 0.96 * (value - low) / span;
  const fixed = new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: "min2" });
  const unit = isShare ? "\u00a0%" : "";
  const signed = (value) => (value < 0 ? "−" : "+") + fixed.format(Math.abs(value));
  const body = make("tbody", {},
    reasonRow("Average row", undefined, fixed.format(base * scale) + unit, [mark(at(base * scale), "whole")], "average"),
    ...all.map((each) => reasonRow(
      each.name ?? `${others.length} other columns`,
      each.name === null ? undefined : each.name in row ? show(row[each.name]) : "(missing)",
      signed(each.shown), [bar(at(each.start), at(each.end), each.value < 0 ? "down" : "up")], "part")),
    reasonRow("This row", undefined, fixed.format(total * scale) + unit, [mark(at(total * scale), "whole")], "total"));
  const head = make("thead", { class: "visually-hidden" }, make("tr", {}, make("th", { scope: "col" }, "Column and its value"), make("td", {}), make("th", { scope: "col" }, "Contribution")));
  const about = model.task === "regression" ? `predicted ${model.target}` : `probability of ${nameOf(model.task === "binary" ? model.positive : "the predicted class")}`;
  const caption = make("caption", {}, make("span", { class: "key up" }), "raises and ", make("span", { class: "key down" }), `lowers the ${about}`,
    isShare ? ", in percentage points" : "", error > 0 ? `; each up to ${fixed.format(error * scale)} off` : "");
  return { table: make("table", {}, caption, make("colgroup", {}, make("col", { class: "name" }), make("col"), make("col", { class: "number" })), head, body), hidden: others.length };
}

function reasons(model, row, answer) {
  const made = make("div", { class: "reasons" }, make("h3", {}, "Why"));
  const draw = (shown) => reasonTable(model, row, answer.explanations[0], answer.explanation_errors[0], scoreOf(model, answer), shown);
  const { table, hidden } = draw(SHOWN);
  made.append(table);
  if (hidden > 0) {
    const button = make("button", { type: "button", class: "quiet" }, `Show all columns`);
    button.addEventListener("click", () => { made.querySelector("table").replaceWith(draw(Infinity).table); button.remove(); });
    made.append(button);
  }
  return made;
}

// Show the answer in `container`; return it in one sentence.
export function showAnswer(container, model, row, answer, { wanted, notes }) {
  const parts = headline(model, answer);
  if (answer.probabilities) parts.push(shares(model, answer));
  parts.push(coverage(model, answer, wanted));
  for (const note of notes) parts.push(make("p", { class: "muted" }, note));
  if (answer.explanations) parts.push(reasons(model, row, answer));
  container.replaceChildren(...parts.filter(Boolean));
  const label = model.task === "regression" ? format(answer.predictions[0]) : nameOf(answer.predictions[0]);
  const share = model.task === "regression" ? "" : `, probability ${percent(answer.probabilities[0][label])}`;
  return `Predicted ${model.target}: ${label}${share}`;
}
