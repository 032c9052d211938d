"""The checkpoint's folder; what it holds is tested with the runs that write it."""

from earmark.training.checkpoint import RESUME_FOLDER, remove_checkpoint


def test_what_a_kill_while_writing_left_is_removed_with_the_state(tmp_path):
    folder = tmp_path / RESUME_FOLDER
    folder.mkdir()
    (folder / "state.safetensors").write_bytes(b"")
    (folder / ".state.safetensors.0a1b2c3d.part").write_bytes(b"half")
    remove_checkpoint(tmp_path)
    assert not folder.exists()
