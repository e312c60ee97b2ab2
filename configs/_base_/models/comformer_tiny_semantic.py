# comformer_tiny.py for semantic segmentation
_base_ = 'comformer_tiny.py'
model = dict(
    _delete_=True,
    type='ContinualEncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=_base_.model.data_preprocessor.mean,
        std=_base_.model.data_preprocessor.std,
        bgr_to_rgb=True,
        size=(96, 96),
        pad_val=0,
        seg_pad_val=255,
        test_cfg=dict(size_divisor=32),
    ),
    backbone=_base_.model.backbone,
    decode_head=dict(_base_.model.panoptic_head, type='ComFormerSemanticHead'),
    extra_losses=_base_.model.extra_losses,
    train_cfg=_base_.model.train_cfg,
    test_cfg=dict(mode='whole'),
)
