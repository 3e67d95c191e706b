// The store, by class, split and reject reason, page by page; the address tells what is chosen.

import { ask, clipCard, element, fill, label, number, view, watchStored } from "./parts.js";

const PAGE = 24;
const FIELDS = ["label", "split", "kind", "reason"];

export async function showStore({ main, about, query }) {
  const store = about.store;
  if (!store) throw new Error("No store was given; start with `sparsedense app MODEL STORE`.");
  fill(main, view("store-view"));
  document.title = `${store.name} · sparsedense`;
  document.getElementById("store-name").textContent = store.name;
  document.getElementById("store-facts").textContent =
    `${number(store.videos)} videos, ${store.classes.length} classes, ${number(store.rejected)} rejected files`;
  const form = document.getElementById("filters");
  choices(form, store);
  for (const name of FIELDS) {
    if (query.has(name)) form.elements[name].value = query.get(name) || "\u0000";
    form.elements[name].addEventListener("change", () => { location.hash = `#/store?${chosen(form, 0)}`; });
  }

  const offset = Math.max(0, Number.parseInt(query.get("offset") || "0", 10) || 0);
  const asked = chosen(form, offset);
  asked.set("limit", PAGE);
  const page = await ask(`/api/store/videos?${asked}`);
  const last = Math.min(offset + PAGE, page.total);
  document.getElementById("store-count").textContent = page.total
    ? `${number(page.total)} files, ${number(offset + 1)} to ${number(last)} are shown`
    : "";
  fill(
    document.getElementById("store-cards"),
    ...(page.videos.length
      ? page.videos.map((video) => clipCard(video, { onwatch: watchStored }))
      : [element("li", { class: "empty" }, "No file of the store is like this.")]),
  );
  if (page.total > PAGE) pager(form, offset, page.total);
}

function choices(form, store) {
  const counted = (text, count) => `${text} (${number(count)})`;
  options(form.elements.label, "all classes", [
    ...store.classes.map((each) => [each.label, counted(label(each.label), each.count)]),
    ...(store.unlabelled ? [["\u0000", counted("no label", store.unlabelled)]] : []),
  ]);
  options(form.elements.split, "all splits", store.splits.map((each) => [each.split, counted(each.split, each.count)]));
  options(form.elements.kind, "all files", [
    ["readable", counted("readable", store.videos)],
    ["damaged", counted("damaged, kept up to there", store.damaged)],
    ["rejected", counted("rejected", store.rejected)],
  ]);
  options(form.elements.reason, "any or none", store.reasons.map((each) => [each.reason, counted(each.reason, each.count)]));
  form.elements.reason.disabled = !store.reasons.length;
}

function options(select, all, pairs) {
  fill(select, element("option", { value: "" }, all), ...pairs.map(([value, text]) => element("option", { value }, text)));
}

// An empty choice is none; the class without a name, which the form writes as a zero character, is asked for as empty.
function chosen(form, offset) {
  const query = new URLSearchParams();
  for (const name of FIELDS) {
    const value = form.elements[name].value;
    if (value) query.set(name, value === "\u0000" ? "" : value);
  }
  if (offset) query.set("offset", offset);
  return query;
}

function pager(form, offset, total) {
  const go = (to, text, off) =>
    element("button", { type: "button", class: "quiet", disabled: off, onclick: () => { location.hash = `#/store?${chosen(form, to)}`; } }, text);
  const pages = Math.ceil(total / PAGE);
  const here = Math.floor(offset / PAGE);
  fill(
    document.getElementById("pager"),
    go(0, "First", here === 0),
    go((here - 1) * PAGE, "Previous", here === 0),
    element("span", { class: "note" }, `Page ${number(here + 1)} of ${number(pages)}`),
    go((here + 1) * PAGE, "Next", here >= pages - 1),
    go((pages - 1) * PAGE, "Last", here >= pages - 1),
  );
}
