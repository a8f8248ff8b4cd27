# SPDX-License-Identifier: Apache-2.0
"""What moves: streams of vehicles, riders and walkers, each placed by (seed, stream, number) and the time alone."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vltseg_core.data.scene_faces import Faces
from vltseg_core.data.scene_people import NUM_PHASES, cyclist_templates, motorcyclist_template, walker_templates
from vltseg_core.data.scene_placing import Placement, set_down
from vltseg_core.data.scene_style import CAR_COLOURS, SceneStyle, Triple, clothes
from vltseg_core.data.scene_two_wheelers import bicycle_template, motorcycle_template
from vltseg_core.data.scene_vehicles import (
    TRAM_CAR_SPACING,
    bus_template,
    car_templates,
    tram_car_template,
    truck_templates,
)

_BLOCK = 8
_BLOCKS_KEPT = 256


class MovingThings(NamedTuple):
    """Everything that moves at one time; z is counted from the given base."""

    faces: Faces
    casters: NDArray[np.float32]  # [N, 7] as in Piece


class _Stream(NamedTuple):
    kind: str
    lateral: float
    speed: float
    gap: float
    reach: float  # metres ahead up to which its members are drawn
    number: int


class _Member(NamedTuple):
    """One vehicle, rider or walker of a stream."""

    shift: float  # of the stream's gap
    sideways: float
    cycle: float  # where in its step or pedal turn it starts, 0..1
    bodies: tuple[tuple[Faces, ...], ...]  # one template, or one a phase, for each body
    colours: tuple[list[Triple], ...]
    scale: float
    footprint: tuple[float, float, float]  # half width, half length, height of the shadow caster


def _streams(style: SceneStyle) -> list[_Stream]:
    right = 1.0 if style.keep_right else -1.0
    outer = style.lane_width * (style.lanes_each_way - 0.5)
    kerb = style.road_half_width + style.parking_width
    by_kerb = style.road_half_width - 0.35
    streams = [
        _Stream("ego lane", right * outer, style.speed, style.traffic_gap * 1.3, 170.0, 0),
        _Stream("vehicles", -right * outer, -style.speed * 1.05, style.traffic_gap, 170.0, 1),
        _Stream("cyclists", right * by_kerb, 4.6, style.cyclist_gap, 110.0, 2),
        _Stream("cyclists", -right * by_kerb, -5.2, style.cyclist_gap, 110.0, 3),
    ]
    if style.lanes_each_way > 1:
        inner = style.lane_width * 0.5
        streams.append(_Stream("vehicles", right * inner, style.speed * 1.2, style.traffic_gap, 150.0, 4))
        streams.append(_Stream("vehicles", -right * inner, -style.speed * 1.2, style.traffic_gap, 150.0, 5))
    walk, spread = kerb + style.verge_width + style.sidewalk_width * 0.5, style.sidewalk_width * 0.22
    for i, side in enumerate((-1.0, 1.0)):
        at = walk + (3.3 if style.tram and side == -right else 0.0)
        streams.append(_Stream("walkers", side * (at + spread), 1.35, style.people_gap, 85.0, 6 + 2 * i))
        streams.append(_Stream("walkers", side * (at - spread), -1.5, style.people_gap, 85.0, 7 + 2 * i))
    if style.tram:
        streams.append(_Stream("trams", -right * (kerb + 1.65), -9.0, 75.0, 170.0, 10))
    return streams


def _paints(rng: np.random.Generator) -> list[Triple]:
    return [CAR_COLOURS[i] for i in rng.integers(len(CAR_COLOURS), size=3)]


def _member(rng: np.random.Generator, style: SceneStyle, kind: str, oncoming: bool) -> _Member:
    slack = 0.45 if kind in ("walkers", "cyclists") else 0.22
    shift, cycle, pick = slack * (2 * rng.random() - 1), rng.random(), rng.random()
    if kind == "walkers":
        height = 0.86 + 0.22 * rng.random()
        return _Member(shift, 0.5 * (rng.random() - 0.5), cycle, (walker_templates(),), (clothes(rng),), height, (0.22, 0.2, 1.7))
    if kind == "cyclists":
        mount: tuple[tuple[Faces, ...], ...] = ((bicycle_template(),), cyclist_templates())
        if pick < 0.3:
            mount = ((motorcycle_template(),), (motorcyclist_template(),))
        return _Member(shift, 0.2 * (rng.random() - 0.5), cycle, mount, (_paints(rng), clothes(rng)), 1.0, (0.2, 0.8, 1.5))
    if kind == "trams":
        return _Member(shift, 0.0, cycle, ((tram_car_template(),),), (_paints(rng),), 1.0, (1.2, 5.0, 3.4))
    scale = 0.95 + 0.1 * rng.random()
    if pick < style.bus_share:
        return _Member(shift, 0.0, cycle, ((bus_template(),),), (_paints(rng),), scale, (1.25, 5.5, 3.0))
    if pick < style.bus_share + style.truck_share:
        size = int(rng.integers(2))
        footprint = (1.2, (3.5, 5.7)[size], (2.9, 3.5)[size])
        return _Member(shift, 0.0, cycle, ((truck_templates(oncoming)[size],),), (_paints(rng),), scale, footprint)
    cars = car_templates()
    template = cars[int(np.searchsorted((0.26, 0.52, 0.62, 0.78, 0.91), rng.random()))]
    return _Member(shift, 0.3 * (rng.random() - 0.5), cycle, ((template,),), (_paints(rng),), scale, (0.85, 2.1, 1.3))


class Traffic:
    """The traffic of one world."""

    def __init__(self, style: SceneStyle) -> None:
        self._style = style
        self._streams = _streams(style)
        self._blocks: OrderedDict[tuple[int, int], list[_Member]] = OrderedDict()

    def _members(self, stream: _Stream, block: int) -> list[_Member]:
        key = (stream.number, block)
        if key not in self._blocks:
            rng = np.random.default_rng([self._style.seed, 3, stream.number, block & 0xFFFFFFFF])
            self._blocks[key] = [_member(rng, self._style, stream.kind, stream.speed < 0) for _ in range(_BLOCK)]
            if len(self._blocks) > _BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        return self._blocks[key]

    def at(self, time_s: float, ego_z: float, base_z: float) -> MovingThings:
        """All moving things within sight of an ego car at `ego_z` (metres along the world) at a time (seconds)."""
        placements: list[Placement] = []
        casters: list[tuple[float, ...]] = []
        for stream in self._streams:
            start = stream.speed * time_s
            first = math.floor((ego_z - 15.0 - start) / stream.gap)
            last = math.ceil((ego_z + stream.reach - start) / stream.gap)
            for number in range(first, last + 1):
                member = self._members(stream, number // _BLOCK)[number % _BLOCK]
                z = start + (number + member.shift) * stream.gap
                nearest = 5.0 + member.footprint[1] if stream.kind == "ego lane" else -18.0
                if not nearest < z - ego_z < stream.reach:
                    continue
                for car in (-1, 0, 1) if stream.kind == "trams" else (0,):
                    self._place(placements, casters, stream, member, z + car * TRAM_CAR_SPACING, base_z, time_s)
        return MovingThings(set_down(placements), np.asarray(casters, np.float32).reshape(-1, 7))

    def _place(
        self,
        placements: list[Placement],
        casters: list[tuple[float, ...]],
        stream: _Stream,
        member: _Member,
        z: float,
        base_z: float,
        time_s: float,
    ) -> None:
        lateral = stream.lateral + member.sideways
        x, at = self._style.centre_at(z) + lateral, z - base_z
        yaw = math.atan(self._style.slope(z)) + (math.pi if stream.speed < 0 else 0.0)
        key = self._style.far_to_near_key(lateral, at)
        phase = int((time_s * (1.9 if stream.kind == "walkers" else 1.2) + member.cycle) * NUM_PHASES) % NUM_PHASES
        scale = (member.scale, member.scale, member.scale)
        for i, (body, colours) in enumerate(zip(member.bodies, member.colours, strict=True)):
            template = body[phase] if len(body) > 1 else body[0]
            placements.append(Placement(template, x, at, key - 0.01 * i, yaw, scale, colours))
        half_width, half_length, height = member.footprint
        casters.append((x, at, half_width, half_length, yaw, 0.0, height))
