"""What is legal but suspicious gets one line; channels that cancel are not mixed."""

import numpy as np
import pytest
import soundfile

from earmark.errors import AudioError, AudioWarning
from earmark.io import decode, waveform
from tests.io.encoded import noise


def written(tmp_path, samples, rate=16_000, **options):
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, rate, **{"subtype": "FLOAT", **options})
    return path


def notes_of(path, sample_rate=16_000, **options):
    said: list[str] = []
    samples = decode.read(path, sample_rate, warn=said.append, **options)
    return samples, [line.removeprefix(f"{path}: ") for line in said]


def test_healthy_audio_is_read_without_a_word(tmp_path, esc10):
    assert notes_of(written(tmp_path, noise(3.0, channels=2)))[1] == []
    quiet = noise(3.0, loudness=0.005)  # -51 dB
    assert notes_of(written(tmp_path, quiet))[1] == []
    paths = sorted(esc10.glob("*/*.ogg"))[::40]
    clipped = [path for path in paths if notes_of(path, 44_100)[1]]
    assert len(clipped) <= 1


@pytest.mark.parametrize("gain", [-1.0, -0.98])
@pytest.mark.parametrize("louder", [0, 1])
@pytest.mark.parametrize("block_seconds", [1.0, 10.0])
def test_channels_that_cancel_are_not_mixed(tmp_path, gain, louder, block_seconds):
    one = noise(3.0)[:, 0]
    pair = np.stack([one, one * gain] if louder == 0 else [one * gain, one], axis=1)
    path = written(tmp_path, pair)
    said: list[str] = []
    blocks = decode.read_blocks(path, 16_000, block_seconds=block_seconds, warn=said.append)
    np.testing.assert_array_equal(
        np.concatenate(list(blocks)), pair[:, louder if gain != -1 else 0]
    )
    assert len(said) == 1
    assert "its channels cancel when they are mixed" in said[0]
    assert "for 3.0 s" in said[0]


def test_channels_are_mixed_again_where_they_no_longer_cancel(tmp_path):
    one, other = noise(2.0, 1)[:, 0], noise(2.0, 2)
    path = written(tmp_path, np.concatenate([np.stack([one, -one], axis=1), np.tile(other, 2)]))
    samples, said = notes_of(path)
    np.testing.assert_array_equal(samples, np.concatenate([one, other[:, 0]]))
    assert "for 2.0 s" in said[0]


def test_channels_that_differ_are_averaged(tmp_path):
    pair = noise(2.0, channels=2)
    pair[:, 1] -= 0.5 * pair[:, 0]
    samples, said = notes_of(written(tmp_path, pair))
    np.testing.assert_array_equal(samples, pair.mean(axis=1))
    assert said == []


@pytest.mark.parametrize("scale", [2**7, 2**15, 2**23, 2**31])
def test_floats_that_were_never_divided_are_refused(tmp_path, scale):
    path = written(tmp_path, noise() * scale)
    with pytest.raises(AudioError) as caught:
        notes_of(path)
    assert f"they were never divided by {scale}; scale them: ffmpeg -i " in str(caught.value)
    assert f"-af volume=1/{scale} " in str(caught.value)
    with pytest.raises(AudioError, match=f"divide them by {scale}"):
        waveform.mono(noise() * scale, "samples")


def test_a_lossy_coder_may_pass_full_scale(tmp_path):
    assert len(notes_of(written(tmp_path, noise() * 5))[0]) == 16_000


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_whole_numbers_that_fit_fewer_bits_are_named(kind):
    whole = (noise() * 30_000).astype(np.int16)

    def said(samples):
        lines: list[str] = []
        waveform.mono_recording(samples, 16_000, "samples", needed=16_000, warn=lines.append)
        return lines

    assert said(whole) == []
    assert said(whole.astype(kind) * 0) == []
    assert said(whole.astype(kind) * (np.iinfo(kind).max // 2**15)) == []
    assert said(whole.astype(kind))[0].endswith("if they were int16 once: samples.astype('int16')")


def test_an_array_is_mixed_like_a_file(tmp_path):
    pair = np.repeat(noise(2.0), 2, axis=1) * [1, -1]
    lines: list[str] = []
    mixed = waveform.mono_recording(pair, 16_000, "samples", needed=44_100, warn=lines.append)
    np.testing.assert_array_equal(mixed, notes_of(written(tmp_path, pair))[0])
    assert [line.split(",")[0] for line in lines] == [
        "samples: has a sample rate of 16000 Hz",
        "samples: its channels cancel when they are mixed; the louder one alone was used for "
        "2.0 s; check the cable",
    ]


def test_a_level_below_60_db_is_named(tmp_path):
    _, said = notes_of(written(tmp_path, noise(2.0, loudness=0.001)))  # -65 dB
    assert [line[:41] for line in said] == ["is very quiet, its loudest second is at -"]
    assert "-65 dB" in said[0]
    loud_once = np.concatenate([noise(2.0, loudness=0.001), noise(1.0)])
    assert notes_of(written(tmp_path, loud_once))[1] == []


@pytest.mark.parametrize(("share", "named"), [(0.002, False), (0.03, True)])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_U8", "ULAW", "PCM_24", "FLOAT"])
def test_clipping_is_named(tmp_path, share, named, subtype):
    samples = noise(2.0)
    place = np.random.default_rng(1).permutation(len(samples))[: round(share * len(samples))]
    samples[place] = np.sign(samples[place])
    _, said = notes_of(written(tmp_path, samples, subtype=subtype))
    assert [line.split(",")[0] for line in said] == ["is clipped"] * named


@pytest.mark.parametrize(("rate", "named"), [(8_000, True), (16_000, True), (22_050, False)])
def test_a_sample_rate_far_below_the_model_s_is_named(tmp_path, rate, named):
    _, said = notes_of(written(tmp_path, noise(rate=rate), rate), 44_100)
    assert [line.split(",")[0] for line in said] == [f"has a sample rate of {rate} Hz"] * named
    if named:
        assert f"nothing above {rate // 2} Hz" in said[0]


def test_without_a_taker_a_note_is_a_warning_of_python(tmp_path):
    path = written(tmp_path, noise(loudness=0.001))
    with pytest.warns(AudioWarning, match="is very quiet") as caught:
        decode.read(path, 16_000)
    assert len(caught) == 1
    assert str(caught[0].message).startswith(f"{path}: ")
