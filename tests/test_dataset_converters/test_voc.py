import numpy as np
import pytest
from downloads import HEIGHT, WIDTH, photo, save
from PIL import Image
from scipy.io import savemat

from mmcomformer.dataset_converters.voc import convert_voc, read_sbd_labels


def convert(root, **kwargs):
    return convert_voc(root, workers=1, **kwargs)


def lines(root, name):
    return (root / 'ImageSets' / 'Segmentation' / f'{name}.txt').read_text().splitlines()


def test_every_pixel(voc, sbd):
    reports = convert(voc, sbd=sbd)
    assert all(report.usable for report in reports)
    folder = voc / 'SegmentationClassAug'
    assert sorted(path.name for path in folder.iterdir()) == [f'{name}.png' for name in 'abcef']
    for number, name in enumerate('abcdef'):
        if name == 'd':
            continue
        image = Image.open(folder / f'{name}.png')
        assert image.mode == 'L'
        expected = np.full((HEIGHT, WIDTH), number)
        expected[2:5, 3:9] = 20
        # the ignored border is VOC's only: b and c, which both label, are VOC's
        expected[5, 3:9] = 255 if name in 'abc' else 15
        assert (np.asarray(image) == expected).all()
    assert lines(voc, 'trainaug') == ['a', 'b', 'e', 'f']
    assert lines(voc, 'aug') == ['e', 'f']


def test_without_sbd(voc):
    (report,) = convert(voc)
    assert report.usable
    assert len(list((voc / 'SegmentationClassAug').iterdir())) == 3
    assert not (voc / 'ImageSets' / 'Segmentation' / 'trainaug.txt').exists()


def test_loads_with_mmseg(voc, sbd):
    pytest.importorskip('ftfy', reason='mmseg needs ftfy')
    pytest.importorskip('regex', reason='mmseg needs regex')
    from mmseg.datasets import PascalVOCDataset

    convert(voc, sbd=sbd)
    dataset = PascalVOCDataset(
        ann_file='ImageSets/Segmentation/trainaug.txt',
        data_root=str(voc),
        data_prefix={'img_path': 'JPEGImages', 'seg_map_path': 'SegmentationClassAug'},
        pipeline=[{'type': 'mmseg.LoadAnnotations'}],
    )
    assert len(dataset) == 4
    assert set(np.unique(dataset[0]['gt_seg_map'])) == {0, 20, 255}
    assert set(np.unique(dataset[3]['gt_seg_map'])) == {5, 15, 20}


class TestCheck:
    def test_complete(self, voc, sbd):
        convert(voc, sbd=sbd)
        assert all(report.usable for report in convert(voc, sbd=sbd, check=True))

    def test_faults(self, voc, sbd):
        convert(voc, sbd=sbd)
        path = voc / 'SegmentationClassAug' / 'e.png'
        path.write_bytes(b'')
        lists = voc / 'ImageSets' / 'Segmentation'
        (lists / 'aug.txt').write_text('e\nf\nc\n')
        (lists / 'trainaug.txt').write_text('a\nb\ne\n')
        faults = convert(voc, sbd=sbd, check=True)[1].faults
        assert f'{path} cannot be read' in faults[0]
        assert 'trainaug.txt lacks 1 images, such as f' in faults[1]
        assert 'aug.txt has 1 images too many, such as c' in faults[2]


class TestFaults:
    @pytest.mark.parametrize('name', ['SegmentationClass', 'ImageSets/Segmentation/val.txt'])
    def test_layout(self, voc, sbd, name):
        (voc / name).rename(voc / 'elsewhere')
        with pytest.raises(FileNotFoundError, match=f'(?s){name} does not exist.*VOC2012, from'):
            convert(voc, sbd=sbd)

    def test_sbd_layout(self, voc, sbd):
        with pytest.raises(FileNotFoundError, match='train.txt does not exist.*\n.*VOC/'):
            convert(voc, sbd=sbd.parent)

    def test_out_of_range(self, voc, sbd):
        path = voc / 'SegmentationClass' / 'a.png'
        save(path, np.full((HEIGHT, WIDTH), 21, np.uint8), palette=True)
        reports = convert(voc, sbd=sbd)
        assert reports[0].faults == [f'{path}: expected labels from 0 to 20, or 255, got [21]']
        assert not (voc / 'ImageSets' / 'Segmentation' / 'trainaug.txt').exists()
        assert convert(voc, sbd=sbd, skip_faulty=True)[0].usable
        assert lines(voc, 'trainaug') == ['b', 'e', 'f']

    def test_colours_instead_of_a_palette(self, voc):
        path = voc / 'SegmentationClass' / 'a.png'
        photo(path)
        assert f'{path}: expected a picture of 1 channel(s)' in convert(voc)[0].faults[0]

    def test_sizes_and_missing(self, voc, sbd):
        photo(voc / 'JPEGImages' / 'e.jpg', width=WIDTH + 1)
        (voc / 'JPEGImages' / 'f.jpg').unlink()
        first, second = convert(voc, sbd=sbd)[1].faults
        assert 'cls/e.mat has 12 x 16 pixels and its image has 12 x 17' in first
        assert second == f'{voc}/JPEGImages/f.jpg does not exist'

    @pytest.mark.parametrize('content', [b'', b'MATLAB 5.0', b'x' * 4000])
    def test_damaged_mat(self, tmp_path, content):
        (tmp_path / 'a.mat').write_bytes(content)
        with pytest.raises(ValueError, match='a.mat is no class file of SBD'):
            read_sbd_labels(tmp_path / 'a.mat')

    def test_truncated_mat(self, sbd):
        path = sbd / 'cls' / 'e.mat'
        path.write_bytes(path.read_bytes()[:-60])
        with pytest.raises(ValueError, match='e.mat is no class file of SBD'):
            read_sbd_labels(path)

    def test_other_mat(self, tmp_path):
        savemat(tmp_path / 'a.mat', {'GTinst': {'Segmentation': np.eye(3)}})
        with pytest.raises(ValueError, match='a.mat is no class file of SBD'):
            read_sbd_labels(tmp_path / 'a.mat')
