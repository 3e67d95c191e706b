// The reports of runs: choose some, and they stand side by side. They run no script, and the address tells which.

import { ask, element, fill, percent, view } from "./parts.js";

const MOST = 4;

export async function showReports({ main, query }) {
  fill(main, view("reports-view"));
  document.title = "Reports · sparsedense";
  const { runs } = await ask("/api/reports");
  const open = query.getAll("run").slice(0, MOST);
  if (!runs.length) {
    fill(document.getElementById("runs"), element("li", { class: "empty" }, "There are no runs in this folder yet."));
    return;
  }
  const choose = (path, isOpen) => {
    const wanted = isOpen ? [...open, path].slice(-MOST) : open.filter((each) => each !== path);
    location.hash = `#/reports?${new URLSearchParams(wanted.map((each) => ["run", each]))}`;
  };
  fill(document.getElementById("runs"), ...runs.map((run) => card(run, open.includes(run.path), choose)));
  const panes = open.map((path) => runs.find((run) => run.path === path && run.has_report)).filter(Boolean);
  fill(document.getElementById("panes"), ...panes.map((run) => pane(run, choose)));
}

function card(run, isOpen, choose) {
  const figures = run.figures.map((figure) => `${figure.name} ${percent(figure.value)}`).join(" · ");
  const when = new Date(run.modified_seconds * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  const box = element("input", { type: "checkbox", checked: isOpen, disabled: !run.has_report });
  box.addEventListener("change", () => choose(run.path, box.checked));
  return element(
    "li",
    {},
    element("label", { class: "run" }, box, element("span", {}, element("b", {}, run.name),
      element("small", {}, run.has_report ? when : "no report yet: sparsedense report RUN"), figures ? element("small", {}, figures) : null)),
  );
}

function pane(run, choose) {
  const path = run.path === "." ? "" : `${run.path.split("/").map(encodeURIComponent).join("/")}/`;
  const address = `/reports/${path}report.html`;
  return element(
    "section",
    { class: "pane card", "aria-label": `Report of ${run.name}` },
    element("header", {}, element("b", {}, run.name), element("a", { href: address, target: "_blank", rel: "noopener" }, "Open alone"),
      element("button", { type: "button", class: "quiet", onclick: () => choose(run.path, false) }, "Close")),
    element("iframe", { src: address, sandbox: "", title: `Report of ${run.name}` }),
  );
}
