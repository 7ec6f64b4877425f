"""`arl labels`: how many labels are wrong, and which?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autorobustloss.cli.json_output import print_json
from autorobustloss.cli.methods import check_methods, read_named_methods
from autorobustloss.cli.options.labels import LabelsOptions
from autorobustloss.cli.outcomes import Examined, Judged
from autorobustloss.cli.running import at_work, then_drawn
from autorobustloss.cli.tasks import read_tasks, tell_labels
from autorobustloss.cli.terminal import out_width, warn
from autorobustloss.columns import wrapped
from autorobustloss.errors import ConfigError
from autorobustloss.escape import message, visible
from autorobustloss.labels import LabelErrors, judge_labels, label_config, require_cleanlab
from autorobustloss.labels.gallery import gallery
from autorobustloss.report.folder import LABELS_PAGE, folder_page
from autorobustloss.runs.run_folder import SUSPECTS

SHOWN = 10


def run(options: LabelsOptions) -> int:
    """Examine the labels that the options name."""
    require_cleanlab()
    if options.test_size:
        raise ConfigError("got --test-size, expected none: every sample is tested once; --train-size says how many")
    if options.most < 1:
        raise ConfigError(f"got --most {options.most}, expected 1 or more")
    whole = replace(options, train_size=0, valid_size=0)
    known = read_tasks(whole, "labels")
    methods = read_named_methods(options.loss, "--loss")
    if len(known.tasks) != 1 or len(methods) != 1:
        got = f"{len(known.tasks)} tasks and {len(methods)} losses"
        raise ConfigError(f"got {got}, expected one data set, network, noise, learning rate and loss")
    check_methods(methods.values(), known)
    ((name, dataset),), ((called, method),) = known.datasets.items(), methods.items()
    how: dict[str, Any] = {"folds": options.folds, "seeds": options.seeds, "seed": options.seed, "name": called}
    sizes = options.train_size, options.valid_size or 0
    config, pool = label_config(known.tasks[0], dataset, method, *sizes, **how)
    if pool is dataset:
        tell_labels(options, known)
    elif not options.quiet:
        warn(f"{visible(name)}: all {len(pool.y_train)} samples count as one part, labels as they come")
    settings = {"command": "labels", **config.to_dict()}
    with at_work(options, {name: pool}, settings, "labels", len(config.jobs())) as (folder, executor, progress):
        found = judge_labels(config, pool, folder.store, executor, progress.on_result)
        progress.stop()
        folder.write("labels.csv", found.to_csv())
        folder.write("noise-matrix.json", found.matrix_json())
        folder.write(SUSPECTS, gallery(found, pool, options.most).to_json())
        draw = lambda: folder.write(LABELS_PAGE, folder_page(folder.path))  # noqa: E731
        with then_drawn(draw, "with pictures" if pool.is_image else "as a page", options.json):
            print_found(found, str(folder.path), options.json)
    return 0


def print_found(found: LabelErrors, folder: str, as_json: bool) -> None:
    """Print what was found, the most suspicious first."""
    if as_json:
        rows, matrix = [Judged(**row) for row in found.rows()], found.noise_matrix.tolist()
        print_json(Examined(int(found.wrong.sum()), found.noise_rate, matrix, rows, **found.scores))
    else:
        print(f"{wrapped(message(str(found)), out_width())}\n\nall in {visible(folder)}/labels.csv", flush=True)
