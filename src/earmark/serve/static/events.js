// The list of events: to listen to, to read why, to judge, to download.

import { ask, clock, find, make, say } from "./dom.js";

const MOST = 500; // rows on the page; downloads have them all

export class Events {
  constructor(list, player, spectrogram) {
    this.list = list;
    this.player = player;
    this.spectrogram = spectrogram;
    this.known = new Map();
    this.onjudge = null;
    player.addEventListener("timeupdate", () => {
      if (this.from != null) spectrogram.move(this.from + player.currentTime);
    });
    find("hush").onclick = () => this.hush();
    player.addEventListener("ended", () => this.stopped());
    player.addEventListener("pause", () => this.stopped());
    player.addEventListener("error", () => {
      if (player.getAttribute("src")) {
        say(find("alert"), "This clip is not kept any more.");
        this.stopped();
      }
    });
  }

  clear() {
    this.known.clear();
    this.list.replaceChildren();
    this.count();
  }

  count() {
    find("event-count").textContent = this.known.size;
    find("no-events").hidden = this.known.size > 0;
    const more = this.known.size > MOST;
    say(find("more-events"), more ? `The last ${MOST} of ${this.known.size}; downloads have all.` : "");
    for (const button of document.querySelectorAll("[data-format]")) {
      button.disabled = this.known.size === 0;
    }
  }

  /** Add an event; its times are seconds of the page. */
  add(event) {
    if (this.known.has(event.id)) return;
    const play = make("button", {
      type: "button",
      class: "play",
      text: "▶",
      "aria-label": `Listen to ${event.label} at ${clock(event.onset)}`,
      onclick: () => this.play(event.id),
      disabled: !event.clip,
    });
    const when = event.time && event.live ? `, ${new Date(event.time).toLocaleTimeString()}` : "";
    const verdict = make("div", { class: "verdict", hidden: !this.onjudge });
    const row = make(
      "li",
      { class: "event" },
      play,
      make(
        "div",
        {},
        make("div", { class: "what", text: event.label }),
        make("div", {
          class: "when",
          text: `${clock(event.onset)} to ${clock(event.offset)}${when}`,
        }),
      ),
      make("span", { class: "score", text: event.score.toFixed(2), title: "score" }),
      make("p", { class: "reason", text: event.why }),
      verdict,
    );
    this.known.set(event.id, { event, row, play, verdict });
    this.list.prepend(row);
    if (this.onjudge) this.onjudge(event, verdict, row);
    if (this.list.children.length > MOST) this.dropOldest();
    this.spectrogram.mark(event, () => this.play(event.id));
    this.count();
  }

  /** Keep what downloads need of the oldest event, and no row. */
  dropOldest() {
    const last = this.list.lastChild;
    last.remove();
    const old = [...this.known.values()].find(({ row }) => row === last);
    Object.assign(old, { row: null, play: null, verdict: null, place: null });
  }

  play(id) {
    const { event, row, play } = this.known.get(id);
    if (this.playing === id) {
      this.player.pause();
      return;
    }
    this.listen(event.clip);
    this.playing = id;
    row?.classList.add("playing");
    row?.scrollIntoView({ block: "nearest" });
    if (play) play.textContent = "■";
  }

  /** Play an address; of a file, `from` is the second at which it begins, where the picture follows. */
  listen(address, from = null) {
    this.stopped();
    this.from = from;
    find("hush").hidden = from == null;
    this.player.src = address;
    this.player.play().catch(() => {});
  }

  /** Stop what is played of a file; the focus goes back to the picture. */
  hush() {
    this.player.pause();
    this.stopped();
    this.spectrogram.canvas.focus();
  }

  stopped() {
    const known = this.known.get(this.playing);
    this.playing = this.from = null;
    find("hush").hidden = true;
    if (!known?.row) return;
    known.row.classList.remove("playing");
    known.play.textContent = "▶";
  }

  async download(format) {
    const events = [...this.known.values()].map(({ event }) => event);
    const answer = await ask(`api/labels?format=${format}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(events),
    });
    const name = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition") ?? "");
    const address = URL.createObjectURL(await answer.blob());
    make("a", { href: address, download: name?.[1] ?? `earmark.${format}` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }
}
