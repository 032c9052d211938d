// Name the sound in a WAV file with an exported model, in Node, as a stream: chunk by chunk, the state carried.
//
//     earmark export --out box.onnx
//     cd examples && npm ci --ignore-scripts
//     node run_onnx.mjs ../model.onnx dog.wav
//
// The file must have 16 bits and the model's sample rate. Prints the label of every second and, at
// the end, that of the whole clip and its scores. A class counts only from its own threshold on, and
// the label is the best of those that count.

import { createReadStream, readFileSync } from "node:fs";
import process from "node:process";
import ort from "onnxruntime-node";

// ONNX Runtime's JavaScript does not hand out a file's metadata. A model is a protocol buffer of
// tagged fields; number 14 holds pairs of a key (1) and a value (2).
function fields(bytes) {
  const found = [];
  let at = 0;
  const number = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return Number(value);
    }
  };
  while (at < bytes.length) {
    const tag = number();
    if ((tag & 7) === 0) {
      number();
    } else if ((tag & 7) === 2) {
      const length = number();
      found.push([tag >> 3, bytes.subarray(at, at + length)]);
      at += length;
    } else {
      throw new Error("not an ONNX file");
    }
  }
  return found;
}

function metadata(path) {
  const said = {};
  for (const [tag, pair] of fields(readFileSync(path))) {
    if (tag !== 14) continue;
    const [key, value] = fields(pair).map(([, text]) => text.toString("utf8"));
    if (key.startsWith("earmark.")) said[key.slice("earmark.".length)] = JSON.parse(value);
  }
  return said;
}

// Gives the samples of a WAV file as they are read from it, mono, -1 to 1.
async function* wav(path, sampleRate) {
  let waiting = Buffer.alloc(0);
  let format = null;
  let left = null; // bytes of samples still to come
  for await (const bytes of createReadStream(path)) {
    waiting = Buffer.concat([waiting, bytes]);
    while (left === null && waiting.length >= 12 + 8) {
      const start = format === null ? 12 : 0;
      const name = waiting.toString("latin1", start, start + 4);
      const length = waiting.readUInt32LE(start + 4);
      if (name === "data") {
        left = length;
        waiting = waiting.subarray(start + 8);
      } else if (waiting.length < start + 8 + length) {
        break;
      } else {
        const body = waiting.subarray(start + 8, start + 8 + length);
        if (name === "fmt ") {
          format = { channels: body.readUInt16LE(2), sampleRate: body.readUInt32LE(4), bits: body.readUInt16LE(14) };
          if (format.sampleRate !== sampleRate || format.bits !== 16) {
            throw new Error(`${path}: needs 16 bits at ${sampleRate} Hz; convert it, with sox for instance`);
          }
        }
        waiting = waiting.subarray(start + 8 + length + (length % 2));
      }
    }
    if (left === null) continue;
    const frame = 2 * format.channels;
    const count = Math.floor(Math.min(waiting.length, left) / frame);
    const samples = new Float32Array(count);
    for (let n = 0; n < count; n++) {
      for (let c = 0; c < format.channels; c++) samples[n] += waiting.readInt16LE(n * frame + 2 * c);
      samples[n] /= 32768 * format.channels;
    }
    waiting = waiting.subarray(count * frame);
    left -= count * frame;
    yield samples;
  }
}

async function main(model, path) {
  const said = metadata(model);
  // Severity 3: nothing about the input `frames`, which need not be given.
  const session = await ort.InferenceSession.create(model, { logSeverityLevel: 3 });
  const { classes, step_samples: step, calibration } = said;
  const sampleRate = said.sample_rate ?? said.rate_hz; // its name in files exported earlier
  const { thresholds } = calibration; // none: a clip always gets a label
  const ofClip = thresholds.length ? thresholds : classes.map(() => 0);
  const ofStream = thresholds.length ? thresholds : classes.map(() => 0.5);

  // The state starts as zeros. "batch" is one stream; a window of 9 steps is 0.7 s.
  const lengths = { batch: 1, window_less_one: 8 };
  let state = {};
  for (const { name, type, shape } of session.inputMetadata) {
    if (name === "samples") continue;
    const sizes = shape.map((length) => lengths[length] ?? length);
    const total = sizes.reduce((a, b) => a * b, 1);
    const values = type === "int64" ? new BigInt64Array(total) : new Float32Array(total);
    state[name] = new ort.Tensor(type, values, sizes);
  }

  // The number of the best class that reaches its threshold, or -1.
  const decide = (scores, from) =>
    scores.reduce(
      (best, score, n) =>
        score >= Math.fround(from[n]) && (best < 0 || score > scores[best]) ? n : best,
      -1,
    );
  let outputs = null;
  let taken = 0;
  let last = -1;
  async function score(samples) {
    const feeds = { ...state, samples: new ort.Tensor("float32", samples, [1, samples.length]) };
    outputs = await session.run(feeds);
    for (const name of Object.keys(state)) state[name] = outputs[`next_${name}`];
    taken += samples.length;
    const second = Math.floor(taken / sampleRate);
    if (second > last) {
      const scores = outputs.scores.data.slice(-classes.length);
      const best = decide(scores, ofStream);
      const label = best < 0 ? "none of these" : `${classes[best]} ${scores[best].toFixed(4)}`;
      console.log(`${String(second).padStart(5)} s  ${label}`);
      last = second;
    }
  }

  const chunk = step * Math.max(1, Math.round((0.5 * sampleRate) / step));
  let waiting = new Float32Array(0);
  for await (const samples of wav(path, sampleRate)) {
    const joined = new Float32Array(waiting.length + samples.length);
    joined.set(waiting);
    joined.set(samples, waiting.length);
    waiting = joined;
    while (waiting.length >= chunk) {
      await score(waiting.slice(0, chunk));
      waiting = waiting.slice(chunk);
    }
  }
  // A shorter clip is followed by silence: up to one step, or as the model says.
  const least = Math.round((said.front_end.min_clip_seconds ?? 0) * sampleRate);
  const filled = new Float32Array(Math.max(waiting.length, step - taken, least - taken));
  filled.set(waiting);
  const whole = Math.floor(filled.length / step) * step;
  for (let start = 0; start < whole; start += chunk) {
    await score(filled.slice(start, Math.min(start + chunk, whole)));
  }
  const scores = Array.from(outputs.clip_scores.data);
  const best = decide(scores, ofClip);
  console.log(`label: ${best < 0 ? "none of these" : classes[best]}`);
  for (const n of scores.map((_, n) => n).sort((a, b) => scores[b] - scores[a])) {
    console.log(`${classes[n]} ${scores[n].toFixed(4)}`);
  }
}

if (process.argv.length !== 4) {
  console.error("usage: node run_onnx.mjs MODEL.onnx FILE.wav");
  process.exit(1);
}
main(process.argv[2], process.argv[3]).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
