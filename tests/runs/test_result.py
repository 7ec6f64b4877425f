from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorobustloss.errors import ConfigError
from autorobustloss.runs import Result
from autorobustloss.runs.result import Origin
from autorobustloss.training import History

finite = st.floats(allow_nan=False, allow_infinity=False)
text = st.text('aé 名"\\\n', max_size=5)
curve = st.lists(finite, max_size=5)
results = st.builds(
    Result,
    key=text,
    history=st.builds(
        History,
        epochs=st.lists(st.integers(1, 999), max_size=5),
        valid_clean=curve,
        test=curve,
        train_loss=curve,
        stopped=st.sampled_from(["", "diverged", "chance"]),
        steps=st.integers(0, 10**9),
    ),
    noise_rate=st.one_of(st.none(), st.floats(0, 1)),
    wall_time=st.floats(0, 1e6),
    device=text,
    host=text,
    versions=st.dictionaries(text, text, max_size=3),
    peak_memory=st.integers(0, 2**40),
    processor=text,
    blas=text,
    exact=st.sampled_from([None, False, True]),
    workers=st.integers(0, 99),
)
RESULT = Result("k", History([1, 2], [0.5, 0.25], steps=4), 0.4, 1.0, "cpu", "here", {"torch": "2"}, 7)


@given(results)
def test_through_json_and_back_with_every_bit(result):
    again = Result.from_json(result.to_json())
    assert again == result
    assert repr(again) == repr(result)  # == takes 0.0 for -0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("host"), "missing required field `host`"),
        (lambda d: d.update(hosts="a"), "did you mean 'host'"),
        (lambda d: d.update(wall_time="1"), r"Expected `float`, got `str` - at `\$\.wall_time`"),
        (lambda d: d.update(wall_time=None), r"got `null` - at `\$\.wall_time`"),
        (lambda d: d.update(key=5), r"Expected `str`, got `int` - at `\$\.key`"),
        (lambda d: d.update(history=[]), r"Expected `object`, got `array` - at `\$\.history`"),
        (lambda d: d["history"].update(valid_clean=[0.5, "x"]), r"got `str` - at `\$\.history\.valid_clean\[1\]`"),
        (lambda d: d["history"].update(epochs=[1.5]), r"got `float` - at `\$\.history\.epochs\[0\]`"),
        (lambda d: d["history"].update(steps=True), r"got `bool` - at `\$\.history\.steps`"),
        (lambda d: d["history"].update(best=[]), "unknown history field"),
        (lambda d: d.update(exact=1), r"Expected `bool \| null`, got `int`"),
        (lambda d: d.update(processor=None), r"got `null` - at `\$\.processor`"),
        (lambda d: d.update(peak_memory=True), r"got `bool` - at `\$\.peak_memory`"),
        (lambda d: d["history"].update(stopped=1), r"got `int` - at `\$\.history\.stopped`"),
    ],
)
def test_a_broken_result_is_refused(change, message):
    values = json.loads(RESULT.to_json())
    change(values)
    with pytest.raises(ConfigError, match=message):
        Result.from_json(json.dumps(values))


def test_results_of_before_the_processor_was_noted_still_read():
    values = json.loads(RESULT.to_json())
    for name in ("processor", "blas", "exact", "peak_memory", "workers"):
        del values[name]
    old = Result.from_json(json.dumps(values))
    assert (old.processor, old.blas, old.exact, old.peak_memory, old.workers) == ("", "", None, 0, 0)
    assert old.history == RESULT.history


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], None),
        ([True], True),
        ([True, True], True),
        ([None], None),
        ([True, None], None),
        ([True, False], False),
        ([None, False], False),
    ],
)
def test_an_origin_is_exact_if_all_results_are(found, expected):
    assert Origin.of(replace(RESULT, exact=exact) for exact in found).exact is expected


def test_an_origin_names_each_processor_once():
    results = [replace(RESULT, processor=name, blas=2 * name) for name in "hgfedcba"] + [RESULT]
    assert Origin.of(2 * results) == Origin(tuple("abcdefgh"), tuple(2 * name for name in "abcdefgh"), None)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", RESULT.to_json()[:-5], RESULT.to_json().replace("0.4", "NaN")]
)
def test_text_that_is_no_result_is_refused(text):
    with pytest.raises(ConfigError):
        Result.from_json(text)
