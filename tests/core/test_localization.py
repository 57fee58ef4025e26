"""Objects in space from masks and depth: shapes against the truth, cleaning, cameras, registration, motion."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.depth.metrics import compare, iou_3d
from sam_core.localization import Camera, CameraError, LocalizerSettings, Location, Miss, Motions, locate, register
from sam_core.streaming.cropped_mask import CroppedMask
from sam_core.synthetic.depth_noise import NOISE_AT_1_M, stereo_depth
from sam_core.synthetic.room_scene import Body, RoomFrame, RoomScene
from sam_core.synthetic.solids import Pose, Solid

SETTINGS = LocalizerSettings()


def camera_of(scene: RoomScene) -> Camera:
    k = scene.intrinsics
    return Camera(scene.width, scene.height, (k[0, 0], k[1, 1]), (k[0, 2], k[1, 2]))


@pytest.fixture(scope="module")
def room() -> tuple[RoomScene, RoomFrame, np.ndarray]:
    """The built-in scene, one frame of it, and its depth with noise."""
    scene = RoomScene()
    frame = scene.render(0)
    return scene, frame, stereo_depth(frame.depth, scene.intrinsics[0, 0], np.random.default_rng(0))


def test_room_is_located_within_the_limits(room: tuple[RoomScene, RoomFrame, np.ndarray]) -> None:
    scene, frame, depth = room
    up, camera = scene.camera_pose[2, :3], camera_of(scene)
    for number, (body, pose) in enumerate(zip(scene.objects, frame.poses, strict=True), start=1):
        finding = locate(CroppedMask.of(frame.labels == number), depth, camera, SETTINGS, up)
        assert finding.location is not None, body.name
        errors = compare(finding.location.moved(scene.camera_pose), body.solid, pose, scene.camera_pose[:3, 3])
        assert errors.fitted == body.solid.shape, body.name
        assert errors.centre < 0.015 * errors.distance, body.name
        assert errors.size < 0.08, body.name
        assert errors.iou > 0.75, body.name
        assert math.isnan(errors.yaw) or errors.yaw < math.radians(3.0), body.name
        assert finding.location.depth_share > 0.9
        assert not finding.location.touches_border


def test_a_free_box_encloses_what_is_seen(room: tuple[RoomScene, RoomFrame, np.ndarray]) -> None:
    scene, frame, depth = room
    mask = CroppedMask.of(frame.labels == scene.object_names.index("blue crate") + 1)
    finding = locate(mask, depth, camera_of(scene), SETTINGS)

    assert finding.location is not None
    assert not finding.location.upright
    local = (finding.points - finding.location.centre) @ finding.location.rotation
    assert np.mean(np.abs(local) <= finding.location.size / 2 + 1e-3) > 0.97
    assert np.linalg.det(finding.location.rotation) == pytest.approx(1.0)


@pytest.mark.parametrize(("kept", "miss"), [(0, Miss.NO_DEPTH), (30, Miss.TOO_FEW_POINTS)])
def test_too_little_depth_is_said(kept: int, miss: Miss) -> None:
    mask = np.zeros((100, 120), bool)
    mask[20:80, 30:90] = True
    depth = np.full((100, 120), np.nan, np.float32)
    depth[48 : 48 + kept // 6, 50:56] = 1.0
    finding = locate(CroppedMask.of(mask), depth, Camera(120, 100, (100.0, 100.0), (60.0, 50.0)), SETTINGS)

    assert finding.location is None
    assert finding.miss is miss
    assert finding.reason.endswith(".")


def test_reflections_holes_and_background_are_left_out() -> None:
    """A wall piece at 1 m; a fifth of its mask is background at 3 m, and single pixels are anywhere."""
    rng = np.random.default_rng(0)
    mask = np.zeros((200, 200), bool)
    mask[50:150, 50:150] = True
    depth = np.full((200, 200), 3.0, np.float32)
    depth[50:150, 50:130] = 1.0
    wrong = rng.random((200, 200)) < 0.03
    depth[wrong] = rng.uniform(0.2, 8.0, np.count_nonzero(wrong))
    depth[rng.random((200, 200)) < 0.05] = 0.0
    finding = locate(CroppedMask.of(mask), depth, Camera(200, 200, (200.0, 200.0), (100.0, 100.0)), SETTINGS)

    assert len(finding.points) > 400, "on every third row and column"
    assert np.abs(finding.points[:, 2] - 1.0).max() < 0.03
    assert finding.depth.depth_share == pytest.approx(0.95, abs=0.02)


def test_what_hides_a_part_is_noticed_and_does_not_divide_the_object() -> None:
    mask = np.zeros((200, 200), bool)
    mask[50:150, 50:150] = True
    mask[:, 95:105] = False  # a pole in front
    depth = np.full((200, 200), 4.0, np.float32)
    depth[50:150, 50:150] = 2.0
    depth[:, 95:105] = 1.0
    finding = locate(CroppedMask.of(mask), depth, Camera(200, 200, (200.0, 200.0), (100.0, 100.0)), SETTINGS)

    assert np.ptp(finding.points[:, 0]) > 0.8  # both halves
    assert finding.depth.occluded_share > 0.2
    alone = depth.copy()
    alone[:, 95:105] = 4.0
    other = locate(CroppedMask.of(mask), alone, Camera(200, 200, (200.0, 200.0), (100.0, 100.0)), SETTINGS)
    assert other.depth.occluded_share < 0.05


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [
        ("plumb_bob", (-0.28, 0.09, 0.001, -0.0005, -0.01)),
        ("rational_polynomial", (0.6, -2.8, 0.001, -0.0002, 1.5, 0.5, -2.6, 1.4)),
        ("equidistant", (0.1, -0.02, 0.003, -0.001)),
    ],
)
def test_rays_of_distorted_cameras_lead_back_to_their_pixels(model: str, coefficients: tuple[float, ...]) -> None:
    camera = Camera(160, 120, (110.0, 112.0), (80.5, 58.0), model, coefficients)
    rays = camera.rays.reshape(-1, 2)
    pixels = camera.project(np.column_stack((rays, np.ones(len(rays)))))

    ys, xs = np.mgrid[:120, :160]
    assert np.abs(pixels - np.stack((xs, ys), axis=-1).reshape(-1, 2)).max() < 0.01
    pinhole = Camera(160, 120, (110.0, 112.0), (80.5, 58.0))
    assert np.abs(camera.rays - pinhole.rays).max() > 0.01
    columns, rows = np.array((0, 159, 30)), np.array((119, 0, 7))
    for each in (camera, pinhole):
        np.testing.assert_allclose(each.rays_at(columns, rows)[:, :2], each.rays[rows, columns], atol=1e-7)
        assert (each.rays_at(columns, rows)[:, 2] == 1).all()


@pytest.mark.parametrize(
    "change",
    [
        {"focal": (0.0, 0.0)},
        {"focal": (math.nan, 1.0)},
        {"width": 0},
        {"model": "magic"},
        {"model": "plumb_bob", "distortion": (1.0, 2.0)},
    ],
)
def test_calibrations_that_make_no_sense_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(CameraError):
        Camera(**{"width": 64, "height": 48, "focal": (50.0, 50.0), "centre": (32.0, 24.0), **change})  # type: ignore[arg-type]


def test_cropped_and_scaled_cameras_see_the_same_rays() -> None:
    camera = Camera(160, 120, (100.0, 100.0), (79.5, 59.5))

    assert np.allclose(camera.cropped(20, 10, 80, 60).rays, camera.rays[10:70, 20:100])
    half = camera.scaled(80, 60)
    assert np.allclose(half.rays, camera.rays.reshape(60, 2, 80, 2, 2).mean(axis=(1, 3)), atol=1e-6)
    with pytest.raises(CameraError, match="another shape"):
        camera.scaled(80, 80)


def test_depth_is_registered_to_the_colour_camera() -> None:
    """A second camera 5 cm to the left with half the pixels: registered, its depth is what the first one sees."""
    scene = RoomScene(320, 240)
    small = RoomScene(160, 120)
    shifted = small.camera_pose[:3, 3] + np.array([0.0, 0.05, 0.0])
    small._origin, small.camera_pose[:3, 3] = shifted.astype(np.float32), shifted
    small._empty = small._render_room()
    transform = np.eye(4)
    transform[0, 3] = -0.05  # the world's left is the camera's -x
    registered = register(small.render(0).depth, camera_of(small), camera_of(scene), transform)
    exact = scene.render(0).depth
    error = np.abs(registered - exact)[registered > 0] / exact[registered > 0]

    assert np.mean(registered > 0) > 0.9
    assert np.median(error) < 0.005
    assert np.mean(error < 0.05) > 0.93


@pytest.mark.parametrize("focal", [1e-3, 1e-300])
def test_depth_is_not_registered_to_a_camera_of_much_longer_focal_length(focal: float) -> None:
    colour = Camera(8, 8, (50.0, 50.0), (4.0, 4.0))

    with pytest.raises(CameraError, match="at most 16 times"):
        register(np.ones((8, 8), np.float32), Camera(8, 8, (focal, focal), (4.0, 4.0)), colour, np.eye(4))


def test_noise_grows_with_the_square_of_the_distance() -> None:
    rng = np.random.default_rng(0)
    for distance in (1.0, 2.0, 4.0):
        measured = stereo_depth(np.full((200, 300), distance, np.float32), 500.0, rng)
        seen = measured[measured > 0]
        assert seen.std() == pytest.approx(NOISE_AT_1_M * distance**2, rel=0.25)
        assert seen.mean() == pytest.approx(distance, rel=0.01)


def test_velocity_and_axes_over_time() -> None:
    motions, rng = Motions(), np.random.default_rng(0)
    covariance = np.eye(6) * 0.01**2
    for index in range(31):
        turn = np.eye(3)[[1, 0, 2]] * (1, 1, -1) if index % 2 else np.eye(3)  # the same box with x and y exchanged
        size = np.array([0.2, 0.3, 0.4] if index % 2 else [0.3, 0.2, 0.4])
        centre = np.array([0.5 * index / 30, 1.0, 2.0]) + rng.normal(0, 0.005, 3)
        place = Location("box", centre, turn, size, covariance, True, 100, 1.0, 0.0, False)
        found = motions.update(7, round(index * 1e9 / 30), place)
        if not index:
            assert np.isnan(motions[7].velocity).all()
            first = found
    assert np.linalg.norm(motions[7].velocity - (0.5, 0.0, 0.0)) < 0.08
    assert found.size == pytest.approx(first.size)
    motions.update(7, 10, first)  # time goes back
    assert np.isnan(motions[7].velocity).all()
    assert len(motions[7].trail) == 1


def test_a_box_at_every_yaw() -> None:
    for yaw in np.linspace(0, math.pi / 2, 4):
        body = Body("crate", Solid("box", (0.4, 0.25, 0.3)), Pose((1.5, 0.1, 0.15), float(yaw)), (200.0, 60.0, 60.0))
        scene = RoomScene(320, 240, bodies=(body,))
        frame = scene.render(0)
        finding = locate(
            CroppedMask.of(frame.labels == 1), frame.depth, camera_of(scene), SETTINGS, scene.camera_pose[2, :3]
        )
        assert finding.location is not None
        errors = compare(finding.location.moved(scene.camera_pose), body.solid, body.pose, scene.camera_pose[:3, 3])
        assert errors.iou > 0.7, yaw


def test_a_top_at_the_height_of_the_camera_does_not_stretch_the_box() -> None:
    body = Body("crate", Solid("box", (0.2, 0.25, 0.3)), Pose((1.2, 0.0, 0.15), 0.0), (200.0, 60.0, 60.0))
    scene = RoomScene(320, 240, bodies=(body,), camera_height=0.305, camera_pitch=0.1)
    frame = scene.render(0)
    mask, up = CroppedMask.of(frame.labels == 1), scene.camera_pose[2, :3]
    finding = locate(mask, frame.depth, camera_of(scene), SETTINGS, up)

    assert finding.location is not None
    assert finding.location.size.max() < 0.35
    # Nothing shows how deep it is, and the covariance along the line of sight says so.
    assert math.sqrt(finding.location.covariance[2, 2]) > 0.05


def test_iou_of_boxes() -> None:
    one = (np.zeros(3), np.array([2.0, 1.0, 1.0]), 0.0)

    assert iou_3d(one, one) == pytest.approx(1.0, abs=1e-5)
    assert iou_3d(one, (np.array([1.0, 0, 0]), one[1], 0.0)) == pytest.approx(1 / 3, abs=1e-5)
    assert iou_3d(one, (np.zeros(3), np.array([1.0, 2.0, 1.0]), math.pi / 2)) == pytest.approx(1.0, abs=1e-4)
    assert iou_3d(one, (np.array([5.0, 0, 0]), one[1], 0.0)) == 0.0


def test_a_mask_of_one_pixel_at_the_border_gives_an_answer() -> None:
    mask = np.zeros((20, 20), bool)
    mask[0, 0] = True
    finding = locate(
        CroppedMask.of(mask), np.ones((20, 20), np.float32), Camera(20, 20, (20.0, 20.0), (10.0, 10.0)), SETTINGS
    )

    assert finding.miss is Miss.TOO_FEW_POINTS
    assert finding.depth.touches_border
