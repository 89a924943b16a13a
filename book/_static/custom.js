// Tables that sort and filter, with their state in the address; buttons that copy. No library, no request.
"use strict";

document.documentElement.classList.add("lk-js");

/** Make one table explorable: a form of filters above, buttons in its heads. */
function explore(box) {
  const form = box.querySelector("form");
  const body = box.querySelector("tbody");
  const rows = [...body.rows];
  const heads = [...box.querySelectorAll("th")];
  const fields = [...form.elements].filter((field) => field.name);
  const count = box.querySelector(".lk-count");
  let sort = { key: "", down: false };

  heads.forEach((head) => {
    if (!head.dataset.sort) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => {
      const again = sort.key === head.dataset.sort;
      sort = again && sort.down ? { key: "", down: false } : { key: head.dataset.sort, down: again };
      show();
      remember();
    });
    head.replaceChildren(button);
  });

  // On a phone the heads are hidden: the same order by a choice in the form.
  const order = document.createElement("select");
  order.setAttribute("aria-label", "Sort by");
  order.add(new Option("the book's order", ""));
  heads.forEach((head) => {
    if (!head.dataset.sort) return;
    order.add(new Option(`${head.textContent} ↑`, head.dataset.sort));
    order.add(new Option(`${head.textContent} ↓`, `-${head.dataset.sort}`));
  });
  const label = document.createElement("label");
  label.className = "lk-narrow";
  label.append("Sort by", order);
  form.querySelector("button").before(label);
  order.addEventListener("input", () => {
    sort = { key: order.value.replace(/^-/, ""), down: order.value.startsWith("-") };
  }); // the form hears of it next, and shows it

  const fits = (row) =>
    fields.every((field) => {
      const wanted = field.value.trim().toLowerCase();
      if (!wanted) return true;
      if (field.name !== "q") return row.dataset[field.name] === field.value;
      return wanted.split(/\s+/).every((word) => row.dataset.text.includes(word));
    });

  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.v ?? cell.textContent.trim();
  };

  function show() {
    const column = heads.findIndex((head) => head.dataset.sort && head.dataset.sort === sort.key);
    heads.forEach((head, at) => {
      if (at === column) head.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    const ordered = [...rows];
    if (column >= 0) {
      const compare = new Intl.Collator("en", { numeric: true }).compare;
      ordered.sort((a, b) => compare(value(a, column), value(b, column)) * (sort.down ? -1 : 1));
    }
    order.value = (sort.down ? "-" : "") + sort.key;
    body.append(...ordered);
    let shown = 0;
    rows.forEach((row) => {
      row.hidden = !fits(row);
      shown += !row.hidden;
    });
    count.textContent = `${shown} of ${rows.length} ${count.dataset.noun}`;
    box.querySelector(".lk-none").hidden = shown > 0;
  }

  function remember() {
    const state = new URLSearchParams();
    fields.forEach((field) => field.value && state.set(field.name, field.value));
    if (sort.key) state.set("sort", (sort.down ? "-" : "") + sort.key);
    const hash = state.toString();
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  }

  function recall() {
    const state = new URLSearchParams(location.hash.slice(1));
    fields.forEach((field) => (field.value = state.get(field.name) ?? ""));
    fields.forEach((field) => field.selectedIndex === -1 && (field.value = ""));
    const key = state.get("sort") ?? "";
    sort = { key: key.replace(/^-/, ""), down: key.startsWith("-") };
    show();
  }

  form.addEventListener("input", () => (show(), remember()));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () =>
    setTimeout(() => {
      sort = { key: "", down: false };
      show();
      remember();
    }),
  );
  window.addEventListener("hashchange", recall);
  recall();
}

/** Copy the text that a button carries, and say so for a moment. */
async function copy(button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(button.parentElement.querySelector("pre"));
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = before), 1500);
}

document.querySelectorAll(".lk-explore").forEach(explore);
document.querySelectorAll(".lk-copy").forEach((button) => button.addEventListener("click", () => copy(button)));
// Numbers keep to one line; a cell that holds a sentence is read like one.
document.querySelectorAll(".cell_output table.dataframe :is(td, th)").forEach((cell) => {
  if (cell.textContent.trim().length > 32) cell.classList.add("lk-sentence");
});
// A figure of several panels scrolls on a phone, inside its box: shrunk to the page its letters would be dust.
document.querySelectorAll(".bd-article figure img").forEach((image) => {
  const mark = () => image.classList.toggle("lk-wide", image.naturalWidth > 780);
  image.addEventListener("load", mark);
  if (image.complete) mark();
});
// The theme's arrows beside the parts in the sidebar have no name of their own; a screen reader needs one.
document.querySelectorAll(".bd-links summary").forEach((arrow) => {
  arrow.ariaLabel = `Pages of ${arrow.closest("li").querySelector("a").textContent.trim()}`;
});
// An address such as #claim-C3 may point into a page whose mathematics has moved it: go there once more.
window.addEventListener("load", () => {
  const target = location.hash.startsWith("#claim-") && document.getElementById(location.hash.slice(1));
  if (target) setTimeout(() => target.scrollIntoView({ block: "center" }), 300);
});
