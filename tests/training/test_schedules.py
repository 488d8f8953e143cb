import math

import keras
import pytest

from kerazoo.training import schedules


def rates(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_cosine():
    schedule = schedules.WarmupCosine(2.0, warmup_steps=4, total_steps=14, floor=0.5)
    expected = [0.5, 1.0, 1.5, 2.0, 2.0, 1.25, 0.5, 0.5]
    assert rates(schedule, [0, 1, 2, 3, 4, 9, 14, 99]) == pytest.approx(expected)


def test_linear():
    schedule = schedules.WarmupLinear(2.0, warmup_steps=0, total_steps=10)
    assert rates(schedule, [0, 5, 10, 11]) == pytest.approx([2.0, 1.0, 0.0, 0.0])


def test_constant():
    assert rates(schedules.WarmupConstant(3.0, 3), [0, 1, 2, 3, 99]) == pytest.approx([1.0, 2.0, 3.0, 3.0, 3.0])


def test_one_cycle():
    schedule = schedules.OneCycle(2.5, warmup_steps=3, total_steps=13)
    low, middle = 2.5 / 25, (2.5 + 2.5 / 250_000) / 2
    rising = [low + (2.5 - low) * (1 - math.cos(math.pi * share / 3)) / 2 for share in (1, 2, 3)]
    assert rates(schedule, [0, 1, 2, 3, 8, 13]) == pytest.approx([*rising, 2.5, middle, 2.5 / 250_000])


def test_stable_decay():
    schedule = schedules.WarmupStableDecay(2.0, warmup_steps=2, total_steps=12, floor=0.5, decay=0.4)
    assert rates(schedule, [0, 1, 2, 8, 10, 12, 99]) == pytest.approx([1.0, 2.0, 2.0, 2.0, 1.25, 0.5, 0.5])


def test_exponential():
    schedule = schedules.WarmupExponential(2.0, warmup_steps=1, total_steps=11)
    assert rates(schedule, [0, 1, 6, 11, 99]) == pytest.approx([2.0, 2.0, 0.2, 0.02, 0.02])
    assert rates(schedules.WarmupExponential(2.0, 0, 5, floor=2.0), [0, 4]) == [2.0, 2.0]


def test_piecewise():
    schedule = schedules.WarmupPiecewise(2.0, 0, 100, boundaries=(0.25, 0.5), factor=0.5)
    assert rates(schedule, [0, 24, 25, 49, 50, 99]) == pytest.approx([2.0, 2.0, 1.0, 1.0, 0.5, 0.5])
    assert rates(schedules.WarmupPiecewise(1.0, 0, 8), [3, 4, 6]) == pytest.approx([1.0, 0.1, 0.01])


def test_inverse_square_root_is_the_formula_of_the_paper():
    schedule = schedules.InverseSquareRoot.for_width(512, warmup_steps=4000)
    steps = [1, 7, 3999, 4000, 4001, 100_000]
    expected = [512**-0.5 * min(step**-0.5, step * 4000**-1.5) for step in steps]
    assert rates(schedule, [step - 1 for step in steps]) == pytest.approx(expected, rel=1e-5)
    assert math.isclose(schedule.peak, max(expected), rel_tol=1e-6)


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.WarmupCosine(1e-3, 5, 50, floor=1e-4),
        schedules.WarmupLinear(1e-3, 5, 50),
        schedules.WarmupConstant(1e-3, 5),
        schedules.InverseSquareRoot(1e-3, 5),
        schedules.OneCycle(1e-3, 5, 50),
        schedules.WarmupStableDecay(1e-3, 5, 50, decay=0.5),
        schedules.WarmupExponential(1e-3, 5, 50),
        schedules.WarmupPiecewise(1e-3, 5, 50, (0.3,), 0.2),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
def test_config_round_trip_inside_an_optimizer(schedule):
    optimizer = keras.optimizers.Adam(learning_rate=schedule)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again._learning_rate.get_config() == schedule.get_config()
    assert type(again._learning_rate) is type(schedule)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.WarmupCosine(0.0, 1, 2), r"WarmupCosine: `peak` must be a number above 0; got peak=0.0"),
        (lambda: schedules.WarmupCosine(1.0, 5, 5), r"`total_steps` must be above `warmup_steps`; got total_steps=5"),
        (lambda: schedules.WarmupStableDecay(1.0, 1, 5, decay=0), r"WarmupStableDecay: `decay` must be .*got decay=0"),
        (
            lambda: schedules.WarmupExponential(1.0, 1, 5, floor=0.0),
            r"WarmupExponential: `floor` must .*got floor=0",
        ),
        (lambda: schedules.WarmupPiecewise(1.0, 1, 5, (0.5, 0.2)), r"WarmupPiecewise: `boundaries` must be ascending"),
        (lambda: schedules.WarmupPiecewise(1.0, 1, 5, factor=1), r"WarmupPiecewise: `factor` must be .*got factor=1"),
        (lambda: schedules.WarmupLinear(1.0, 1, 5, floor=2.0), r"WarmupLinear: `floor` must be .*got floor=2.0"),
        (
            lambda: schedules.WarmupConstant(1.0, -1),
            r"`warmup_steps` must be an integer of at least 0; got warmup_steps=-1",
        ),
        (lambda: schedules.InverseSquareRoot(1.0, 0), r"`warmup_steps` must be an integer above 0; got warmup_steps=0"),
        (
            lambda: schedules.InverseSquareRoot.for_width(0),
            r"`hidden_dim` must be an integer above 0; got hidden_dim=0",
        ),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
