"""Names of the classes that ADE20K and COCO panoptic have, in the order of mmdet's datasets.

They are kept here, and tested against mmdet's, because importing mmdet takes seconds.
"""

# fmt: off
ADE20K_THINGS = (
    'bed', 'window', 'cabinet', 'person', 'door', 'table', 'curtain', 'chair', 'car',
    'painting, picture', 'sofa', 'shelf', 'mirror', 'armchair', 'seat', 'fence', 'desk',
    'wardrobe, closet, press', 'lamp', 'tub', 'rail', 'cushion', 'box', 'column, pillar',
    'signboard, sign', 'chest of drawers, chest, bureau, dresser', 'counter', 'sink', 'fireplace',
    'refrigerator, icebox', 'stairs', 'case, display case, showcase, vitrine',
    'pool table, billiard table, snooker table', 'pillow', 'screen door, screen', 'bookcase',
    'coffee table', 'toilet, can, commode, crapper, pot, potty, stool, throne', 'flower', 'book',
    'bench', 'countertop', 'stove', 'palm, palm tree', 'kitchen island', 'computer', 'swivel chair',
    'boat', 'arcade machine', 'bus', 'towel', 'light', 'truck', 'chandelier',
    'awning, sunshade, sunblind', 'street lamp', 'booth', 'tv', 'airplane', 'clothes', 'pole',
    'bannister, banister, balustrade, balusters, handrail', 'ottoman, pouf, pouffe, puff, hassock',
    'bottle', 'van', 'ship', 'fountain', 'washer, automatic washer, washing machine',
    'plaything, toy', 'stool', 'barrel, cask', 'basket, handbasket', 'bag', 'minibike, motorbike',
    'oven', 'ball', 'food, solid food', 'step, stair', 'trade name', 'microwave', 'pot', 'animal',
    'bicycle', 'dishwasher', 'screen', 'sculpture', 'hood, exhaust hood', 'sconce', 'vase',
    'traffic light', 'tray', 'trash can', 'fan', 'plate', 'monitor', 'bulletin board', 'radiator',
    'glass, drinking glass', 'clock', 'flag',
)
ADE20K_STUFF = (
    'wall', 'building', 'sky', 'floor', 'tree', 'ceiling', 'road, route', 'grass',
    'sidewalk, pavement', 'earth, ground', 'mountain, mount', 'plant', 'water', 'house', 'sea',
    'rug', 'field', 'rock, stone', 'base, pedestal, stand', 'sand', 'skyscraper',
    'grandstand, covered stand', 'path', 'runway', 'stairway, staircase', 'river', 'bridge, span',
    'blind, screen', 'hill', 'bar', 'hovel, hut, hutch, shack, shanty', 'tower', 'dirt track',
    'land, ground, soil', 'escalator, moving staircase, moving stairway',
    'buffet, counter, sideboard', 'poster, posting, placard, notice, bill, card', 'stage',
    'conveyer belt, conveyor belt, conveyer, conveyor, transporter', 'canopy', 'pool', 'falls',
    'tent', 'cradle', 'tank, storage tank', 'lake', 'blanket, cover', 'pier', 'crt screen',
    'shower',
)
COCO_THINGS = (
    'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck', 'boat',
    'traffic light', 'fire hydrant', 'stop sign', 'parking meter', 'bench', 'bird', 'cat', 'dog',
    'horse', 'sheep', 'cow', 'elephant', 'bear', 'zebra', 'giraffe', 'backpack', 'umbrella',
    'handbag', 'tie', 'suitcase', 'frisbee', 'skis', 'snowboard', 'sports ball', 'kite',
    'baseball bat', 'baseball glove', 'skateboard', 'surfboard', 'tennis racket', 'bottle',
    'wine glass', 'cup', 'fork', 'knife', 'spoon', 'bowl', 'banana', 'apple', 'sandwich', 'orange',
    'broccoli', 'carrot', 'hot dog', 'pizza', 'donut', 'cake', 'chair', 'couch', 'potted plant',
    'bed', 'dining table', 'toilet', 'tv', 'laptop', 'mouse', 'remote', 'keyboard', 'cell phone',
    'microwave', 'oven', 'toaster', 'sink', 'refrigerator', 'book', 'clock', 'vase', 'scissors',
    'teddy bear', 'hair drier', 'toothbrush',
)
COCO_STUFF = (
    'banner', 'blanket', 'bridge', 'cardboard', 'counter', 'curtain', 'door-stuff', 'floor-wood',
    'flower', 'fruit', 'gravel', 'house', 'light', 'mirror-stuff', 'net', 'pillow', 'platform',
    'playingfield', 'railroad', 'river', 'road', 'roof', 'sand', 'sea', 'shelf', 'snow', 'stairs',
    'tent', 'towel', 'wall-brick', 'wall-stone', 'wall-tile', 'wall-wood', 'water-other',
    'window-blind', 'window-other', 'tree-merged', 'fence-merged', 'ceiling-merged',
    'sky-other-merged', 'cabinet-merged', 'table-merged', 'floor-other-merged', 'pavement-merged',
    'mountain-merged', 'grass-merged', 'dirt-merged', 'paper-merged', 'food-other-merged',
    'building-other-merged', 'rock-merged', 'wall-other-merged', 'rug-merged',
)
# fmt: on
