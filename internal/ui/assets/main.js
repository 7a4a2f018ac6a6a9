// The page is made by the server. This keeps it up to date, moves its clocks, and wires the theme.
import { listen } from "./stream.js";
import { morph } from "./morph.js";
import { clockFrom, tell } from "./time.js";
import { announcer } from "./announce.js";
import { themes } from "./themes.js";

const live = document.getElementById("live");
const link = document.getElementById("link");
const announce = announcer(document.getElementById("announcer"));

let clock = clockFrom(facts());

function facts() {
  return document.getElementById("facts").dataset;
}

function show(html) {
  const next = document.createElement("div");
  next.append(...new DOMParser().parseFromString(html, "text/html").body.childNodes);
  morph(live, next);
  clock = clockFrom(facts());
  document.title = facts().title;
  announce.about(facts().announce);
  tell(live, clock);
}

const words = {
  live: "Live",
  connecting: "Connecting",
  lost: "Connection lost, trying again",
};

function state(now) {
  if (link.dataset.link === now) {
    return;
  }
  if (now === "lost" || link.dataset.link === "lost") {
    announce.now(words[now]);
  }
  link.dataset.link = now;
  document.getElementById("link-text").textContent = words[now];
}

themes(document.getElementById("theme"));
announce.known(facts().announce);
tell(live, clock);
setInterval(() => document.hidden || tell(live, clock), 1000);
document.addEventListener("visibilitychange", () => document.hidden || tell(live, clock));
listen(live.dataset.events, show, state);
