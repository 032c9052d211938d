// Which classes count, and from which score on; acts at once.

import { find, make } from "./dom.js";

export class Rules {
  constructor(element, onchange) {
    this.element = element;
    this.onchange = onchange;
    this.classes = [];
    this.own = {};
    this.changed = {};
    this.off = new Set();
    find("all").onclick = () => this.switch(() => true);
    find("none").onclick = () => this.switch(() => false);
    find("reset").onclick = () => {
      this.changed = {};
      this.fill();
      this.tell();
    };
  }

  /** Tell whether these are the classes of the model in use. */
  knows(classes) {
    return JSON.stringify(classes) === JSON.stringify(this.classes);
  }

  /** Take the classes and thresholds of a model; what was changed by hand stays, if they are the same classes. */
  use(classes, thresholds) {
    this.own = thresholds;
    if (!this.knows(classes)) {
      this.classes = classes;
      this.changed = {};
      this.off = new Set();
    }
    this.fill();
  }

  get thresholds() {
    return { ...this.own, ...this.changed };
  }

  /** What the server is told: what was changed by hand alone, for its own thresholds may change. */
  get rules() {
    return {
      thresholds: this.changed,
      classes: this.off.size ? this.classes.filter((name) => !this.off.has(name)) : null,
    };
  }

  switch(wanted) {
    this.off = new Set(this.classes.filter((name) => !wanted(name)));
    this.fill();
    this.tell();
  }

  tell() {
    this.onchange(this.rules);
  }

  fill() {
    this.element.replaceChildren(
      ...this.classes.map((name, n) => {
        const box = make("input", { type: "checkbox", id: `class-${n}`, checked: !this.off.has(name) });
        box.onchange = () => {
          if (box.checked) this.off.delete(name);
          else this.off.add(name);
          this.tell();
        };
        const threshold = this.thresholds[name] ?? 0.5;
        const output = make("output", { text: threshold.toFixed(2) });
        const slider = make("input", {
          type: "range",
          min: 0.01,
          max: 1,
          step: 0.01,
          value: threshold,
          "aria-label": `Threshold of ${name}`,
        });
        slider.oninput = () => {
          this.changed[name] = Number(slider.value);
          output.textContent = Number(slider.value).toFixed(2);
          this.tell();
        };
        return make(
          "div",
          { class: "rule" },
          make("label", { for: `class-${n}` }, box, name),
          slider,
          output,
        );
      }),
    );
  }
}
