// The panel of a review: one sound at a time, judged by buttons or keys.

import { make } from "./dom.js";

const KEYS = [
  ["←", "not this"],
  ["→", "it is this"],
  ["↑ ↓", "another class"],
  ["Space", "listen"],
  ["Backspace", "undo"],
];

export class Panel {
  /** `undo()` takes the last verdict back; where it can be closed, `close()` is called then. */
  constructor({ undo, close }) {
    this.undo = () => this.once(undo);
    this.closed = close;
    this.shown = null;
    this.element = make("div", { class: "review", id: "reviewing", hidden: true, role: "group", tabindex: "-1", "aria-label": "Review of an event" });
    document.addEventListener("keydown", (event) => this.key(event));
  }

  /** Show a sound: nodes about it, the classes it may be of, and what a verdict and Listen do. */
  show({ about, names, right, not, listen }) {
    this.choice = make(
      "select",
      { id: "choice", "aria-label": "What it is" },
      ...names.map((name) => make("option", { text: name })),
    );
    this.shown = { right: () => this.once(() => right(this.choice.value)), not: () => this.once(not), listen };
    this.element.replaceChildren(
      ...about,
      make(
        "div",
        { class: "row" },
        make("button", { type: "button", text: "← Not this", onclick: this.shown.not }),
        this.choice,
        make("button", { type: "button", text: "It is this →", onclick: this.shown.right }),
        make("button", { type: "button", class: "plain", text: "Listen", onclick: listen }),
        make("button", { type: "button", class: "plain", text: "Close", onclick: () => this.close(), hidden: !this.closed }),
      ),
      make("p", { class: "quiet keys" }, ...KEYS.map(([key, text]) => make("span", {}, make("kbd", { text: key }), ` ${text}`))),
    );
    this.element.hidden = false;
    this.element.focus();
    listen();
  }

  /** Say that there is nothing to judge; keys still undo and close. */
  rest(text) {
    this.shown = { rests: true };
    this.choice = make("select");
    const close = make("button", { type: "button", class: "plain", text: "Close", onclick: () => this.close() });
    const undo = make("button", { type: "button", class: "plain", text: "Undo", onclick: this.undo });
    this.element.replaceChildren(make("p", { role: "status", text }), make("div", { class: "row" }, undo, close));
    this.element.hidden = false;
    this.element.focus();
  }

  /** Offer another class beside those of the sound that is shown. */
  offer(name) {
    if (!this.shown || this.shown.rests || !name || [...this.choice.options].some((one) => one.text === name)) return;
    this.choice.options[0].after(make("option", { text: name }));
  }

  /** Do something unless the last is still under way: a key pressed twice is one verdict. */
  async once(action) {
    if (this.busy) return;
    this.busy = true;
    try {
      await action();
    } finally {
      this.busy = false;
    }
  }

  hide() {
    this.shown = null;
    this.element.hidden = true;
  }

  close() {
    if (!this.closed) return;
    this.hide();
    this.closed();
  }

  key(event) {
    if (!this.shown || !this.element.contains(document.activeElement)) return;
    const move = (by) => {
      const last = this.choice.options.length - 1;
      this.choice.selectedIndex = Math.max(0, Math.min(last, this.choice.selectedIndex + by));
    };
    const actions = {
      ArrowLeft: this.shown.not,
      ArrowRight: this.shown.right,
      ArrowUp: () => move(-1),
      ArrowDown: () => move(1),
      Backspace: this.undo,
      Escape: () => this.close(),
    };
    if (document.activeElement === this.element) actions[" "] = this.shown.listen;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
}
