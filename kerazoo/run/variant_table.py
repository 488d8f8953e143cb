"""The variants of a run side by side: a table, and those that no other one dominates."""

from collections.abc import Mapping
from typing import Any


def higher_is_better(metric: str) -> bool:
    """Returns whether a higher value of a measure is better."""
    from kerazoo.tasks import MEASURES

    return bool(metric in MEASURES and MEASURES.get(metric).higher_is_better)


def frontier(results: Mapping[str, Any]) -> list[str]:
    """Returns the names of the variants that no other one dominates.

    It counts the measure on dev, the bytes of the weights, and the seconds for one example.

    Args:
        results: dict with the `metric` and the `variants`.
    """
    sign = -1 if higher_is_better(results["metric"]) else 1
    points = {
        name: (sign * each["dev"][results["metric"]], each["weights_bytes"], each["seconds_1"])
        for name, each in results["variants"].items()
        if "dev" in each
    }
    return [
        name
        for name, point in points.items()
        if not any(other != point and all(a <= b for a, b in zip(other, point)) for other in points.values())
    ]


def table(results: Mapping[str, Any]) -> str:
    """Returns the results as a table in Markdown, a star for the variants on the frontier."""
    metric = results["metric"]
    lines = [
        f"| variant | {metric}, dev | {metric}, test | weights, KB | exported, KB | memory, MB | 1 example, ms | "
        "16 examples, ms | frontier |",
        "|" + "---|" * 9,
    ]
    for name, each in results["variants"].items():
        measured = [f"{each[split][metric]:.4f}" if split in each else "-" for split in ("dev", "test")]
        sizes = [f"{each[size] / 1000:,.1f}" for size in ("weights_bytes", "saved_model_bytes")]
        rest = [f"{each['memory'] / 1e6:,.1f}", *(f"{1000 * each[f'seconds_{n}']:.2f}" for n in (1, 16))]
        star = "*" if name in results["frontier"] else ""
        lines.append("| " + " | ".join([name, *measured, *sizes, *rest, star]) + " |")
    return "\n".join(lines) + "\n"
