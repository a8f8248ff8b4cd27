# SPDX-License-Identifier: Apache-2.0
"""Drawn scenes: exact labels and depth, the same in every condition, at any index and size."""

from __future__ import annotations

import numpy as np
import pytest

from vltseg_core.data.demo_scenes import CONDITIONS, DemoSequence
from vltseg_core.data.scene_faces import Material
from vltseg_core.data.scene_renderer import render_geometry
from vltseg_core.data.scene_style import style_for
from vltseg_core.data.weather import koschmieder_fog
from vltseg_core.errors import ConfigurationError
from vltseg_core.labels import CITYSCAPES

SMALL = (120, 160)
ROAD, POLE, SKY = 0, 5, 10


def test_a_frame_has_the_promised_shapes_types_and_stamp() -> None:
    frame = DemoSequence(4, image_size=(97, 131), frame_rate_hz=10.0).frame(7)
    assert frame.image.shape == (97, 131, 3) and frame.image.dtype == np.uint8
    assert frame.labels.shape == (97, 131) and frame.labels.dtype == np.uint8
    assert frame.depth_m.shape == (97, 131) and frame.depth_m.dtype == np.float32
    assert frame.stamp_s == pytest.approx(0.7)


@pytest.mark.parametrize("size", [(16, 16), (33, 200), (97, 131), (375, 1242)])
def test_any_size_gives_road_below_and_finite_depth_off_the_sky(size: tuple[int, int]) -> None:
    frame = DemoSequence(2, image_size=size).frame(3)
    assert frame.labels.shape == size
    assert (frame.labels[-size[0] // 4 :] == ROAD).mean() > 0.1
    assert np.array_equal(np.isinf(frame.depth_m), frame.labels == SKY)
    assert (frame.depth_m > 0).all()


@pytest.mark.parametrize("seed", [0, 3, 11])
def test_labels_and_depth_are_the_same_in_every_condition_and_the_pictures_differ(seed: int) -> None:
    frames = {condition: DemoSequence(seed, condition=condition, image_size=SMALL).frame(9) for condition in CONDITIONS}
    clear = frames.pop("clear")
    for frame in frames.values():
        assert np.array_equal(frame.labels, clear.labels)
        assert np.array_equal(frame.depth_m, clear.depth_m)
        assert np.abs(frame.image.astype(int) - clear.image.astype(int)).mean() > 4


def test_every_condition_looks_like_itself() -> None:
    mean = {
        c: np.mean([DemoSequence(s, condition=c, image_size=SMALL).frame(2).image.mean() for s in range(6)]) for c in CONDITIONS
    }
    assert mean["night"] < 0.6 * mean["clear"]
    assert mean["rain"] < mean["clear"]
    spread = {
        c: np.mean([DemoSequence(s, condition=c, image_size=SMALL).frame(2).image.std() for s in range(6)]) for c in CONDITIONS
    }
    assert spread["fog"] < 0.8 * spread["clear"]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_frames_are_the_same_in_any_order_and_from_any_instance(condition: str) -> None:
    forwards = DemoSequence(5, condition=condition, image_size=SMALL)
    in_order = [forwards.frame(i).image for i in range(4)]
    backwards = DemoSequence(5, condition=condition, image_size=SMALL)
    backwards.frame(4000)
    for i in (3, 1, 0, 2):
        assert np.array_equal(backwards.frame(i).image, in_order[i])


def test_a_sequence_has_no_end_and_far_frames_still_hold_a_street() -> None:
    frame = DemoSequence(1, image_size=SMALL).frame(2_000_000)
    assert (frame.labels == ROAD).mean() > 0.1
    assert len(np.unique(frame.labels)) > 4


def test_ground_depth_is_the_pinhole_formula_with_the_cameras_height_and_pitch() -> None:
    sequence = DemoSequence(6, image_size=SMALL)
    frame = sequence.frame(0)
    camera, _ = sequence.camera_at(0.0)
    focal, row0 = sequence.intrinsics[1, 1], sequence.intrinsics[1, 2]
    rows = np.arange(SMALL[0])
    down = (rows - row0) / focal * np.cos(camera.pitch) + np.sin(camera.pitch)
    expected = camera.position[1] / np.maximum(down, 1e-9)
    rows_of_road, columns = np.nonzero(frame.labels == ROAD)
    assert len(rows_of_road) > 1000
    np.testing.assert_allclose(frame.depth_m[rows_of_road, columns], expected[rows_of_road], rtol=1e-3)


def test_each_pixels_label_and_depth_are_those_of_the_face_drawn_there() -> None:
    sequence = DemoSequence(9, image_size=SMALL)
    buffer, _, _ = sequence.geometry_at(0.4)
    assert not np.isin(buffer.labels, [255]).any()
    solid = (buffer.material != Material.GROUND) & (buffer.material != Material.SKY)
    ids = buffer.face_ids.ravel()[solid]
    assert np.array_equal(buffer.labels.ravel()[solid], buffer.faces["label"][ids])
    rays = np.stack(
        [
            np.broadcast_to(buffer.camera.ray_x, SMALL),
            np.broadcast_to(buffer.camera.ray_y, SMALL),
            np.ones(SMALL, np.float32),
        ],
        -1,
    ).reshape(-1, 3)[solid]
    points = np.asarray(buffer.camera.position) + (rays * buffer.depth.ravel()[solid, None]) @ buffer.camera.axes
    from_plane = np.einsum("nc,nc->n", points - buffer.faces["vertices"][ids, 0], buffer.normals[ids])
    near = buffer.depth.ravel()[solid] < 60
    assert np.abs(from_plane[near]).max() < 0.01


def test_ground_labels_are_those_of_the_strip_at_that_distance_from_the_roads_middle() -> None:
    for seed in (1, 2, 8):
        sequence = DemoSequence(seed, image_size=SMALL)
        buffer, ground, _ = sequence.geometry_at(0.0)
        assert np.array_equal(buffer.labels.ravel()[ground.pixels], ground.labels)
        near = buffer.depth.ravel()[ground.pixels] < 40
        own_lane = np.abs(ground.lateral - style_for(seed).ego_lateral) < 1.2
        assert own_lane.sum() > 500
        assert (ground.labels[own_lane] == ROAD).all()
        middle = buffer.u.ravel()[ground.pixels] - ground.lateral
        expected = style_for(seed).centre_x(ground.ahead.astype(np.float64))
        assert np.abs(middle - expected)[near].max() < 0.02
        assert len(np.unique(ground.labels)) >= 2


def test_nearer_faces_hide_farther_ones() -> None:
    """The painter's order against a depth test of every face at sampled pixels."""
    wrong = total = 0
    for seed in range(6):
        sequence = DemoSequence(seed, image_size=SMALL)
        buffer, _, _ = sequence.geometry_at(1.0)
        boxes = np.flatnonzero((buffer.faces["silhouette"] < 0) & (np.arange(len(buffer.faces)) > 1))
        nearest = np.full(SMALL, np.inf, np.float32)
        empty = np.zeros((0, 7), np.float32)
        for part in np.array_split(boxes, 8):
            alone = render_geometry(buffer.camera, buffer.faces[part], empty, (0.0, 1.0, 0.0), 0.0)
            drawn = alone.face_ids > 1
            nearest[drawn] = np.minimum(nearest[drawn], alone.depth[drawn])
        seen = (buffer.face_ids > 1) & (buffer.depth < 80)
        wrong += int((buffer.depth[seen] > nearest[seen] + 3.0).sum())
        total += int(seen.sum())
    assert wrong / total < 0.03


def test_fog_is_koschmieders_law_on_the_foggy_days_picture() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    depth = np.random.default_rng(1).uniform(1, 300, (40, 50)).astype(np.float32)
    depth[:5] = np.inf
    foggy = koschmieder_fog(image, depth, visibility_m=120.0, airlight=(200.0, 210.0, 220.0))
    transmission = np.exp(-3.912 / 120.0 * depth.astype(np.float64))[..., None]
    expected = image * transmission + np.array([200.0, 210.0, 220.0]) * (1 - transmission)
    assert np.abs(foggy - expected).max() <= 0.51
    assert (foggy[:5] == (200, 210, 220)).all()


def test_fog_hides_what_is_far_more_than_what_is_near() -> None:
    foggy = DemoSequence(3, condition="fog", image_size=SMALL).frame(0)
    sky = foggy.image[foggy.labels == SKY]
    assert sky.std(0).max() < 2.0
    distance_from_fog = np.abs(foggy.image.astype(float) - sky.mean(0)).mean(-1)
    near, far = foggy.depth_m < 15, (foggy.depth_m > 100) & np.isfinite(foggy.depth_m)
    assert distance_from_fog[far].mean() < 0.5 * distance_from_fog[near].mean()


def test_consecutive_frames_differ() -> None:
    sequence = DemoSequence(16, image_size=SMALL)
    pictures = [sequence.frame(i).image.astype(int) for i in range(3)]
    assert np.abs(pictures[1] - pictures[0]).mean() > 1
    assert np.abs(pictures[2] - pictures[0]).mean() > np.abs(pictures[1] - pictures[0]).mean()


def test_standing_things_come_nearer_and_grow_as_the_car_drives() -> None:
    growth, approach = [], []
    for seed in range(8):
        sequence = DemoSequence(seed, image_size=(180, 240))
        assert sequence.camera_at(0.0)[1] == sequence.camera_at(0.5)[1]  # so that standing faces keep their numbers
        before, after = (sequence.geometry_at(time_s)[0] for time_s in (0.0, 0.5))
        travelled = after.camera.position[2] - before.camera.position[2]
        for number in np.unique(before.face_ids):
            standing = before.faces["label"][number] in (2, POLE, 6, 7) and number > 1
            was, now = before.face_ids == number, after.face_ids == number
            inside = not (was | now)[:, [0, -1]].any() and not (was | now)[[0, -1]].any()
            if standing and inside and was.sum() > 60 and now.any() and before.depth[was].max() < 150:
                growth.append(now.sum() / was.sum())
                approach.append((before.depth[was].min() - after.depth[now].min()) / travelled)
    assert len(growth) > 20
    assert np.median(growth) > 1.05
    assert np.median(approach) == pytest.approx(1.0, abs=0.15)


def test_all_nineteen_classes_occur_within_a_few_seeds() -> None:
    seen: set[int] = set()
    for seed in range(12):
        for index in (0, 60):
            seen |= set(np.unique(DemoSequence(seed, image_size=(180, 240)).frame(index).labels).tolist())
    assert seen == set(range(len(CITYSCAPES)))


def test_seeds_give_different_worlds() -> None:
    images = [DemoSequence(seed, image_size=SMALL).frame(0).image.astype(int) for seed in range(5)]
    differences = [np.abs(images[i] - images[j]).mean() for i in range(5) for j in range(i)]
    assert min(differences) > 15


def test_the_camera_matrix_is_that_of_the_picture() -> None:
    matrix = DemoSequence(0, image_size=(360, 480)).intrinsics
    assert matrix.shape == (3, 3) and matrix.dtype == np.float64
    assert matrix[0, 2] == 239.5 and matrix[1, 2] == 179.5
    assert 300 < matrix[0, 0] == matrix[1, 1] < 600


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"condition": "fogg"}, "did you mean 'fog'"),
        ({"image_size": (8, 480)}, "at least 16 pixels"),
        ({"frame_rate_hz": 0.0}, "frame_rate_hz 0.0 is not positive"),
    ],
)
def test_bad_settings_are_refused_with_what_to_do(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        DemoSequence(0, **arguments)  # type: ignore[arg-type]  # wrong on purpose


def test_negative_seeds_and_indices_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="seed -1 is negative"):
        DemoSequence(-1)
    with pytest.raises(ConfigurationError, match="frames count from 0"):
        DemoSequence(0, image_size=SMALL).frame(-2)
