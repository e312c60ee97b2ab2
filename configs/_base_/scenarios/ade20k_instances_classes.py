# The 100 things of ADE20K under the names of mmdet's ADE20KInstanceDataset, in the order of
# SceneParse150. The parent of the ADE20K scenarios for instances, which add the increments.
step = {{'$STEP:0'}}

# fmt: off
thing_classes = [
    'bed', 'windowpane', 'cabinet', 'person', 'door', 'table', 'curtain', 'chair', 'car',
    'painting', 'sofa', 'shelf', 'mirror', 'armchair', 'seat', 'fence', 'desk', 'wardrobe',
    'lamp', 'bathtub', 'railing', 'cushion', 'box', 'column', 'signboard', 'chest of drawers',
    'counter', 'sink', 'fireplace', 'refrigerator', 'stairs', 'case', 'pool table', 'pillow',
    'screen door', 'bookcase', 'coffee table', 'toilet', 'flower', 'book', 'bench',
    'countertop', 'stove', 'palm', 'kitchen island', 'computer', 'swivel chair', 'boat',
    'arcade machine', 'bus', 'towel', 'light', 'truck', 'chandelier', 'awning', 'streetlight',
    'booth', 'television receiver', 'airplane', 'apparel', 'pole', 'bannister', 'ottoman',
    'bottle', 'van', 'ship', 'fountain', 'washer', 'plaything', 'stool', 'barrel', 'basket',
    'bag', 'minibike', 'oven', 'ball', 'food', 'step', 'trade name', 'microwave', 'pot',
    'animal', 'bicycle', 'dishwasher', 'screen', 'sculpture', 'hood', 'sconce', 'vase',
    'traffic light', 'tray', 'ashcan', 'fan', 'plate', 'monitor', 'bulletin board',
    'radiator', 'glass', 'clock', 'flag',
]
# fmt: on

scenario = dict(
    setting='{{$SETTING:overlap}}',
    thing_classes=thing_classes,
    stuff_classes=[],
    step=step,
)
