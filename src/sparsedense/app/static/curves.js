// The score of each class over time. Chips switch classes on and off; pointing tells the values.

import { clock, drawing, element, fill, label, percent } from "./parts.js";
import { follow } from "./timeline.js";

const FIRST = 5;
const HEIGHT = 100;
const WIDTH = 1000;

export function showCurves(player, actions, palette) {
  const { edges_seconds: edges, series } = actions.curves;
  const duration = Math.max(actions.duration_seconds, 0.001);
  const centres = edges.slice(1).map((end, index) => (end + edges[index]) / 2);
  const found = new Set(actions.segments.map((each) => each.label));
  const first = series.filter((each) => found.has(each.label));
  const isShown = new Set([...first, ...series].slice(0, Math.max(FIRST, first.length)).map((each) => each.label));

  const svg = drawing("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const level of [0, 0.5, 1]) svg.append(drawing("line", { class: "rule", x1: 0, x2: WIDTH, y1: height(level), y2: height(level) }));
  const lines = new Map(series.map((each) => [each.label, line(each, centres, duration)]));
  for (const [name, path] of lines) path.style.stroke = palette(name);
  svg.append(...[...lines.values()].reverse());
  const cursor = element("div", { class: "cursor" });
  const tip = element("div", { class: "tip", hidden: true });
  const area = element("div", { class: "area" }, svg, cursor, tip);
  const ticks = [1, 0.5, 0].map((level) => element("span", { class: "tick", style: { top: `${height(level)}%` } }, `${level * 100} %`));
  fill(document.getElementById("plot"), ...ticks, area);

  const update = () => lines.forEach((path, name) => path.setAttribute("visibility", isShown.has(name) ? "visible" : "hidden"));
  const chips = series.map((each) => chip(each.label, palette, isShown, update));
  fill(document.getElementById("chips"), ...chips);
  update();

  follow(area, (share) => player.seek(share * duration));
  area.addEventListener("pointermove", (event) => {
    const box = area.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    showTip(tip, share, { centres, duration, palette, series: series.filter((each) => isShown.has(each.label)) });
  });
  area.addEventListener("pointerleave", () => { tip.hidden = true; });
  return (seconds) => { cursor.style.left = `${100 * Math.min(1, seconds / duration)}%`; };
}

function height(score) {
  return HEIGHT * (1 - score);
}

function line(each, centres, duration) {
  const points = each.scores.map((score, index) => `${((WIDTH * centres[index]) / duration).toFixed(1)} ${height(score).toFixed(1)}`);
  const last = `${WIDTH} ${height(each.scores.at(-1) ?? 0).toFixed(1)}`;
  const begin = `0 ${height(each.scores[0] ?? 0).toFixed(1)}`;
  return drawing("path", { class: "line", d: `M${[begin, ...points, last].join("L")}` });
}

function chip(name, palette, isShown, update) {
  const made = element("button", { type: "button", class: "chip", "aria-pressed": String(isShown.has(name)), style: { "--own": palette(name) } }, element("i", {}), label(name));
  made.addEventListener("click", () => {
    if (isShown.has(name)) isShown.delete(name);
    else isShown.add(name);
    made.setAttribute("aria-pressed", String(isShown.has(name)));
    update();
  });
  return made;
}

function showTip(tip, share, { centres, duration, palette, series }) {
  const seconds = share * duration;
  let at = centres.findIndex((centre) => centre > seconds);
  if (at < 0) at = centres.length - 1;
  if (at > 0 && seconds - centres[at - 1] < centres[at] - seconds) at -= 1;
  const best = series.map((each) => ({ label: each.label, score: each.scores[at] })).sort((a, b) => b.score - a.score).slice(0, 4);
  fill(tip, element("b", {}, clock(seconds)), ...best.map((each) =>
    element("div", {}, element("i", { style: { background: palette(each.label) } }), `${label(each.label)} ${percent(each.score)}`)));
  tip.hidden = false;
  tip.style.left = share < 0.5 ? `calc(${share * 100}% + 14px)` : "auto";
  tip.style.right = share < 0.5 ? "auto" : `calc(${(1 - share) * 100}% + 14px)`;
}
