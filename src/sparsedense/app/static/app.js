// Which page is shown, by the part of the address behind #: nothing, /watch/ID, /store?..., /reports?...

import { ask, element, fill, toast } from "./parts.js";
import { showReports } from "./reports.js";
import { showStart } from "./start.js";
import { showStore } from "./store.js";
import { showWatch } from "./watch.js";

const main = document.getElementById("main");
let leave = () => {};

async function begin() {
  const about = await ask("/api/about");
  document.getElementById("model").textContent = `${about.model} · ${about.classes.length} classes`;
  document.getElementById("model").title = about.classes.join(", ");
  document.querySelector("[data-page=store]").hidden = !about.store;
  document.querySelector("[data-page=reports]").hidden = !about.runs;
  const pages = { "": showStart, watch: showWatch, store: showStore, reports: showReports };

  async function show() {
    leave();
    leave = () => {};
    const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
    const [page, ...rest] = path.split("/");
    for (const link of document.querySelectorAll(".top nav a")) {
      const isHere = link.dataset.page === (page || "watch");
      if (isHere) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    const make = pages[page] || showStart;
    try {
      leave = (await make({ main, about, rest, query: new URLSearchParams(query) })) || (() => {});
    } catch (error) {
      fill(main, element("p", { class: "empty" }, error.message));
    }
    main.focus({ preventScroll: true });
  }

  addEventListener("hashchange", () => { scrollTo(0, 0); show(); });
  await show();
}

begin().catch((error) => toast(error.message));
