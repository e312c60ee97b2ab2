# comformer_r50.py for semantic segmentation, with a ResNet-101 whose batch norm learns, over the
# batches of all GPUs
_base_ = 'comformer_r50.py'
model = dict(
    _delete_=True,
    type='ContinualEncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=_base_.model.data_preprocessor.mean,
        std=_base_.model.data_preprocessor.std,
        bgr_to_rgb=True,
        size=(512, 512),
        pad_val=0,
        seg_pad_val=255,
        test_cfg=dict(size_divisor=32),
    ),
    backbone=dict(
        _base_.model.backbone,
        depth=101,
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        norm_eval=False,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.pytorch.org/models/resnet101-63fe2227.pth',
        ),
    ),
    decode_head=dict(_base_.model.panoptic_head, type='ComFormerSemanticHead'),
    extra_losses=_base_.model.extra_losses,
    train_cfg=_base_.model.train_cfg,
    # or dict(mode='slide', crop_size=(512, 512), stride=(341, 341))
    test_cfg=dict(mode='whole'),
)
