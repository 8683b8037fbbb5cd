"""Timings of commands side by side: the table of their medians and ratios, as docs and notes quote them."""
import statistics


def note(rows, row, name, value):
    rows.setdefault(row, {}).setdefault(name, []).append(value)


def print_seconds(rows, names):
    """ROWS: seconds by row and name, a list of one value for each repetition; ratios are taken within a repetition."""
    first, *others = names
    print("| seconds | " + " | ".join([*names, *(f"{first} / {other}" for other in others)]) + " |")
    print("|---|" + "---:|" * (len(names) + len(others)))
    for row, values in rows.items():
        cells = [f"{statistics.median(values[n]):.3g} ({min(values[n]):.3g} to {max(values[n]):.3g})" for n in names]
        ratios = [f"{statistics.median(a / b for a, b in zip(values[first], values[other])):.2f}" for other in others]
        print("| " + " | ".join([row, *cells, *ratios]) + " |")
