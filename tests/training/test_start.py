"""What a run may begin with."""

import accelerate
import pytest

from earmark.errors import RunError
from earmark.training.loop import Run
from earmark.training.start import refuse_other_data
from earmark.training.state import read_state
from tests.builders import small_recipe, small_split


def test_resuming_on_other_data_is_refused(tmp_path):
    accelerator = accelerate.Accelerator(cpu=True)
    Run(small_split(), small_recipe(num_epochs=1), accelerator).train(tmp_path)
    state = read_state(tmp_path)
    with pytest.raises(RunError, match="other data"):
        refuse_other_data(state, small_split(fingerprint="0" * 64), tmp_path)
