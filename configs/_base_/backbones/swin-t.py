# Swin-T instead of the ResNet
backbone = dict(
    model=dict(
        backbone=dict(
            _delete_=True,
            type='mmdet.SwinTransformer',
            embed_dims=96,
            depths=[2, 2, 6, 2],
            num_heads=[3, 6, 12, 24],
            window_size=7,
            drop_path_rate=0.3,
            out_indices=(0, 1, 2, 3),
            convert_weights=True,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_tiny_patch4_window7_224.pth',
            ),
        ),
    ),
    head=dict(in_channels=[96, 192, 384, 768]),
)
