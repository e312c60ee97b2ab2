import numpy as np
import pytest

from mmcomformer.datasets.transforms.load_panoptic_id_map import relabel_segments


def brute_force(ids, segment_ids, values):
    table = {0: 0, **dict(zip(segment_ids, values, strict=False))}
    return np.array([[table.get(i, 0) for i in row] for row in ids.tolist()])


@pytest.mark.parametrize('blocks', [True, False])
@pytest.mark.parametrize('seed', range(5))
def test_against_brute_force(seed, blocks):
    rng = np.random.default_rng(seed)
    segment_ids = rng.choice(2**24 - 1, 8, replace=False) + 1
    pool = np.concatenate([[0], segment_ids[:6], [int(segment_ids.max()) + 1]])
    ids = rng.choice(pool, (6, 9)).astype(np.int32)
    if blocks:
        ids = ids.repeat(4, axis=0).repeat(3, axis=1)
    values = rng.permutation(9)[:8]
    relabelled, present, unknown = relabel_segments(ids, segment_ids, values)
    assert relabelled.dtype == np.uint8
    assert np.array_equal(relabelled, brute_force(ids, segment_ids.tolist(), values.tolist()))
    assert present.tolist() == [i in ids for i in segment_ids]
    assert unknown.tolist() == sorted(set(ids.ravel().tolist()) - {0, *segment_ids.tolist()})


@pytest.mark.parametrize(('count', 'dtype'), [(255, np.uint8), (256, np.int32)])
def test_many_segments(count, dtype):
    values = np.arange(count + 1)
    ids = (values * 1000).astype(np.int32)[None]
    relabelled, _, unknown = relabel_segments(ids, ids[0, 1:], values[1:])
    assert relabelled.dtype == dtype
    assert np.array_equal(relabelled[0], values)
    assert not unknown.size


def test_no_segment():
    nothing = np.array([], dtype=np.int32)
    relabelled, present, unknown = relabel_segments(np.zeros((2, 3), np.int32), nothing, nothing)
    assert relabelled.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert present.size == unknown.size == 0


def test_only_unknown_ids():
    nothing = np.array([], dtype=np.int32)
    relabelled, _, unknown = relabel_segments(np.array([[4, 2]], np.int32), nothing, nothing)
    assert relabelled.tolist() == [[0, 0]]
    assert unknown.tolist() == [2, 4]


@pytest.fixture
def results(hand_made):
    return {
        'img_path': str(hand_made.image_path('a')),
        'seg_map_path': str(hand_made.png_path('a')),
        'ori_shape': (8, 10),
        'segments': [
            {'id': 5, 'label': 0, 'iscrowd': False, 'visible': True},
            {'id': 70000, 'label': 3, 'iscrowd': False, 'visible': False},
            {'id': 9, 'label': 1, 'iscrowd': False, 'visible': True},
        ],
    }


def load(results, **kwargs):
    from mmengine.registry import TRANSFORMS

    return TRANSFORMS.build({'type': 'LoadPanopticIdMap', **kwargs})(results)


def test_hidden_segments_become_void(hand_made, results):
    out = load(results)
    ids = hand_made.maps['a.jpg']
    assert np.array_equal(out['gt_seg_map'], (ids == 5) + 2 * (ids == 9))
    assert out['gt_segments'] == [
        {'id': 5, 'label': 0, 'iscrowd': False},
        {'id': 9, 'label': 1, 'iscrowd': False},
    ]


def test_a_hidden_segment_still_has_to_be_there(results):
    results['segments'][1]['id'] = 70001
    with pytest.raises(ValueError, match=r'does not list the segment ids \[70000\]'):
        load(results)


def test_empty_segments_can_be_allowed(results):
    results['segments'].append({'id': 4, 'label': 2, 'iscrowd': False, 'visible': True})
    with pytest.raises(ValueError, match=r'no pixel has the segment ids \[4\].*allow_empty'):
        load(dict(results))
    out = load(results, allow_empty_segments=True)
    assert [segment['id'] for segment in out['gt_segments']] == [5, 9, 4]
    assert out['gt_seg_map'].max() == 2


def test_many_ids_are_cut_short(results):
    results['segments'] += [
        {'id': 100 + i, 'label': 2, 'iscrowd': False, 'visible': False} for i in range(12)
    ]
    with pytest.raises(ValueError, match=r'\[100, .*, 109, ... 12 in all\]'):
        load(results)


def test_image_of_a_user_is_left_alone():
    results = {'img_path': None, 'img': np.zeros((4, 4, 3), np.uint8)}
    assert load(dict(results)).keys() == results.keys()


def test_repr():
    from mmcomformer.datasets import LoadPanopticIdMap

    expected = 'LoadPanopticIdMap(allow_empty_segments=True, backend_args=None)'
    assert repr(LoadPanopticIdMap(allow_empty_segments=True)) == expected
