// One video: how far its analysis is, and its answers as they come.

import { ask, clipCard, clock, element, fill, label, number, percent, toast, view, watchStored } from "./parts.js";
import { Player } from "./player.js";
import { showCurves } from "./curves.js";
import { colours, showTimeline } from "./timeline.js";

const FORMATS = ["json", "csv", "vtt", "srt"];

export async function showWatch({ main, about, rest }) {
  const address = `/api/videos/${encodeURIComponent(rest[0] || "")}`;
  const first = await ask(address);
  fill(main, view("watch-view"));
  document.title = `${first.name} · sparsedense`;
  document.getElementById("name").textContent = first.name;
  document.getElementById("classes-card").hidden = !about.classes.length;
  const player = new Player();
  const page = { address, about, player, known: [], left: false, seen: "", painters: [] };
  player.everyFrame((seconds) => page.painters.forEach((paint) => paint(seconds)));

  const events = new EventSource(`${address}/events`);
  const stop = () => events.close();
  events.addEventListener("message", (event) => news(page, JSON.parse(event.data), stop));
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) toast("The server does not answer. Is it still running?");
  });
  document.getElementById("cancel").addEventListener("click", async () => {
    stop();
    await ask(address, { method: "DELETE" }).catch(() => {});
    location.hash = "#/";
  });
  await news(page, first, () => {});
  return () => {
    page.left = true;
    stop();
    player.close();
  };
}

async function news(page, told, stop) {
  if (page.left) return;
  page.told = told;
  showWork(told);
  showFacts(page, told);
  if (told.playable && !page.player.hasVideo) page.player.open(`${page.address}/media`);
  const isEnded = ["done", "failed", "cancelled"].includes(told.state);
  if (isEnded) stop();
  if (told.known.length <= page.known.length) return;
  const fresh = told.known.filter((part) => !page.known.includes(part));
  page.known = told.known;
  const { answers } = await ask(page.address);
  if (page.left) return;
  if (fresh.includes("classes")) showClasses(answers.classes);
  if (fresh.includes("problem")) toast(`Actions over time cannot be shown: ${answers.problem}`);
  if (fresh.includes("actions")) showActions(page, answers.actions);
  if (fresh.includes("features")) showNearest(page);
}

function showWork(told) {
  const work = document.getElementById("work");
  const isEnded = ["failed", "cancelled"].includes(told.state);
  work.hidden = told.state === "done";
  work.classList.toggle("failed", isEnded);
  const place = told.place ? `${told.place} before this one` : "";
  document.getElementById("stage").textContent = isEnded ? told.message : told.state === "waiting" ? "Waiting for its turn" : told.stage;
  document.getElementById("share").textContent = isEnded ? "" : told.state === "waiting" ? place : told.progress === null ? "" : `${Math.round(told.progress * 100)} %`;
  const bar = document.getElementById("progress");
  bar.hidden = isEnded;
  document.getElementById("cancel").hidden = isEnded;
  if (told.progress === null) bar.removeAttribute("value");
  else bar.value = told.progress;
  if (isEnded && !told.playable) {
    document.getElementById("hold").textContent = "No video.";
    document.getElementById("classes-card").hidden = true;
  }
}

function showFacts(page, told) {
  const facts = told.facts ? [`${told.facts.width} × ${told.facts.height}`, told.facts.codec.toUpperCase()] : ["from the store"];
  if (told.converted) facts.push("converted for this browser, without sound");
  if (page.seen) facts.push(page.seen);
  document.getElementById("facts").textContent = facts.join(" · ");
}

function showClasses(classes) {
  fill(
    document.getElementById("classes"),
    ...classes.slice(0, 5).map((each) =>
      element("li", {}, element("b", {}, label(each.label)), element("span", {}, percent(each.probability)),
        element("meter", { value: each.probability, max: 1, "aria-label": `${label(each.label)}: ${percent(each.probability)}` }))),
  );
}

function showActions(page, actions) {
  const palette = colours(actions);
  document.getElementById("timeline").hidden = false;
  document.getElementById("segments-card").hidden = false;
  page.seen = `${number(actions.clips_computed)} of ${number(actions.clips_exhaustive)} clips looked at`;
  showFacts(page, page.told);
  if (actions.damage) toast(`The video is ${actions.damage}; what is shown is about the frames before.`);
  page.player.setActions(actions.segments, palette);
  page.painters.push(showTimeline(page.player, actions, palette), showCurves(page.player, actions, palette), showSegments(page.player, actions.segments, palette));
  fill(document.getElementById("downloads"), element("span", {}, "Save as"),
    ...FORMATS.map((format) => element("a", { href: `${page.address}/segments/${format}`, download: "" }, format.toUpperCase())));
}

function showSegments(player, segments, palette) {
  document.getElementById("segments-count").textContent = segments.length || "";
  const list = document.getElementById("segments");
  const buttons = segments.map((each) =>
    element("button", { type: "button", style: { "--own": palette(each.label) }, onclick: (event) => player.jump(each, event) },
      element("i", { "aria-hidden": "true" }), element("b", {}, label(each.label)), element("span", {}, percent(each.score)),
      element("small", {}, `${clock(each.start_seconds)} to ${clock(each.end_seconds)}`)));
  fill(list, ...(buttons.length ? buttons.map((button) => element("li", {}, button)) : [element("li", { class: "none" }, "Nothing was found that the model is sure enough of.")]));
  return (seconds) => {
    buttons.forEach((button, index) => {
      const isNow = segments[index].start_seconds <= seconds && seconds < segments[index].end_seconds;
      if (button.classList.toggle("now", isNow)) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    });
  };
}

async function showNearest(page) {
  const cards = document.getElementById("near-cards");
  let shown = "";
  while (!page.left) {
    const found = await ask(`${page.address}/nearest`).catch(() => null);
    if (!found || page.left) return;
    document.getElementById("near").hidden = false;
    const isAll = found.done >= found.total;
    document.getElementById("near-note").textContent = isAll
      ? `of ${number(found.total)} in the store`
      : `${number(found.done)} of the store's ${number(found.total)} are described so far`;
    const now = found.nearest.map((each) => each.video_id).join();
    if (now !== shown && !cards.contains(document.activeElement)) {
      fill(cards, ...found.nearest.map((video) => clipCard(video, { badge: percent(Math.max(0, video.similarity)), onwatch: watchStored })));
      shown = now;
    }
    if (isAll) return;
    await new Promise((resolve) => setTimeout(resolve, 1500));
  }
}
