// The video, its buttons and keys.

import { clock, element, fill, label, percent } from "./parts.js";

const FRAME_SECONDS = 1 / 25;

export class Player {
  constructor() {
    this.video = document.getElementById("video");
    this.segments = [];
    this.hasVideo = false;
    this.wanted = null;
    this.painters = [];
    this.caption = "";
    this.controls = document.getElementById("controls");
    this.controls.inert = true;
    this.keys = (event) => this.pressed(event);
    document.addEventListener("keydown", this.keys);
    this.bind();
    const paint = () => {
      this.frame = requestAnimationFrame(paint);
      this.painters.forEach((painter) => painter(this.seconds));
      this.show();
    };
    this.frame = requestAnimationFrame(paint);
  }

  get seconds() {
    return this.wanted ?? this.video.currentTime;
  }

  get duration() {
    return Number.isFinite(this.video.duration) ? this.video.duration : 0;
  }

  everyFrame(painter) {
    this.painters.push(painter);
  }

  open(address) {
    this.hasVideo = true;
    this.video.src = address;
    this.video.addEventListener("loadedmetadata", () => {
      const ratio = this.video.videoWidth / this.video.videoHeight;
      document.getElementById("screen").style.aspectRatio = String(Math.min(Math.max(ratio, 4 / 3), 2.2));
      this.controls.inert = false;
    });
    this.video.addEventListener("loadeddata", () => { document.getElementById("hold").hidden = true; });
    this.video.addEventListener("error", () => { document.getElementById("hold").textContent = "This browser cannot play the video; the analysis goes on."; });
  }

  setActions(segments, palette) {
    this.segments = segments;
    this.palette = palette;
  }

  close() {
    document.removeEventListener("keydown", this.keys);
    cancelAnimationFrame(this.frame);
    this.video.removeAttribute("src");
    this.video.load();
  }

  seek(seconds, { play = false } = {}) {
    const to = Math.min(Math.max(0, seconds), this.duration || seconds);
    this.wanted = to;
    this.video.currentTime = to;
    if (play) this.video.play().catch(() => {});
  }

  // To the begin of an action. A click of the mouse leaves the focus where space and arrows mean the video.
  jump(segment, event) {
    this.seek(segment.start_seconds, { play: true });
    if (event.detail) document.querySelector("[role=slider]")?.focus({ preventScroll: true, focusVisible: false });
  }

  toggle() {
    if (this.video.paused) this.video.play().catch(() => {});
    else this.video.pause();
  }

  // The next action after now, or the one before; a little tolerance, so that it goes on from where it has led to.
  step(direction) {
    const starts = [...new Set(this.segments.map((each) => each.start_seconds))].sort((a, b) => a - b);
    const now = this.seconds;
    const to = direction > 0 ? starts.find((start) => start > now + 0.05) : starts.findLast((start) => start < now - 0.5);
    if (to !== undefined) this.seek(to);
    else if (direction < 0) this.seek(0);
  }

  bind() {
    const on = (id, event, act) => document.getElementById(id).addEventListener(event, act);
    on("play", "click", () => this.toggle());
    on("screen", "click", () => { if (this.hasVideo) this.toggle(); });
    on("previous", "click", () => this.step(-1));
    on("next", "click", () => this.step(1));
    on("speed", "change", (event) => { this.video.playbackRate = Number(event.target.value); });
    on("sound", "click", () => this.switchSound());
    this.video.addEventListener("seeked", () => { this.wanted = null; });
    const button = document.getElementById("play");
    const tell = () => {
      button.classList.toggle("playing", !this.video.paused);
      button.setAttribute("aria-label", this.video.paused ? "Play" : "Pause");
    };
    this.video.addEventListener("play", tell);
    this.video.addEventListener("pause", tell);
  }

  switchSound() {
    this.video.muted = !this.video.muted;
    const button = document.getElementById("sound");
    button.textContent = this.video.muted ? "Sound off" : "Sound on";
    button.setAttribute("aria-pressed", String(!this.video.muted));
  }

  pressed(event) {
    if (!this.hasVideo || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    if (target.closest("select, input, textarea")) return;
    const acts = {
      " ": () => this.toggle(),
      ArrowLeft: () => this.seek(this.seconds - (event.shiftKey ? 5 : 1)),
      ArrowRight: () => this.seek(this.seconds + (event.shiftKey ? 5 : 1)),
      ",": () => { this.video.pause(); this.seek(this.seconds - FRAME_SECONDS); },
      ".": () => { this.video.pause(); this.seek(this.seconds + FRAME_SECONDS); },
      Home: () => this.seek(0),
      End: () => this.seek(this.duration),
      p: () => this.step(-1),
      n: () => this.step(1),
      m: () => this.switchSound(),
    };
    const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    if (event.key === " " && target.closest("button, a")) return;
    if (["Home", "End"].includes(event.key) && !target.closest("[role=slider]")) return;
    event.preventDefault();
    act();
  }

  show() {
    const seconds = this.seconds;
    document.getElementById("time").textContent = `${clock(seconds)} / ${clock(this.duration)}`;
    const now = this.segments.filter((each) => each.start_seconds <= seconds && seconds < each.end_seconds);
    const best = now.sort((a, b) => b.score - a.score)[0];
    const told = best ? `${best.label} ${best.score}` : "";
    if (told === this.caption) return;
    this.caption = told;
    const caption = document.getElementById("caption");
    caption.hidden = !best;
    if (best) {
      fill(caption, element("i", { style: { background: this.palette(best.label) } }), label(best.label), element("span", {}, percent(best.score)));
    }
  }
}
