// Runs before the page is painted, so that a chosen theme does not flash. What was chosen is kept in this browser alone.
(() => {
  "use strict";
  let chosen = "auto";
  try {
    chosen = localStorage.getItem("theme") || "auto";
  } catch {
    // No storage: as the system.
  }
  if (chosen === "light" || chosen === "dark") {
    document.documentElement.dataset.theme = chosen;
  }
})();
