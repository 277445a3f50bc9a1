import pytest
import timm
import torch

from changedet.errors import ConfigError
from changedet.nn.encoder import TimmEncoder

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
