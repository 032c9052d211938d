// This device's microphone, at its own rate.

const WORDS = {
  NotAllowedError:
    "The microphone was refused. Allow it beside the address in your browser, then press Listen again.",
  NotFoundError: "No microphone was found. Connect one, or drop a recording here.",
  NotReadableError: "The microphone is used by another program. Close that, then press Listen again.",
  OverconstrainedError: "No microphone was found. Connect one, or drop a recording here.",
};
const INSECURE =
  "A browser gives a page the microphone only on this machine (localhost) or over HTTPS. " +
  "Drop a recording here, or start the server with --microphone or --certificate.";

/** Open the microphone; call `onSamples` with 16-bit samples. Throws an Error with a line. */
export async function openMicrophone(onSamples, onGone) {
  if (!navigator.mediaDevices?.getUserMedia) throw new Error(INSECURE);
  let stream;
  try {
    // What helps a call spoils sounds that are no speech.
    stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
  } catch (error) {
    throw new Error(WORDS[error.name] ?? `The microphone cannot be used (${error.name}).`);
  }
  const context = new AudioContext();
  await context.audioWorklet.addModule("worklet.js");
  await context.resume();
  const node = new AudioWorkletNode(context, "gather", { numberOfOutputs: 0 });
  node.port.onmessage = (event) => onSamples(event.data);
  context.createMediaStreamSource(stream).connect(node);
  for (const track of stream.getTracks()) {
    track.onended = () => onGone("The microphone has gone. Connect it, then press Listen again.");
  }
  return {
    sampleRate: context.sampleRate,
    close() {
      node.port.onmessage = null;
      for (const track of stream.getTracks()) {
        track.onended = null;
        track.stop();
      }
      context.close();
    },
  };
}
