import numpy as np
import pytest

from mmcomformer.report.collected import KeptPicture
from mmcomformer.report.picture_pool import PicturePool, choose_pictures, classes_on


def stripes(*labels):
    """A map of 100 columns, with an equal part of each label."""
    return np.repeat(np.array(labels), 100 // len(labels))[None].repeat(4, axis=0)


def picture(name, truth):
    return KeptPicture.of(name, np.zeros((*truth.shape, 3), np.uint8), {'truth': truth})


def offer(pool, name, *labels):
    truth = stripes(*labels)
    pool.offer(name, truth, lambda: picture(name, truth))


def names(pictures):
    return [kept.name for kept in pictures]


def test_segments_of_a_class_count_together():
    assert classes_on(stripes(2, 1002, 5, -1)) == {2: 0.5, 5: 0.25}


def test_specks_do_not_count():
    truth = np.zeros((10, 100), int)
    truth[0, :9] = 4
    assert list(classes_on(truth)) == [0]
    truth[0, 9] = 4
    assert list(classes_on(truth)) == [0, 4]


def test_the_image_with_most_classes_is_kept_for_each():
    pool = PicturePool(160)
    offer(pool, 'one', 0)
    offer(pool, 'two', 0, 1)
    offer(pool, 'other', 2)
    assert names(pool.pictures()) == ['two', 'other']


def test_among_equals_the_largest_share_and_then_the_name():
    pool = PicturePool(160)
    offer(pool, 'b', 0, 1)
    offer(pool, 'a', 0, 1)
    assert names(pool.pictures()) == ['a']
    offer(pool, 'more of 0', 0, 0, 0, 1)
    assert sorted(names(pool.pictures())) == ['a', 'more of 0']


@pytest.mark.parametrize(('num_classes', 'count'), [(1, 8), (12, 8), (40, 4), (80, 2), (200, 1)])
def test_of_few_classes_more_images_are_kept(num_classes, count):
    pool = PicturePool(num_classes)
    for index in range(12):
        offer(pool, f'{index:02d}', 0)
    assert names(pool.pictures()) == [f'{index:02d}' for index in range(count)]


def test_a_picture_that_was_pushed_out_is_gone():
    pool = PicturePool(80)
    for name, labels in (('c', [0]), ('d', [0]), ('b', [0, 1]), ('a', [0, 1])):
        offer(pool, name, *labels)
    assert names(pool.pictures()) == ['a', 'b']


def test_classes_come_again_after_each_was_shown():
    pool = PicturePool(40)
    for name, labels in (('a', [0]), ('b', [0]), ('c', [1]), ('d', [1]), ('e', [2])):
        offer(pool, name, *labels)
    assert names(pool.pictures()) == ['a', 'c', 'e', 'b', 'd']


def test_large_images_are_sampled():
    pool = PicturePool(160)
    truth = np.kron(stripes(0, 1, 2, 3), np.ones((200, 8), int))
    pool.offer('large', truth, lambda: picture('large', truth))
    assert list(pool._best) == [0, 1, 2, 3]
    for [(classes, share, _)] in pool._best.values():
        assert classes == -4
        assert share == pytest.approx(-0.25, abs=0.01)


def test_pictures_that_are_not_kept_are_not_made():
    pool = PicturePool(160)
    offer(pool, 'a', 0, 1)
    pool.offer('b', stripes(0), lambda: pytest.fail('made'))
    pool.offer('nothing', stripes(-1), lambda: pytest.fail('made'))


@pytest.mark.parametrize('parts', [1, 2, 3])
@pytest.mark.parametrize('num_classes', [9, 50, 160])
def test_the_choice_does_not_depend_on_order_or_number_of_processes(parts, num_classes):
    random = np.random.default_rng(3)
    images = [(f'{i:02d}', random.integers(0, 9, random.integers(1, 6))) for i in range(40)]
    expected = PicturePool(num_classes)
    for name, labels in images:
        offer(expected, name, *labels)
    random.shuffle(images)
    pools = [PicturePool(num_classes) for _ in range(parts)]
    for index, (name, labels) in enumerate(images):
        offer(pools[index % parts], name, *labels)
    merged = PicturePool(num_classes)
    for pool in pools:
        merged.merge(pool)
    assert names(merged.pictures()) == names(expected.pictures())


def test_at_most_so_many_and_first_what_shows_something_new():
    pool = PicturePool(160)
    offer(pool, 'pair', 0, 1)
    offer(pool, 'three', 2, 3, 4)
    offer(pool, 'single', 5)
    assert names(pool.pictures(most=2)) == ['three', 'pair']


def test_choice_takes_turns():
    kept = [picture(str(label), stripes(label)) for label in range(6)]
    chosen = choose_pictures(kept, [[3, 2], [5], [0, 3]], count=4)
    assert names(chosen) == ['3', '5', '0', '2']
    assert names(choose_pictures(kept, [[3], [], [3]], count=3)) == ['3', '0', '1']
    assert names(choose_pictures(kept, [[9]], count=8)) == ['0', '1', '2', '3', '4', '5']
    assert choose_pictures([], [[1]]) == []


def test_choice_prefers_the_largest_share():
    kept = [picture('little', stripes(0, 1, 2)), picture('much', stripes(0, 0, 2))]
    assert names(choose_pictures(kept, [[0]], count=1)) == ['much']
