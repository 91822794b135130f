"""Head, hair, headgear and carried things of a posed figure."""

from __future__ import annotations

from tsme.synthetic.people.sketch import SHOULDER_Y, Points, Shape, Sketch

HEAD_WIDTH = 0.74  # of the head's height


def hair_behind(sketch: Sketch) -> list[Shape]:
    """Hair (or a hood's edge) that lies behind the neck when the person is seen from the front."""
    ry = sketch.body.head / 2
    rx = HEAD_WIDTH * ry
    match sketch.person.hair:
        case "long":
            return [sketch.box("hair", 0.0, ry + 0.075, 1.45 * rx, 0.105)]
        case "ponytail":
            return [sketch.oval("hair", 1.15 * rx, ry * 0.8, 0.024, 0.024)]
        case _:
            return []


def head(sketch: Sketch) -> list[Shape]:
    """The head with hair and headgear."""
    ry = sketch.body.head / 2
    rx = HEAD_WIDTH * ry
    look = sketch.shift * 0.5  # the face turns with the body
    shapes = [sketch.oval("skin", 0.0, ry, rx, ry)]
    hair = sketch.person.hair
    if sketch.front:
        shapes += [sketch.box("eyes", look + x, 0.95 * ry, 0.009, 0.005) for x in (-0.02, 0.02)]
    if hair in ("bald", "cap", "hat", "hood"):
        return shapes + _headgear(sketch, rx, ry)
    crown = 0.5 * ry if sketch.front else 0.8 * ry
    shapes.append(sketch.oval("hair", 0.0, crown, 1.08 * rx, crown + 0.006))
    if hair == "long" and not sketch.front:
        shapes.append(sketch.box("hair", 0.0, ry + 0.075, 1.4 * rx, 0.115))
    elif hair == "long":
        shapes += [sketch.box("hair", s * 1.12 * rx, ry + 0.05, 0.016, 0.09) for s in (-1, 1)]
    elif hair == "bun":
        shapes.append(sketch.oval("hair", 0.0, -0.012, 0.034, 0.03))
    elif hair == "afro":
        shapes.insert(0, sketch.oval("hair", 0.0, 0.75 * ry, 1.75 * rx, 1.3 * ry))
    elif hair == "ponytail" and not sketch.front:
        shapes.append(sketch.box("hair", 0.0, ry + 0.06, 0.02, 0.1))
    return shapes


def _headgear(sketch: Sketch, rx: float, ry: float) -> list[Shape]:
    hair = sketch.person.hair
    if hair == "cap":
        peak = [sketch.box("hat", 0.0, 0.7 * ry, 1.25 * rx, 0.011)] if sketch.front else []
        return [sketch.oval("hat", 0.0, 0.42 * ry, 1.1 * rx, 0.5 * ry), *peak]
    if hair == "hat":
        brim = sketch.oval("hat", 0.0, 0.55 * ry, 2.1 * rx, 0.22 * ry)
        return [sketch.box("hat", 0.0, 0.15 * ry, 1.05 * rx, 0.45 * ry), brim]
    if hair == "hood":
        hood = sketch.oval("hat", 0.0, ry + 0.008, 1.5 * rx, 1.3 * ry)
        face = sketch.oval("skin", sketch.shift * 0.5, 1.05 * ry, 0.85 * rx, 0.85 * ry)
        return [hood, face] if sketch.front else [hood]
    return []


def carried(sketch: Sketch, hand: Points) -> list[Shape]:
    """The thing carried; `hand` is the wrist on its side."""
    side, size = sketch.person.side, sketch.person.bag_size
    match sketch.person.carried:
        case "backpack":
            return _backpack(sketch, size)
        case "shoulder_bag":
            x, y = side * (sketch.body.hip + 0.03), sketch.hip_y + 0.02
            start = -side * 0.8 * sketch.body.shoulder
            top = SHOULDER_Y - 0.006
            strap = [(start, top), (start + 0.03, top), (x + 0.015, y), (x - 0.015, y)]
            bag = sketch.box("bag", x, y + 0.02, 0.058 * size, 0.055 * size)
            return [sketch.polygon("bag", strap), bag]
        case "handbag":
            x, y = float(hand[0]) + 0.01 * side, float(hand[1])
            handle = sketch.box("bag", x, y + 0.035, 0.012, 0.03)
            return [handle, sketch.box("bag", x, y + 0.1, 0.062 * size, 0.052 * size)]
        case "trolley":
            x = float(hand[0]) + 0.045 * side
            pole = [(float(hand[0]), float(hand[1])), (float(hand[0]) + 0.014, float(hand[1]))]
            pole += [(x + 0.014, 0.72), (x, 0.72)]
            return [sketch.polygon("bag", pole), sketch.box("bag", x, 0.85, 0.066 * size, 0.13)]
        case _:
            return []


def _backpack(sketch: Sketch, size: float) -> list[Shape]:
    middle = SHOULDER_Y + 0.13
    if not sketch.front:
        pack = sketch.box("bag", sketch.shift, middle, 0.085 * size, 0.125 * size)
        return [pack, sketch.box("trim", sketch.shift, middle + 0.05, 0.05 * size, 0.012)]
    x = 0.58 * sketch.body.shoulder
    return [sketch.box("bag", s * x + sketch.shift, middle - 0.02, 0.018, 0.12) for s in (-1, 1)]
