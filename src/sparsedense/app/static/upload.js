// Sends a file and shows how far it is; then the page of the video takes over.

import { element, fill, toast, view } from "./parts.js";

export function upload(file, about) {
  if (file.size > about.most_bytes) {
    toast(`The file is too large: accepted are ${about.accepted}.`);
    return;
  }
  const main = document.getElementById("main");
  fill(main, view("watch-view"));
  document.getElementById("name").textContent = file.name;
  document.getElementById("hold").textContent = "The video is on its way.";
  document.getElementById("controls").inert = true;
  const stage = document.getElementById("stage");
  const share = document.getElementById("share");
  const bar = document.getElementById("progress");

  const request = new XMLHttpRequest();
  const back = () => { location.hash.replace("#/", "") ? (location.hash = "#/") : dispatchEvent(new HashChangeEvent("hashchange")); };
  const leave = () => request.abort();
  addEventListener("hashchange", leave, { once: true });
  document.getElementById("cancel").addEventListener("click", () => { leave(); back(); });
  request.upload.addEventListener("progress", (event) => {
    bar.max = event.total;
    bar.value = event.loaded;
    share.textContent = `${(event.loaded / 1e6).toFixed(1)} of ${(event.total / 1e6).toFixed(1)} MB`;
  });
  request.upload.addEventListener("load", () => {
    stage.textContent = "Examining";
    share.textContent = "";
    bar.removeAttribute("value");
  });
  const failed = (message) => {
    removeEventListener("hashchange", leave);
    const again = element("button", { type: "button", onclick: back }, "Choose another video");
    const work = document.getElementById("work");
    work.classList.add("failed");
    work.setAttribute("role", "alert");
    fill(work, element("div", { class: "row" }, element("div", {}, element("strong", {}, "This did not work"), element("p", { id: "problem" }, message)), again));
    document.getElementById("hold").textContent = "No video.";
    for (const id of ["classes-card", "controls"]) document.getElementById(id).hidden = true;
    again.focus();
  };
  request.addEventListener("error", () => failed("The upload was broken off. Is the server still running?"));
  request.addEventListener("load", () => {
    removeEventListener("hashchange", leave);
    let answer = {};
    try {
      answer = JSON.parse(request.responseText);
    } catch {
      // said below
    }
    if (request.status === 201) location.hash = `#/watch/${answer.id}`;
    else failed(answer.error || `The server answered ${request.status}.`);
  });
  request.open("POST", `/api/videos?name=${encodeURIComponent(file.name)}`);
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.send(file);
}
