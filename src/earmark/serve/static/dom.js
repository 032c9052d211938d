// Small helpers around the document.

export const find = (id) => document.getElementById(id);

/** Make an element: `make("button", { class: "plain", text: "Play" }, child, ...)`. */
export function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Seconds as minutes:seconds, with tenths. */
export function clock(seconds) {
  const whole = Math.max(0, seconds);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const rest = (whole % 60).toFixed(1).padStart(4, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** Show one line in a notice, or hide it. */
export function say(element, text) {
  element.textContent = text;
  element.hidden = !text;
}

/** Ask the server; throw an Error with its own line where it refuses. */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is Earmark still running?");
  }
  if (answer.ok) return answer;
  let text = `The server refused this (${answer.status}).`;
  try {
    const value = await answer.json();
    if (typeof value.error === "string") text = value.error;
  } catch {
    // no line of its own
  }
  throw new Error(text);
}

export const askJson = async (path, options) => (await ask(path, options)).json();

export const post = (path, value) =>
  askJson(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(value ?? {}),
  });
