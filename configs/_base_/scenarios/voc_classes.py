# Pascal VOC's background and 20 classes, which are learned in alphabetical order. The parent of the
# VOC scenarios, which add the increments.
step = {{'$STEP:0'}}

# fmt: off
stuff_classes = [
    'background', 'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair',
    'cow', 'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa',
    'train', 'tvmonitor',
]
# fmt: on

scenario = dict(
    setting='{{$SETTING:overlap}}',
    stuff_classes=stuff_classes,
    # not learned: it is what no segment covers
    background='background',
    step=step,
)
