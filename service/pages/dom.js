// Small helpers: elements, numbers as text, and calls of the API. Texts become text nodes, never HTML.

export function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

export const find = (id) => document.getElementById(id);

const rounded = new Intl.NumberFormat("en", { maximumSignificantDigits: 4, useGrouping: "min2" });
// A number of things, with commas between thousands.
export const count = (value) => value.toLocaleString("en");

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0, useGrouping: "min2" });

// Whole numbers with all their digits, others with four.
export function format(value) {
  if (typeof value !== "number") return String(value);
  if (value !== 0 && (Math.abs(value) >= 1e15 || Math.abs(value) < 1e-4)) return value.toExponential(3);
  return Number.isInteger(value) ? whole.format(value) : rounded.format(value);
}

export const percent = (value) => `${format(Number((value * 100).toPrecision(4)))}\u00a0%`;

export const date = (text) => new Date(text).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });

// The credential is only in memory. After single sign-on it is in a cookie that scripts can't read.
let token = "";
export const setToken = (given) => { token = given; };

// Call the API; return the response, or one with status 0 if the service can't be reached.
export async function call(path, options = {}) {
  const headers = { ...(token ? { Authorization: `Bearer ${token}` } : {}), ...options.headers };
  try {
    const response = await fetch(path, { ...options, headers });
    if (response.status === 401 && path !== "token") document.dispatchEvent(new Event("signed-out"));
    return response;
  } catch {
    return new Response(JSON.stringify({ detail: "The service can't be reached" }), { status: 503 });
  }
}

export const problemOf = async (response) =>
  response.json().catch(() => ({ detail: `The service answered with status ${response.status}` }));
