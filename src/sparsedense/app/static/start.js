// The first page: give a video, or pick one of the store.

import { clipCard, fill, number, toast, view, watchStored } from "./parts.js";
import { upload } from "./upload.js";

export function showStart({ main, about }) {
  fill(main, view("start-view"));
  document.title = "sparsedense";
  const drop = document.getElementById("drop");
  const file = document.getElementById("file");
  document.getElementById("accepted").textContent = `${about.accepted.replace(/(\d) (?=\D)/g, "$1\u00a0")}. It stays on this computer and is deleted when the program ends.`;

  const take = (files) => {
    if (!files.length) return;
    if (files.length > 1) toast("One video at a time: the first one is taken.");
    upload(files[0], about);
  };
  file.addEventListener("change", () => take(file.files));
  // Anywhere on the page one may drop a video; a browser would otherwise open it.
  const over = (event) => { event.preventDefault(); drop.classList.add("over"); };
  const out = (event) => { if (!event.relatedTarget) drop.classList.remove("over"); };
  const dropped = (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take(event.dataTransfer.files);
  };
  addEventListener("dragover", over);
  addEventListener("dragleave", out);
  addEventListener("drop", dropped);

  if (about.samples.length) {
    document.getElementById("samples").hidden = false;
    document.getElementById("count").textContent = number(about.store.videos);
    fill(document.getElementById("sample-cards"), ...about.samples.map((video) => clipCard(video, { onwatch: watchStored })));
  }
  return () => {
    removeEventListener("dragover", over);
    removeEventListener("dragleave", out);
    removeEventListener("drop", dropped);
  };
}
