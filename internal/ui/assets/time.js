// Times on the page, by the server's clock.

// clockFrom what the page was made with: how far this machine's clock is off, and the window of the timeline.
export function clockFrom(facts) {
  const ahead = Date.parse(facts.now) - Date.now();
  return { now: () => Date.now() + ahead, window: Number(facts.window) * 1000 };
}

// tell all times below an element anew, and move the bars of the timeline.
export function tell(root, clock) {
  const now = clock.now();
  for (const time of root.querySelectorAll("time[data-tell]")) {
    const passed = now - Date.parse(time.dateTime);
    const text = time.dataset.tell === "since" ? span(passed) : passed < 0 ? `in ${span(-passed)}` : `${span(passed)} ago`;
    if (time.textContent !== text) {
      time.textContent = text;
    }
  }
  for (const bar of root.querySelectorAll("rect[data-from]")) {
    place(bar, now, clock.window);
  }
}

const minWidth = 0.4;

function place(bar, now, window) {
  const from = Number(bar.dataset.from) * 1000;
  const to = Number(bar.dataset.to) * 1000 || now;
  const at = (time) => Math.min(100, Math.max(0, 100 - (100 * (now - time)) / window));
  const x = Math.min(at(from), 100 - minWidth);
  const gone = to < now - window;
  set(bar, "x", `${x.toFixed(2)}%`);
  set(bar, "width", gone ? "0%" : `${Math.max(minWidth, at(to) - x).toFixed(2)}%`);
}

function set(element, name, value) {
  if (element.getAttribute(name) !== value) {
    element.setAttribute(name, value);
  }
}

// span of milliseconds in words, as the server's span tells it.
export function span(ms) {
  const s = Math.floor(Math.max(0, ms) / 1000);
  const two = (a, unit, b, smaller) => `${Math.floor(a)}${unit}${Math.floor(b) > 0 ? ` ${Math.floor(b)}${smaller}` : ""}`;
  if (s < 60) return two(s, "s", 0, "");
  if (s < 600) return two(s / 60, "m", s % 60, "s");
  if (s < 3600) return two(s / 60, "m", 0, "");
  if (s < 86400) return two(s / 3600, "h", (s % 3600) / 60, "m");
  return two(s / 86400, "d", (s % 86400) / 3600, "h");
}
