// Actions over time: a lane for each class, a bar for each segment, and a head that follows playback.

import { clock, element, fill, label, percent } from "./parts.js";

const COLOURS = 12;
const STEPS = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];

// The same colour for a class in bars, curves and lists; classes that were found come first.
export function colours(actions) {
  const found = [...actions.segments].sort((a, b) => a.start_seconds - b.start_seconds).map((each) => each.label);
  const order = [...new Set([...found, ...actions.curves.series.map((each) => each.label)])];
  return (name) => `var(--c${order.indexOf(name) % COLOURS})`;
}

export function showTimeline(player, actions, palette) {
  const duration = Math.max(actions.duration_seconds, 0.001);
  const share = (seconds) => `${Math.min(100, (100 * seconds) / duration)}%`;
  const names = [...new Set([...actions.segments].sort((a, b) => a.start_seconds - b.start_seconds).map((each) => each.label))];
  const pieces = [];
  const lanes = names.map((name) => {
    const track = element("div", { class: "track" });
    const own = actions.segments.filter((each) => each.label === name).sort((a, b) => a.score - b.score);
    for (const segment of own) {
      const piece = bar(player, segment, palette(name), share);
      pieces.push({ segment, piece });
      track.append(piece);
    }
    // The order of writing is the order of tabs, the order of layers is that of the scores.
    [...track.children].sort((a, b) => Number(a.dataset.start) - Number(b.dataset.start)).forEach((piece) => track.append(piece));
    return element("div", { class: "lane" }, element("span", { title: name }, label(name)), track);
  });
  const scrub = slider(player, duration);
  const head = element("div", { class: "head" });
  const empty = names.length ? null : element("p", { class: "none" }, "Nothing was found that the model is sure enough of; the scores below tell more.");
  fill(document.getElementById("lanes"), empty, scrub, ...lanes, axis(duration), head);
  return (seconds) => {
    const at = Math.min(1, seconds / duration);
    head.style.left = `calc(var(--label) + (100% - var(--label)) * ${at})`;
    scrub.setAttribute("aria-valuenow", seconds.toFixed(1));
    scrub.setAttribute("aria-valuetext", `${clock(seconds)} of ${clock(duration)}`);
    for (const { segment, piece } of pieces) {
      piece.classList.toggle("now", segment.start_seconds <= seconds && seconds < segment.end_seconds);
    }
  };
}

function bar(player, segment, colour, share) {
  const { start_seconds: start, end_seconds: end, score } = segment;
  const text = `${label(segment.label)}, ${clock(start)} to ${clock(end)}, ${percent(score)}`;
  return element("button", {
    type: "button", class: "piece", title: text, "aria-label": text, "data-start": start,
    style: {
      "--own": colour, left: share(start), width: `calc(${share(end)} - ${share(start)})`, "z-index": String(1 + Math.round(score * 10)),
      background: `color-mix(in srgb, ${colour} ${Math.round(30 + 70 * score)}%, var(--surface))`,
    },
    onclick: (event) => player.jump(segment, event),
  });
}

function slider(player, duration) {
  const scrub = element("div", { class: "scrub", role: "slider", tabindex: "0", "aria-label": "Position in the video", "aria-valuemin": "0", "aria-valuemax": duration.toFixed(1) });
  follow(scrub, (share) => player.seek(share * duration));
  return scrub;
}

// Calls with the share of the width at which one points, on a press and while it lasts.
export function follow(area, act) {
  const at = (event) => {
    const box = area.getBoundingClientRect();
    act(Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1));
  };
  area.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    area.setPointerCapture(event.pointerId);
    at(event);
  });
  area.addEventListener("pointermove", (event) => { if (area.hasPointerCapture(event.pointerId)) at(event); });
}

function axis(duration) {
  const most = innerWidth < 720 ? 5 : 10;
  const step = STEPS.find((each) => duration / each <= most) || Math.ceil(duration / most / 3600) * 3600;
  const line = element("div", { class: "axis", "aria-hidden": "true" });
  for (let seconds = 0; seconds <= duration * 0.96; seconds += step) {
    line.append(element("span", { style: { left: `${(100 * seconds) / duration}%` } }, clock(seconds, step < 1 ? 1 : 0)));
  }
  return line;
}
