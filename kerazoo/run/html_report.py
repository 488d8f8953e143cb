"""The report of a run as one page of HTML, which needs nothing from elsewhere and follows light and dark settings."""

import base64
import html
import json
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kerazoo.run import sample_table
from kerazoo.run.control_characters import printable

if TYPE_CHECKING:
    from kerazoo.run.directory import RunDirectory

MAX_CLASSES = 40  # of a confusion matrix
MAX_PICTURE_BYTES = 1 << 20  # of one picture that is embedded
MAX_PICTURES = 24  # of the pictures of experiments.inspect
WIDTH, HEIGHT = 640, 240  # of a chart
LEFT, RIGHT, TOP, BOTTOM = 80, 12, 12, 40  # around its lines
RATE, SECONDS = "learning_rate", "seconds"
# Okabe and Ito (2008): colours that people with any colour vision tell apart; those of dark pages are lighter.
STYLE = """
:root{color-scheme:light dark;--Text:#1a1a1a;--Soft:#5a5a5a;--Page:#fff;--Card:#f6f6f6;--Line:#d5d5d5;--Share:0,114,178;
--C0:#0072B2;--C1:#D55E00;--C2:#009E73;--C3:#AA4499;--Bad:#B3261E}
@media (prefers-color-scheme:dark){:root{--Text:#ececec;--Soft:#b4b4b4;--Page:#16181b;--Card:#202327;--Line:#41464c;
--Share:86,180,233;--C0:#56B4E9;--C1:#F0A35E;--C2:#4FD1A5;--C3:#E49AD0;--Bad:#FF8A80}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:1.5rem;background:var(--Page);color:var(--Text);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:1.6rem;margin:.2rem 0}h2{font-size:1.2rem;margin:2.2rem 0 .6rem;border-bottom:1px solid var(--Line)}
h3{font-size:1rem;margin:1.2rem 0 .4rem}p{margin:.4rem 0}.soft{color:var(--Soft)}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.92rem}
th,td{padding:.3rem .7rem;border-bottom:1px solid var(--Line);text-align:left;vertical-align:top}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.text{white-space:pre-wrap;overflow-wrap:anywhere;min-width:9rem;max-width:28rem}
.wrong{color:var(--Bad);font-weight:600}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1rem}
figure{margin:0;padding:.8rem;background:var(--Card);border-radius:.5rem}figcaption{font-weight:600;margin-bottom:.3rem}
svg{width:100%;height:auto;display:block}svg text{fill:var(--Text);font-size:13px}svg .grid{stroke:var(--Line)}
.key{display:inline-block;width:1.6rem;height:0;border-top:3px solid;margin:0 .35rem .25rem 0}
.legend span{margin-right:1rem;font-size:.9rem;white-space:nowrap}
img{max-width:100%;background:#fff;border-radius:.3rem}td img{max-height:6.5rem;max-width:24rem}
pre{background:var(--Card);padding:.8rem;border-radius:.5rem;overflow-x:auto;font-size:.88rem}
.matrix td{text-align:right;padding:.25rem .5rem;font-variant-numeric:tabular-nums}
"""
DASHES = ("", "7 4", "2 3", "9 3 2 3")


def page(run: "RunDirectory", record: Mapping, results: Mapping[str, Mapping], goodput: str, commands: str) -> str:
    """Returns the content of `report.html`. Whatever comes from data is written as text.

    Args:
        run: `RunDirectory`. Its `metrics.jsonl` and pictures are read.
        record: dict. The record of the run.
        results: dict. The results with their samples by split.
        goodput: string. The share of the time that was spent in training steps, empty if it is not known.
        commands: string. What to type next, one command a line.
    """
    rows = read_metrics(run.metrics)
    title = f"{record['model']} on {record['task']}"
    parts = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="soft">{_text(_subtitle(record, rows))}</p>',
        _section("Results", [_measures(split, result) for split, result in results.items()]),
        _section("Training", [_charts(rows), f"<p>{_text(goodput)}</p>" if goodput else ""]),
        *(_split(run, split, result) for split, result in results.items()),
        _section("Inside the model", _pictures(run)),
        _section("Size and speed", [_size(run, rows, results)]),
        _section("Configuration", [_configuration(record)]),
        _section("Next", [f"<pre>{_text_lines(commands)}</pre>"] if commands else []),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{_text(title)}</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def read_metrics(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the lines of `metrics.jsonl`, the last one of each epoch, without those that cannot be read."""
    rows: dict[Any, dict] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    for line in lines:
        try:
            row = json.loads(line)
            rows[row["epoch"]] = row
        except (ValueError, KeyError, TypeError):
            continue
    return [rows[epoch] for epoch in sorted(epoch for epoch in rows if isinstance(epoch, int))]


def _text(value: Any) -> str:
    """Returns a text on one line as HTML."""
    return html.escape(printable(str(value)))


def _text_lines(value: str) -> str:
    return "\n".join(map(_text, value.splitlines()))


def _section(title: str, parts: Iterable[str]) -> str:
    content = "\n".join(part for part in parts if part)
    return f"<h2>{_text(title)}</h2>\n{content}" if content else ""


def _table(rows: Sequence[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """Returns a table whose cells are HTML, with a head; the columns of `numbers` are to the right."""
    numbers = set(numbers)

    def line(cells, tag):
        classes = [
            ' class="number"' if n in numbers else ' class="text"' if tag == "td" else "" for n in range(len(cells))
        ]
        return "<tr>" + "".join(f"<{tag}{c}>{cell}</{tag}>" for c, cell in zip(classes, cells)) + "</tr>"

    head, body = line(rows[0], "th"), "".join(line(row, "td") for row in rows[1:])
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def _subtitle(record, rows):
    calls = record.get("calls", [])
    started = calls[0]["started"] if calls and "started" in calls[0] else ""
    data = record.get("data", {}).get("train", {}).get("examples")
    parts = [f"kerazoo {record.get('kerazoo', '')}", f"started {started}" if started else "",
             f"{len(rows)} epochs" if rows else "", f"{data:,} training examples" if isinstance(data, int) else "",
             f"seed {record['training']['seed']}" if "seed" in record.get("training", {}) else ""]  # fmt: skip
    return " · ".join(part for part in parts if part)


def _measures(split, result):
    metrics, bounds = result["metrics"], result.get("intervals", {})
    names = [name for name in metrics if not name.startswith("baseline.")]
    baseline = result.get("baseline", "")
    rows = [["measure", _text(split), "95 % interval", _text(f"baseline: {baseline}") if baseline else "baseline"]]
    for name in names:
        simple = metrics.get(f"baseline.{name}")
        interval = "{:.4f} to {:.4f}".format(*bounds[name]) if name in bounds else "–"
        rows.append([_text(name), f"{metrics[name]:.4f}", interval, "–" if simple is None else f"{simple:.4f}"])
    search = ", ".join(f"{name}={value}" for name, value in result.get("search", {}).items()) or "default"
    outdated = "; measured before the last training" if result.get("outdated") else ""
    about = f"{result['examples']:,} examples of {split} in {result['seconds']:.1f} s, search: {search}{outdated}"
    notes = [result[name] for name in ("limits",) if result.get(name)]
    notes += [f"{name}: {text}" for name, text in result.get("signatures", {}).items()]
    return "\n".join([f'<h3>{_text(split)}</h3><p class="soft">{_text(about)}</p>', _table(rows, (1, 2, 3)),
                      *(f'<p class="soft">{_text(note)}</p>' for note in notes)])  # fmt: skip


# Curves.


def _charts(rows):
    """Returns a chart of the loss, one of the learning rate, and one of each measure, by epoch."""
    names = [name for name in dict.fromkeys(key for row in rows for key in row) if _is_curve(rows, name)]
    plain = list(dict.fromkeys(name.removeprefix("val_") for name in names if name != RATE))
    plain = [*(name for name in ("loss",) if name in plain), *(name for name in plain if name != "loss")]
    charts = []
    for name in plain:
        lines = {label: _points(rows, key) for label, key in (("train", name), ("dev", f"val_{name}")) if key in names}
        charts.append(chart(name, lines))
    if RATE in names:
        charts.append(chart("learning rate", {"at the end of the epoch": _points(rows, RATE)}))
    return f'<div class="charts">{"".join(charts)}</div>' if charts else ""


def _is_curve(rows, name):
    return name not in ("epoch", "step", SECONDS) and any(_number(row.get(name)) for row in rows)


def _number(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _points(rows, name):
    return [(row["epoch"], float(row[name])) for row in rows if _number(row.get(name))]


def chart(title: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Returns a chart of lines over epochs as HTML with SVG.

    Args:
        title: string. What the vertical axis is, with its unit.
        lines: dictionary of the name of a line to its points, pairs of the epoch and a finite value.
    """
    values = [y for points in lines.values() for _, y in points]
    epochs = [x for points in lines.values() for x, _ in points]
    low, high, first, last = min(values), max(values), min(epochs), max(epochs)
    span, width = (high - low) or abs(high) or 1.0, (last - first) or 1

    def x_of(epoch):
        return LEFT + (WIDTH - LEFT - RIGHT) * ((epoch - first) / width if last > first else 0.5)

    def y_of(value):
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / span if high > low else 0.5)

    parts = []
    for number in range(5):
        value = low + span * number / 4 if high > low else high
        y = y_of(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>')
        if high == low:
            break
    for epoch in _ticks(first, last):
        parts.append(f'<text x="{x_of(epoch):.1f}" y="{HEIGHT - 20}" text-anchor="middle">{epoch}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 3}" text-anchor="middle">epoch</text>')
    legend = []
    for number, (name, points) in enumerate(lines.items()):
        colour, dash = f"var(--C{number % 4})", DASHES[number % 4]
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in points)
        style = f'fill="none" style="stroke:{colour}" stroke-width="2.2" stroke-dasharray="{dash}"'
        parts.append(f'<polyline points="{path}" {style}/>')
        for x, y in points[:: max(1, len(points) // 60)]:
            mark = f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3" style="fill:{colour}">'
            parts.append(f"{mark}<title>{_text(name)}, epoch {x}: {y:.6g}</title></circle>")
        kind = "dashed" if dash else "solid"
        legend.append(
            f'<span><i class="key" style="border-color:{colour};border-top-style:{kind}"></i>{_text(name)}</span>'
        )
    drawing = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{_text(title)} by epoch">{"".join(parts)}</svg>'
    )
    keys = f'<div class="legend">{"".join(legend)}</div>'
    return f"<figure><figcaption>{_text(title)}</figcaption>{drawing}{keys}</figure>"


def _ticks(first, last):
    step = max(1, -(-(last - first) // 8))
    return range(int(first), int(last) + 1, int(step))


# Predictions.


def _split(run, split, result):
    """Returns the samples and the errors of a split."""
    parts = []
    for kind, title in (("random", "At random"), ("best", "Best"), ("worst", "Worst")):
        chosen = [row for row in result.get("samples", []) if row.get("kind", "random") == kind]
        if chosen:
            by = f", by {result['ranked_by']} of each" if kind != "random" and "ranked_by" in result else ""
            parts.append(f"<h3>{title}{_text(by)}</h3>{_samples(run, chosen)}")
    if lengths := result.get("by_length"):
        rows = [[_text(f"input, {lengths['unit']}"), "examples", _text(lengths["measure"])]]
        rows += [
            [f"{low:,} to {high:,}", f"{count:,}", f"{value:.4f}"] for low, high, count, value in lengths["groups"]
        ]
        parts.append(f"<h3>By length</h3>{_table(rows, (0, 1, 2))}")
    if by := result.get("by"):
        names = list(by["mean"])
        rows = [[_text(by["column"]), "examples", *map(_text, names)]]
        for value, found in by["groups"].items():
            rows.append([_text(value), f"{found['examples']:,}", *(f"{found[name]:.4f}" for name in names)])
        parts.append(f"<h3>By {_text(by['column'])}</h3>{_table(rows, range(1, 2 + len(names)))}")
    parts += _classes(result.get("confusion", {}))
    if unseen := result.get("unseen"):
        named = ", ".join(f"{name} ({count:,})" for name, count in unseen.items())
        parts.append(f"<p>Classes that the training data lacks, counted as wrong: {_text(named)}</p>")
    if picture := (result.get("anomalies") or {}).get("picture"):
        parts.append(f"<h3>Anomalies</h3>{_picture(run, picture, 'errors of the reconstructions')}")
    return _section(f"Predictions for {split}", parts)


def _samples(run, rows):
    has_pictures = any(row.get("picture") for row in rows)
    table = [["input", "reference", "prediction", *(["picture"] if has_pictures else [])]]
    for row in rows:
        given, reference, prediction = map(_text_lines, sample_table.cells(row))
        is_text = not row["prediction"].startswith("[")
        if is_text and not row["correct"]:
            prediction = f'<span class="wrong">✗</span> {prediction}'
        elif row["correct"]:
            prediction = f"✓ {_text_lines(row['prediction'])}"
        picture = [_picture(run, row["picture"], "the sample") if row.get("picture") else ""] if has_pictures else []
        table.append([given, reference, prediction, *picture])
    return _table(table)


def _classes(confusion):
    """Returns the share of right predictions of each class, and the confusion matrix as a table of colours."""
    classes, counts = confusion.get("classes", []), confusion.get("counts", [])
    if not 1 < len(classes) <= MAX_CLASSES:
        return []
    totals = [sum(row) for row in counts]
    rows = [["class", "examples", "share that is right"]]
    for index, (name, total) in enumerate(zip(classes, totals)):
        if total:
            rows.append([_text(name), f"{total:,}", f"{counts[index][index] / total:.4f}"])
    matrix = [
        '<tr><th scope="col">true \\ predicted</th>' + "".join(f'<th class="number">{_text(n)}</th>' for n in classes)
    ]
    for name, row, total in zip(classes, counts, totals):
        cells = [f'<td style="background:rgba(var(--Share),{0.75 * each / max(total, 1):.3f})">{each or "·"}</td>'
                 for each in row]  # fmt: skip
        matrix.append(f'<tr><th scope="row">{_text(name)}</th>{"".join(cells)}')
    grid = f'<div class="scroll"><table class="matrix">{"</tr>".join(matrix)}</tr></table></div>'
    return [f"<h3>By class</h3>{_table(rows, (1, 2))}", f"<h3>Confusion</h3>{grid}"]


def _picture(run, name, about):
    """Returns a PNG file of the run as an image inside the page."""
    path = run.path / name
    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_PICTURE_BYTES else b""
    except OSError:
        content = b""
    if not content.startswith(b"\x89PNG"):
        return ""
    data = base64.b64encode(content).decode()
    return f'<img alt="{_text(about)}" src="data:image/png;base64,{data}">'


def _pictures(run):
    """Returns the pictures that experiments.inspect wrote into the run."""
    paths = sorted(run.inspected.glob("*.png"))[:MAX_PICTURES]
    pictures = [(path.stem, _picture(run, path.relative_to(run.path), path.stem)) for path in paths]
    return [
        f"<figure><figcaption>{_text(stem)}</figcaption>{picture}</figure><br>" for stem, picture in pictures if picture
    ]


# Numbers of the run.


def _size(run, rows, results):
    table = [["", ""]]
    files = sorted(run.checkpoints.glob("*/model.npz"))
    if files:
        count = _parameters(run, files[-1].parent.name)
        table += [["parameters", f"{count:,}"]] if count else []
        table.append(["weights of a checkpoint", f"{files[-1].stat().st_size / 1e6:,.2f} MB"])
    seconds = [row[SECONDS] for row in rows if _number(row.get(SECONDS))]
    if seconds:
        table.append(["training, all epochs", f"{seconds[-1]:,.0f} s"])
    steps = [row["step"] for row in rows if _number(row.get("step"))]
    if steps and seconds and seconds[-1]:
        table.append(["optimizer steps a second, all included", f"{steps[-1] / seconds[-1]:,.1f}"])
    for split, result in results.items():
        if result.get("seconds"):
            table.append([_text(f"predictions for {split}"), f"{result['examples'] / result['seconds']:,.0f} a second"])
    return _table(table, (1,)) if len(table) > 1 else ""


def _parameters(run, name):
    """Returns the number of values of the weights in a checkpoint, 0 if it cannot be read."""
    from kerazoo.training import checkpoints

    try:
        weights = checkpoints.CheckpointStore(run.checkpoints).layout(name)["layouts"]["model"]
        return sum(math.prod(each["shape"]) for each in weights if "seed_generator" not in each["name"])
    except checkpoints.DAMAGE:
        return 0


def _configuration(record):
    rows = [["option", "value"], ["model", _text(record["model"])], ["task", _text(record["task"])]]
    for part in ("model_options", "task_options", "training", "found"):
        for name, value in record.get(part, {}).items():
            if value not in (None, "", [], (), {}, False):
                rows.append([_text(f"{part}.{name}"), _text(value)])
    for split, found in record.get("data", {}).items():
        rows.append([_text(f"data.{split}"), _text(", ".join(f"{name} {value}" for name, value in found.items()))])
    return _table(rows)
