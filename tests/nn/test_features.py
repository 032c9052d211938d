"""The front end is librosa's mel spectrogram, causal, and the same offline and in a stream."""

import dataclasses

import librosa
import numpy as np
import pytest
import torch

from earmark.config import FrontEndSettings
from earmark.io import decode
from earmark.nn.features import LogMel
from earmark.nn.mel import hz_to_mel, mel_filters, mel_to_hz

SETTINGS = [
    FrontEndSettings(32_000, 1024, 640, 64, 20.0, 16_000.0, 1e-6),
    FrontEndSettings(44_100, 2048, 882, 128, 20.0, 22_050.0, 1e-6),
    FrontEndSettings(16_000, 512, 160, 40, 20.0, 8_000.0, 1e-6),
]
ODD = FrontEndSettings(8_000, 201, 77, 12, 60.0, 3_900.0, 1e-9)
NO_OVERLAP = FrontEndSettings(8_000, 256, 256, 12, 0.0, 4_000.0, 1e-6)
KALDI = FrontEndSettings(
    sample_rate=16_000,
    n_fft=512,
    hop_length=160,
    n_mels=40,
    low_hz=0.0,
    high_hz=7_600.0,
    floor=1e-5,
    win_length=400,
    symmetric_window=True,
    pre_emphasis=0.97,
    mel_scale="kaldi",
)
EVERY = pytest.mark.parametrize("settings", [*SETTINGS, ODD, NO_OVERLAP], ids=repr)


def librosa_log_mel(samples, settings):
    """The module's definition, computed by librosa in double precision, `(frames, mels)`."""
    context = np.zeros(settings.n_fft - settings.hop_length)
    power = librosa.feature.melspectrogram(
        y=np.concatenate([context, samples]),
        sr=settings.sample_rate,
        n_fft=settings.n_fft,
        hop_length=settings.hop_length,
        window="hann",
        center=False,
        power=2.0,
        n_mels=settings.n_mels,
        fmin=settings.low_hz,
        fmax=settings.high_hz,
        htk=False,
        norm="slaney",
    )
    return np.log(settings.floor + power).T


def sound(samples, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.uniform(-0.5, 0.5, (1, samples)).astype(np.float32))


def streamed(front_end, samples, chunk):
    """The frames of a stream whose samples come `chunk` at a time."""
    state, parts = front_end.initial_state(len(samples)), []
    for start in range(0, samples.shape[1], chunk):
        frames, state = front_end.step(samples[:, start : start + chunk], state)
        parts.append(frames)
    return torch.cat(parts, 1)


@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
def test_frames_of_real_recordings_are_librosa_s(esc10, settings):
    front_end = LogMel(settings)
    for path in sorted(esc10.glob("*/*.ogg"))[::20]:
        samples = decode.read(path, settings.sample_rate)
        frames = front_end(torch.from_numpy(samples)[None])[0].numpy()
        expected = librosa_log_mel(samples, settings)
        assert frames.shape == expected.shape
        assert np.abs(frames - expected).max() < 1e-5  # measured: 1e-6


@EVERY
def test_frames_of_noise_are_librosa_s(settings):
    samples = sound(settings.sample_rate)
    frames = LogMel(settings)(samples)[0].numpy()
    expected = librosa_log_mel(samples[0].numpy(), settings)
    assert frames.shape == expected.shape
    assert np.abs(frames - expected).max() < 1e-5


@EVERY
def test_the_filter_bank_is_librosa_s(settings):
    expected = librosa.filters.mel(
        sr=settings.sample_rate,
        n_fft=settings.n_fft,
        n_mels=settings.n_mels,
        fmin=settings.low_hz,
        fmax=settings.high_hz,
        htk=False,
        norm="slaney",
    )
    filters = mel_filters(settings)
    assert filters.dtype == np.float32
    assert filters.shape == expected.shape
    # Weights are below 0.04, where single precision rounds by up to 2e-9.
    assert np.abs(filters - expected).max() < 1e-8


def test_the_mel_scale_is_librosa_s_both_ways():
    hz = np.array([0.0, 20.0, 440.0, 999.9, 1000.0, 1000.1, 6400.0, 22_050.0, 192_000.0])
    mel = hz_to_mel(hz)
    assert np.allclose(mel, librosa.hz_to_mel(hz), rtol=1e-12, atol=1e-12)  # double rounding
    assert np.allclose(mel_to_hz(mel), hz, rtol=1e-12, atol=1e-12)
    assert np.allclose(hz_to_mel(np.array([0.0, 1000.0, 6400.0])), [0.0, 15.0, 42.0])


@EVERY
@pytest.mark.parametrize("frame", [0, 1, 7])
def test_later_samples_do_not_change_a_frame_at_all(settings, frame):
    front_end, hop = LogMel(settings), settings.hop_length
    before = sound(12 * hop)
    after = before.clone()
    after[:, (frame + 1) * hop :] = 0.9 * sound(12 * hop, seed=1)[:, (frame + 1) * hop :]
    old, new = front_end(before), front_end(after)
    assert torch.equal(old[:, : frame + 1], new[:, : frame + 1])
    assert not torch.equal(old[:, frame + 1], new[:, frame + 1])


@EVERY
def test_a_frame_sees_its_own_last_sample_s_neighbourhood_and_no_more(settings):
    front_end, hop, window = LogMel(settings), settings.hop_length, settings.n_fft
    impulse = torch.zeros(1, 8 * hop)
    place = 3 * hop
    impulse[0, place] = 1.0
    frames = front_end(impulse)[0]
    seen = (frames > np.log(settings.floor) + 0.01).any(dim=1)
    ends = hop * torch.arange(1, 9)
    covered = (ends - window <= place) & (place < ends)
    # The Hann window is zero at its first sample, so a frame that starts there does not see it.
    covered &= ends - window != place
    assert torch.equal(seen, covered)


@EVERY
@pytest.mark.parametrize("chunk", [1, 7, 101, 1_009, "10 ms", "hop", "whole"])
def test_a_stream_gives_the_frames_of_the_whole_clip(settings, chunk):
    front_end = LogMel(settings)
    samples = sound(settings.sample_rate // 8 + 13)
    sizes = {"10 ms": settings.sample_rate // 100, "hop": settings.hop_length, "whole": 10**9}
    size = sizes.get(chunk, chunk)
    expected = front_end(samples)
    given = streamed(front_end, samples, size)
    assert given.shape == expected.shape
    # Measured: 1e-6, from matrix products of other sizes.
    assert (given - expected).abs().max() < 1e-5


@EVERY
def test_every_hop_of_samples_gives_one_frame(settings):
    front_end, hop = LogMel(settings), settings.hop_length
    for samples, frames in ((hop, 1), (2 * hop - 1, 1), (2 * hop, 2), (10 * hop + 1, 10)):
        assert front_end(sound(samples)).shape == (1, frames, settings.n_mels)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 1.0])
@EVERY
def test_a_clip_shorter_than_a_hop_gives_the_frame_of_the_clip_and_zeros(settings, share):
    samples = sound(round(share * settings.hop_length))
    frames = LogMel(settings)(samples)
    filled = torch.zeros(1, settings.hop_length)
    filled[:, : samples.shape[1]] = samples
    assert frames.shape == (1, 1, settings.n_mels)
    assert torch.equal(frames, LogMel(settings)(filled))


@EVERY
@pytest.mark.parametrize("share", [0.0, 0.003, 0.4, 0.999, 1.0, 1.5])
def test_a_short_clip_is_filled_up_with_zeros_in_one_piece_and_in_blocks(settings, share):
    settings = dataclasses.replace(settings, min_clip_seconds=0.25)
    samples, least = sound(round(share * settings.sample_rate / 4)), settings.sample_rate // 4
    filled = torch.nn.functional.pad(samples, (0, max(0, least - samples.shape[1])))
    front_end = LogMel(settings)
    frames = front_end(samples)
    assert torch.equal(frames, front_end(filled))
    blocks = [block.numpy() for block in samples[0].split(777)]
    given = torch.cat(list(front_end.clip_frames(blocks)), 1)
    assert given.shape == frames.shape
    assert (given - frames).abs().max() < 1e-5


@EVERY
def test_silence_is_the_logarithm_of_the_floor(settings):
    frames = LogMel(settings)(torch.zeros(2, 5 * settings.hop_length))
    assert torch.allclose(frames, torch.tensor(settings.floor).log())


def test_clips_of_a_batch_do_not_touch_each_other():
    front_end = LogMel(SETTINGS[2])
    clips = torch.cat([sound(4_000, seed) for seed in range(3)])
    together = front_end(clips)
    for clip, frames in zip(clips, together, strict=True):
        # Not bit for bit: a matrix product of another size may sum in another order.
        assert torch.allclose(front_end(clip[None])[0], frames, rtol=0, atol=1e-5)


def test_a_step_without_samples_gives_no_frame_and_keeps_the_state():
    front_end = LogMel(SETTINGS[2])
    _, state = front_end.step(sound(333), front_end.initial_state())
    frames, same = front_end.step(torch.zeros(1, 0), state)
    assert frames.shape == (1, 0, 40)
    assert torch.equal(same, state)


def test_the_state_stays_shorter_than_a_window_however_long_the_stream():
    front_end = LogMel(ODD)
    state = front_end.initial_state()
    for number in range(200):
        _, state = front_end.step(sound(1 + number % 97), state)
        assert state.shape[1] < ODD.n_fft


def test_the_front_end_has_nothing_to_train_or_save():
    front_end = LogMel(SETTINGS[0])
    assert not list(front_end.parameters())
    assert not front_end.state_dict()


def plain_kaldi_log_mel(samples, settings):
    """The frames in double precision and the plainest way, one after the other."""
    padded = np.concatenate([np.zeros(settings.win_length - settings.hop_length + 1), samples])
    sharp = padded[1:] - settings.pre_emphasis * padded[:-1]
    window = np.hanning(settings.win_length)
    hz = np.arange(settings.n_fft // 2) * settings.sample_rate / settings.n_fft
    mel = 1127 * np.log(1 + hz / 700)
    top = 1127 * np.log(1 + settings.high_hz / 700)
    width = top / (settings.n_mels + 1)
    rows = []
    for start in range(0, len(sharp) - settings.win_length + 1, settings.hop_length):
        piece = sharp[start : start + settings.win_length] * window
        power = np.abs(np.fft.rfft(piece, settings.n_fft))[:-1] ** 2
        bands = [
            (np.maximum(0, 1 - np.abs(mel - width * band) / width) * power).sum()
            for band in range(1, settings.n_mels + 1)
        ]
        rows.append(np.log(np.array(bands) + settings.floor))
    return np.array(rows)


def test_frames_have_pre_emphasis_a_symmetric_window_and_kaldi_s_bands():
    samples = sound(8_000)
    frames = LogMel(KALDI)(samples)[0].numpy()
    expected = plain_kaldi_log_mel(samples[0].double().numpy(), KALDI)
    assert frames.shape == expected.shape == (50, 40)
    assert np.abs(frames - expected).max() < 1e-5


def test_kaldi_s_mel_scale_is_librosa_s_htk_both_ways():
    hz = np.array([0.0, 20.0, 1000.0, 15_000.0])
    mel = hz_to_mel(hz, "kaldi")
    assert np.allclose(mel, librosa.hz_to_mel(hz, htk=True), rtol=2e-4)  # its 2595 is rounded
    assert np.allclose(mel_to_hz(mel, "kaldi"), hz, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("chunk", [1, 37, 160, 1_009])
def test_a_stream_with_pre_emphasis_gives_the_frames_of_the_whole_clip(chunk):
    front_end = LogMel(KALDI)
    assert front_end.initial_state().shape == (1, 400 - 160 + 1)
    samples = sound(2_013)
    expected = front_end(samples)
    assert expected.shape == (1, 12, 40)
    given = streamed(front_end, samples, chunk)
    assert (given - expected).abs().max() < 1e-5


def test_a_window_may_be_shorter_than_the_transform():
    settings = FrontEndSettings(8_000, 256, 100, 12, 0.0, 4_000.0, 1e-6, win_length=200)
    samples = sound(2_000)
    frames = LogMel(settings)(samples)[0].numpy()
    expected = np.log(
        settings.floor
        + librosa.feature.melspectrogram(
            y=np.concatenate([np.zeros(100 + 28), samples[0].double().numpy(), np.zeros(28)]),
            sr=8_000,
            n_fft=256,
            win_length=200,  # in the middle of the transform, 28 zeros on both sides
            hop_length=100,
            center=False,
            n_mels=12,
            fmin=0.0,
            fmax=4_000.0,
        ).T
    )
    assert frames.shape == expected.shape
    assert np.abs(frames - expected).max() < 1e-5
