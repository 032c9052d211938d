"""Which epoch is kept, and when training stops."""

from earmark.training.stopping import Progress, find_last_progress


def rows(losses, accuracies=None):
    accuracies = accuracies or [0.5] * len(losses)
    return [
        {"epoch": number, "validation_loss": loss, "validation_accuracy": accuracy}
        for number, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True), 1)
    ]


def test_the_lowest_loss_is_kept_and_the_first_of_equals():
    progress = Progress()
    assert [progress.add(row) for row in rows([3.0, 2.0, 2.5, 2.0, 1.0])] == [
        *(True, True, False, False, True)
    ]
    assert (progress.best_epoch, progress.epochs_done) == (5, 5)


def test_where_nothing_is_validated_the_last_epoch_is_kept():
    progress = Progress()
    assert all(progress.add(row) for row in rows([None, None, None]))
    assert progress.best_epoch == 3


def test_progress_is_a_lower_loss_or_a_higher_accuracy():
    assert find_last_progress(rows([3.0, 2.0, 2.5, 2.6])) == 2
    assert find_last_progress(rows([3.0, 2.0, 2.5, 2.6], [0.5, 0.5, 0.6, 0.6])) == 3


def test_patience_counts_in_the_second_half_only():
    progress = Progress()
    stops = []
    for row in rows([1.0] * 10):
        progress.add(row)
        progress.stop_early(patience=2, num_epochs=10)
        stops.append(bool(progress.stopped))
    assert stops == [False] * 6 + [True] * 4
    assert progress.stopped == "no better epoch for 2 epochs"
