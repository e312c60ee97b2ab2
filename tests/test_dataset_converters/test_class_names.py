from mmdet.datasets import ADE20KPanopticDataset, CocoPanopticDataset

from mmcomformer.dataset_converters import class_names


def test_names_are_those_of_mmdet():
    for prefix, dataset in (('ADE20K', ADE20KPanopticDataset), ('COCO', CocoPanopticDataset)):
        things = getattr(class_names, f'{prefix}_THINGS')
        stuff = getattr(class_names, f'{prefix}_STUFF')
        assert list(things) == list(dataset.METAINFO['thing_classes'])
        assert list(stuff) == list(dataset.METAINFO['stuff_classes'])
        assert list(things + stuff) == list(dataset.METAINFO['classes'])
