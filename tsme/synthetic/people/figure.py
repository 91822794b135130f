"""The shapes of a person in a pose, in painting order, the same for all sensors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tsme.synthetic.people.head import carried_shapes, hair_behind_neck, head_shapes
from tsme.synthetic.people.person import Person
from tsme.synthetic.people.shapes import ANKLE_Y, SHOULDER_Y, Points, Pose, Shape, ShapeBuilder


def pose_figure(person: Person, pose: Pose) -> list[Shape]:
    """Return all shapes of `person` in `pose`, the farthest first."""
    builder = ShapeBuilder(person, pose)
    shapes = [*_legs(builder), *_skirt(builder)]
    if builder.front:
        shapes += hair_behind_neck(builder)
    shapes += [*_torso(builder), *_outer(builder)]
    wrists = {}
    for side in (-1, 1):
        arm = _arm(builder, side)
        wrists[side] = arm[2]
        shapes += _dressed_arm(builder, side, arm)
    return [*shapes, *head_shapes(builder), *carried_shapes(builder, wrists[person.side])]


def _leg(builder: ShapeBuilder, side: int) -> Points:
    """Return hip, knee and ankle (3, 2)."""
    pose = builder.pose
    step = side * np.sin(pose.phase)
    hip = (side * 0.5 * builder.body.hip, builder.hip_y - 0.02)
    # The sideways part of a stride moves the ankle; the forward part only lifts the foot.
    sway = pose.sign * (0.25 + 1.6 * np.sin(pose.yaw)) * np.sin(pose.stride) * step * 0.5
    lift = 0.035 * max(0.0, float(step))
    ankle = (side * 0.045 + sway * builder.body.leg, ANKLE_Y - lift)
    knee = ((hip[0] + ankle[0]) / 2 + side * 0.008, (hip[1] + ankle[1]) / 2 - lift / 2)
    return np.array([hip, knee, ankle])


def _legs(builder: ShapeBuilder) -> list[Shape]:
    clothes, body = builder.clothes, builder.body
    limb = 0.5 * 0.092 * body.limb
    widths = (limb, 0.72 * limb, 0.45 * limb)
    cover = {"trousers": 1.0, "capri": 0.74, "shorts": 0.46}.get(clothes.lower, 0.0)
    shapes: list[Shape] = []
    for side in (-1, 1) if np.sin(builder.pose.phase) < 0 else (1, -1):
        leg = _leg(builder, side)
        shapes.append(builder.limb("skin", leg, widths))
        boot = (0.6 * limb, 0.7 * limb, 0.62 * limb)
        shapes.append(builder.limb("shoes", leg, boot, (1 - clothes.boot, 1.0)))
        x, y = leg[2]
        shapes.append(builder.oval("shoes", x + 0.012 * side, y + 0.013, 0.034, 0.022))
        if cover:
            wide = (1.05 * limb, 0.8 * limb * clothes.fit, 0.62 * limb * clothes.fit)
            top = 1 - clothes.boot if clothes.boot > 0.2 and clothes.fit < 1.5 else 1.0
            garment = (0.5 * side, 0.5, 1.0)
            shape = builder.limb(
                "lower", leg, wide, (0.0, min(cover, top)), clothes.lower_pattern, garment
            )
            shapes.append(shape)
    return shapes


def _skirt(builder: ShapeBuilder) -> list[Shape]:
    """Return the skirt, or the seat that joins trouser legs."""
    clothes, hip, y = builder.clothes, builder.body.hip, builder.hip_y - 0.06
    if clothes.lower not in ("skirt", "long_skirt"):
        seat = [(-0.92 * hip, y), (0.92 * hip, y), (hip, y + 0.06), (0.02, y + 0.115)]
        seat += [(-0.02, y + 0.115), (-hip, y + 0.06)]
        return [builder.polygon("lower", seat)]
    length = 0.27 if clothes.lower == "skirt" else 0.43
    flare = hip * (0.85 + 0.38 * clothes.fit)
    drift = 0.012 * np.sin(builder.pose.phase)
    points = [(-0.9 * hip, y), (0.9 * hip, y), (flare + drift, y + length)]
    points += [(-flare + drift, y + length)]
    return [builder.polygon("lower", points, clothes.lower_pattern)]


def _torso_outline(builder: ShapeBuilder, hem: float, ease: float) -> list[tuple[float, float]]:
    """Return the left half of the outline from the neck down to `hem`; callers mirror it."""
    body = builder.body
    waist_y = SHOULDER_Y + 0.6 * (builder.hip_y - SHOULDER_Y)
    half = [(0.032, SHOULDER_Y - 0.03), (0.75 * body.shoulder, SHOULDER_Y - 0.008)]
    half += [(body.shoulder, SHOULDER_Y + 0.03), (body.waist + ease, waist_y)]
    below = max(0.0, hem - builder.hip_y)
    return [*half, (body.hip + ease + 0.16 * below, hem)]


def _torso(builder: ShapeBuilder) -> list[Shape]:
    half = _torso_outline(builder, builder.hem_y, 0.004)
    points = half + [(-x, y) for x, y in reversed(half)]
    neck = builder.box("skin", 0.0, SHOULDER_Y - 0.035, 0.03, 0.035)
    shapes = [neck, builder.polygon("upper", points, builder.clothes.upper_pattern)]
    if builder.clothes.outer == "zip" and builder.front:
        middle = -0.05 * float(np.sin(builder.pose.yaw))
        y = (SHOULDER_Y + builder.hem_y) / 2 - 0.012
        shapes.append(builder.box("trim", middle, y, 0.017, (builder.hem_y - SHOULDER_Y) / 2))
        shapes.append(builder.box("trim", middle, SHOULDER_Y - 0.012, 0.045, 0.018))
    return shapes


def _outer(builder: ShapeBuilder) -> list[Shape]:
    """Return the open jacket, vest or coat: two panels seen from the front, one piece from behind."""
    clothes = builder.clothes
    if clothes.outer in ("none", "zip"):
        return []
    hem = builder.hip_y + 0.24 if clothes.outer == "coat" else builder.hem_y + 0.01
    half = _torso_outline(builder, hem, 0.016)
    if not builder.front:
        points = half + [(-x, y) for x, y in reversed(half)]
        return [builder.polygon("outer", points, clothes.outer_pattern)]
    gap = clothes.outer_gap * builder.body.shoulder
    shift = -0.05 * float(np.sin(builder.pose.yaw))
    shapes = []
    for side in (-1, 1):
        inner = [(gap + side * shift, hem), (0.8 * gap + side * shift, SHOULDER_Y + 0.1)]
        panel = [(side * max(x, 0.0), y) for x, y in half + inner]
        shape = builder.polygon("outer", panel, clothes.outer_pattern)
        shapes.append(replace(shape, u_offset=0.5 * side, u_scale=0.5))
    return shapes


def _arm(builder: ShapeBuilder, side: int) -> Points:
    """Return shoulder, elbow and wrist (3, 2)."""
    pose = builder.pose
    step = -side * np.sin(pose.phase)
    angle = 0.1 + pose.swing * (0.6 + 0.4 * side * np.cos(pose.phase))
    if builder.person.carried in ("handbag", "trolley") and side == builder.person.side:
        step, angle = 0.0, 0.12
    drift = pose.sign * (0.2 + np.sin(pose.yaw)) * pose.stride * 0.18 * step
    root = np.array([side * (builder.body.shoulder - 0.012), SHOULDER_Y + 0.022])
    elbow = root + np.array([side * 0.17 * np.sin(angle), 0.17 * np.cos(angle)])
    bend = 0.4 * angle
    reach = 0.165 - 0.03 * max(0.0, float(step))
    wrist = elbow + np.array([side * reach * np.sin(bend) + drift, reach * np.cos(bend)])
    return np.stack([root, elbow, wrist])


def _dressed_arm(builder: ShapeBuilder, side: int, arm: Points) -> list[Shape]:
    clothes = builder.clothes
    limb = 0.5 * 0.062 * builder.body.limb
    shapes = [
        builder.limb("skin", arm, (limb, 0.8 * limb, 0.6 * limb)),
        builder.oval("skin", arm[2][0], arm[2][1] + 0.012, 0.021, 0.028),
    ]
    covered = clothes.outer in ("open", "coat")
    part, pattern = ("outer", None) if covered else ("upper", clothes.upper_pattern)
    length = 0.96 if covered else clothes.sleeve_length
    if not covered and clothes.sleeve != "same":
        part, pattern = ("upper_accent" if clothes.sleeve == "accent" else "upper"), None
    sleeve = (1.2 * limb, 1.08 * limb, 0.85 * limb)
    # A sleeve hangs beside the torso, so its v matches the torso's.
    garment = (1.35 * side, 0.35, 0.95 * min(1.0, length))
    shapes.append(builder.limb(part, arm, sleeve, (0.0, length), pattern, garment))
    return shapes
