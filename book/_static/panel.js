// The run-it panel: fields become a papermill line, a sweep, a cell to paste and an address. No server, no library.
"use strict";

/** A word that a POSIX shell takes as it stands, or else in quotes. */
const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);

/** A value as Python writes it. */
function python(value) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([k, v]) => `${python(k)}: ${python(v)}`).join(", ")}}`;
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

/** What a reader typed as a value of the declared type; throws a sentence when it can't be one. */
function read(text, type) {
  const optional = /^Optional\[(.*)\]$/.exec(type);
  if (optional) return text.trim() === "" || text.trim() === "None" ? null : read(text, optional[1]);
  const typed = text.trim();
  if (type === "str") return text;
  if (type === "bool") return typed === "true";
  if (type === "int") {
    if (!/^[+-]?\d+$/.test(typed)) throw `an integer, such as 3`;
    return Number(typed);
  }
  if (type === "float") {
    if (typed === "" || !Number.isFinite(Number(typed))) throw `a number, such as 0.5`;
    return Number(typed);
  }
  return readJson(typed, type);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function readJson(typed, type) {
  const value = parsed(typed) ?? parsed(typed.replaceAll("'", '"')); // Python's quotes are fine too
  if (value === undefined) {
    throw type.startsWith("dict") ? `a mapping, such as {"a": 1}` : `a list, such as [1, 2] or ["a", "b"]`;
  }
  const list = /^list\[(.*)\]$/.exec(type);
  if (type.startsWith("list") && !Array.isArray(value)) throw `a list, such as [1, 2] or ["a", "b"]`;
  const fits = { int: Number.isInteger, float: (v) => typeof v === "number", str: (v) => typeof v === "string" };
  if (list && fits[list[1]] && !value.every(fits[list[1]])) throw `a list of ${list[1]}`;
  return value;
}

/** Text that papermill's -p and YAML would take for something else than text. */
const ambiguous = (value) =>
  typeof value === "string" && /^([+-]?(\d[\d_]*\.?\d*|\.\d+)(e[+-]?\d+)?|true|false|yes|no|on|off|none|null|~|)$/i.test(value);

/** Text that a grid takes as one value without quotes. */
const bare = (value) => typeof value === "string" && /^[\w./-]+$/.test(value) && !value.includes("..") && !ambiguous(value);

/** The lines for values that differ from the notebook's defaults. */
function commands(form, values, seeds) {
  const { notebook, chapter } = form.dataset;
  const given = Object.entries(values);
  const plain = given.filter(([, v]) => v !== null && typeof v !== "object");
  const nested = given.filter(([, v]) => v === null || typeof v === "object");
  const words = plain.map(([k, v]) => `${ambiguous(v) ? "-r" : "-p"} ${k} ${quoted(typeof v === "string" ? v : python(v))}`);
  if (nested.length) words.push(`-y ${quoted(JSON.stringify(Object.fromEntries(nested)))}`);
  const others = given.filter(([k]) => k !== "profile" && !(k === "seed" && seeds));
  const grid = others.map(([k, v]) => `--grid ${quoted(`${k}=${bare(v) ? v : JSON.stringify(v)}`)}`);
  if (seeds) grid.unshift(`--grid ${quoted(`seed=${seeds}`)}`);
  const profile = "profile" in values ? ` --profile ${values.profile}` : "";
  return {
    papermill: ["papermill", notebook, "out.ipynb", ...words].join(" "),
    sweep: grid.length ? [`loglik sweep ${chapter}${profile}`, ...grid].join(" ") : `loglik run ${chapter}${profile}`,
    cell: given.map(([k, v]) => `${k} = ${python(v)}`).join("\n") || "# the defaults: nothing to paste",
  };
}

function panel(form) {
  const box = form.closest("details");
  const fields = [...form.querySelectorAll("[data-type]")];
  const sweep = form.querySelector("[data-sweep]");
  const problems = form.querySelector(".lk-problems");
  const outputs = Object.fromEntries([...form.querySelectorAll("[data-output]")].map((o) => [o.dataset.output, o]));

  /** Values that differ from the defaults; fields that can't be read are marked. */
  function collect() {
    const values = {}, wrong = [];
    for (const field of fields) {
      try {
        const value = read(field.value, field.dataset.type);
        if (JSON.stringify(value) !== JSON.stringify(JSON.parse(field.dataset.default))) values[field.name] = value;
        field.removeAttribute("aria-invalid");
      } catch (wanted) {
        field.setAttribute("aria-invalid", "true");
        wrong.push(`${field.name} must be ${wanted}.`);
      }
    }
    const fine = !sweep || /^\s*(-?\d+\.\.-?\d+|-?\d+(\s*,\s*-?\d+)*)?\s*$/.test(sweep.value);
    sweep?.toggleAttribute("aria-invalid", !fine);
    if (!fine) wrong.push("seeds of the sweep must be a range or a list, such as 0..9 or 1,2,3.");
    problems.textContent = wrong.join(" ");
    return wrong.length ? null : values;
  }

  function show() {
    const values = collect();
    if (values === null) return;
    const lines = commands(form, values, sweep?.value.trim());
    lines.address = `${location.href.split("#")[0]}#${state()}`;
    for (const [key, output] of Object.entries(outputs)) output.textContent = lines[key];
  }

  /** The fields that were changed, for the address; `run` says that the panel is open. */
  function state() {
    const found = new URLSearchParams();
    for (const field of [...fields, sweep]) {
      if (field && field.value !== initial.get(field)) found.set(field.name || "sweep", field.value);
    }
    return `run?${found}`;
  }

  function recall() {
    if (!location.hash.startsWith("#run")) return;
    const found = new URLSearchParams(location.hash.split("?")[1] ?? "");
    for (const field of [...fields, sweep]) {
      if (field) field.value = found.get(field.name || "sweep") ?? initial.get(field);
      if (field?.selectedIndex === -1) field.value = initial.get(field);
    }
    box.open = true;
    show();
    box.scrollIntoView({ block: "start" });
  }

  const initial = new Map([...fields, sweep].filter(Boolean).map((field) => [field, field.value]));
  form.addEventListener("input", () => (show(), history.replaceState(null, "", `#${state()}`)));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () =>
    setTimeout(() => (show(), history.replaceState(null, "", location.pathname + location.search))),
  );
  form.querySelectorAll(".lk-copy").forEach((button) =>
    button.addEventListener("click", () => (button.dataset.copy = button.nextElementSibling.textContent), { capture: true }),
  );
  window.addEventListener("hashchange", recall);
  show();
  recall();
}

document.querySelectorAll(".lk-run form").forEach(panel);
