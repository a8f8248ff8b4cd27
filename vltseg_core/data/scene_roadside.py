# SPDX-License-Identifier: Apache-2.0
"""What is put beside one piece's road: buildings, walls and fences, plants, furniture, parked vehicles, people."""

from __future__ import annotations

import numpy as np

from vltseg_core.data import scene_street as street
from vltseg_core.data.scene_faces import Material
from vltseg_core.data.scene_people import walker_templates
from vltseg_core.data.scene_piece import PIECE_LENGTH, PieceBuilder
from vltseg_core.data.scene_placing import Placement
from vltseg_core.data.scene_plants import VEGETATION, bush, tree
from vltseg_core.data.scene_style import CAR_COLOURS, ROOF_COLOURS, WALL_COLOURS, Triple, clothes, toned
from vltseg_core.data.scene_two_wheelers import bicycle_template, motorcycle_template
from vltseg_core.data.scene_vehicles import car_templates, truck_templates


def add_buildings(builder: PieceBuilder, side: int) -> None:
    style, rng = builder.style, builder.rng
    front = builder.road_end(side) + style.verge_width + style.sidewalk_width
    tall = rng.uniform(0.6, 1.1) + 1.2 * style.urbanity
    z = rng.uniform(0, 3)
    while z < PIECE_LENGTH - 4:
        width = min(rng.uniform(7, 17) if builder.urban else rng.uniform(8, 13), PIECE_LENGTH - z)
        if builder.side_open[side] and builder.junction[0] - 3 < z + width and z < builder.junction[1] + 3:
            width = builder.junction[0] - 3 - z
            if width < 5:
                z = max(z, builder.junction[1] + 3)
                width = min(rng.uniform(8, 14), PIECE_LENGTH - z)
                if width < 4:
                    return
        if builder.urban or rng.random() < 0.72:
            depth = rng.uniform(8, 13)
            height = rng.uniform(5.5, 9.5) * tall if builder.urban else rng.uniform(3.2, 6.5)
            setback = style.setback if builder.urban else style.setback * 1.6 + rng.uniform(0, 4)
            _add_building(builder, side, front + setback, z + width / 2, width, depth, height)
        z += width + ((0.0 if rng.random() < 0.7 else rng.uniform(2, 6)) if builder.urban else rng.uniform(3, 10))


def _add_building(builder: PieceBuilder, side: int, front: float, z: float, width: float, depth: float, height: float) -> None:
    rng = builder.rng
    at = (front + depth / 2) * (1.0 if side else -1.0)
    x, key, yaw = builder.x(at, z), builder.key(front * (1.0 if side else -1.0), z + width / 2), builder.yaw(z)
    wall = toned(WALL_COLOURS[rng.integers(len(WALL_COLOURS))], rng.uniform(0.3, 1.2))
    roof = ROOF_COLOURS[rng.integers(len(ROOF_COLOURS))]
    windows = (rng.uniform(1.9, 3.8), rng.uniform(2.9, 3.8), rng.uniform(0.25, 0.85), rng.random())
    builder.placements.append(
        Placement(street.house_template(), x, z, key, yaw, (depth, height, width), (wall, roof), params=windows)
    )
    if rng.random() < (0.45 if builder.urban else 0.9):
        template = street.pitched_roof_template(bool(rng.random() < 0.4))
        builder.placements.append(Placement(template, x, z, key, yaw, (depth, rng.uniform(2, 4), width), (wall, roof), y=height))
        if rng.random() < 0.6:
            chimney = street.block_template(street.BUILDING, Material.MASONRY)
            builder.placements.append(
                Placement(chimney, x, z + rng.uniform(-0.35, 0.35) * width, key, yaw, (0.8, 2.4, 0.8), (wall,), y=height + 1.2)
            )
    else:
        ledge = street.block_template(street.BUILDING, Material.PLAIN)
        builder.placements.append(
            Placement(ledge, x, z, key, yaw, (depth + 0.3, 0.6, width), (toned(wall, 0.75),), y=height - 0.1)
        )
    builder.cast(at, z, depth / 2, width / 2, 0.0, height)


def add_front(builder: PieceBuilder, side: int) -> None:
    """Walls, fences, hedges or a guard rail between sidewalk and yard."""
    style, rng = builder.style, builder.rng
    sign = -1.0 if side == 0 else 1.0
    lateral = builder.road_end(side) + style.verge_width + style.sidewalk_width + 0.3
    kind = rng.choice(
        ["none", "wall", "fence", "hedge", "rail"],
        p=[0.62, 0.13, 0.17, 0.05, 0.03] if builder.urban else [0.2, 0.2, 0.28, 0.22, 0.1],
    )
    tight = builder.urban and style.setback < 0.8
    if kind == "none" or (tight and kind != "fence"):
        return
    if kind == "rail" or (kind == "fence" and tight):
        lateral = builder.road_end(side) + 0.35
    height, tone = rng.uniform(0.8, 2.3), rng.uniform(0.5, 1.2)
    wall_colour = toned(WALL_COLOURS[rng.integers(len(WALL_COLOURS))], tone)
    fence_kind = 3 if kind == "rail" else int(rng.integers(3))
    fence_colour: Triple = ((0.03, 0.035, 0.035), (0.14, 0.085, 0.05), (0.11, 0.13, 0.12), (0.4, 0.41, 0.42))[fence_kind]
    fence_height = 0.75 if kind == "rail" else max(1.0, 0.8 * height)
    step = PIECE_LENGTH / 6
    for i in range(6):
        z0, z1 = i * step, (i + 1) * step
        if not (builder.free(side, z0) and builder.free(side, z1)) or rng.random() < 0.1:
            continue
        if kind == "wall":
            builder.put_along(
                street.block_template(street.WALL, Material.MASONRY), side, lateral, z0, z1, 0.3, height, [wall_colour]
            )
        elif kind == "hedge":
            template = street.block_template(VEGETATION, Material.FOLIAGE)
            builder.put_along(template, side, lateral, z0, z1, 0.9, height, [toned(style.leaf, tone)], (1.0, step, height, 0.0))
        else:
            params = (float(fence_kind), fence_height, 0.0, 0.0)
            colours = [fence_colour, toned(fence_colour, 0.7)]
            builder.put_along(street.fence_template(fence_kind), side, lateral, z0, z1, 1.0, fence_height, colours, params)
        if kind in ("wall", "hedge"):
            builder.cast(sign * lateral, (z0 + z1) / 2, 0.15 if kind == "wall" else 0.45, step / 2, 0.0, height)


def add_trees(builder: PieceBuilder, side: int) -> None:
    style, rng = builder.style, builder.rng
    sign = -1.0 if side == 0 else 1.0
    road = builder.road_end(side)
    yard = road + style.verge_width + style.sidewalk_width
    rows: list[tuple[float, float, float]] = []  # lateral position, spacing, wobble
    if rng.random() < style.greenness * 0.9:
        in_verge = style.verge_width / 2 if style.verge_width > 0.6 else min(0.9, style.sidewalk_width / 3)
        rows.append((road + in_verge, style.tree_spacing, 0.4))
    if rng.random() < style.greenness:
        rows.append((yard + (style.setback + 16.0 if builder.urban else 2.5), style.tree_spacing * 0.8, 2.5))
    if not builder.urban or rng.random() < 0.4:
        rows.append((yard + 22.0, 6.5, 5.0))
    for lateral0, spacing, wobble in rows:
        z = rng.uniform(0, spacing)
        while z < PIECE_LENGTH:
            lateral = lateral0 + rng.uniform(-0.5, 1.0) * wobble
            if builder.free(side, z) and rng.random() < 0.85:
                by_street = lateral0 < yard
                height = rng.uniform(4.5, 9) if by_street else rng.uniform(6, 14)
                bare = bool(rng.random() < style.bare_share)
                leaf = np.asarray(style.leaf) * rng.uniform(0.7, 1.35) * (1 + rng.normal(0, 0.08, 3))
                base = 0.32 if by_street else 0.14
                builder.placements += tree(
                    rng,
                    builder.x(sign * lateral, z),
                    z,
                    height=height,
                    leaf=(leaf[0], leaf[1], leaf[2]),
                    bare=bare,
                    crown_base=base,
                    layers=int(rng.integers(1, 4)) if lateral0 < yard + 10 else 1,
                    sort_key=builder.key(sign * lateral, z),
                )
                if lateral0 < yard + 5:
                    builder.cast(sign * lateral, z, 0.3 * height, 0.3 * height, base * height if not bare else 0.0, height * 0.9)
            z += spacing * rng.uniform(0.6, 1.5)
    for _ in range(int(rng.poisson(0.5 + (4.5 if not builder.urban else 1.0) * style.greenness))):
        z, lateral = rng.uniform(0, PIECE_LENGTH), yard + rng.uniform(0.8, 5.0)
        if builder.free(side, z):
            leaf_colour = toned(style.leaf, rng.uniform(0.6, 1.5))
            size = {"width": rng.uniform(1.5, 5), "height": rng.uniform(0.9, 2.8)}
            builder.placements.append(
                bush(
                    rng,
                    builder.x(sign * lateral, z),
                    z,
                    leaf=leaf_colour,
                    sort_key=builder.key(sign * lateral, z),
                    **size,
                )
            )


def add_furniture(builder: PieceBuilder, side: int) -> None:
    """Lamps, signs, signals, poles, bollards."""
    style, rng = builder.style, builder.rng
    sign = -1.0 if side == 0 else 1.0
    kerb = builder.road_end(side) + 0.45
    steel: list[Triple] = [(0.14, 0.145, 0.15) if style.seed % 3 else (0.035, 0.04, 0.04)]
    if side == style.seed % 2 or rng.random() < 0.4:
        z = rng.uniform(3, 10)
        while z < PIECE_LENGTH:
            if builder.free(side, z):
                builder.put(street.street_lamp_template(side == 1), side, kerb, z, colours=steel)
                arm = 1.5 if side == 0 else -1.5
                builder.lamps.append((builder.x(sign * kerb, z) + arm, 7.3, z))
            z += rng.uniform(18, 26)
    faces_ego = (side == 1) == style.keep_right
    for _ in range(int(rng.poisson(1.1))):
        z = rng.uniform(1, PIECE_LENGTH)
        if builder.free(side, z):
            turned = 0.0 if faces_ego or rng.random() < 0.25 else np.pi
            template = street.sign_template(int(rng.integers(street.NUM_SIGN_KINDS)))
            facing = turned + rng.normal(0, 0.12)
            builder.put(
                template,
                side,
                kerb + rng.uniform(0, 0.5),
                z,
                colours=steel,
                turned=facing,
                scale=rng.uniform(0.85, 1.3),
            )
    if builder.has_junction and rng.random() < 0.6:
        for z, turned in (
            (builder.junction[0] - 4.5, 0.0),
            (builder.junction[1] + 4.0, np.pi if not faces_ego else 0.0),
        ):
            template = street.traffic_light_template(int(rng.integers(3)), bool(rng.random() < 0.35), (side == 1) != (turned > 0))
            builder.put(template, side, kerb, z, colours=steel, turned=turned, scale=1.1)
    if rng.random() < 0.16:
        z = rng.uniform(4, PIECE_LENGTH - 4)
        if builder.free(side, z):
            builder.put(
                street.wooden_pole_template(),
                side,
                kerb + style.sidewalk_width * 0.85,
                z,
                colours=[(0.09, 0.06, 0.045)],
            )
    if rng.random() < 0.14:
        start = rng.uniform(1, 10)
        for i in range(int(rng.integers(3, 12))):
            if builder.free(side, start + 2.2 * i):
                builder.put(street.bollard_template(), side, kerb, start + 2.2 * i, colours=steel)


def add_parked(builder: PieceBuilder, side: int) -> None:
    style, rng = builder.style, builder.rng
    sign = -1.0 if side == 0 else 1.0
    ahead = (side == 1) == style.keep_right
    beside_tram = style.tram and not ahead
    if style.parking_width > 0 and not beside_tram:
        lateral = builder.road_end(side) - style.parking_width / 2 - 0.05
        z = rng.uniform(2, 8)
        while z < PIECE_LENGTH - 1:
            if builder.free(side, z, 5.0) and rng.random() < style.parked_share:
                truck = rng.random() < 0.04
                cars = car_templates()
                template = (
                    truck_templates(not ahead)[0]
                    if truck
                    else cars[rng.choice(len(cars), p=[0.24, 0.28, 0.12, 0.16, 0.12, 0.08])]
                )
                colours = [CAR_COLOURS[rng.integers(len(CAR_COLOURS))] for _ in range(2)]
                turned = (0.0 if ahead else np.pi) + rng.normal(0, 0.03)
                builder.put(template, side, lateral, z, colours=colours, turned=turned, scale=rng.uniform(0.95, 1.05))
                builder.cast(
                    sign * lateral,
                    z,
                    1.1 if truck else 0.85,
                    3.4 if truck else 2.05,
                    0.0,
                    2.6 if truck else 1.2,
                    turned,
                )
                z += 4.0 if truck else 0.0
            z += rng.uniform(5.2, 7.0)
    kerb = builder.road_end(side) + 0.5
    if rng.random() < 0.22:
        start = rng.uniform(2, 30)
        template = bicycle_template() if rng.random() < 0.6 else motorcycle_template()
        across = rng.uniform(0.3, 1.5)
        for i in range(int(rng.integers(1, 5))):
            z = start + i * rng.uniform(0.6, 0.9)
            if builder.free(side, z):
                colours = [CAR_COLOURS[rng.integers(len(CAR_COLOURS))]]
                builder.put(template, side, kerb + 0.6, z, colours=colours, turned=across + rng.normal(0, 0.1))
    for _ in range(int(rng.poisson(0.25 + 0.6 * style.urbanity))):
        z = rng.uniform(0, PIECE_LENGTH)
        if builder.free(side, z):
            lateral = kerb + style.verge_width + rng.uniform(0.3, max(0.4, style.sidewalk_width - 0.8))
            builder.put(
                walker_templates()[0],
                side,
                lateral,
                z,
                colours=clothes(rng),
                turned=rng.uniform(0, 6.28),
                scale=rng.uniform(0.9, 1.08),
            )
