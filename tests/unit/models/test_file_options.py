import warnings

from changedet.models.file_options import check_options


def test_files_from_before_there_were_kinds_are_read_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_options("siamese_pyramid", {"encoder": "test_efficientnet", "in_channels": 3})
