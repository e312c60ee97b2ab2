import numpy as np
import pytest

from mmcomformer.drawing import (
    SMALLEST_SIDE,
    Segment,
    draw_segments,
    enlargement,
    join_panels,
)


def half(left):
    mask = np.zeros((600, 500), dtype=bool)
    mask[:, :250] = left
    mask[:, 250:] = not left
    return mask


@pytest.fixture
def image():
    return np.full((600, 500, 3), (90, 120, 150), np.uint8)


def test_colours_and_hatching(image):
    picture = draw_segments(image, [Segment(half(left=True), 'cat', (255, 0, 0))])
    assert picture.shape == image.shape
    # far from the name and the border
    inside = picture[300:580, 20:230].reshape(-1, 3)
    assert np.ptp(inside, axis=0).max() == 0
    assert inside[0, 0] > 150 > inside[0, 2]
    outside = picture[:, 260:]
    # grey lines on a grey ground
    assert (outside.max(-1).astype(int) - outside.min(-1) <= 1).all()
    dark = (outside[..., 0] == 70).mean()
    assert 0.15 < dark < 0.3


def test_everything_is_hatched_without_segments(image):
    picture = draw_segments(image, [])
    assert (picture.max(-1).astype(int) - picture.min(-1) <= 1).all()


def test_segments_without_pixels(image):
    empty = Segment(np.zeros((600, 500), dtype=bool), 'nothing', (0, 0, 0))
    assert np.array_equal(draw_segments(image, [empty]), draw_segments(image, []))


def test_names_are_written(image):
    named, other = (
        draw_segments(image, [Segment(half(left=False), name, (0, 200, 0))])
        for name in ('Straße', 'x')
    )
    assert not np.array_equal(named, other)


@pytest.mark.parametrize(('size', 'scale'), [((96, 96), 5), ((64, 300), 8), ((480, 900), 1)])
def test_small_images_are_enlarged(size, scale):
    assert enlargement(*size) == scale
    image = np.zeros((*size, 3), np.uint8)
    picture = draw_segments(image, [Segment(np.ones(size, dtype=bool), 'a', (9, 9, 9))])
    assert picture.shape == (scale * size[0], scale * size[1], 3)
    assert min(picture.shape[:2]) >= SMALLEST_SIDE


def test_panels(image):
    joined = join_panels([('one', image), ('two', image)], 'step 0')
    assert joined.shape[1] > 2 * image.shape[1]
    assert joined.shape[0] > image.shape[0]
    assert (joined == (90, 120, 150)).all(-1).sum() == 2 * image.shape[0] * image.shape[1]


def test_smaller_pictures_and_names():
    image = np.zeros((96, 96, 3), np.uint8)
    segment = Segment(np.ones((96, 96), bool), 'cat', (200, 0, 0))
    assert draw_segments(image, [segment], smallest_side=200).shape == (288, 288, 3)
    names = [
        (draw_segments(image, [segment], font_size=size) > 250).all(-1).sum() for size in (12, 24)
    ]
    assert 0 < 2 * names[0] < names[1]
