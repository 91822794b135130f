"""Head, hair, headgear and carried objects of a posed figure."""

from __future__ import annotations

from tsme.synthetic.people.shapes import SHOULDER_Y, Points, Shape, ShapeBuilder

HEAD_ASPECT = 0.74  # width of the head, of its height


def hair_behind_neck(builder: ShapeBuilder) -> list[Shape]:
    """Return hair that is behind the neck in a front view."""
    ry = builder.body.head / 2
    rx = HEAD_ASPECT * ry
    match builder.person.hair:
        case "long":
            return [builder.box("hair", 0.0, ry + 0.075, 1.45 * rx, 0.105)]
        case "ponytail":
            return [builder.oval("hair", 1.15 * rx, ry * 0.8, 0.024, 0.024)]
        case _:
            return []


def head_shapes(builder: ShapeBuilder) -> list[Shape]:
    """Return the head with hair or headgear."""
    ry = builder.body.head / 2
    rx = HEAD_ASPECT * ry
    face_x = builder.shift * 0.5  # the face turns with the body
    shapes = [builder.oval("skin", 0.0, ry, rx, ry)]
    hair = builder.person.hair
    if builder.front:
        shapes += _eyes(builder, face_x, 0.95 * ry)
    if hair in ("bald", "cap", "hat", "hood"):
        return shapes + _headgear(builder, rx, ry)
    crown = 0.5 * ry if builder.front else 0.8 * ry
    shapes.append(builder.oval("hair", 0.0, crown, 1.08 * rx, crown + 0.006))
    if hair == "long" and not builder.front:
        shapes.append(builder.box("hair", 0.0, ry + 0.075, 1.4 * rx, 0.115))
    elif hair == "long":
        shapes += [builder.box("hair", s * 1.12 * rx, ry + 0.05, 0.016, 0.09) for s in (-1, 1)]
    elif hair == "bun":
        shapes.append(builder.oval("hair", 0.0, -0.012, 0.034, 0.03))
    elif hair == "afro":
        shapes.insert(0, builder.oval("hair", 0.0, 0.75 * ry, 1.75 * rx, 1.3 * ry))
    elif hair == "ponytail" and not builder.front:
        shapes.append(builder.box("hair", 0.0, ry + 0.06, 0.02, 0.1))
    return shapes


def _eyes(builder: ShapeBuilder, x: float, y: float) -> list[Shape]:
    """Return the eyes, or glasses in front of them."""
    if builder.person.glasses:
        lenses = [builder.box("glasses", x + side * 0.021, y, 0.017, 0.011) for side in (-1, 1)]
        return [*lenses, builder.box("glasses", x, y - 0.004, 0.045, 0.003)]
    return [builder.box("eyes", x + side * 0.02, y, 0.009, 0.005) for side in (-1, 1)]


def _headgear(builder: ShapeBuilder, rx: float, ry: float) -> list[Shape]:
    hair = builder.person.hair
    if hair == "cap":
        peak = [builder.box("hat", 0.0, 0.7 * ry, 1.25 * rx, 0.011)] if builder.front else []
        return [builder.oval("hat", 0.0, 0.42 * ry, 1.1 * rx, 0.5 * ry), *peak]
    if hair == "hat":
        brim = builder.oval("hat", 0.0, 0.55 * ry, 2.1 * rx, 0.22 * ry)
        return [builder.box("hat", 0.0, 0.15 * ry, 1.05 * rx, 0.45 * ry), brim]
    if hair == "hood":
        hood = builder.oval("hat", 0.0, ry + 0.008, 1.5 * rx, 1.3 * ry)
        face = builder.oval("skin", builder.shift * 0.5, 1.05 * ry, 0.85 * rx, 0.85 * ry)
        return [hood, face] if builder.front else [hood]
    return []


def carried_shapes(builder: ShapeBuilder, hand: Points) -> list[Shape]:
    """Return the carried object; `hand` is the wrist on its side."""
    side, size = builder.person.side, builder.person.bag_size
    match builder.person.carried:
        case "backpack":
            return _backpack(builder, size)
        case "shoulder_bag":
            x, y = side * (builder.body.hip + 0.03), builder.hip_y + 0.02
            start = -side * 0.8 * builder.body.shoulder
            top = SHOULDER_Y - 0.006
            strap = [(start, top), (start + 0.03, top), (x + 0.015, y), (x - 0.015, y)]
            bag = builder.box("bag", x, y + 0.02, 0.058 * size, 0.055 * size)
            return [builder.polygon("bag", strap), bag]
        case "handbag":
            x, y = float(hand[0]) + 0.01 * side, float(hand[1])
            handle = builder.box("bag", x, y + 0.035, 0.012, 0.03)
            return [handle, builder.box("bag", x, y + 0.1, 0.062 * size, 0.052 * size)]
        case "trolley":
            x = float(hand[0]) + 0.045 * side
            pole = [(float(hand[0]), float(hand[1])), (float(hand[0]) + 0.014, float(hand[1]))]
            pole += [(x + 0.014, 0.72), (x, 0.72)]
            return [builder.polygon("bag", pole), builder.box("bag", x, 0.85, 0.066 * size, 0.13)]
        case _:
            return []


def _backpack(builder: ShapeBuilder, size: float) -> list[Shape]:
    middle = SHOULDER_Y + 0.13
    if not builder.front:
        pack = builder.box("bag", builder.shift, middle, 0.085 * size, 0.125 * size)
        return [pack, builder.box("trim", builder.shift, middle + 0.05, 0.05 * size, 0.012)]
    x = 0.58 * builder.body.shoulder
    return [builder.box("bag", s * x + builder.shift, middle - 0.02, 0.018, 0.12) for s in (-1, 1)]
