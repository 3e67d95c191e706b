// What all pages are made of. Texts only ever become text nodes, so that no name can be markup.

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, style] of Object.entries(value)) made.style.setProperty(key, style);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function drawing(tag, attributes = {}) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

export function fill(parent, ...children) {
  parent.replaceChildren(...children.filter((child) => child !== null && child !== undefined));
  return parent;
}

export function view(name) {
  return document.getElementById(name).content.cloneNode(true);
}

export async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is it still running?");
  }
  if (answer.status === 204) return null;
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(content.error || `The server answered ${answer.status}.`);
  return content;
}

export function toast(message) {
  const shown = element("div", { class: "toast" }, element("p", {}, message));
  shown.append(element("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => shown.remove() }, "×"));
  document.getElementById("toasts").append(shown);
  setTimeout(() => shown.remove(), 15000);
}

// 7.5 s, 2:05 or 1:02:05, as the length of the video wants it.
export function clock(seconds, digits = 1) {
  const whole = Math.max(0, seconds);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const rest = (Math.floor((whole % 60) * 10 ** digits) / 10 ** digits).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

export function percent(share) {
  const value = share * 100;
  return value > 0 && value < 0.1 ? "< 0.1 %" : `${value.toFixed(value >= 99.95 ? 0 : 1)} %`;
}

export function label(name) {
  return name.replaceAll("_", " ");
}

export function number(value) {
  return value.toLocaleString("en");
}

// A video of a store: a picture that plays while one points at it or has it in focus, and is watched on a click.
export function clipCard(video, { badge = null, onwatch }) {
  const title = video.label ? label(video.label) : "no label";
  const seconds = video.duration_seconds ? `${video.duration_seconds.toFixed(1)} s` : `${video.num_frames} frames`;
  const details = [video.split, video.status === "ok" ? seconds : null].filter(Boolean).join(" · ");
  const why = video.reason ? element("small", { class: "why" }, video.reason) : null;
  const text = () => element("span", { class: "text" }, element("b", {}, title), element("small", {}, details), element("small", { class: "path", title: video.path }, video.path), why);
  if (!video.num_frames) {
    return element("li", {}, element("div", { class: "clip rejected" }, element("div", { class: "frame" }, "rejected"), text()));
  }
  const address = `/api/store/videos/${video.video_id}`;
  const picture = element("img", { src: `${address}/poster.jpg`, alt: "", loading: "lazy", decoding: "async" });
  const frame = element("span", { class: "frame" }, picture, badge ? element("span", { class: "badge" }, badge) : null);
  const button = element("button", { type: "button", "aria-label": `Watch ${title}, ${details}${badge ? `, similarity ${badge}` : ""}`, onclick: () => onwatch(video) }, frame, text());
  playWhilePointed(button, frame, `${address}/preview.mp4`);
  return element("li", {}, element("div", { class: "clip" }, button));
}

function playWhilePointed(button, frame, address) {
  let film = null;
  let waiting = 0;
  const start = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (film) return;
      film = element("video", { src: address, muted: true, loop: true, playsinline: true, autoplay: true, tabindex: "-1", "aria-hidden": "true" });
      film.muted = true;
      frame.append(film);
      film.play().catch(() => {});
    }, 120);
  };
  const stop = () => {
    clearTimeout(waiting);
    if (button.matches(":hover") || button === document.activeElement) return;
    film?.remove();
    film = null;
  };
  button.addEventListener("pointerenter", start);
  button.addEventListener("focus", start);
  button.addEventListener("pointerleave", () => setTimeout(stop));
  button.addEventListener("blur", () => setTimeout(stop));
}

export async function watchStored(video) {
  try {
    const { id } = await ask(`/api/store/videos/${video.video_id}/watch`, { method: "POST" });
    location.hash = `#/watch/${id}`;
  } catch (error) {
    toast(error.message);
  }
}
