// Light or dark: as the system says, until it is chosen by hand.

import { find } from "./dom.js";

const system = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;

/** Follow the system and the button; `changed()` is called after each change. */
export function followTheme(changed = () => {}) {
  const show = () => {
    root.dataset.theme = localStorage.getItem("theme") || (system.matches ? "dark" : "light");
    changed();
  };
  system.addEventListener("change", show);
  find("theme").onclick = () => {
    localStorage.setItem("theme", root.dataset.theme === "dark" ? "light" : "dark");
    show();
  };
  show();
}
