// The review of an archive: clips of each class, one verdict each, and the precision they come to.

import { askJson, clock, find, make, post, say } from "./dom.js";
import { Panel } from "./panel.js";
import { followTheme } from "./theme.js";

const player = find("player");
const panel = new Panel({ undo: takeBack });
const judged = []; // clips, in the order of their verdicts
let clips = [];
let labels = [];
let only = ""; // the class that is judged now; empty: one after another
let ended = false;

const percent = (share) => `${Math.round(100 * share)} %`;
const cell = (text, options = {}) => make("td", { class: "number", text, ...options });

function listen(clip) {
  player.src = `clips/${clip.id}`;
  player.play().catch(() => {});
}

/** Show a clip, or the next one that waits. */
function next(given) {
  if (ended) return;
  const waiting = clips.filter((clip) => !clip.verdict);
  const clip = given ?? waiting.find((one) => one.label === only) ?? waiting[0];
  find("left").textContent = `${waiting.length} to go`;
  find("undo").disabled = !judged.length;
  find("progress").value = clips.length ? 1 - waiting.length / clips.length : 1;
  if (!clip) {
    panel.hide();
    player.pause();
    say(find("state"), "All clips are judged. Done ends the review, and Earmark prints the precision.");
    find("done").focus();
    return;
  }
  only = clip.label;
  say(find("state"), "");
  const when = clip.start ? `, ${new Date(clip.start).toISOString().slice(0, 16).replace("T", " ")} UTC` : "";
  panel.show({
    about: [
      make("p", { class: "label", text: clip.label }),
      make("img", { class: "spectrogram", src: `pictures/${clip.id}`, alt: "Spectrogram of the clip", width: 501, height: 96 }),
      make("p", { class: "quiet", text: `${clip.recording} at ${clock(clip.onset)}${when}` }),
    ],
    names: [clip.label, ...labels.filter((name) => name !== clip.label)],
    right: (name) => (name === clip.label ? judge(clip, "yes") : judge(clip, "no", name)),
    not: () => judge(clip, "no"),
    listen: () => listen(clip),
  });
}

async function keep(clip, verdict, label = "") {
  say(find("alert"), "");
  try {
    const answer = await post("api/review/verdicts", { clip: clip.id, verdict, true_label: label });
    clip.verdict = verdict;
    show(answer.precision);
    return true;
  } catch (error) {
    say(find("alert"), error.message);
    return false;
  }
}

async function judge(clip, verdict, label) {
  if (!(await keep(clip, verdict, label))) return;
  judged.push(clip);
  next();
}

async function takeBack() {
  const clip = judged.at(-1);
  if (!clip || !(await keep(clip, ""))) return;
  judged.pop();
  next(clip);
}

function interval(row) {
  if (!row) return [cell("–"), cell("")];
  return [cell(percent(row.right / row.judged)), cell(`${Math.round(100 * row.low)} to ${percent(row.high)}`)];
}

function head(...names) {
  return make("tr", {}, ...names.map((name, at) => make("th", { scope: "col", text: name, class: at ? "number" : "" })));
}

/** Show the precision of each class, and of those above higher thresholds. */
function show(precision) {
  const own = new Map(precision.filter((row) => !row.threshold).map((row) => [row.label, row]));
  const rows = labels.map((label) => {
    const row = own.get(label);
    const all = clips.filter((clip) => clip.label === label).length;
    const name = make("button", { type: "button", class: "plain", text: label, onclick: () => ((only = label), next()) });
    return make("tr", {}, make("td", {}, name), cell(`${row?.judged ?? 0} of ${all}`), ...interval(row));
  });
  find("classes").replaceChildren(head("class", "judged", "right", "interval"), ...rows);
  const higher = precision.filter((row) => row.threshold);
  find("thresholds").replaceChildren(
    head("class", "score from", "judged", "right", "interval"),
    ...higher.map((row) => make("tr", {}, make("td", { text: row.label }), cell(String(row.threshold)), cell(String(row.judged)), ...interval(row))),
  );
}

async function begin() {
  followTheme();
  find("panel").append(panel.element);
  player.addEventListener("error", () => {
    if (!ended) say(find("alert"), "This clip cannot be played. Is it still in the folder?");
  });
  find("undo").onclick = panel.undo;
  find("done").onclick = async () => {
    try {
      ended = true;
      player.pause();
      await post("api/review/done");
      panel.hide();
      find("done").disabled = find("undo").disabled = true;
      say(find("state"), "The verdicts are kept. Earmark prints the precision where it was started; this page can be closed.");
    } catch (error) {
      ended = false;
      say(find("alert"), error.message);
    }
  };
  try {
    const state = await askJson("api/review");
    clips = state.clips;
    labels = [...new Set(clips.map((clip) => clip.label))];
    find("model").textContent = `${state.folder} · ${clips.length} clips of ${labels.length} classes`;
    show(state.precision);
    next();
  } catch (error) {
    say(find("alert"), error.message);
  }
}

begin();
