import numpy as np

from changedet.evaluation.object_figures import object_figures
from changedet.metrics.objects import ObjectCounter, ObjectResult, object_result
from changedet.storage.results import to_plain


def counted(mask: np.ndarray, label: np.ndarray) -> ObjectResult:
    counter = ObjectCounter()
    counter.add(mask.astype(bool), label.astype(np.uint8))
    return object_result(counter.compute())


def test_undefined_figures_of_objects_are_null_and_never_zero():
    nothing = np.zeros((8, 8))
    empty = to_plain(object_figures(counted(nothing, nothing), gsd_m=None))
    assert (empty["f1"], empty["precision"], empty["recall"]) == (None, None, None)
    assert empty["intervals"]["f1"] == [None, None]
    assert empty["by_size"][0]["recall"] is None
    missed = to_plain(object_figures(counted(nothing, np.eye(8)), gsd_m=None))
    assert (missed["f1"], missed["precision"], missed["recall"]) == (0.0, None, 0.0)


def test_sizes_in_square_metres_are_given_where_the_pixel_size_is_known():
    result = counted(np.eye(8), np.eye(8))
    assert object_figures(result, gsd_m=None).by_size[1].area_m2 is None
    by_size = object_figures(result, gsd_m=2.0).by_size
    assert by_size[1].area_m2 == (256.0, 1024.0)
    assert by_size[4].area_m2 == (16384.0, None)
