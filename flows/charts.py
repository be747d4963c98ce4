"""Charts as inline SVG, drawn on the server: no script, no style attributes, and a description for screen readers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from e2emern.flows.visible import visible
from e2emern.warehouse.wording import cut

_WIDTH, _HEIGHT = 720, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 8, 12, 26
_MOST_LABELS = 12
_WIDEST = 56  # of a bar
_LONG = 11  # characters of a label that does not fit under a bar
_ROW, _LABEL_WIDTH, _LABEL_LETTERS = 20, 210, 32

_SIDE, _SQUARE_TOP = 300, 20  # of the square of curves
_CURVES = 4  # kinds of lines in the style sheet

Point = tuple[str, float]


@dataclass(frozen=True, slots=True)
class Place:
    """A point of a curve, between 0 and 1 in both directions, with the interval of its height."""

    x: float
    y: float
    about: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """A named sequence of points, joined by a line."""

    name: str
    places: Sequence[Place]


def bars(points: Sequence[Point], *, about: str) -> Markup:
    """Return a bar chart of labelled, non-negative values; `about` is its description."""
    if not points:
        return Markup("")
    if max(len(label) for label, _ in points) > _LONG:
        return _lying_bars(points, about=about)
    top = _round_up(max(value for _, value in points))
    step = (_WIDTH - _LEFT - _RIGHT) / len(points)
    parts = [_axis(top)]
    every = max(1, math.ceil(len(points) / _MOST_LABELS))
    for place, (label, value) in enumerate(points):
        middle, y = _LEFT + (place + 0.5) * step, _y(value, top)
        width = min(max(step * 0.8, 0.5), _WIDEST)
        parts.append(
            Markup(
                '<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
            ).format(middle - width / 2, y, width, _y(0, top) - y, visible(f"{label}: {_number(value)}"))
        )
        if place % every == 0:
            parts.append(_label(label, middle))
    return _svg(parts, about)


def line(points: Sequence[Point], *, about: str) -> Markup:
    """Return a line chart of labelled, non-negative values; `about` is its description."""
    if not points:
        return Markup("")
    top = _round_up(max(value for _, value in points))
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(points) - 1, 1)
    places = [(_LEFT + place * step, _y(value, top)) for place, (_, value) in enumerate(points)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [_axis(top), Markup('<polyline class="line" points="{}"/>').format(path)]
    every = max(1, math.ceil(len(points) / _MOST_LABELS))
    for place, ((label, value), (x, y)) in enumerate(zip(points, places, strict=True)):
        parts.append(
            Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="3"><title>{}</title></circle>').format(
                x, y, visible(f"{label}: {_number(value)}")
            )
        )
        if place % every == 0:
            parts.append(_label(label, min(max(x, _LEFT + 16), _WIDTH - 24)))
    return _svg(parts, about)


def curves(drawn: Sequence[Curve], *, across: str, up: str, about: str, diagonal: bool = False) -> Markup:
    """Return curves in the unit square, with a legend; `across` and `up` name the axes, `about` describes the chart."""
    parts = [_square(across, up)]
    if diagonal:
        parts.append(_straight("grid ideal", 0, 0, 1, 1))
    for number, curve in enumerate(drawn):
        kind = f"curve-{number % _CURVES}"
        points = " ".join("{:.1f},{:.1f}".format(*_in_square(place.x, place.y)) for place in curve.places)
        parts.append(Markup('<polyline class="line {}" points="{}"/>').format(kind, points))
        for place in curve.places:
            if place.low is not None and place.high is not None:
                parts.append(_straight(f"error {kind}", place.x, place.low, place.x, place.high))
            x, y = _in_square(place.x, place.y)
            parts.append(
                Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="3"><title>{}</title></circle>').format(
                    kind, x, y, visible(f"{curve.name}: {place.about}")
                )
            )
        height = _SQUARE_TOP + 10 + 20 * number
        left, height = _LEFT + _SIDE + 16, _SQUARE_TOP + 10 + 20 * number
        parts.append(
            Markup('<line class="line {0}" x1="{1}" x2="{2}" y1="{3}" y2="{3}"/>').format(kind, left, left + 30, height)
        )
        parts.append(
            Markup('<text class="tick" x="{}" y="{}">{}</text>').format(left + 38, height + 4, visible(curve.name))
        )
    return Markup(
        '<div class="chart" tabindex="0" role="group" aria-label="{0}">'
        '<svg viewBox="0 0 {1} {2}" role="img" aria-label="{0}">{3}</svg></div>'
    ).format(about, _LEFT + _SIDE + 160, _SQUARE_TOP + _SIDE + 44, Markup("").join(parts))


def interval(value: float, low: float | None, high: float | None) -> Markup:
    """Return a value between 0 and 1 as a dot on a line, with its interval."""
    parts = [Markup('<line class="track" x1="0" x2="100" y1="6" y2="6"/>')]
    if low is not None and high is not None:
        parts.append(
            Markup('<line class="range" x1="{:.1f}" x2="{:.1f}" y1="6" y2="6"/>').format(100 * low, 100 * high)
        )
    parts.append(Markup('<circle class="dot" cx="{:.1f}" cy="6" r="3"/>').format(100 * value))
    return Markup('<svg class="interval" viewBox="-4 0 108 12" aria-hidden="true">{}</svg>').format(
        Markup("").join(parts)
    )


def _lying_bars(points: Sequence[Point], *, about: str) -> Markup:
    """Return bars from left to right, with their labels and values next to them."""
    top = max(max(value for _, value in points), 1e-300)
    room = _WIDTH - _LABEL_WIDTH - 70
    parts = []
    for place, (label, value) in enumerate(points):
        y, width = place * _ROW, room * value / top
        parts.append(
            Markup(
                '<text class="tick" x="{}" y="{}" text-anchor="end">{}<title>{}</title></text>'
                '<rect class="bar" x="{}" y="{}" width="{:.1f}" height="{}"/>'
                '<text class="tick" x="{:.1f}" y="{}">{}</text>'
            ).format(
                *(_LABEL_WIDTH, y + 14, visible(cut(label, _LABEL_LETTERS)), visible(label)),
                *(_LABEL_WIDTH + 8, y + 3, width, _ROW - 6),
                *(_LABEL_WIDTH + 14 + width, y + 14, _number(value)),
            )
        )
    return _svg(parts, about, height=len(points) * _ROW + 4)


def _svg(parts: Sequence[Markup], about: str, *, height: int = _HEIGHT) -> Markup:
    return Markup(
        '<div class="chart" tabindex="0" role="group" aria-label="{0}">'
        '<svg viewBox="0 0 {1} {2}" role="img" aria-label="{0}">{3}</svg></div>'
    ).format(about, _WIDTH, height, Markup("").join(parts))


def _square(across: str, up: str) -> Markup:
    lines = []
    for step in range(5):
        share = step / 4
        x, y = _in_square(share, share)
        lines += [_straight("grid", 0, share, 1, share), _straight("grid", share, 0, share, 1)]
        lines.append(
            Markup('<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(_LEFT - 6, y + 4, share)
        )
        below = _SQUARE_TOP + _SIDE + 16
        lines.append(
            Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(x, below, share)
        )
    middle, bottom = _LEFT + _SIDE / 2, _SQUARE_TOP + _SIDE + 36
    lines.append(
        Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>').format(middle, bottom, across)
    )
    lines.append(Markup('<text class="tick" x="{}" y="{}">{}</text>').format(_LEFT, _SQUARE_TOP - 7, up))
    return Markup("").join(lines)


def _straight(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    (left, low), (right, high) = _in_square(x1, y1), _in_square(x2, y2)
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
        kind, left, low, right, high
    )


def _in_square(x: float, y: float) -> tuple[float, float]:
    return _LEFT + _SIDE * x, _SQUARE_TOP + _SIDE * (1 - y)


def _axis(top: float) -> Markup:
    lines = []
    for share in (0, 0.5, 1):
        y = _y(top * share, top)
        lines.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(_LEFT, _WIDTH - _RIGHT, y, y)
        )
        lines.append(
            Markup('<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
                _LEFT - 6, y + 4, _number(top * share)
            )
        )
    return Markup("").join(lines)


def _label(text: str, x: float) -> Markup:
    return Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
        x, _HEIGHT - 8, visible(text)
    )


def _y(value: float, top: float) -> float:
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - value / top)


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, ... at or above a value, so that the ticks are round."""
    if value <= 0:
        return 1
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3g}"
