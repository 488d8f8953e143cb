"""Dated series: what is recognised as a date, gaps, splits by time, seasons, and files as people have them."""

import datetime

import numpy as np
import pytest

from kerazoo._checks import DataError
from kerazoo.data import ForecastSource, read_dated_series
from kerazoo.data.dates import in_words, read_dates
from kerazoo.data.seasons import find_season, naive_error

HOURS = [datetime.datetime(2024, 2, 27, 5) + datetime.timedelta(hours=i) for i in range(101)]
MONTHS = [f"{1990 + i // 12}-{i % 12 + 1:02d}" for i in range(101)]


def write(path, dates, values=None, header="date,a,b", delimiter=","):
    values = [(i, 1000 - 7 * i) for i in range(len(dates))] if values is None else values
    rows = [delimiter.join([str(date), *map(str, row)]) for date, row in zip(dates, values)]
    path.write_text(header + "\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def windows(source, split, column="window"):
    return np.concatenate([chunk.columns[column] for chunk in source.chunks(split)])


def test_windows_of_dev_and_test_look_back_and_what_is_predicted_lies_in_the_split(tmp_path):
    source = ForecastSource(write(tmp_path / "s.csv", HOURS), length=7, horizon=3, stride=5, splits="60,23,11")
    assert source.column_names() == ["a", "b"] and source.columns == ("window", "future", "file")
    train, future = windows(source, "train"), windows(source, "train", "future")
    assert train.shape == (11, 7, 2) and train[:, 0, 0].tolist() == list(range(0, 51, 5)) and future[-1, -1, 0] == 59
    for split, first, last in (("dev", 60, 82), ("test", 83, 93)):
        window, future = windows(source, split), windows(source, split, "future")
        assert window[0, :, 0].tolist() == list(range(first - 7, first)) and future[0, 0, 0] == first
        assert future[-1, -1, 0] == last and len(window) == last - first - 1, "every window of it, whatever the stride"
        assert (future[:, 0, 0] == window[:, -1, 0] + 1).all()
    (chunk,) = source.chunks("test")
    assert chunk.locations[0] == f"{tmp_path / 's.csv'}:84"


@pytest.mark.parametrize(
    "splits, bounds",
    [
        ("0.5,0.25,0.25", (50, 76, 101)),
        ("40,20,30", (40, 60, 90)),
        ("2024-03-01,2024-03-02", (67, 91, 101)),
        ("2024-03-01 00:00,2024-03-01 12:00,2024-03-02", (67, 79, 91)),
        (None, (71, 86, 101)),
    ],
)
def test_splits_by_fractions_rows_and_dates(tmp_path, splits, bounds):
    source = ForecastSource(write(tmp_path / "s.csv", HOURS), "a", length=4, horizon=2, splits=splits)
    ends = [int(windows(source, split, "future")[-1, -1, 0]) + 1 for split in ("train", "dev", "test")]
    assert tuple(ends) == bounds


def test_scaling_season_and_naive_error_are_those_of_the_training_rows(tmp_path):
    wave = [(round(np.sin(2 * np.pi * i / 12) * 10 + i / 5, 3), i * i if i > 70 else 3) for i in range(101)]
    source = ForecastSource(write(tmp_path / "s.csv", MONTHS, wave), length=4, horizon=2)
    described, train = source.describe_series("future"), np.array(wave[:71])
    assert described["season"] == 12 and described["shape"] == [2, 2]
    np.testing.assert_allclose(described["mean"], train.mean(0))
    np.testing.assert_allclose(described["naive_error"], [np.abs(train[12:, 0] - train[:-12, 0]).mean(), 1.0])
    given = ForecastSource(tmp_path / "s.csv", length=4, horizon=2, season=5)
    assert given.describe_series("future")["season"] == 5 and "season" not in given.describe_series("window")
    assert source.fingerprint("train") != given.fingerprint("dev")


def test_files_of_a_folder_are_series_of_their_own(tmp_path):
    write(tmp_path / "one.csv", MONTHS[:31])
    write(tmp_path / "two.csv", MONTHS[:53], [(5000 + i, i) for i in range(53)])
    source = ForecastSource(tmp_path / "*.csv", length=5, horizon=2)
    for split in ("train", "dev", "test"):
        window, future = windows(source, split), windows(source, split, "future")
        assert ((window[:, :, 0] > 1000).all(1) == (future[:, :, 0] > 1000).all(1)).all(), "no window crosses files"
        assert {bool(row) for row in (window[:, 0, 0] > 1000)} == {False, True}


def test_each_file_has_a_scale_and_a_season_and_its_only_column_any_name(tmp_path):
    long = [(round(np.sin(2 * np.pi * i / 12) * 10, 3),) for i in range(101)]
    write(tmp_path / "one.csv", MONTHS, long, header="month,sales")
    write(tmp_path / "two.csv", MONTHS[:60], [(1000 * (i % 4),) for i in range(60)], header="month,visits")
    source = ForecastSource(tmp_path / "*.csv", length=5, horizon=2)
    described = source.describe_series("future")
    assert described["names"] == ["value"] and described["shape"] == [2, 1]
    one, two = (described["files"][name] for name in ("one.csv", "two.csv"))
    np.testing.assert_allclose(one["deviation"], np.std(long[:71], axis=0))
    assert (one["season"], two["season"]) == (12, 4)
    assert two["mean"] == [pytest.approx(np.mean([1000 * (i % 4) for i in range(42)]))]
    assert described["mean"] == one["mean"], "of the file with the smallest deviation"
    assert next(source.chunks("dev")).columns["file"][0] == ("one.csv",)
    weighted = ForecastSource(f"{tmp_path}/two.csv@3,{tmp_path}/one.csv", length=5, horizon=2)
    counts = [
        [sum(chunk.num_rows for chunk in each.chunks(split)) for split in ("train", "dev")]
        for each in (source, weighted)
    ]
    assert counts[1] == [counts[0][0] + 2 * (42 - 6), counts[0][1]]
    assert source.fingerprint("train") != weighted.fingerprint("train")
    assert read_dated_series(tmp_path / "two.csv", ["value"]).numbers[1, 0] == 1000
    write(tmp_path / "three.csv", MONTHS[:31])
    with pytest.raises(DataError, match="three.csv: has the columns of numbers a, b, and .*one.csv has sales. Name"):
        ForecastSource(tmp_path / "*.csv", length=5, horizon=2).column_names()
    with pytest.raises(ValueError, match="examples are grouped by the column 'file' alone; got 'sales'"):
        source.with_columns(["sales"])


def test_missing_rows_and_values_are_interpolated_in_time(tmp_path):
    values = [(i, 2 * i) for i in range(101)]
    values[7], values[8], values[100] = (7, ""), ("NA", "nan"), ("", 200)
    kept = [i for i in range(101) if i not in (20, 21, 22)]
    path = write(tmp_path / "s.csv", [HOURS[i] for i in kept], [values[i] for i in kept])
    series = read_dated_series(path, ["a", "b"], gaps="interpolate")
    expected = np.arange(101.0)
    np.testing.assert_allclose(series.numbers[:, 1], 2 * expected)
    np.testing.assert_allclose(series.numbers[:-1, 0], expected[:-1])
    assert series.numbers[-1, 0] == 99, "after the last value it stays"
    assert series.lines[19:24].tolist() == [21, 21, 21, 21, 22]
    with pytest.raises(
        DataError, match=r"s.csv:9: column 'b' has no value: ''. Say gaps='interpolate' to fill it from"
    ):
        read_dated_series(path, ["a", "b"])
    message = (
        r"s.csv:22: 3 rows are missing between '2024-02-28 00:00:00' and '2024-02-28 04:00:00', in steps of 1 hour"
    )
    with pytest.raises(DataError, match=message):
        read_dated_series(write(tmp_path / "s.csv", [HOURS[i] for i in kept]), ["a"])


@pytest.mark.parametrize(
    "texts, step, after",
    [
        (["2024-01", "2024-02", "2024-03", "2024-05"], 1, ["2024-06-01", "2024-07-01"]),
        (["2023-11-30", "2023-12-31", "2024-01-31"], 1, ["2024-02-29", "2024-03-31"]),
        (["2023-01-01", "2023-04-01", "2023-07-01"], 3, ["2023-10-01", "2024-01-01"]),
        (["1999", "2000", "2001"], 12, ["2002-01-01", "2003-01-01"]),
        (["2024-02-27", "2024-02-28"], np.timedelta64(1, "D"), ["2024-02-29", "2024-03-01"]),
        (["2024-02-28 23:45", "2024-02-29T00:00:00"], np.timedelta64(15, "m"),
         ["2024-02-29 00:15:00", "2024-02-29 00:30:00"]),
    ],
)  # fmt: skip
def test_steps_and_the_dates_that_follow(texts, step, after):
    dates = read_dates("s.csv", "date", range(2, 2 + len(texts)), texts)
    assert dates.step == step and dates.after(2) == after
    assert in_words(dates.step) in ("1 month", "3 months", "1 year", "1 day", "15 minutes")


@pytest.mark.parametrize(
    "dates, message",
    [
        (["31.01.2024", "01.02.2024"], r"s.csv:2: column 'date' looks like dates of another form: '31.01.2024'; dat"),
        (["1/31/2024", "2/1/2024"], "looks like dates of another form: '1/31/2024'.* say date_column=''"),
        (["2024-01-01", "yesterday"], "s.csv:3: column 'date' holds no date: 'yesterday'; dates are written"),
        (["2024-01-01", "2024-01-02", "2024-01-02"], "s.csv:4: the date '2024-01-02' does not follow that of the row "),
        (["2024-01-02", "2024-01-01"], "s.csv:3: the date '2024-01-01' does not follow .* Sort the rows by time"),
        (["2024-02-30", "2024-02-31"], "holds a date that does not exist"),
        (["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-03 07:00"], "s.csv:5: .* no whole number of steps"),
    ],
)  # fmt: skip
def test_dates_that_are_refused(tmp_path, dates, message):
    with pytest.raises(DataError, match=message):
        read_dated_series(write(tmp_path / "s.csv", dates), ["a"])


def test_files_as_people_have_them(tmp_path):
    path = tmp_path / "s.csv"
    german = [(f"{i},5", f"-{i},25") for i in range(31)]
    write(path, MONTHS[:31], german, "\ufeffMonat; Umsatz ;Kosten", ";")
    with pytest.raises(
        DataError, match="no column holds numbers; the header has: Monat; Umsatz ;Kosten. Is there anoth"
    ):
        ForecastSource(path, length=4, horizon=2).column_names()
    with pytest.raises(
        DataError, match="no column holds numbers.* Say decimal=',' if commas are decimal points; remove"
    ):
        ForecastSource(path, length=4, horizon=2, delimiter=";").column_names()
    source = ForecastSource(path, length=4, horizon=2, delimiter=";", decimal=",")
    assert source.column_names() == ["Umsatz", "Kosten"]
    assert windows(source, "train")[0].tolist() == [[i + 0.5, -i - 0.25] for i in range(4)]
    with pytest.raises(DataError, match="s.csv:2: column 'Umsatz' holds no finite number: '1.234,5'"):
        write(path, MONTHS[:9], [("1.234,5", 1)] * 9, "Monat;Umsatz;Kosten", ";")
        read_dated_series(path, ["Umsatz"], delimiter=";", decimal=",")
    quoted = write(
        path, [f'"{month}"' for month in MONTHS[:31]], [(i, "x") for i in range(31)], '"Month","Sales","Note"'
    )
    assert ForecastSource(quoted, length=4, horizon=2).column_names() == ["Sales"]
    years = write(path, range(1900, 1931), [(i, i) for i in range(31)], "YEAR,a,b")
    assert ForecastSource(years, length=4, horizon=2).column_names() == ["a", "b"]
    plain = write(path, [f"d{i}" for i in range(31)])
    source = ForecastSource(plain, length=4, horizon=2)
    assert source.column_names() == ["a", "b"] and windows(source, "test")[-1, -1, 0] == 28
    with pytest.raises(DataError, match="has no column of dates, which `splits` are given by"):
        list(ForecastSource(plain, length=4, horizon=2, splits="2024-01-01,2024-02-01").chunks("train"))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"splits": "1,2"}, "`splits` must be three numbers above 0, .* got splits='1,2'"),
        ({"splits": "0.5,0.5,0.5"}, "fractions whose sum is at most 1; got splits='0.5,0.5,0.5'"),
        ({"splits": "10,2.5,3"}, "`splits` above 1 are numbers of rows; got splits='10,2.5,3'"),
        ({"splits": "2024-02-01,2024-01-01"}, "two or three ascending dates; got splits='2024-02-01,2024-01-01'"),
        ({"gaps": "fill"}, "`gaps` must be one of 'refuse', 'interpolate'; got gaps='fill'"),
        ({"decimal": ";"}, "`decimal` must be one of '.', ','; got decimal=';'"),
        ({"season": 0}, "`season` must be an integer above 0; got season=0"),
        ({"horizon": 0}, "`horizon` must be an integer above 0; got horizon=0"),
    ],
)
def test_arguments_that_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        ForecastSource(tmp_path, **{"length": 4, "horizon": 2, **options})


def test_more_rows_than_there_are_and_parts_too_short_for_a_window_are_refused(tmp_path):
    path = write(tmp_path / "s.csv", MONTHS[:31])
    with pytest.raises(DataError, match="s.csv: has 31 rows, and `splits` need 50. Give smaller ones or fractions"):
        list(ForecastSource(path, length=4, horizon=2, splits="20,20,10").chunks("train"))
    with pytest.raises(DataError, match=r"train: 22 rows hold no window of 30 rows and the 2 after them"):
        list(ForecastSource(path, length=30, horizon=2).chunks("train"))


def test_standard_input_is_refused():
    with pytest.raises(DataError, match="-: a series that is forecast comes from a file, for it is read several times"):
        ForecastSource("-", "a", length=4, horizon=2).check()


def test_seasons_are_found():
    rng, times = np.random.default_rng(0), np.arange(400)
    for season in (4, 7, 12, 24, 52):
        wave = np.sin(2 * np.pi * times / season) + 0.01 * times + rng.normal(size=400) / 9
        assert find_season(wave[:, None]) == season
    week_and_day = np.sin(2 * np.pi * times / 24) + 0.5 * np.sin(2 * np.pi * times / 168)
    assert find_season(week_and_day[:, None]) in (24, 25)
    assert find_season(rng.normal(size=(997, 3))) == 1 and find_season(np.ones((50, 2))) == 1
    assert find_season(np.arange(60.0)[:, None]) == 1 and find_season(np.arange(5.0)[:, None]) == 1


def test_naive_error_is_that_of_the_row_a_season_before():
    numbers = np.array([[1.0, 5.0], [2.0, 5.0], [4.0, 5.0], [8.0, 9.0]])
    assert naive_error(numbers, 1).tolist() == [7 / 3, 4 / 3] and naive_error(numbers, 2).tolist() == [4.5, 2.0]
    assert naive_error(numbers, 9).tolist() == naive_error(numbers, 1).tolist(), "a season longer than the series"


def test_a_file_without_a_header_is_refused_and_row_numbers_are_no_variable(tmp_path):
    rows = "".join(f"{i},{month},{i}.5\n" for i, month in enumerate(MONTHS))
    (tmp_path / "s.csv").write_text(",month,sales\n" + rows)
    assert ForecastSource(tmp_path / "s.csv", length=4, horizon=2).column_names() == ["sales"]
    (tmp_path / "s.csv").write_text(rows)
    with pytest.raises(DataError, match="s.csv:1: the first line must name the columns, and looks like a row: '0"):
        ForecastSource(tmp_path / "s.csv", length=4, horizon=2).column_names()
