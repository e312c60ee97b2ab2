# The 11 stuff classes and 3 thing classes first, then 5 vehicles. The order is Cityscapes' own
# (train ids), in which the things come last; there is no established panoptic split.
step = {{'$STEP:0'}}

# fmt: off
thing_classes = ['person', 'rider', 'car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle']
stuff_classes = [
    'road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign',
    'vegetation', 'terrain', 'sky',
]
# fmt: on

scenario = dict(
    setting='{{$SETTING:overlap}}',
    thing_classes=thing_classes,
    stuff_classes=stuff_classes,
    class_order=stuff_classes + thing_classes,
    step=step,
)
