// How well the model does, where it does badly, and the releases before it.
import { bar, mark } from "./answer.js";
import { count, date, find, format, make, percent } from "./dom.js";

// By name: what it is called, what it means, and its scale: [0, 1], or null for one that begins at 0.
const UNIT = [0, 1];
const METRICS = {
  roc_auc: ["ROC-AUC", "how often it ranks a pair of rows of different classes correctly; 0.5 is chance", UNIT],
  r2: ["R²", "the share of the target’s variance that it explains", UNIT],
  average_precision: ["Average precision", "precision over all thresholds", UNIT],
  accuracy: ["Accuracy", "the share of rows that it gets right", UNIT],
  balanced_accuracy: ["Balanced accuracy", "the same, with equal weight for each class", UNIT],
  f1_macro: ["F1", "precision and recall in one number, mean of the classes", UNIT],
  precision: ["Precision", "the share of its positive predictions that are right", UNIT],
  recall: ["Recall", "the share of positive rows that it finds", UNIT],
  log_loss: ["Log loss", "error of the probabilities; lower is better", null],
  brier_score: ["Brier score", "squared error of the probabilities; lower is better", null],
  mean_absolute_error: ["Mean absolute error", "how far it is off on average; lower is better", null],
  root_mean_squared_error: ["Root mean squared error", "the same, with more weight for large errors; lower is better", null],
};
const MAIN = ["roc_auc", "r2", "accuracy"];

const labelOf = (name) => METRICS[name]?.[0] ?? name;
const isNumber = (value) => typeof value === "number";
const between = (low, high) => (isNumber(low) && isNumber(high) ? `${format(low)} to ${format(high)}` : "");
const mainOf = (metrics) => MAIN.find((name) => isNumber(metrics[name]));

function figures(metrics, name) {
  return { value: metrics[name], low: metrics[`${name}_low`], high: metrics[`${name}_high`], baseline: metrics[`baseline_${name}`] };
}

// A line of a chart: a name, an interval with its value as a dot, a mark to compare with, and the numbers as text.
function line({ head, note, value, low, high, baseline, text, more }, [start, end]) {
  const at = (number) => Math.max(0, Math.min(1, (number - start) / (end - start || 1)));
  const track = make("span", { class: "track", "aria-hidden": "true" });
  if (isNumber(low) && isNumber(high)) track.append(bar(at(low), at(high), "range"));
  if (isNumber(baseline)) track.append(mark(at(baseline)));
  if (isNumber(value)) track.append(mark(at(value), "dot"));
  return make("li", {},
    make("div", { class: "head" }, head, note ? make("p", { class: "muted" }, note) : null),
    track,
    make("div", { class: "right" }, make("b", {}, isNumber(value) ? format(value) : ""), text ? make("p", { class: "muted" }, text) : null),
    more);
}

// The scale that shows all these numbers, with a little room on both sides.
function scaleOf(numbers) {
  const found = numbers.filter(isNumber);
  const low = Math.min(...found), high = Math.max(...found), room = (high - low) * 0.08;
  return [low - room, high + room];
}

function fact(name, value, note) {
  return make("div", {}, make("dt", {}, name), make("dd", {}, value, make("small", {}, note)));
}

function describeUnits(metrics) {
  const { interval_unit: unit, interval_units: units } = metrics;
  return unit ? `The bars are 95 % intervals over ${count(units)} independent ${unit}s of test rows` : "The bars are 95 % intervals";
}

// What the numbers mean for a row, in words.
function words(model) {
  const { metrics, task } = model;
  const of100 = (name) => {
    const { value, low, high } = figures(metrics, name);
    const range = isNumber(low) && isNumber(high) ? ` (${Math.round(low * 100)} to ${Math.round(high * 100)})` : "";
    return `${Math.round(value * 100)}${range}`;
  };
  if (task === "binary" && isNumber(metrics.recall) && isNumber(metrics.precision)) {
    return `Of 100 test rows that are ${model.positive} it finds ${of100("recall")}. Of 100 that it calls ${model.positive}, ${of100("precision")} are. It calls a row ${model.positive} above a probability of ${percent(model.threshold)}.`;
  }
  if (task === "regression" && isNumber(metrics.mean_absolute_error)) {
    const { value, low, high, baseline } = figures(metrics, "mean_absolute_error");
    return `On average it is ${format(value)} off${low === undefined ? "" : ` (${between(low, high)})`}; always predicting the same number would be ${format(baseline)} off.`;
  }
  if (isNumber(metrics.accuracy)) {
    return `Of 100 test rows it gets ${of100("accuracy")} right; always predicting the most frequent class would get ${Math.round(metrics.baseline_accuracy * 100)}.`;
  }
  return "";
}

export function showQuality(model) {
  const { metrics } = model;
  const main = mainOf(metrics);
  const facts = [];
  if (main) {
    const { value, low, high, baseline } = figures(metrics, main);
    const range = between(low, high);
    facts.push(fact(labelOf(main), format(value), range && `95 % interval ${range}`));
    if (isNumber(baseline)) facts.push(fact("Without a model", format(baseline), `${labelOf(main)} of the baseline`));
  }
  facts.push(fact("Release", model.release.split("-")[0], `model ${model.version.slice(0, 8)}`));
  find("facts").replaceChildren(...facts);
  find("quality-lead").textContent = words(model);
  const shown = Object.keys(METRICS).filter((name) => isNumber(metrics[name]));
  find("metrics").replaceChildren(...shown.map((name) => {
    const [label, meaning, scale] = METRICS[name];
    const found = figures(metrics, name);
    const numbers = [found.value, found.low, found.high, found.baseline].filter(isNumber);
    const axis = scale ? [Math.min(0, ...numbers), 1] : [0, Math.max(...numbers) * 1.1];
    return line({ ...found, head: make("b", {}, label), note: meaning, text: between(found.low, found.high) }, axis);
  }));
  find("metrics-key").textContent = shown.length ? `${describeUnits(metrics)}. The upright line is the baseline, which doesn’t look at the row.` : "The release has no metrics.";
}

function showSlices(slices, model) {
  const lead = find("slices-lead");
  find("slices").replaceChildren();
  if (!slices) { lead.textContent = "This release doesn’t say. The next one that `make promote` makes will."; return; }
  if (!slices.length) { lead.textContent = "On no part of the test rows that was looked at is it significantly worse than on all of them."; return; }
  const { metric } = slices[0], whole = model.metrics[metric];
  lead.textContent = `On these parts of the test rows it is significantly worse than on all of them${isNumber(whole) ? ` (the upright line: ${labelOf(metric)} ${format(whole)})` : ""}.`;
  const axis = scaleOf([whole, ...slices.flatMap((each) => [each.score, each.low, each.high])]);
  find("slices").replaceChildren(...slices.map((each) => line({
    head: make("b", {}, `${each.column} `, make("span", {}, each.value)), note: `${count(each.rows)} test rows`,
    value: each.score, low: each.low, high: each.high, baseline: whole, text: between(each.low, each.high),
  }, axis)));
}

const VERDICTS = { accepted: "passed all checks", overridden: "overrode a check", rollback: "rolled back", migrated: "taken over from an earlier version" };

function released(each, isCurrent, main, axis) {
  const person = each.by.replace(/\s*<[^>]*>$/, "");
  const found = main ? figures(each.metrics, main) : {};
  const title = make("b", {}, `Release ${each.release.split("-")[0]}`);
  const head = make("div", {}, title, " ", isCurrent ? make("span", { class: "badge" }, "in service") : null);
  const why = make("p", { class: "why" }, each.reason);
  const note = `${date(each.at)}, by ${person}: ${VERDICTS[each.verdict] ?? each.verdict}${each.overrides.length ? ` (${each.overrides.join(", ")})` : ""}`;
  return line({ ...found, head, note, text: between(found.low, found.high), more: why }, axis);
}

const ASKED = ["slices-lead", "history-lead"].map((id) => [id, find(id).textContent]);

// Remove what only those who are signed in may read.
export function hideReleases() {
  for (const id of ["slices", "history"]) find(id).replaceChildren();
  for (const [id, text] of ASKED) find(id).textContent = text;
}

// Show what only those who are signed in may read.
export function showReleases(releases, model) {
  const current = releases.find((each) => each.release === model.release);
  showSlices(current?.worst_slices, model);
  const main = mainOf(model.metrics);
  const all = main ? releases.flatMap(({ metrics }) => Object.values(figures(metrics, main))) : [];
  find("history").replaceChildren(...releases.map((each) => released(each, each === current, main, scaleOf(all))));
  find("history-lead").textContent = main ? `${labelOf(main)} of each release, with its 95 % interval and the baseline as an upright line.` : "";
  if (current) {
    const rows = current.training_rows ? `trained on ${count(current.training_rows)} rows` : `model ${model.version.slice(0, 8)}`;
    find("facts").lastElementChild.replaceWith(fact("Release", model.release.split("-")[0], `${date(current.at)}, ${rows}`));
  }
}
