// The page: sound in, what it is out.

import { Bars } from "./bars.js";
import { askJson, clock, find, make, say } from "./dom.js";
import { Events } from "./events.js";
import { openMicrophone } from "./microphone.js";
import { Rules } from "./rules.js";
import { Session } from "./session.js";
import { Spectrogram } from "./spectrogram.js";
import { Teach } from "./teach.js";
import { followTheme } from "./theme.js";

const MOST_NEAR = 100;
const MODEL_WAIT = 2000; // milliseconds until a model that could not be fetched is asked for again

const bars = new Bars(find("bars"), find("label"));
const picture = new Spectrogram(find("spectrogram"), find("axis"), find("blocks"));
const events = new Events(find("events"), find("player"), picture);
const rules = new Rules(find("rules"), (changed) => session?.rules(changed));

let model = null;
let session = null;
let microphone = null;
let file = null; // the uploaded file that is shown
let source = "";
let followed = null; // the source of the server that was asked for last
let request = null; // that sends a file
let turn = 0; // rises with whatever begins or stops: what was asked for before it comes too late
let shared = null; // thresholds that this page cannot change

let teach = null;

function state(text) {
  find("state").textContent = text;
}

function trouble(text) {
  say(find("alert"), text);
}

const handlers = {
  ready(message, base) {
    shareRules(message.rules === false ? message.thresholds : null);
    say(find("alert"), "");
    if (!rules.knows(message.classes)) rules.use(message.classes, message.thresholds);
    picture.begin(message.columns_per_second, base);
    if (source === "file") {
      state(`Reading ${message.name} …`);
    } else state(`Listening to ${source === "microphone" ? "this device's microphone" : message.name}.`);
    teach?.refresh();
  },
  columns(data, bands, first) {
    picture.add(data, bands, first);
  },
  scores(message, base) {
    bars.show(message, rules.classes, shared ?? rules.thresholds, shared ? new Set() : rules.off, model.none);
    const level = `${message.level_db.toFixed(0)} dB`;
    find("clock").textContent = `${clock(base + message.at)} · ${level}`;
    if (file?.seconds) find("progress").value = Math.min(1, message.at / file.seconds);
  },
  event(message, base) {
    events.add({
      ...message,
      onset: message.onset + base,
      offset: message.offset + base,
      clip_from: message.clip_from + base,
      session: session?.id ?? "",
      live: source !== "file",
    });
  },
  near(message, base) {
    const list = find("near");
    list.prepend(
      make(
        "li",
        {},
        make("strong", { text: message.label }),
        ` at ${clock(base + message.onset)} `,
        make("span", { class: "tag", text: message.rule }),
        make("br"),
        message.text,
      ),
    );
    if (list.children.length > MOST_NEAR) list.lastChild.remove();
    find("near-count").textContent = list.children.length;
  },
  gap(message, base) {
    const at = clock(base + message.at);
    say(find("note"), `${message.seconds.toFixed(1)} s of sound are missing at ${at}; they count as silence.`);
  },
  notice(message) {
    say(find("note"), message.text);
  },
  model() {
    say(find("note"), "Another model, or other thresholds, are used from now on.");
    restart();
  },
  end(message) {
    picture.running = false;
    bars.clear();
    find("progress").hidden = true;
    const many = `${message.events} event${message.events === 1 ? "" : "s"}`;
    state(`${clock(message.seconds)} heard, ${many}.`);
    if (file) state(`${file.name}: ${clock(message.seconds)}, ${many}. Click the picture to hear it.`);
  },
  state(what, seconds, text) {
    if (what === "lost") {
      state("The connection was lost. Connecting again …");
      trouble("The connection to the server was lost. What sounds meanwhile is missed.");
    } else if (what === "resumed" || what === "restarted") {
      trouble("");
      const why = what === "restarted" ? "The server was started again" : "Connected again";
      say(find("note"), `${why}: ${seconds.toFixed(1)} s were missed.`);
    } else if (what === "refused") {
      stop();
      trouble(text);
      state("Press Listen to begin again.");
    } else if (what === "closed") stop();
  },
};

/** Begin a session; one that another has replaced changes nothing more. */
function start(asked) {
  const made = new Session({ spectrogram: true, ...asked }, {});
  for (const [name, handle] of Object.entries(handlers)) {
    made.handlers[name] = (...words) => {
      if (session === made) handle(...words);
    };
  }
  session = made;
  return made;
}

/** Stop, and take nothing more of what was under way. */
function leave() {
  stop();
  session = null;
}

async function listen() {
  leave();
  const mine = turn;
  trouble("");
  say(find("note"), "");
  forget();
  let opened;
  try {
    opened = await openMicrophone(
      (samples) => session?.send(samples),
      (text) => {
        stop();
        trouble(text);
      },
    );
  } catch (error) {
    if (mine === turn) trouble(error.message);
    return;
  }
  if (mine !== turn) {
    opened.close();
    return;
  }
  microphone = opened;
  source = "microphone";
  clearPage(true);
  start({ sample_rate: microphone.sampleRate, name: "microphone", ...rules.rules });
  running(true);
}

function running(on) {
  picture.running = on && source !== "file";
  const button = find("listen");
  button.setAttribute("aria-pressed", String(on));
  find("listen-text").textContent = on ? "Stop" : "Listen";
}

/** Hide the thresholds of this page while a source of the server has its own for all pages. */
function shareRules(thresholds) {
  shared = thresholds;
  find("rules-box").hidden = thresholds !== null;
}

function stop() {
  const last = session;
  session = null;
  turn += 1;
  if (request) find("progress").hidden = true;
  request?.abort();
  request = null;
  microphone?.close();
  microphone = null;
  if (last && !last.closed) {
    session = last; // what is under way still comes
    last.end();
  }
  running(false);
  shareRules(null);
}

async function restart() {
  const last = session;
  const live = source === "microphone" && microphone;
  const again = live || (source === "server" && !last.closed);
  if (again) {
    last.closed = true;
    last.handlers = {};
    last.socket.close();
  }
  const wanted = () => session === last; // not stopped meanwhile, nor begun anew
  const missed = live ? "; what sounds meanwhile is missed" : "";
  if (!(await fetchModelAgain(wanted, missed)) || !again) return;
  if (!live) {
    follow(followed);
    return;
  }
  start({ sample_rate: live.sampleRate, name: "microphone", ...rules.rules }).taken = last.taken;
}

/** Ask for the model until it comes, and tell whether it is wanted still. */
async function fetchModelAgain(wanted, missed) {
  let said = "";
  while (wanted()) {
    try {
      await fetchModel();
      break;
    } catch (error) {
      said = `${error.message} Its model is asked for again${missed}.`;
      if (wanted()) trouble(said);
      await new Promise((done) => setTimeout(done, MODEL_WAIT));
    }
  }
  if (said && find("alert").textContent === said) trouble("");
  return wanted();
}

function clearPage(live) {
  picture.clear(live);
  events.clear();
  bars.clear();
  find("near").replaceChildren();
  find("near-count").textContent = "0";
  find("spectrogram").classList.toggle("seekable", !live);
}

function forget() {
  // The page may be closed by now, and the request goes on.
  if (file) fetch(`api/files/${file.id}`, { method: "DELETE", keepalive: true }).catch(() => {});
  file = null;
}

function upload(chosen) {
  leave();
  forget();
  trouble("");
  say(find("note"), "");
  const progress = find("progress");
  progress.hidden = false;
  progress.value = 0;
  state(`Sending ${chosen.name} …`);
  request = new XMLHttpRequest(); // fetch tells nothing of how far an upload is
  request.open("POST", `api/files?name=${encodeURIComponent(chosen.name)}`);
  request.upload.onprogress = (event) => {
    if (event.lengthComputable) progress.value = event.loaded / event.total;
  };
  const sending = request;
  const failed = (text) => {
    request = null;
    progress.hidden = true;
    state("Press Listen, or drop another recording.");
    trouble(text);
  };
  request.onerror = () => failed("The file could not be sent. Is earmark serve still running?");
  request.onload = () => {
    let answer = {};
    try {
      answer = JSON.parse(sending.responseText);
    } catch {
      // a proxy's own page, as for a file that is too large for it
    }
    if (sending.status !== 201) {
      failed(answer.error ?? `The file was refused (${sending.status}).`);
      return;
    }
    request = null;
    show(answer);
  };
  request.send(chosen);
}

function show(taken) {
  source = "file";
  file = taken;
  clearPage(false);
  picture.total = taken.seconds;
  find("progress").value = 0;
  start({ source: { kind: "file", id: taken.id }, ...rules.rules });
  find("listen").setAttribute("aria-pressed", "false");
}

function follow(one) {
  leave();
  forget();
  trouble("");
  source = "server";
  followed = one;
  clearPage(true);
  shareRules({});
  start({ source: { kind: "server", id: one.id } });
  running(true);
}

async function fetchModel() {
  model = await askJson("api/model");
  const many = `${model.classes.length} classes`;
  const trained = model.trained_on ? `trained on ${model.trained_on}` : model.name;
  find("model").textContent = `${trained} · ${many}`;
  find("model").title = model.classes.join(", ");
  const thresholds = Object.fromEntries(model.classes.map((name) => [name, model.thresholds[name] ?? 0.5]));
  rules.use(model.classes, thresholds);
  return model;
}

async function begin() {
  followTheme(() => picture.setTheme());
  find("listen").onclick = () => {
    if (find("listen").getAttribute("aria-pressed") === "true") stop();
    else listen();
  };
  const drop = find("drop");
  find("file").onchange = (event) => {
    if (event.target.files[0]) upload(event.target.files[0]);
    event.target.value = "";
  };
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      const taught = teach && find("teach").contains(event.target); // clips of a class
      drop.classList.toggle("over", kind === "dragover" && !taught);
      find("teach").classList.toggle("over", kind === "dragover" && Boolean(taught));
      const files = kind === "drop" ? [...event.dataTransfer.files] : [];
      if (taught && files.length) teach.sendFiles(files);
      else if (files.length) upload(files[0]);
    });
  }
  const hear = () => {
    const at = picture.cursor ?? 0;
    events.listen(`api/files/${file.id}/sound?start=${at.toFixed(2)}&seconds=10`, at);
  };
  find("spectrogram").onclick = (event) => {
    if (!file) return;
    picture.move(picture.secondAt(event.clientX));
    hear();
  };
  find("spectrogram").onkeydown = (event) => {
    if (!file) return;
    const playing = events.from != null;
    if (event.key === "Enter" || event.key === " ") (playing ? () => events.hush() : hear)();
    else if (event.key === "Escape") events.hush();
    else {
      if (playing) events.hush();
      if (!picture.key(event.key)) return;
    }
    event.preventDefault();
  };
  for (const button of document.querySelectorAll("[data-format]")) {
    button.onclick = () => events.download(button.dataset.format).catch((error) => trouble(error.message));
  }
  window.addEventListener("pagehide", forget);
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload(); // its file is gone
  });
  events.count();
  try {
    await fetchModel();
    const sources = await askJson("api/sources");
    if (model.teaching) {
      teach = new Teach(events, {
        classes: () => rules.classes,
        model: () => fetchModelAgain(() => true, "").then(() => bars.clear()),
      });
      await teach.refresh();
    }
    find("sources").hidden = !sources.length;
    if (sources.length) find("sources").append("On the server: ");
    for (const one of sources) {
      find("sources").append(
        make("button", { type: "button", class: "plain", text: one.name, onclick: () => follow(one) }),
      );
    }
  } catch (error) {
    trouble(error.message);
  }
}

begin();
