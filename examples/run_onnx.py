"""Name the sound in a WAV file with an exported model: ONNX Runtime and NumPy, nothing of Earmark.

    earmark export --out model.onnx
    python examples/run_onnx.py model.onnx dog.wav

The file is read as a stream would be, half a second at a time, and must have the model's sample
rate. Prints the label of every second and, at the end, that of the whole clip and its scores.
A class counts only from its own threshold on, and the label is the best of those that count.
"""

import json
import sys
import wave

import numpy as np
import onnxruntime


def read(path, sample_rate):
    """Return the samples of a 16-bit WAV file as mono, -1 to 1."""
    with wave.open(path) as file:
        if file.getframerate() != sample_rate or file.getsampwidth() != 2:
            sys.exit(
                f"{path}: needs 16 bits at {sample_rate} Hz; convert it, with sox for instance"
            )
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        mono = samples.reshape(-1, file.getnchannels()).mean(axis=1) / 32768
        return mono.astype(np.float32)


def decide(scores, thresholds):
    """Return the number of the best class that reaches its threshold, or None."""
    counting = np.where(scores >= np.array(thresholds, np.float32), scores, -1)
    return int(counting.argmax()) if counting.max() >= 0 else None


def main(model, path):
    """Score the file and print the labels."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # nothing about the input `frames`, which need not be given
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    stored = session.get_modelmeta().custom_metadata_map
    said = {key.removeprefix("earmark."): json.loads(value) for key, value in stored.items()}
    said.setdefault("sample_rate", said.get("rate_hz"))  # its name in files exported earlier
    classes, step = said["classes"], said["step_samples"]
    thresholds = said["calibration"]["thresholds"]  # none: a clip always gets a label
    of_clip, of_stream = thresholds or [0] * len(classes), thresholds or [0.5] * len(classes)
    samples = read(path, said["sample_rate"])

    # The state starts as zeros. "batch" is one stream; a window of 9 steps is 0.7 s.
    lengths = {"batch": 1, "window_less_one": 8}
    kinds = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
    state = {
        given.name: np.zeros([lengths.get(n, n) for n in given.shape], kinds[given.type])
        for given in session.get_inputs()
        if given.name != "samples"
    }
    names = [given.name for given in session.get_outputs()]

    chunk = step * max(1, round(0.5 * said["sample_rate"] / step))
    # A shorter clip is followed by silence: up to one step, or as the model says.
    least = round(said["front_end"].get("min_clip_seconds", 0) * said["sample_rate"])
    samples = np.pad(samples, (0, max(0, step - len(samples), least - len(samples))))
    whole = len(samples) // step * step
    last = -1
    for start in range(0, whole, chunk):
        block = samples[None, start : min(start + chunk, whole)]
        given = session.run(None, {"samples": block, **state})
        outputs = dict(zip(names, given, strict=True))
        state = {name: outputs[f"next_{name}"] for name in state}
        second = (start + block.shape[1]) // said["sample_rate"]
        if second > last:
            scores = outputs["scores"][0, -1]
            best = decide(scores, of_stream)
            label = "none of these" if best is None else f"{classes[best]} {scores[best]:.4f}"
            print(f"{second:5d} s  {label}")
            last = second
    best = decide(outputs["clip_scores"][0], of_clip)
    print("label:", "none of these" if best is None else classes[best])
    for place in np.argsort(-outputs["clip_scores"][0]):
        print(f"{classes[place]} {outputs['clip_scores'][0, place]:.4f}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python run_onnx.py MODEL.onnx FILE.wav")
    main(*sys.argv[1:])
