// The choice of a theme. theme.js has applied it before the page was painted.

export function themes(fieldset) {
  const root = document.documentElement;
  const choice = (value) => fieldset.querySelector(`input[value="${value}"]`);
  (choice(root.dataset.theme || "auto") || choice("auto")).checked = true;
  fieldset.addEventListener("change", (event) => {
    const chosen = event.target.value;
    if (chosen === "auto") {
      delete root.dataset.theme;
    } else {
      root.dataset.theme = chosen;
    }
    try {
      localStorage.setItem("theme", chosen);
    } catch {
      // No storage: it lasts as long as the page.
    }
  });
  fieldset.hidden = false;
}
