// The page / : describe the model, sign in, predict.
import { showAnswer } from "./answer.js";
import { makeSnippets } from "./code.js";
import { call, find, format, make, problemOf, setToken } from "./dom.js";
import { RowForm } from "./form.js";
import { offerCoverage, predict, queryFor } from "./predict.js";
import { hideReleases, showQuality, showReleases } from "./quality.js";
import { setUpTable } from "./table.js";

let model, form, isSignedIn = false;

function list(names, most = 6) {
  const shown = names.slice(0, most).map(String);
  if (names.length > most) return `${shown.join(", ")} and ${names.length - most} more`;
  return shown.length > 1 ? `${shown.slice(0, -1).join(", ")} or ${shown.at(-1)}` : shown.join("");
}

function describe() {
  document.title = `Predict ${model.target} · ${model.name}`;
  find("name").textContent = model.name;
  find("title").textContent = `Predict ${model.target}`;
  const what = model.task === "regression" ? "a number" : list(model.classes);
  find("lead").textContent = `The model predicts ${what} from ${model.features.length} ${model.features.length === 1 ? "column" : "columns"} of a row.`;
}

async function setSignedIn(signedIn, name = "") {
  isSignedIn = signedIn;
  find("sign-in").hidden = signedIn;
  find("answer").hidden = !signedIn;
  find("sign-out").hidden = !signedIn;
  find("stale").hidden = true;
  find("who").textContent = name;
  if (signedIn) await showHistory(); else hideReleases();
}

async function showHistory() {
  const response = await call("releases");
  if (response.ok) showReleases(await response.json(), model);
  return response.ok;
}

// Return whether somebody is signed in; if not, ask for it.
function mayPredict() {
  if (isSignedIn) return true;
  find("sign-in-problem").textContent = "Sign in first, then try again.";
  find("username").focus();
  return false;
}

async function signIn(event) {
  event.preventDefault();
  const fields = new FormData(find("sign-in"));
  const response = await call("token", { method: "POST", body: new URLSearchParams(fields) });
  const answer = await problemOf(response);
  find("sign-in-problem").textContent = response.ok ? "" : answer.detail;
  if (!response.ok) { find("password").focus(); return; }
  setToken(answer.access_token);
  find("password").value = "";
  setSignedIn(true, fields.get("username"));
  find("status").textContent = "Signed in";
  find("row").querySelector(".primary").focus();
}

async function signOut() {
  setToken("");
  await call("logout", { method: "POST" });
  setSignedIn(false);
  find("username").focus();
}

function showProblems(answer) {
  const problems = Object.fromEntries((answer.errors ?? []).map((each) => [each.field ?? "", `Expected ${each.expected}, got ${each.got}`]));
  const left = Object.entries(form.show(problems)).map(([name, text]) => `${name}: ${text}`);
  find("row-problem").textContent = answer.errors ? left.join("; ") : answer.detail;
}

async function submit(event) {
  event.preventDefault();
  const { row, problems } = form.read();
  form.clear();
  find("row-problem").textContent = "";
  if (Object.keys(problems).length) { form.show(problems); return; }
  if (!mayPredict()) return;
  const button = find("row").querySelector(".primary");
  button.setAttribute("aria-busy", "true");
  const { response, notes } = await predict(["explain", "coverage"], "application/json", JSON.stringify({ instances: [row] }));
  const answer = await problemOf(response);
  button.removeAttribute("aria-busy");
  if (!response.ok) { showProblems(answer); return; }
  find("stale").hidden = true;
  if (answer.model.version !== model.version) notes.push("Another model is in service now; reload the page to see its columns and quality.");
  form.warn((answer.warnings ?? []).map((each) => each.field));
  find("status").textContent = showAnswer(find("answer"), model, row, answer, { wanted: Number(find("coverage").value), notes });
  find("answer").scrollIntoView({ block: "nearest" });
}

async function start() {
  const [info, description] = await Promise.all(["model-info", "openapi.json"].map((path) => call(path)));
  if (!info.ok || !description.ok) {
    find("failure").textContent = (await problemOf(info)).detail;
    find("failure").hidden = false;
    return;
  }
  model = await info.json();
  const { components } = await description.json();
  offerCoverage(model.highest_coverage);
  const [example] = components.schemas.PredictRequest.example.instances;
  describe();
  showQuality(model);
  setUpTable(model, example, mayPredict);
  form = new RowForm(find("fields"), model.features, example);
  const update = makeSnippets(find("snippets"), new URL(".", location.href).href);
  const refresh = () => update(form.read().row, queryFor("explain", "coverage"));
  refresh();
  find("row").addEventListener("input", () => { refresh(); find("stale").hidden = !document.querySelector(".verdict"); });
  find("row").addEventListener("change", refresh);
  find("row").addEventListener("submit", submit);
  find("reset").addEventListener("click", () => { form.fill(form.example); find("row").dispatchEvent(new Event("input")); });
  find("sign-in").addEventListener("submit", signIn);
  find("sign-out").addEventListener("click", signOut);
  document.addEventListener("signed-out", () => {
    if (!isSignedIn) return;
    setToken("");
    setSignedIn(false);
    find("sign-in-problem").textContent = "Your sign-in has ended. Sign in again.";
    find("username").focus();
  });
  if (components.securitySchemes.single_sign_on) {
    find("single-sign-on").hidden = false;
    if (await showHistory()) await setSignedIn(true, "single sign-on");  // the cookie is one that scripts can't see
  }
}

start();
