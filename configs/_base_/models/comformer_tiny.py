# 3 M parameters, for Shapes on two CPU cores: ResNet-18 of half width, 2 encoder and 3 decoder
# layers, 20 queries, no pretrained weights
_base_ = 'comformer_r50.py'
model = dict(
    data_preprocessor=dict(
        batch_augments=[dict(type='BatchFixedSizePad', size=(96, 96), img_pad_value=0)]
    ),
    backbone=dict(
        depth=18,
        base_channels=32,
        norm_cfg=dict(requires_grad=True),
        norm_eval=False,
        init_cfg=None,
    ),
    panoptic_head=dict(
        in_channels=[32, 64, 128, 256],
        feat_channels=64,
        out_channels=64,
        num_queries=20,
        pixel_decoder=dict(
            encoder=dict(
                num_layers=2,
                layer_cfg=dict(
                    self_attn_cfg=dict(embed_dims=64, num_heads=4),
                    ffn_cfg=dict(embed_dims=64, feedforward_channels=256),
                ),
            ),
            positional_encoding=dict(num_feats=32),
        ),
        positional_encoding=dict(num_feats=32),
        transformer_decoder=dict(
            num_layers=3,
            layer_cfg=dict(
                self_attn_cfg=dict(embed_dims=64, num_heads=4),
                cross_attn_cfg=dict(embed_dims=64, num_heads=4),
                ffn_cfg=dict(embed_dims=64, feedforward_channels=256),
            ),
        ),
    ),
    train_cfg=dict(num_points=1024),
)
