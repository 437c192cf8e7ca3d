// The form of one row, made from the model's features.
import { format, make } from "./dom.js";

const OTHER = "other";

// A column may be called constructor, which every object has from its prototype.
const own = (object, name) => (Object.hasOwn(object, name) ? object[name] : undefined);

function range(feature, show) {
  const text = `${show(feature.minimum)} to ${show(feature.maximum)}`;
  return feature.strict ? `only ${text}` : text;
}

function numberField(feature, id) {
  const input = make("input", { id, type: "number", step: "any", inputmode: "decimal" });
  return {
    input,
    hint: range(feature, format),
    read: () => (input.validity.badInput ? { problem: "This isn't a number" } : { value: input.value === "" ? null : input.valueAsNumber }),
    fill: (value) => { input.value = value ?? ""; },
  };
}

function dateField(feature, id, example) {
  const known = [feature.minimum, feature.maximum, example ?? ""];
  const hasTime = known.some((text) => /T(?!00:00:00)/.test(text)), hasSeconds = known.some((text) => /T..:..:(?!00)/.test(text));
  const input = make("input", { id, type: hasTime ? "datetime-local" : "date", step: hasSeconds ? "1" : undefined });
  return {
    input,
    hint: range(feature, (text) => text.slice(0, 10)),
    read: () => {
      if (input.validity.badInput) return { problem: "This date isn't complete" };
      return { value: input.value === "" ? null : input.value + (input.value.length === 16 ? ":00" : "") };
    },
    fill: (value) => { input.value = (value ?? "").slice(0, hasSeconds ? 19 : hasTime ? 16 : 10); },
  };
}

// Options by their place, because a category may have any text. A nullable feature begins with an empty option.
function choiceField(feature, id, values, isOpen) {
  const input = make("select", { id });
  const other = make("input", { class: "other", "aria-label": `${feature.name}: another value`, hidden: true });
  input.append(make("option", { value: "" }, feature.nullable ? "(missing)" : "(choose)"));
  input.append(...values.map((value, place) => make("option", { value: place }, String(value))));
  if (isOpen) input.append(make("option", { value: OTHER }, "Another value…"));
  const reveal = () => { other.hidden = input.value !== OTHER; };
  input.addEventListener("change", () => { reveal(); if (!other.hidden) other.focus(); });
  return {
    input,
    more: isOpen ? other : undefined,
    hint: values.length < 3 ? values.join(" or ") : isOpen ? `${format(values.length)} known values` : `one of ${format(values.length)}`,
    read: () => {
      if (input.value === OTHER) return { value: other.value === "" ? null : other.value };
      return { value: input.value === "" ? null : values[Number(input.value)] };
    },
    fill: (value) => {
      const place = values.indexOf(value);
      const isEmpty = value === null || value === undefined;
      input.value = isEmpty ? "" : place >= 0 ? String(place) : OTHER;
      other.value = isEmpty || place >= 0 ? "" : value;
      reveal();
    },
  };
}

function fieldOf(feature, id, example) {
  switch (feature.type) {
    case "number": return numberField(feature, id);
    case "date": return dateField(feature, id, example);
    case "boolean": return choiceField(feature, id, [true, false], false);
    default: return choiceField(feature, id, feature.categories, !feature.strict);
  }
}

class Field {
  constructor(feature, number, example) {
    const id = `field-${number}`;
    this.feature = feature;
    Object.assign(this, fieldOf(feature, id, example));
    this.text = this.hint + (feature.nullable ? ", or empty" : "");
    this.note = make("p", { id: `${id}-hint`, class: "hint" }, this.text);
    this.problem = make("p", { id: `${id}-problem`, class: "problem" });
    this.input.setAttribute("aria-describedby", `${id}-hint ${id}-problem`);
    if (feature.nullable && feature.type === "number") this.input.placeholder = "(missing)";
    if (!feature.nullable) this.input.setAttribute("aria-required", "true");
    this.element = make("div", { class: feature.type === "date" ? "field wide" : "field" }, make("label", { for: id }, feature.name), this.input, this.more, this.note, this.problem);
  }

  show(problem) {
    this.problem.textContent = problem;
    for (const each of [this.input, this.more]) each?.setAttribute("aria-invalid", String(Boolean(problem)));
  }

  warn(isBeyond) {
    this.note.classList.toggle("beyond", isBeyond);
    this.note.textContent = isBeyond ? `Unlike the training rows (${this.hint})` : this.text;
  }
}

const MANY = 24;

// A field that shows only the columns whose name has this text, for forms that are long.
function searchOf(fields) {
  const input = make("input", { type: "search", "aria-label": "Find a column", placeholder: `Find one of ${fields.length} columns` });
  input.addEventListener("input", (event) => {
    event.stopPropagation();
    for (const { feature, element } of fields) element.hidden = !feature.name.toLowerCase().includes(input.value.toLowerCase());
  });
  input.addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
  return make("div", { class: "search" }, input);
}

export class RowForm {
  constructor(container, features, example) {
    this.fields = features.map((feature, number) => new Field(feature, number, own(example, feature.name)));
    container.replaceChildren(...(features.length > MANY ? [searchOf(this.fields)] : []), ...this.fields.map((field) => field.element));
    this.example = example;
    this.fill(example);
  }

  fill(row) {
    for (const field of this.fields) field.fill(own(row, field.feature.name));
    this.clear();
  }

  clear() {
    for (const field of this.fields) { field.show(""); field.warn(false); }
  }

  // Return the row, and what is wrong with it by feature. A value that is missing is left out.
  read() {
    const row = Object.create(null), problems = Object.create(null);  // a column may be called __proto__
    for (const { feature, read } of this.fields) {
      const { value, problem } = read();
      if (problem) problems[feature.name] = problem;
      else if (value !== null) row[feature.name] = value;
      else if (!feature.nullable) problems[feature.name] = "Fill in a value";
    }
    return { row, problems };
  }

  // Show problems at their fields, focus the first of them, and return those of no field.
  show(problems) {
    const left = { ...problems };
    let first;
    for (const field of this.fields) {
      const text = own(problems, field.feature.name) ?? "";
      field.show(text);
      if (text) { first ??= field; field.element.hidden = false; }
      delete left[field.feature.name];
    }
    first?.input.focus();
    return left;
  }

  warn(names) {
    for (const field of this.fields) field.warn(names.includes(field.feature.name));
  }
}
