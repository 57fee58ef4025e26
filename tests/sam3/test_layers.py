"""The detector's own layers, by hand: windows, rotary positions, encodings, points of the geometry encoder."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sam_core.sam3 import build_network
from sam_core.sam3.attention import PackedAttention
from sam_core.sam3.geometry import GeometryEncoder
from sam_core.sam3.neck import pyramid_level
from sam_core.sam3.positions import centre_to_corners, corners_to_centre, encode_coordinates, inverse_sigmoid
from sam_core.sam3.rotary import axial_rotations, rotate
from sam_core.sam3.vit import Vit, join_windows, split_windows


def toy_vit(**changes: int) -> Vit:
    options = {"image_size": 56, "patch_size": 14, "width": 16, "depth": 2, "num_heads": 2, "window": 2}
    return Vit(**{**options, **changes}, mlp_ratio=2.0, global_blocks=[1], pretrain_image_size=28)


def test_attention_is_torch_s() -> None:
    torch.manual_seed(0)
    ours, theirs = PackedAttention(24, 3), nn.MultiheadAttention(24, 3, batch_first=True)
    nn.init.normal_(theirs.in_proj_bias)
    ours.load_state_dict(theirs.state_dict())
    query, key, value = torch.randn(2, 5, 24), torch.randn(2, 7, 24), torch.randn(2, 7, 24)
    valid = torch.arange(7)[None] < torch.tensor([[7], [4]])
    expected = theirs(query, key, value, key_padding_mask=~valid, need_weights=False)[0]
    torch.testing.assert_close(ours(query, key, value, bias=valid[:, None, None]), expected)
    causal = theirs(key, key, key, attn_mask=torch.ones(7, 7).triu(1).bool(), need_weights=False)[0]
    torch.testing.assert_close(ours(key, key, key, causal=True), causal)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="do not divide"):
        PackedAttention(10, 4)
    with pytest.raises(ValueError, match="do not divide"):
        toy_vit(num_heads=3)


@pytest.mark.parametrize(("height", "width", "window"), [(8, 8, 4), (7, 9, 4), (3, 5, 8)])
def test_windows_come_apart_and_together(height: int, width: int, window: int) -> None:
    x = torch.arange(2.0 * height * width * 3).reshape(2, height, width, 3)
    windows, padded = split_windows(x, window)
    assert windows.shape[1:] == (window, window, 3)
    torch.testing.assert_close(windows[0, : min(window, height), : min(window, width)], x[0, :window, :window])
    assert torch.equal(join_windows(windows, window, padded)[:, :height, :width], x)


def test_rotary_attention_depends_on_distance_alone() -> None:
    rotations = axial_rotations(8, grid=4)
    torch.testing.assert_close(rotations.abs(), torch.ones(16, 4))
    x = torch.randn(8).expand(1, 1, 16, 8)
    logits = (rotate(x, rotations) @ rotate(x, rotations).transpose(-1, -2))[0, 0]
    # Places are row * 4 + column: one to the right, or one down, is the same everywhere.
    torch.testing.assert_close(logits[0, 1], logits[6, 7])
    torch.testing.assert_close(logits[0, 4], logits[9, 13])
    assert not torch.isclose(logits[0, 1], logits[0, 4])


def test_rotations_turn_by_scaled_positions() -> None:
    rotations = axial_rotations(8, grid=6, scale=0.5)
    # Column 4 of row 2; two frequencies an axis, 1 and 1 / 100.
    expected = torch.tensor([2.0, 0.02, 1.0, 0.01])
    torch.testing.assert_close(rotations[2 * 6 + 4].angle(), expected)


def test_global_blocks_see_the_window_s_range_of_positions() -> None:
    vit = toy_vit()
    window, whole = vit.blocks[0].attn.freqs_cis, vit.blocks[1].attn.freqs_cis
    torch.testing.assert_close(window, axial_rotations(8, 2))
    torch.testing.assert_close(whole, axial_rotations(8, 4, scale=0.5))


def test_windowed_blocks_do_not_look_beyond_their_window() -> None:
    torch.manual_seed(1)
    vit = toy_vit()
    x = torch.randn(1, 4, 4, 16)
    changed = x.clone()
    changed[0, 0, 0] = torch.randn(16)
    windowed = (vit.blocks[0](changed) - vit.blocks[0](x)).abs().amax(-1)[0] > 1e-6
    assert windowed[:2, :2].all()
    assert windowed.sum() == 4
    assert ((vit.blocks[1](changed) - vit.blocks[1](x)).abs().amax(-1)[0] > 1e-7).all()


def test_absolute_positions_are_tiled_without_the_class_token() -> None:
    vit = toy_vit(image_size=70)  # 5 patches over tiles of 2
    tiled = vit.tiled_positions()[0]
    assert tiled.shape == (5, 5, 16)
    for row in range(5):
        for column in range(5):
            assert torch.equal(tiled[row, column], vit.pos_embed[0, 1 + 2 * (row % 2) + column % 2])


def test_vit_refuses_other_sizes() -> None:
    with pytest.raises(ValueError, match="takes 56 x 56 px, not 70 x 56"):
        toy_vit()(torch.zeros(1, 3, 56, 70))
    with pytest.raises(ValueError, match="not a multiple"):
        toy_vit(image_size=57)


@pytest.mark.parametrize(("scale", "side"), [(4, 24), (2, 12), (1, 6), (0.5, 3)])
def test_pyramid_levels(scale: float, side: int) -> None:
    assert pyramid_level(scale, 16, 8)(torch.randn(1, 16, 6, 6)).shape == (1, 8, side, side)


def test_pyramid_knows_no_other_scale() -> None:
    with pytest.raises(ValueError, match="not 3"):
        pyramid_level(3, 16, 8)


def test_coordinates_interleave_sines_and_cosines() -> None:
    encoded = encode_coordinates(torch.tensor([0.25]), 4)[0]
    angle = 0.25 * 2 * math.pi
    expected = [math.sin(angle), math.cos(angle), math.sin(angle / 100), math.cos(angle / 100)]
    torch.testing.assert_close(encoded, torch.tensor(expected), atol=1e-6, rtol=1e-5)


def test_boxes_convert_and_back() -> None:
    boxes = torch.tensor([[0.5, 0.4, 0.2, 0.6]])
    torch.testing.assert_close(centre_to_corners(boxes), torch.tensor([[0.4, 0.1, 0.6, 0.7]]))
    torch.testing.assert_close(corners_to_centre(centre_to_corners(boxes)), boxes)


def test_inverse_sigmoid_is_bounded() -> None:
    values = torch.tensor([0.0, 0.3, 0.7, 1.0])
    expected = torch.tensor([math.log(1e-3), math.log(3 / 7), math.log(7 / 3), -math.log(1e-3)])
    torch.testing.assert_close(inverse_sigmoid(values), expected)


def test_points_are_placed_sampled_and_labelled() -> None:
    """Each of the four summands of a point's embedding, isolated by zeroing the others."""
    encoder = GeometryEncoder(8, 2, 16, num_layers=1, roi_size=3)
    features = torch.randn(1, 8, 4, 6)
    points = torch.tensor([[[2.5 / 6, 1.5 / 4], [3 / 6, 0.5 / 4]]])  # pixel (2, 1); half-way between (2, 0) and (3, 0)
    labels = torch.tensor([[1, 0]])
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
        assert not encoder.embed_points(points, labels, features).any()
        encoder.points_pool_project.weight.copy_(torch.eye(8))
        pooled = encoder.embed_points(points, labels, features)[0]
        torch.testing.assert_close(pooled[0], features[0, :, 1, 2])
        torch.testing.assert_close(pooled[1], (features[0, :, 0, 2] + features[0, :, 0, 3]) / 2)
        encoder.points_pool_project.weight.zero_()
        encoder.points_direct_project.weight[:2].copy_(torch.eye(2))
        torch.testing.assert_close(encoder.embed_points(points, labels, features)[..., :2], points)
        encoder.points_direct_project.weight.zero_()
        encoder.points_pos_enc_project.weight.copy_(torch.eye(8))
        encoded = encoder.embed_points(points, labels, features)[0, 0]
        # x in the first half, y in the second.
        torch.testing.assert_close(encoded[:4], encode_coordinates(points[0, 0, 0], 4))
        torch.testing.assert_close(encoded[4:], encode_coordinates(points[0, 0, 1], 4))
        encoder.points_pos_enc_project.weight.zero_()
        encoder.label_embed.weight.copy_(torch.tensor([[2.0], [3.0]]).expand(2, 8))
        torch.testing.assert_close(encoder.embed_points(points, labels, features)[0, :, 0], torch.tensor([3.0, 2.0]))


def test_a_fresh_network_has_no_undefined_parameter() -> None:
    network = build_network("sam3_toy")
    for name, parameter in network.named_parameters():
        assert torch.isfinite(parameter).all(), name
        assert parameter.abs().max() < 10, name
