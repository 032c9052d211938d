"""`earmark prepare`: a dataset becomes split files."""

from earmark.config.recipes import read_recipe
from earmark.data.splits import read_split
from earmark.model_directory import load_model, model_folder
from tests.builders import damage_sounds, write_sounds
from tests.processes import call_here


def test_every_fold_becomes_a_split_and_is_reported(own, tmp_path):
    recipe = ("--recipe", own / "small.toml")
    words = ("prepare", own / "sounds", "--folds", 3, "--out", "mine", *recipe)
    done = call_here("earmark", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 classes, 30 clips, 3 folds" in done.stdout
    assert "wrote mine/split_0.pkl to split_2.pkl" in done.stdout
    splits = [read_split(tmp_path / "mine", index) for index in range(3)]
    assert sum(len(split.test) for split in splits) == 30
    assert splits[0].front_end == read_recipe(str(own / "small.toml")).front_end
    again = call_here("earmark", *words, cwd=tmp_path)
    assert again.returncode == 0, again.stderr  # its own splits may be replaced


def test_a_recipe_that_starts_from_a_model_has_that_model_s_frames(own, tmp_path):
    words = ("prepare", own / "sounds", "--recipe", "finetune", "--folds", 2)
    done = call_here("earmark", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    split = read_split(tmp_path / "splits", 0)
    assert split.front_end == load_model(model_folder("base")).front_end
    assert set(split.test.frames) == {160}  # clips of 0.4 s, filled up to 1.6 s


def test_the_splits_hold_the_others_when_a_file_cannot_be_read(tmp_path):
    write_sounds(tmp_path / "sounds")
    damage_sounds(tmp_path / "sounds", "an unreadable file")
    done = call_here("earmark", "prepare", "sounds", cwd=tmp_path)
    assert done.returncode == 1
    assert "1 of 30 files were left out; the splits hold the others" in done.stderr
    split = read_split(tmp_path / "splits", 0)
    assert len(split.train) + len(split.test) == 29


def test_what_the_search_of_a_dataset_passed_over_is_counted_with_reasons(tmp_path):
    write_sounds(tmp_path / "sounds", clips=5)
    for name in (".DS_Store", "README.md", "low/notes.txt", "low/more/labels.csv", "high/._0.wav"):
        (tmp_path / "sounds" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "sounds" / name).write_text("x")
    (tmp_path / "sounds" / "__MACOSX").mkdir()
    (tmp_path / "sounds" / "low" / "gone.txt").symlink_to("nowhere")
    done = call_here("earmark", "prepare", "sounds", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("left out: ")]
    assert "3 hidden (" in line
    assert "3 not audio (" in line
    assert "1 links to nothing (" in line
    trained = ("train", "sounds", "--num_epochs", 1, "--hidden_size", 4)
    done = call_here("earmark", *trained, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "left out: 3 hidden (" in done.stderr


def test_split_files_refer_to_the_cache_or_hold_their_features(own, tmp_path):
    words = ("prepare", own / "sounds", "--recipe", own / "small.toml")
    cache = ("--cache_dir", tmp_path / "cache")
    for more in (("--out", "refer"), ("--out", "hold", "--self_contained")):
        done = call_here("earmark", *words, *cache, *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "cache").rglob("*.frames"))) == 1
    sizes = [(tmp_path / out / "split_0.pkl").stat().st_size for out in ("refer", "hold")]
    assert sizes[0] < sizes[1] / 2
    scores = []
    for out in ("refer", "hold"):
        trained = ("--splits_dir", out, "--num_epochs", 2, "--output_dir", f"models-{out}")
        done = call_here("lstm_classifier_train.py", *trained, *cache, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        (run,) = (tmp_path / f"models-{out}").iterdir()
        done = call_here(
            "lstm_inference.py", "--model_dir", run, "--splits_dir", out, *cache, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        (weights,) = run.glob("weights-*.safetensors")
        scores.append((weights.read_bytes(), done.stdout.replace(run.name, "")))
    assert scores[0] == scores[1]


def test_every_file_is_named_though_none_can_be_read(tmp_path):
    for label in ("dog", "rain"):
        (tmp_path / "sounds" / label).mkdir(parents=True)
        for number in range(5):
            (tmp_path / "sounds" / label / f"{number}.wav").write_bytes(b"not audio")
    done = call_here("earmark", "prepare", "sounds", cwd=tmp_path)
    assert done.returncode == 1
    *named, last = done.stderr.splitlines()
    assert [line.split(":")[1].split("/")[-2] for line in named] == ["dog"] * 5 + ["rain"] * 5
    assert "none of its 10 files can be read" in last
