import pytest
import timm
import torch

from changedet.errors import ConfigError
from changedet.nn.encoder import LevelEncoder, PyramidEncoder, TimmEncoder, nearest_levels

# Name, channels and stride of the last map where dilation is asked down to 8.
BACKBONES = [
    ("resnet18", 512, 8),
    ("resnet50", 2048, 8),
    ("tf_efficientnet_lite0", 320, 8),
    ("convnext_atto", 320, 8),
    ("mobilenetv3_small_100", 576, 8),
    ("swin_tiny_patch4_window7_224", 768, 32),
    ("vit_tiny_patch16_224", 192, 16),
    ("efficientvit_b0", 128, 32),
    ("vgg11", 512, 32),
]


@pytest.mark.parametrize(("name", "channels", "stride"), BACKBONES)
def test_the_map_has_the_stated_channels_and_stride(name, channels, stride):
    encoder = TimmEncoder(name).eval()
    with torch.inference_mode():
        features = encoder(torch.randn(1, 3, 32, 64))
    assert (encoder.out_channels, encoder.stride) == (channels, stride)
    assert features.shape == (1, channels, 32 // stride, 64 // stride)


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224"])
def test_the_map_lies_the_right_way_round(name):
    torch.manual_seed(0)
    encoder = TimmEncoder(name).eval()
    images = torch.zeros(2, 3, 256, 256)
    # A change in the lower left corner moves the features there most.
    images[1, :, -32:, :32] = 5.0
    with torch.inference_mode():
        plain, marked = encoder(images)
    moved = (marked - plain).norm(dim=0)
    rows, columns = moved.shape
    peak = moved.argmax().item()
    assert peak // columns >= rows // 2
    assert peak % columns < columns // 2


def test_resnet50_dilates_as_the_specification_says():
    stages = TimmEncoder("resnet50").backbone
    for stage, first, others in ((stages.layer3, 1, 2), (stages.layer4, 2, 4)):
        dilations = [block.conv2.dilation[0] for block in stage]
        assert dilations == [first] + [others] * (len(dilations) - 1)
        assert all(block.conv2.stride == (1, 1) for block in stage)
    assert stages.layer2[0].conv2.stride == (2, 2)


def test_other_numbers_of_channels_are_taken():
    encoder = TimmEncoder("resnet18", in_channels=5)
    assert encoder(torch.randn(2, 5, 32, 32)).shape == (2, 512, 4, 4)


def test_an_unknown_name_is_answered_with_near_ones():
    with pytest.raises(ConfigError, match=r"'resnet51' is not a timm model; did you mean .*resnet"):
        TimmEncoder("resnet51")


def test_a_name_like_no_other_points_to_the_list():
    with pytest.raises(ConfigError, match=r"timm\.list_models"):
        TimmEncoder("???")


def test_no_channels_at_all_are_refused():
    with pytest.raises(ConfigError, match="in_channels must be at least 1, got 0"):
        TimmEncoder("resnet18", in_channels=0)


def test_a_backbone_of_one_size_says_so():
    encoder = TimmEncoder("mixer_s32_224")
    with pytest.raises(ConfigError, match=r"'mixer_s32_224' cannot take images of \(32, 32\) px"):
        encoder(torch.randn(1, 3, 32, 32))


def test_a_backbone_that_cuts_edges_off_says_so():
    encoder = TimmEncoder("inception_v3").eval()
    with pytest.raises(ConfigError, match="'inception_v3' turns images of"):
        encoder(torch.randn(1, 3, 96, 96))


def test_a_backbone_without_feature_maps_says_so(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("features_only not implemented")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(ConfigError, match="'resnet18' gives no feature maps"):
        TimmEncoder("resnet18")


@pytest.mark.parametrize(
    ("strides", "wanted", "chosen"),
    [
        ((2, 4, 8, 16, 32), (4, 8, 16, 32), [1, 2, 3, 4]),
        ((4, 8, 16, 32), (2, 4, 8), [0, 0, 1]),
        ((1, 2, 4, 8, 16, 32), (2, 32), [1, 5]),
        # A plain vision transformer: at equal intervals, the last one among them.
        ((16,) * 12, (4, 8, 16, 32), [2, 5, 8, 11]),
        ((16,) * 12, (8,), [11]),
        ((14,), (4, 8), [0, 0]),
        # The picks for 2 and 4 share the two finest levels.
        ((4, 4, 8), (2, 4, 8), [0, 1, 2]),
    ],
)
def test_each_wanted_stride_gets_the_nearest_level(strides, wanted, chosen):
    assert nearest_levels(strides, wanted) == chosen


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "mobilenetv3_small_050"])
def test_levels_are_those_of_the_whole_encoder_without_what_lies_behind(name):
    torch.manual_seed(0)
    whole = PyramidEncoder(name).eval()
    levels = LevelEncoder(name, wanted=(4, 8)).eval()
    assert (levels.strides, levels.picks, levels.stride) == ((4, 8), (0, 1), 8)
    stored = whole.backbone.state_dict()
    levels.backbone.load_state_dict({key: stored[key] for key in levels.backbone.state_dict()})
    images = torch.randn(1, 3, 64, 96)
    for ours, theirs in zip(levels(images), whole(images), strict=False):
        torch.testing.assert_close(ours, theirs)
    levels.train()
    sum(maps.sum() for maps in levels(torch.randn(2, 3, 64, 64))).backward()
    idle = [key for key, value in levels.named_parameters() if value.grad is None]
    assert idle == []
    assert len(stored) > len(levels.backbone.state_dict())


def test_one_level_may_answer_for_several_strides():
    levels = LevelEncoder("test_convnext", wanted=(2, 4, 8))
    assert (levels.strides, levels.picks) == ((4, 8), (0, 0, 1))


@pytest.mark.parametrize(("name", "stride"), [("test_resnet", 8), ("vit_tiny_patch16_224", 16)])
def test_levels_are_dilated_where_the_backbone_can(name, stride):
    levels = LevelEncoder(name, wanted=(32,), output_stride=8)
    assert levels.strides == (stride,)
    assert levels(torch.randn(1, 3, 32, 64))[0].shape[-2:] == (32 // stride, 64 // stride)
