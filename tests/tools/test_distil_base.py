"""The base's trainer, on a teacher of random weights and sounds made on the spot."""

import json

import numpy as np
import pytest
import soundfile
import torch

from earmark.nn.features import LogMel
from tools import base_bank, base_network, distil_base, teacher


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of a teacher's weights, random ones, with statistics that are not 0 and 1."""
    torch.manual_seed(0)
    model = teacher.Teacher()
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.uniform_(-0.2, 0.2)  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    path = tmp_path_factory.mktemp("teacher") / "weights.pt"
    torch.save(model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def esc50(tmp_path_factory):
    """A table of six tiny clips: folds 1 and 2, one source in both, one clip that is not free."""
    folder = tmp_path_factory.mktemp("esc50")
    rng = np.random.default_rng(0)
    rows = [(1, 11, "CC0"), (1, 12, "CC-BY"), (1, 13, "CC-BY-NC")]
    rows += [(2, 21, "CC0"), (2, 22, "CC-BY"), (2, 11, "CC0")]
    lines = ["path,label,fold,group,licence"]
    for number, (fold, group, licence) in enumerate(rows):
        name = f"{fold}-{group}-{number}.wav"
        soundfile.write(folder / name, rng.uniform(-0.3, 0.3, 20_000), 16_000)
        lines.append(f"{name},Sound {number % 2},{fold},{group},{licence}")
    (folder / "esc50.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def bank(tmp_path_factory, weights, esc50):
    folder = tmp_path_factory.mktemp("bank")
    writer = base_bank.BankWriter(folder, 13, weights)
    base_bank.add_clips(writer, esc50, 2)
    writer.add(np.zeros(base_network.CROP_SAMPLES, np.float32), fold=0, clips=[], free=True)
    writer.close()
    return folder


def test_the_first_blocks_are_the_teacher_s_six_frames_later(weights):
    """Where held-back inputs meet convolutions that are as late: once the padding is past."""
    base = base_network.build_base()
    base_network.take_published(base, teacher.read_weights(weights))
    mel = torch.randn(1, 1, 128, 128)
    frames = mel[:, 0].transpose(1, 2) * base_network.SCALE + base_network.MEAN
    later = torch.nn.functional.pad(mel, (6, 0))[..., :128]
    with torch.inference_mode():
        ours = base_network.encode_early(base_network.mobile(base), frames)
        theirs = teacher.load_teacher(weights).features[:4](later).transpose(2, 3)
    assert ours.shape == (1, 16, 32, 32)
    torch.testing.assert_close(ours[:, :, 8:-2], theirs[:, :, 8:-2], atol=1e-4, rtol=1e-4)


def test_the_bank_s_crops_give_the_embedding_of_the_whole_network(bank, weights, esc50):
    base = base_network.build_base().eval()
    base_network.take_published(base, teacher.read_weights(weights))
    read = base_bank.Bank([bank])
    early, steps = read.read(np.arange(2))
    assert early.shape == (2, 16, 128, 32)
    assert steps.shape == (2, 16, 384)
    rows = base_bank.read_table(esc50)
    wave = base_bank.fill_crop(base_bank.read_clip(esc50 / rows[0]["path"]))
    with torch.inference_mode():
        frames = LogMel(base_network.FRONT_END)(torch.from_numpy(wave)[None])
        whole = base_network.embed(base, frames)
        parts = base_network.encode_late(base, early[:1]).mean(1)
    torch.testing.assert_close(parts, whole, atol=0.02, rtol=0.02)  # kept in float16


def test_gates_that_never_change_are_the_same_as_convolutions(weights):
    published = dict(teacher.read_weights(weights))
    for name in published:
        if name.endswith("fc2.weight"):
            published[name] = torch.zeros_like(published[name])
    early = torch.randn(2, 16, 32, 32)
    gates = base_network.measure_gates(published, early)
    assert gates.keys() == {4, 5, 6, 11, 12, 13, 14, 15}
    steps = []
    for excited in (True, False):
        torch.manual_seed(0)
        base = base_network.build_base(kept=base_network.ALL, excited=excited).eval()
        base_network.take_published(base, published, kept=base_network.ALL, gates=gates)
        with torch.inference_mode():
            steps.append(base_network.encode_late(base, early))
    assert steps[0].std() > 1e-3
    torch.testing.assert_close(steps[0], steps[1], atol=1e-5, rtol=1e-4)


def test_a_base_is_read_back_with_the_blocks_that_it_has(tmp_path):
    base = base_network.build_base(kept=(1, 2, 3, 4, 7, 11, 13), excited=True)
    record = {"delays": {1: 1}, "kept": (1, 2, 3, 4, 7, 11, 13), "excited": True}
    base_network.save_base(tmp_path / "base.safetensors", base, record)
    read, _ = base_network.load_base(tmp_path / "base.safetensors")
    assert len(base_network.mobile(read).blocks) == 7
    x = torch.randn(1, 64, 128)
    with torch.inference_mode():
        ours, theirs = (base_network.embed(model.eval(), x) for model in (base, read))
    assert not torch.equal(ours, theirs)  # of other delays
    record["delays"] = {1: 1, 3: 1}
    base_network.save_base(tmp_path / "base.safetensors", base, record)
    read, _ = base_network.load_base(tmp_path / "base.safetensors")
    with torch.inference_mode():
        torch.testing.assert_close(base_network.embed(read, x), ours)


def test_crops_of_a_fold_hold_no_clip_of_another_and_free_ones_only_free_ones(bank, esc50):
    clips = base_bank.read_table(esc50)
    rows = base_bank.Bank([bank]).rows
    assert len(rows) == 13
    for row in rows[:12]:
        assert {int(clips[clip]["fold"]) for clip in row["clips"]} == {row["fold"]}
        licences = {clips[clip]["licence"] in base_bank.FREE for clip in row["clips"]}
        assert licences == {row["free"]}


def test_a_fold_is_held_out_with_all_takes_of_its_sources(bank, esc50):
    read, clips = base_bank.Bank([bank]), base_bank.read_table(esc50)
    chosen = distil_base.choose_crops(read, clips, test_folds={1}, ship=False)
    used = {clip for number in chosen for clip in read.rows[number]["clips"]}
    assert used
    assert used <= {3, 4}  # clip 5 is of fold 2, from a source of fold 1
    assert 12 in chosen


def test_weights_that_ship_learn_from_free_clips_only(bank, esc50):
    read, clips = base_bank.Bank([bank]), base_bank.read_table(esc50)
    chosen = distil_base.choose_crops(read, clips, test_folds=set(), ship=True)
    used = {clip for number in chosen for clip in read.rows[number]["clips"]}
    assert used == {0, 1, 3, 4, 5}


def test_training_brings_the_base_nearer_to_the_teacher(
    bank, weights, esc50, tmp_path, monkeypatch, capsys
):
    words = ["--esc50", esc50, "--teacher", weights, "--bank", bank, "--ship"]
    words += ["--epochs", "6", "--sequences", "1", "--out", tmp_path / "base.safetensors"]
    monkeypatch.setattr("sys.argv", ["distil_base", *map(str, words)])
    distil_base.main()
    assert "11 crops" in capsys.readouterr().out
    trained, record = base_network.load_base(tmp_path / "base.safetensors")
    assert record["ship"] is True
    assert record["delays"] == {"1": 1, "3": 1}
    start = base_network.build_base()
    base_network.take_published(start, teacher.read_weights(weights))
    early, steps = base_bank.Bank([bank]).read(np.arange(12))
    loss = distil_base.Distillation(
        teacher.load_teacher(weights), steps, segment_loss_weight=0.5, score_loss_weight=0.1
    )
    with torch.inference_mode():
        before, after = (
            float(loss(distil_base.read_stream(base, early), steps)[0]) for base in (start, trained)
        )
    assert after < 0.9 * before
    same = {
        name for name, t in trained.state_dict().items() if torch.equal(t, start.state_dict()[name])
    }
    assert {"stem.convolution.weight", "blocks.2.project.convolution.weight"} <= same
    assert "blocks.3.project.convolution.weight" not in same
    assert "lstm.mend.weight" not in same


def test_rows_of_a_bank_say_where_each_crop_is_from(bank):
    rows = json.loads((bank / "rows.json").read_text(encoding="utf-8"))
    assert rows[0] == {"fold": 1, "clips": [0], "free": True}
    assert rows[12] == {"fold": 0, "clips": [], "free": True}


def test_only_audio_whose_licence_is_listed_is_read(tmp_path):
    rng = np.random.default_rng(0)
    for name, seconds in (
        ("waves.ogg", 6),
        ("train.ogg", 6),
        ("bd_808.flac", 1),
        ("other.flac", 9),
    ):
        soundfile.write(tmp_path / name, rng.uniform(-0.3, 0.3, seconds * 8_000), 8_000)
    assert {"waves.ogg", "bd_808.flac"} <= base_bank.read_audio_names()
    assert not {"train.ogg", "loop_amen.flac"} & base_bank.read_audio_names()
    (piece,) = base_bank.cut_audio([tmp_path])  # of the waves; one second alone is too short
    assert piece.shape == (base_network.CROP_SAMPLES,)
