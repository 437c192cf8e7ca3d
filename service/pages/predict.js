// POST /predict with all that the service offers beside predictions.
import { call, find, problemOf } from "./dom.js";

const offered = new Set(["explain"]);

// Offer the coverages that the model can promise.
export function offerCoverage(highest) {
  if (highest === undefined) return;
  const options = [...find("coverage").options];
  for (const option of options) if (Number(option.value) > highest) option.remove();
  find("coverage-label").hidden = !find("coverage").options.length;
  if (find("coverage").options.length) offered.add("coverage");
}

// The query for what is wanted: explanations, and prediction sets or intervals.
export function queryFor(...names) {
  const values = { explain: "true", coverage: find("coverage").value };
  return Object.fromEntries(names.filter((name) => offered.has(name)).map((name) => [name, values[name]]));
}

// Ask for predictions. If the model in service lacks something (409), ask without it, and return why as notes.
export async function predict(names, kind, body) {
  const notes = [];
  for (;;) {
    const query = queryFor(...names), url = `predict?${new URLSearchParams(query)}`;
    const response = await call(url, { method: "POST", headers: { "Content-Type": kind }, body });
    const last = Object.keys(query).at(-1);
    if (response.status !== 409 || !last) return { response, notes };
    offered.delete(last);
    if (last === "coverage") find("coverage-label").hidden = true;
    notes.push((await problemOf(response)).detail);
  }
}
