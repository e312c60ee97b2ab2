# Mask2Former R50 with CoMFormer's head; the recipe gives it scenario and size of the crop.
# Prefixes such as mmdet. let the semantic models take the same parts.
model = dict(
    type='ContinualMaskFormer',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        # no pad_mask: the head pads the ground truth
        batch_augments=[dict(type='BatchFixedSizePad', size=(640, 640), img_pad_value=0)],
    ),
    backbone=dict(
        type='mmdet.ResNet',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.pytorch.org/models/resnet50-0676ba61.pth',
        ),
    ),
    panoptic_head=dict(
        type='ComFormerHead',
        scenario=dict(),
        in_channels=[256, 512, 1024, 2048],
        strides=[4, 8, 16, 32],
        feat_channels=256,
        out_channels=256,
        num_queries=100,
        num_transformer_feat_level=3,
        mask_activation=dict(type='QuerySoftmax'),
        pixel_decoder=dict(
            type='mmdet.MSDeformAttnPixelDecoder',
            num_outs=3,
            norm_cfg=dict(type='GN', num_groups=32),
            act_cfg=dict(type='ReLU'),
            encoder=dict(
                num_layers=6,
                layer_cfg=dict(
                    self_attn_cfg=dict(
                        embed_dims=256,
                        num_heads=8,
                        num_levels=3,
                        num_points=4,
                        dropout=0.0,
                        batch_first=True,
                    ),
                    ffn_cfg=dict(
                        embed_dims=256,
                        feedforward_channels=1024,
                        num_fcs=2,
                        ffn_drop=0.0,
                        act_cfg=dict(type='ReLU', inplace=True),
                    ),
                ),
            ),
            positional_encoding=dict(num_feats=128, normalize=True),
        ),
        enforce_decoder_input_project=False,
        positional_encoding=dict(num_feats=128, normalize=True),
        transformer_decoder=dict(
            return_intermediate=True,
            num_layers=9,
            layer_cfg=dict(
                self_attn_cfg=dict(embed_dims=256, num_heads=8, dropout=0.0, batch_first=True),
                cross_attn_cfg=dict(embed_dims=256, num_heads=8, dropout=0.0, batch_first=True),
                ffn_cfg=dict(
                    embed_dims=256,
                    feedforward_channels=2048,
                    num_fcs=2,
                    ffn_drop=0.0,
                    act_cfg=dict(type='ReLU', inplace=True),
                    add_identity=True,
                ),
            ),
            init_cfg=None,
        ),
        loss_cls=dict(type='FocalClassLoss', alpha=5.0, gamma=1.0, loss_weight=2.0),
        loss_mask=dict(type='SoftmaxMaskLoss', loss_weight=5.0),
        loss_dice=dict(type='SoftmaxDiceLoss', loss_weight=5.0),
    ),
    extra_losses=dict(
        distill=dict(
            type='AdaptiveDistillLoss', unbiased=True, adaptive=True, gamma=2.0, loss_weight=10.0
        ),
    ),
    panoptic_fusion_head=dict(type='ContinualFusionHead'),
    train_cfg=dict(
        match_cost=dict(type='HarmonicMatchCost'),
        num_points=12544,
        oversample_ratio=3.0,
        importance_sample_ratio=0.75,
    ),
    test_cfg=dict(panoptic_on=True, object_mask_thr=0.0, iou_thr=0.0),
)
