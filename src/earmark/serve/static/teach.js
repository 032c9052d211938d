// Teaching: classes of one's own, verdicts on events, training, and "this is my room".

import { ask, askJson, clock, find, make, post, say } from "./dom.js";
import { openMicrophone } from "./microphone.js";
import { Panel } from "./panel.js";
import { toWav } from "./wav.js";

const LOOK_MS = 1000;
const ROOM = "api/teach/room";
const PIECE = 1800; // tenths of a second of a room that are sent together
const CLIP_SECONDS = 5; // recordings are cut into clips of so much
const AROUND_SECONDS = 0.25; // of an event, in the clip that is learnt from
const STAGES = {
  reading: "Reading the clips",
  "cross-validation": "Finding out how well it will do",
  training: "Training on all clips",
  checking: "Checking the new model",
  done: "Done",
};
const clipOf = (event) => /clips\/(\w+)\.wav/.exec(event.clip)?.[1];
const percent = (share) => (share == null ? "–" : `${Math.round(100 * share)} %`);

export class Teach {
  constructor(events, page) {
    this.events = events;
    this.page = page;
    this.state = null;
    this.judged = new Set();
    this.build();
    events.onjudge = (event, place, row) => this.offer(event, place, row);
  }

  build() {
    const element = find("teach");
    element.hidden = false;
    this.name = make("input", {
      type: "text",
      id: "class-name",
      placeholder: "kettle",
      maxlength: 60,
      autocomplete: "off",
      list: "labels",
    });
    this.name.onchange = () => this.panel.offer(this.name.value.trim());
    this.known = make("datalist", { id: "labels" });
    this.record = make("button", { type: "button", id: "record", text: "Record" });
    this.record.onclick = () => this.toggleRecord(this.record);
    this.clips = make("input", { type: "file", id: "clips", class: "hidden", accept: "audio/*,video/*", multiple: true });
    this.clips.onchange = () => this.sendFiles([...this.clips.files]);
    this.list = make("ul", { id: "taught" });
    this.undo = make("button", { type: "button", class: "plain", id: "undo", text: "Undo" });
    this.undo.onclick = () => this.takeBack();
    this.review = make("button", { type: "button", id: "review", text: "Review, least certain first" });
    this.review.onclick = () => this.beginReview();
    this.panel = new Panel({ undo: () => this.takeBack(), close: () => this.review.focus() });
    this.train = make("button", { type: "button", class: "primary", id: "train", text: "Train" });
    this.train.onclick = () => this.act("api/teach/train");
    this.stop = make("button", { type: "button", class: "plain", text: "Stop", hidden: true });
    this.stop.onclick = () => this.act("api/teach/stop");
    this.progress = make("progress", { max: 1, value: 0, hidden: true, "aria-label": "Training" });
    this.stage = make("p", { class: "quiet", role: "status" });
    this.report = make("div", { id: "report" });
    this.back = make("button", { type: "button", class: "plain", id: "back", text: "Take the old model back", hidden: true });
    this.back.onclick = () => this.act("api/teach/model", { back: true });
    this.room = make("button", { type: "button", id: "room", text: "Record this room" });
    this.room.onclick = () => this.toggleRecord(this.room);
    this.rate = make("input", { type: "text", id: "rate", inputmode: "decimal", value: "6", size: 4 });
    this.fit = make("button", { type: "button", id: "fit", text: "Fit thresholds" });
    this.fit.onclick = () => this.act(ROOM, { per_hour: Number(this.rate.value) });
    this.leaveRoom = make("button", { type: "button", class: "plain", id: "leave-room", text: "Back to the model's thresholds", hidden: true });
    this.leaveRoom.onclick = () => this.act(ROOM, { back: true });
    this.rate.oninput = () => this.showMinutes();
    this.minutes = make("p", { class: "quiet", id: "minutes" });
    this.roomText = make("p", { class: "quiet", role: "status" });
    this.trouble = make("div", { class: "notice bad", role: "alert", hidden: true });
    this.told = make("div", { class: "notice", role: "status", id: "told", hidden: true });

    element.replaceChildren(
      make("div", { class: "title" }, make("h2", { id: "teach-title", text: "Teach" }), this.undo),
      this.trouble,
      this.told,
      this.panel.element,
      make(
        "div",
        { class: "teach" },
        make(
          "div",
          {},
          make("h3", { text: "1 · Give it sounds" }),
          make("label", { for: "class-name", text: "Name of the class " }),
          make("div", { class: "row" }, this.name, this.known, this.record),
          make("p", { class: "quiet" }, "or ", this.clips, make("label", { for: "clips", class: "link", text: "choose clips" }), " of it, or drop them here"),
          make("div", { class: "row" }, this.review),
          this.list,
        ),
        make(
          "div",
          {},
          make("h3", { text: "2 · Train" }),
          make("p", { class: "quiet", text: "Nothing changes until you take the new model." }),
          make("div", { class: "row" }, this.train, this.stop, this.back),
          this.progress,
          this.stage,
          this.report,
        ),
        make(
          "div",
          {},
          make("h3", { text: "3 · This is my room" }),
          make("p", {
            class: "quiet",
            text: "Record what it sounds like while nothing happens; longer is better.",
          }),
          make("div", { class: "row" }, this.room),
          this.minutes,
          make(
            "div",
            { class: "row" },
            make("label", { for: "rate", text: "False alarms an hour at most" }),
            this.rate,
            this.fit,
          ),
          this.roomText,
          make("div", { class: "row" }, this.leaveRoom),
        ),
      ),
    );
  }

  async refresh() {
    try {
      this.show(await askJson("api/teach"));
    } catch (error) {
      say(this.trouble, error.message);
    }
  }

  /** Ask the server to do something; return what it says, or nothing where it refused. */
  async act(path, value) {
    say(this.trouble, "");
    say(this.told, "");
    try {
      const used = this.state?.used;
      const state = await post(path, value);
      this.show(state);
      if (used !== state.used || path === ROOM) this.page.model();
      return state;
    } catch (error) {
      say(this.trouble, error.message);
    }
  }

  show(state) {
    this.state = state;
    const names = Object.keys(state.labels);
    this.list.replaceChildren(
      ...names.map((name) =>
        make("li", {}, make("span", { text: name }), make("span", { text: `${state.labels[name]} clip${state.labels[name] === 1 ? "" : "s"}` })),
      ),
    );
    const all = [...new Set([...names, ...(this.page.classes() ?? [])])];
    this.known.replaceChildren(...all.map((name) => make("option", { value: name })));
    this.undo.disabled = !state.undoable;
    this.back.hidden = !state.used;
    this.showTraining(state.training);
    this.showRoom(state);
  }

  showTraining(training) {
    const running = training.state === "running";
    this.train.disabled = running;
    this.stop.hidden = !running;
    this.progress.hidden = !running;
    this.stage.textContent = "";
    if (running) {
      this.progress.value = training.done;
      this.stage.textContent = `${STAGES[training.stage] ?? training.stage} …`;
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.refresh(), LOOK_MS);
    } else if (training.state === "failed") this.stage.textContent = training.text;
    const report = training.state === "done" ? training.report : null;
    this.report.replaceChildren(...(report ? this.lines(report, training.model) : []));
  }

  lines(report, model) {
    const right = report.per_class ?? {};
    const recall = (name) => right[name]?.recall ?? right[name];
    const table = make(
      "table",
      {},
      make(
        "tr",
        {},
        make("th", { text: "class" }),
        make("th", { class: "number", text: "clips" }),
        make("th", { class: "number", text: "found" }),
        make("th", { text: "was called" }),
      ),
      ...report.changed.map((row) =>
        make(
          "tr",
          {},
          make("td", { text: row.label }),
          make("td", { class: "number", text: row.clips }),
          make("td", {
            class: "number",
            text: typeof recall(row.label) === "number" ? percent(recall(row.label)) : "–",
          }),
          make("td", { text: row.was_called }),
        ),
      ),
    );
    const take = make("button", { type: "button", class: "primary", id: "take", text: "Take this model" });
    take.onclick = () => this.act("api/teach/model", { take: model });
    const leave = make("button", { type: "button", class: "plain", text: "Leave it" });
    leave.onclick = () => this.act("api/teach/model", { leave: true });
    return [
      make("p", {
        text: `Right in cross-validation: ${percent(report.accuracy)} of clips that it was not trained on, in ${report.folds} folds.`,
      }),
      table,
      make("p", { id: "names", text: this.whatIsNamed(report.classes ?? []) }),
      make("div", { class: "row" }, take, leave),
    ];
  }

  /** Say what a model names, and which classes of the present one are no longer named with it. */
  whatIsNamed(classes) {
    const gone = this.page.classes().filter((name) => !classes.includes(name)).length;
    const named = `Once taken, this model names only ${classes.join(", ")}.`;
    if (!gone) return named;
    const many = gone === 1 ? "1 class of the present model is" : `${gone} classes of the present model are`;
    return `${named} ${many} no longer named until you take the old model back.`;
  }

  showRoom(state) {
    const clips = state.labels[state.background] ?? 0;
    this.fit.disabled = !clips;
    this.leaveRoom.hidden = !state.room;
    if (state.room) {
      const { before, after, minutes } = state.room;
      this.roomText.textContent =
        `Thresholds fit ${minutes} minutes of this room: ${before} false alarms an hour before, ${after} after.`;
    } else this.roomText.textContent = "";
    this.showMinutes(this.recording?.room ? this.recording.parts.length / 10 : 0);
  }

  /** Say how long the room was recorded, and how long the rate needs: an hour for one an hour. */
  showMinutes(unsent = 0) {
    const kept = CLIP_SECONDS * (this.state.labels[this.state.background] ?? 0);
    const rate = Number(this.rate.value);
    const text = `${Math.floor((kept + unsent) / 60)} minutes of this room so far`;
    this.minutes.textContent =
      rate > 0 ? `${text}; ${this.rate.value} an hour needs ${Math.ceil(60 / rate)}.` : `${text}.`;
  }

  /** Begin to record by a button, the room's or a class's; what is recorded already ends. */
  async toggleRecord(button) {
    say(this.trouble, "");
    const last = this.recording;
    if (last) await this.endRecording();
    if (last?.button === button) return;
    const room = button === this.room;
    const label = room ? this.state.background : this.name.value.trim();
    if (!label) {
      say(this.trouble, "Give the class a name first.");
      this.name.focus();
      return;
    }
    const id = `${Date.now()}-${Math.random()}`; // its pieces are taken back together
    const recording = { id, button, room, label, word: button.textContent, parts: [], count: 0 };
    try {
      recording.microphone = await openMicrophone(
        (samples) => this.gather(recording, samples),
        (text) => say(this.trouble, text),
      );
      this.recording = recording;
      button.setAttribute("aria-pressed", "true");
    } catch (error) {
      say(this.trouble, error.message);
    }
  }

  /** Take a tenth of a second. A room is sent in pieces, for it may be recorded for hours. */
  gather(recording, samples) {
    recording.parts.push(samples);
    recording.count += 1;
    recording.button.textContent = `Stop (${Math.floor(recording.count / 10)} s)`;
    if (!recording.room) return;
    this.showMinutes(recording.parts.length / 10);
    if (recording.parts.length % PIECE === 0) {
      recording.sending = (recording.sending ?? Promise.resolve()).then(() => this.sendPiece(recording));
    }
  }

  /** Send what was recorded, of a room a piece; what could not be sent is kept for the next try. */
  async sendPiece(recording) {
    const parts = recording.parts.splice(0, recording.room ? PIECE : Infinity);
    const body = toWav(parts, recording.microphone.sampleRate);
    const sent = await this.send(body, recording.label, "recording", recording.id);
    if (!sent) recording.parts.unshift(...parts);
    return sent;
  }

  async endRecording() {
    const recording = this.recording;
    this.recording = null;
    recording.microphone.close();
    recording.button.textContent = recording.word;
    recording.button.removeAttribute("aria-pressed");
    await recording.sending;
    while (recording.parts.length && (await this.sendPiece(recording)));
  }

  async sendFiles(files) {
    const label = this.name.value.trim();
    this.clips.value = "";
    say(this.trouble, "");
    if (!label) {
      say(this.trouble, "Give the class a name first.");
      this.name.focus();
      return;
    }
    for (const file of files) await this.send(file, label, file.name);
  }

  async send(body, label, name, recording = "") {
    const query = new URLSearchParams({ label, name, recording });
    try {
      const answer = await ask(`api/teach/recordings?${query}`, { method: "POST", body });
      this.show(await answer.json());
      return true;
    } catch (error) {
      say(this.trouble, error.message);
      return false;
    }
  }

  /** Show the buttons of a verdict in the row of an event. */
  offer(event, place, row) {
    place.hidden = false;
    const button = (text) =>
      make("button", { type: "button", class: "plain", text, "aria-label": `${text}: ${event.label} at ${clock(event.onset)}` });
    const [yes, no, other] = ["Right", "Not this", "It is …"].map(button);
    yes.onclick = () => this.judge(event, event.label);
    no.onclick = () => this.judge(event, this.state.background);
    other.onclick = () => this.beginReview(event.id);
    place.replaceChildren(yes, no, other);
    this.events.known.get(event.id).place = { place, row };
  }

  async judge(event, label) {
    const clip = clipOf(event);
    if (!clip) return false;
    say(this.trouble, "");
    const start = Math.max(0, event.onset - event.clip_from - AROUND_SECONDS);
    try {
      this.show(
        await post("api/teach/verdicts", {
          clip,
          label,
          group: event.session,
          start,
          seconds: event.offset - event.onset + 2 * AROUND_SECONDS,
        }),
      );
    } catch (error) {
      say(this.trouble, error.message);
      return false;
    }
    this.judged.add(event.id);
    const { place, row } = this.events.known.get(event.id)?.place ?? {};
    row?.classList.add("judged");
    const focused = place?.contains(document.activeElement);
    place?.replaceChildren(make("span", { class: "tag", text: label === this.state.background ? "not this" : label }));
    if (focused) row.querySelector(".play").focus();
    return true;
  }

  /** Take back what the server says was last: it may be a recording, or another page's. */
  async takeBack() {
    const state = await this.act("api/teach/undo");
    if (!state) return;
    const { label, clips, event_clip: clip } = state.gone;
    say(this.told, `Taken back: ${label}, ${clips} clip${clips === 1 ? "" : "s"}.`);
    const known = clip && [...this.events.known.values()].find(({ event }) => clipOf(event) === clip);
    if (!known) return;
    this.judged.delete(known.event.id);
    if (known.row) {
      known.row.classList.remove("judged");
      this.offer(known.event, known.place.place, known.row);
    }
    if (this.panel.shown) this.beginReview(known.event.id);
  }

  /** Show the event that is least certain, or a certain one, to judge it by keys. */
  beginReview(id) {
    const waiting = [...this.events.known.values()]
      .map(({ event }) => event)
      .filter((event) => event.clip && !this.judged.has(event.id))
      .sort((a, b) => a.score - a.threshold - (b.score - b.threshold));
    const event = id ? this.events.known.get(id)?.event : waiting[0];
    if (!event) {
      if (this.events.known.size) this.panel.rest("All events are judged.");
      else say(this.told, "There are no events yet.");
      return;
    }
    const typed = this.name.value.trim(); // a class that has no clips yet
    const others = [typed, ...Object.keys(this.state.labels), ...this.page.classes()];
    const names = [...new Set([event.label, ...others])].filter(Boolean);
    const after = (label) => this.judge(event, label).then((done) => done && this.beginReview());
    this.panel.show({
      about: [make("p", {}, make("strong", { text: event.label }), ` at ${clock(event.onset)}, score ${event.score.toFixed(2)}, threshold ${event.threshold.toFixed(2)} · ${waiting.length} to go`)],
      names: names.filter((name) => name !== this.state.background),
      right: after,
      not: () => after(this.state.background),
      listen: () => this.events.listen(event.clip),
    });
  }
}
