// The picture of the sound: columns of the model's mel frames, the newest at the right while live,
// the whole of a file otherwise. Long files are kept at half the columns whenever they grow too many.

import { clock, make } from "./dom.js";

const LIVE_SECONDS = 30;
const MOST_COLUMNS = 2400;
const LAG_SECONDS = 0.55; // blocks come twice a second; the picture glides behind them

const DARK = ["#10171c", "#14323c", "#0f6268", "#2aa79b", "#b9dd7a", "#fff6b0"];
const LIGHT = ["#f3f5f6", "#d3e6e6", "#8fc4c2", "#3b8f92", "#1c5563", "#0d1f33"];

function palette(colours) {
  const table = new Uint32Array(256);
  const bytes = new Uint8ClampedArray(table.buffer);
  const parts = colours.map((text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16)));
  for (let n = 0; n < 256; n += 1) {
    const place = (n / 255) * (parts.length - 1);
    const low = Math.min(parts.length - 2, Math.floor(place));
    for (let c = 0; c < 3; c += 1) {
      bytes[4 * n + c] = parts[low][c] + (place - low) * (parts[low + 1][c] - parts[low][c]);
    }
    bytes[4 * n + 3] = 255;
  }
  return table;
}

const LIVE_NAME = "Spectrogram of the last half minute: the model's own mel frames";
const WHOLE_NAME = "The whole recording: arrow keys move by a second or so, Enter plays ten seconds from there";

export class Spectrogram {
  constructor(canvas, axis, blocks) {
    this.canvas = canvas;
    this.axis = axis;
    this.blocks = blocks;
    this.paper = document.createElement("canvas");
    this.marks = new Map(); // event id -> { button, onset, offset }
    this.setTheme();
    this.clear(true);
    this.frame = this.frame.bind(this);
    requestAnimationFrame(this.frame);
    new ResizeObserver(() => this.fit()).observe(canvas);
  }

  setTheme() {
    const dark = document.documentElement.dataset.theme === "dark";
    this.table = palette(dark ? DARK : LIGHT);
    this.dirty = true;
  }

  clear(live) {
    this.live = live;
    this.cursor = null; // seconds of a file, where it is heard
    this.setRole();
    this.columns = []; // Uint8Array each
    this.first = 0; // number of the first kept column
    this.joined = 1; // columns of the server in one of ours
    this.perSecond = 25;
    this.offset = 0; // number of the session's first column
    this.end = 0; // seconds, where the picture ends
    this.shown = 0;
    this.dirty = true;
    for (const mark of this.marks.values()) mark.button.remove();
    this.marks.clear();
    this.fit();
  }

  /** Columns of a session are counted from `base` seconds of the page on. */
  begin(perSecond, base) {
    if (perSecond !== this.perSecond) this.columns = []; // of another model
    this.perSecond = perSecond;
    this.offset = Math.round(base * perSecond);
  }

  /** Put columns where their number says: who joins late has none before, some may be left out. */
  add(data, bands, first) {
    const from = this.offset + first;
    const most = Math.round((LIVE_SECONDS + 4) * this.perSecond);
    if (this.live) {
      const place = from - this.first;
      if (place < 0 || place > this.columns.length + most) this.columns.length = 0;
      else this.columns.length = Math.min(this.columns.length, place);
      if (!this.columns.length) this.first = from;
    }
    for (let at = 0; at < data.length; at += bands) {
      this.put(from + at / bands, data.slice(at, at + bands));
    }
    if (this.live) {
      const over = Math.max(0, this.columns.length - most);
      this.columns.splice(0, over);
      this.first += over;
    }
    while (this.columns.length > MOST_COLUMNS) this.halve();
    this.end = ((this.first + this.columns.length) * this.joined) / this.perSecond;
    this.dirty = true;
  }

  put(number, column) {
    const place = Math.floor(number / this.joined) - this.first;
    while (this.columns.length < place) this.columns.push(new Uint8Array(column.length));
    this.columns[place] = this.columns[place]?.map((v, n) => Math.max(v, column[n])) ?? column;
  }

  halve() {
    const halved = [];
    for (let n = 0; n < this.columns.length; n += 2) {
      const next = this.columns[n + 1] ?? this.columns[n];
      halved.push(this.columns[n].map((value, band) => Math.max(value, next[band])));
    }
    this.columns = halved;
    this.joined *= 2;
  }

  /** Show an event below the picture. */
  mark(event, onclick) {
    const button = make("button", {
      type: "button",
      title: `${event.label}, ${clock(event.onset)}`,
      "aria-label": `${event.label} at ${clock(event.onset)}, listen`,
      onclick,
    });
    const name = button.appendChild(make("span", { text: event.label }));
    this.blocks.append(button);
    this.marks.set(event.id, { button, name, onset: event.onset, offset: event.offset });
    this.moved = true;
  }

  /** A picture while live; of a file a place to be chosen, by a pointer or by keys. */
  setRole() {
    const names = { role: this.live ? "img" : "slider", "aria-label": this.live ? LIVE_NAME : WHOLE_NAME };
    for (const [name, value] of Object.entries(names)) this.canvas.setAttribute(name, value);
    if (this.live) {
      for (const name of ["tabindex", "aria-valuemin", "aria-valuemax", "aria-valuenow", "aria-valuetext"]) {
        this.canvas.removeAttribute(name);
      }
    } else {
      this.canvas.tabIndex = 0;
      this.move(0);
      this.cursor = null;
    }
  }

  /** Set the place that is heard, in seconds of the file. */
  move(seconds) {
    const [, last] = this.view();
    this.cursor = Math.max(0, Math.min(last, seconds));
    this.canvas.setAttribute("aria-valuemin", 0);
    this.canvas.setAttribute("aria-valuemax", last.toFixed(1));
    this.canvas.setAttribute("aria-valuenow", this.cursor.toFixed(1));
    this.canvas.setAttribute("aria-valuetext", clock(this.cursor));
    this.moved = true;
  }

  /** Move by a key; tell whether it was one that moves. */
  key(name) {
    const [, last] = this.view();
    const at = this.cursor ?? 0;
    const places = {
      ArrowLeft: at - last / 200,
      ArrowRight: at + last / 200,
      ArrowDown: at - last / 200,
      ArrowUp: at + last / 200,
      PageDown: at - last / 20,
      PageUp: at + last / 20,
      Home: 0,
      End: last,
    };
    if (!(name in places)) return false;
    this.move(places[name]);
    return true;
  }

  fit() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    this.dirty = this.moved = true;
  }

  /** The seconds that are in view, [from, to]. */
  view() {
    if (this.live) return [this.shown - LIVE_SECONDS, this.shown];
    return [0, Math.max(this.total || 0, this.end, 0.1)];
  }

  frame(now) {
    requestAnimationFrame(this.frame);
    const passed = Math.min(0.25, (now - (this.last ?? now)) / 1000);
    this.last = now;
    const before = this.shown;
    if (this.live && this.running) {
      const behind = Math.max(this.end - 2 * LAG_SECONDS, this.shown + passed);
      this.shown = Math.min(this.end, behind);
    } else this.shown = this.end;
    if (this.dirty) this.paint();
    if (this.dirty || this.moved || before !== this.shown) this.draw();
    this.dirty = this.moved = false;
  }

  paint() {
    const { columns, paper } = this;
    if (!columns.length) return;
    const bands = columns[0].length;
    paper.width = columns.length;
    paper.height = bands;
    const context = paper.getContext("2d");
    const image = context.createImageData(columns.length, bands);
    const pixels = new Uint32Array(image.data.buffer);
    columns.forEach((column, x) => {
      for (let band = 0; band < bands; band += 1) {
        pixels[(bands - 1 - band) * columns.length + x] = this.table[column[band]];
      }
    });
    context.putImageData(image, 0, 0);
  }

  draw() {
    const { canvas, columns } = this;
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    const [from, to] = this.view();
    if (columns.length) {
      const rate = this.perSecond / this.joined;
      const scale = canvas.width / (to - from);
      const left = (this.first / rate - from) * scale;
      context.imageSmoothingEnabled = true;
      const width = (columns.length / rate) * scale;
      context.drawImage(this.paper, left, 0, width, canvas.height);
    }
    if (this.cursor != null && !this.live) {
      const ratio = window.devicePixelRatio || 1;
      context.fillStyle = getComputedStyle(canvas).color;
      context.fillRect((this.cursor / to) * canvas.width - ratio, 0, 2 * ratio, canvas.height);
    }
    this.place(from, to);
  }

  /** Let go of marks that have left the picture, which only moves on. */
  forget(from) {
    if (!this.live) return;
    for (const [id, { button, offset }] of this.marks) {
      if (offset + LIVE_SECONDS > from) continue;
      button.remove();
      this.marks.delete(id);
    }
  }

  place(from, to) {
    this.forget(from);
    const marks = [...this.marks.values()].sort((a, b) => a.onset - b.onset);
    marks.forEach(({ button, name, onset, offset }, n) => {
      const left = ((onset - from) / (to - from)) * 100;
      const width = (Math.max(0.2, offset - onset) / (to - from)) * 100;
      button.hidden = left + width < 0 || left > 100;
      if (button.hidden) return;
      button.style.left = `${left}%`;
      button.style.width = `${width}%`;
      // A name may reach beyond a short event, up to the next one; it stands whole or not at all.
      const room = ((marks[n + 1]?.onset ?? to) - onset) / (to - from);
      name.hidden = this.widthOf(name.textContent) > room * this.blocks.clientWidth;
    });
    const steps = [0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];
    const step = steps.find((one) => (to - from) / one <= 7) ?? 7200;
    const labels = [];
    for (let at = Math.ceil(Math.max(0, from) / step) * step; at <= to; at += step) {
      const place = ((at - from) / (to - from)) * 100;
      if (place < 3 || place > 97) continue;
      labels.push([place, clock(at).replace(/\.0$/, "")]);
    }
    while (this.axis.children.length > labels.length) this.axis.lastChild.remove();
    labels.forEach(([place, text], n) => {
      const span = this.axis.children[n] ?? this.axis.appendChild(document.createElement("span"));
      span.style.left = `${place}%`;
      if (span.textContent !== text) span.textContent = text;
    });
  }

  /** Pixels that a name takes with its margins. */
  widthOf(text) {
    this.measure ??= document.createElement("canvas").getContext("2d");
    this.widths ??= new Map();
    if (!this.widths.has(text)) {
      const style = getComputedStyle(this.blocks);
      this.measure.font = `13px ${style.fontFamily}`; // 0.78rem in style.css
      this.widths.set(text, this.measure.measureText(text).width + 12);
    }
    return this.widths.get(text);
  }

  /** The second of the file that lies under a place of the pointer. */
  secondAt(clientX) {
    const box = this.canvas.getBoundingClientRect();
    const [from, to] = this.view();
    return from + ((clientX - box.left) / box.width) * (to - from);
  }
}
