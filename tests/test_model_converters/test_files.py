"""Reading detectron2's files without executing what they hold, and writing them."""

import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch

from mmcomformer.model_converters.files import (
    check_destination,
    read_detectron2,
    with_metadata,
    write_checkpoint,
)

ARRAYS = {
    'matrix': np.arange(6, dtype=np.float32).reshape(2, 3),
    'fortran': np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    'big endian': np.arange(3, dtype='>f4'),
    'index': np.arange(4),
    'scalar': np.array(3.0, np.float32),
}


class Malicious:
    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize('protocol', [0, 2, 4, 5])
def test_pickle_of_arrays(tmp_path, protocol):
    path = tmp_path / 'zoo.pkl'
    content = {'model': OrderedDict(ARRAYS), '__author__': 'someone', 'matching_heuristics': True}
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    checkpoint = read_detectron2(path)
    assert checkpoint.model.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(checkpoint.model[name].numpy(), array)
    assert checkpoint.iteration is None
    assert checkpoint.others == ('__author__', 'matching_heuristics')


@pytest.mark.parametrize('core', ['core', '_core'])
def test_pickle_of_either_numpy(tmp_path, core):
    other = '_core' if core == 'core' else 'core'
    data = pickle.dumps({'model': ARRAYS}, protocol=2)
    old, new = f'cnumpy.{other}.multiarray\n'.encode(), f'cnumpy.{core}.multiarray\n'.encode()
    (tmp_path / 'zoo.pkl').write_bytes(data.replace(old, new))
    assert read_detectron2(tmp_path / 'zoo.pkl').model['index'].tolist() == [0, 1, 2, 3]


def test_checkpoint(tmp_path):
    path = tmp_path / 'model_final.pth'
    torch.save({'model': {'a': torch.ones(2)}, 'optimizer': {}, 'iteration': 7}, path)
    checkpoint = read_detectron2(path)
    assert checkpoint.model['a'].tolist() == [1, 1]
    assert (checkpoint.iteration, checkpoint.others) == (7, ('optimizer',))


@pytest.mark.parametrize('suffix', ['pth', 'pkl'])
def test_malicious_file_runs_nothing(tmp_path, suffix):
    victim, path = tmp_path / 'victim', tmp_path / f'bad.{suffix}'
    content = {'model': {'a': Malicious(victim)}}
    if suffix == 'pth':
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(RuntimeError, match=f'bad.{suffix}: refused, .*run code .*mkdir'):
        read_detectron2(path)
    assert not victim.exists()


def test_encodings_are_limited(tmp_path):
    # a codec is looked up by importing a module of its name
    path = tmp_path / 'bad.pkl'
    path.write_bytes(b'c_codecs\nencode\n(Vx\nVzip\ntR.')
    with pytest.raises(RuntimeError, match='bad.pkl: refused, .*_codecs.encode to zip'):
        read_detectron2(path)


@pytest.mark.parametrize('suffix', ['pth', 'pkl'])
@pytest.mark.parametrize('share', [0, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_truncated_file(tmp_path, suffix, share):
    path = tmp_path / f'cut.{suffix}'
    if suffix == 'pth':
        torch.save({'model': {'a': torch.ones(200)}}, path)
    else:
        path.write_bytes(pickle.dumps({'model': ARRAYS}))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(RuntimeError, match=f'cut.{suffix}: .*not a checkpoint'):
        read_detectron2(path)


@pytest.mark.parametrize('seed', range(20))
@pytest.mark.parametrize('suffix', ['pth', 'pkl'])
def test_damaged_file_is_an_error_that_names_it(tmp_path, suffix, seed):
    path = tmp_path / f'bad.{suffix}'
    if suffix == 'pth':
        torch.save({'model': {'a': torch.ones(20)}}, path)
    else:
        path.write_bytes(pickle.dumps({'model': ARRAYS}))
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for position in rng.integers(0, len(data), 8):
        data[position] = rng.integers(256)
    path.write_bytes(bytes(data))
    try:
        read_detectron2(path)
    except RuntimeError as error:
        assert f'bad.{suffix}' in str(error)  # noqa: PT017


def test_missing_file(tmp_path):
    for suffix in ('pth', 'pkl'):
        with pytest.raises(FileNotFoundError, match=f'no.{suffix}: no such file'):
            read_detectron2(tmp_path / f'no.{suffix}')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({'state_dict': {}, 'meta': {}}, "expected the 'model' .*found .'meta', 'state_dict'."),
        ([1], 'found .*list'),
        ({'model': {}}, "found .'model'."),
        ({'blobs': {'a': np.ones(1)}}, "found .'blobs'."),
        ({'model': {'a': 'text'}}, 'a is a str; expected a tensor'),
        ({'model': {'a': np.array([None])}}, 'a is a ndarray of object'),
    ],
)
def test_other_contents(tmp_path, content, message):
    path = tmp_path / 'other.pkl'
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(RuntimeError, match=f'(?s)other.pkl: .*{message}'):
        read_detectron2(path)


def test_destination(tmp_path):
    with pytest.raises(ValueError, match='this is a folder'):
        check_destination(tmp_path / 'a.pth', tmp_path)
    with pytest.raises(ValueError, match='it is SRC'):
        check_destination(tmp_path / 'a.pth', tmp_path / 'b' / '..' / 'a.pth')
    foreign = tmp_path / 'theirs.pth'
    foreign.write_bytes(b'theirs')
    with pytest.raises(FileExistsError, match=r'theirs.pth exists, and was not written by'):
        check_destination(tmp_path / 'a.pth', foreign)
    check_destination(tmp_path / 'a.pth', foreign, overwrite=True)
    write_checkpoint({'model': torch.ones(1)}, foreign)
    check_destination(tmp_path / 'a.pth', foreign)


def test_failed_writing_leaves_what_was_there(tmp_path):
    path = tmp_path / 'new' / 'a.pth'
    write_checkpoint({'model': torch.ones(1)}, path)
    before = path.read_bytes()
    with pytest.raises((AttributeError, pickle.PicklingError)):
        write_checkpoint({'model': lambda: None}, path)
    assert path.read_bytes() == before
    assert sorted(os.listdir(path.parent)) == ['.mmcomformer_written', 'a.pth']


def test_metadata():
    names = [
        'backbone.stem.conv1.norm.running_mean',
        'backbone.res2.0.conv1.norm.running_mean',
        'backbone.res2.0.conv1.norm.num_batches_tracked',
        'sem_seg_head.predictor.query_feat.weight',
        'sem_seg_head.pixel_decoder.mask_features.weight',
    ]
    state_dict = with_metadata({name: torch.ones(1) for name in names})
    versions = {name: entry['version'] for name, entry in state_dict._metadata.items()}
    assert versions['sem_seg_head'] == versions['sem_seg_head.predictor'] == 2
    assert versions['sem_seg_head.pixel_decoder'] == versions['backbone'] == versions[''] == 1
    # frozen norms are of version 3, others of torch's version 2
    assert versions['backbone.stem.conv1.norm'] == 3
    assert versions['backbone.res2.0.conv1.norm'] == 2
