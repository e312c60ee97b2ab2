# Pascal VOC 2012 with the labels of SBD, as tools/dataset_converters/voc_semantic.py writes it:
# trained on trainaug, evaluated on VOC's own val. Not mmseg's PascalVOCDataset, which looks for its
# files as soon as it is built.
_base_ = 'semantic.py'
data_root = 'data/VOCdevkit/VOC2012/'
data_prefix = dict(img_path='JPEGImages/', seg_map_path='SegmentationClassAug/')

# fmt: off
metainfo = dict(
    classes=[
        'background', 'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat',
        'chair', 'cow', 'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant',
        'sheep', 'sofa', 'train', 'tvmonitor',
    ],
    palette=[
        (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128),
        (0, 128, 128), (128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0),
        (64, 0, 128), (192, 0, 128), (64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0),
        (0, 192, 0), (128, 192, 0), (0, 64, 128),
    ],
)
# fmt: on

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            data_root=data_root,
            ann_file='ImageSets/Segmentation/trainaug.txt',
            data_prefix=data_prefix,
            metainfo=metainfo,
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        dataset=dict(
            data_root=data_root,
            ann_file='ImageSets/Segmentation/val.txt',
            data_prefix=data_prefix,
            metainfo=metainfo,
        ),
    ),
)
test_dataloader = val_dataloader
