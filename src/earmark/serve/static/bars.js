// What the model hears now: the leading classes with their thresholds, and "none of these".

import { make } from "./dom.js";

const SHOWN = 5;

export class Bars {
  constructor(element, label) {
    this.element = element;
    this.label = label;
    this.rows = [];
    for (let n = 0; n <= SHOWN; n += 1) {
      const fill = make("div", { class: "fill" });
      const mark = make("div", { class: "mark" });
      const row = {
        name: make("span", { class: "name" }),
        value: make("span", { class: "value" }),
        fill,
        mark,
      };
      row.element = make(
        "div",
        { class: n === SHOWN ? "bar none-of-these" : "bar" },
        row.name,
        make("div", { class: "track", "aria-hidden": "true" }, fill, mark),
        row.value,
      );
      element.append(row.element);
      this.rows.push(row);
    }
    this.rows[SHOWN].mark.hidden = true;
    this.clear();
  }

  clear() {
    for (const row of this.rows) {
      row.name.textContent = row.value.textContent = "–";
      row.fill.style.width = "0";
      row.mark.hidden = true;
      row.element.classList.remove("on");
    }
    this.rows[SHOWN].name.textContent = "none of these";
    this.label.textContent = "–";
    this.label.className = "label none";
  }

  /** Show the scores of a block, in the order of `classes`. */
  show(message, classes, thresholds, off, none) {
    const order = classes
      .map((name, n) => [message.scores[n], name])
      .filter(([, name]) => !off.has(name))
      .sort((a, b) => b[0] - a[0])
      .slice(0, SHOWN);
    for (let n = 0; n < SHOWN; n += 1) {
      const row = this.rows[n];
      row.element.hidden = n >= order.length;
      if (n >= order.length) continue;
      const [score, name] = order[n];
      const threshold = thresholds[name] ?? 0.5;
      row.name.textContent = name;
      row.name.title = `${name}; its threshold is ${threshold.toFixed(2)}`;
      row.value.textContent = score.toFixed(2);
      row.fill.style.width = `${100 * score}%`;
      row.mark.hidden = false;
      row.mark.style.left = `${100 * threshold}%`;
      row.element.classList.toggle("on", score >= threshold);
    }
    const nothing = message.label === none;
    const row = this.rows[SHOWN];
    row.name.textContent = none;
    row.value.textContent = nothing ? "✓" : "";
    row.fill.style.width = nothing ? "100%" : "0";
    row.element.classList.toggle("on", nothing);
    if (this.label.textContent !== message.label) this.label.textContent = message.label;
    this.label.classList.toggle("none", nothing);
  }
}
