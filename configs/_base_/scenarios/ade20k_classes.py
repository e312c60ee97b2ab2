# ADE20K's 150 classes under the names of mmdet's ADE20KPanopticDataset. The parent of the ADE20K
# scenarios for panoptic segmentation, which add the increments.
step = {{'$STEP:0'}}

# fmt: off
thing_classes = [
    'bed', 'window', 'cabinet', 'person', 'door', 'table', 'curtain', 'chair', 'car',
    'painting, picture', 'sofa', 'shelf', 'mirror', 'armchair', 'seat', 'fence', 'desk',
    'wardrobe, closet, press', 'lamp', 'tub', 'rail', 'cushion', 'box', 'column, pillar',
    'signboard, sign', 'chest of drawers, chest, bureau, dresser', 'counter', 'sink', 'fireplace',
    'refrigerator, icebox', 'stairs', 'case, display case, showcase, vitrine',
    'pool table, billiard table, snooker table', 'pillow', 'screen door, screen', 'bookcase',
    'coffee table', 'toilet, can, commode, crapper, pot, potty, stool, throne', 'flower', 'book',
    'bench', 'countertop', 'stove', 'palm, palm tree', 'kitchen island', 'computer',
    'swivel chair', 'boat', 'arcade machine', 'bus', 'towel', 'light', 'truck', 'chandelier',
    'awning, sunshade, sunblind', 'street lamp', 'booth', 'tv', 'airplane', 'clothes', 'pole',
    'bannister, banister, balustrade, balusters, handrail',
    'ottoman, pouf, pouffe, puff, hassock', 'bottle', 'van', 'ship', 'fountain',
    'washer, automatic washer, washing machine', 'plaything, toy', 'stool', 'barrel, cask',
    'basket, handbasket', 'bag', 'minibike, motorbike', 'oven', 'ball', 'food, solid food',
    'step, stair', 'trade name', 'microwave', 'pot', 'animal', 'bicycle', 'dishwasher', 'screen',
    'sculpture', 'hood, exhaust hood', 'sconce', 'vase', 'traffic light', 'tray', 'trash can',
    'fan', 'plate', 'monitor', 'bulletin board', 'radiator', 'glass, drinking glass', 'clock',
    'flag',
]
stuff_classes = [
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
]
# SceneParse150's own order, things and stuff mixed
class_order = [
    'wall', 'building', 'sky', 'floor', 'tree', 'ceiling', 'road, route', 'bed', 'window',
    'grass', 'cabinet', 'sidewalk, pavement', 'person', 'earth, ground', 'door', 'table',
    'mountain, mount', 'plant', 'curtain', 'chair', 'car', 'water', 'painting, picture', 'sofa',
    'shelf', 'house', 'sea', 'mirror', 'rug', 'field', 'armchair', 'seat', 'fence', 'desk',
    'rock, stone', 'wardrobe, closet, press', 'lamp', 'tub', 'rail', 'cushion',
    'base, pedestal, stand', 'box', 'column, pillar', 'signboard, sign',
    'chest of drawers, chest, bureau, dresser', 'counter', 'sand', 'sink', 'skyscraper',
    'fireplace', 'refrigerator, icebox', 'grandstand, covered stand', 'path', 'stairs', 'runway',
    'case, display case, showcase, vitrine', 'pool table, billiard table, snooker table',
    'pillow', 'screen door, screen', 'stairway, staircase', 'river', 'bridge, span', 'bookcase',
    'blind, screen', 'coffee table', 'toilet, can, commode, crapper, pot, potty, stool, throne',
    'flower', 'book', 'hill', 'bench', 'countertop', 'stove', 'palm, palm tree', 'kitchen island',
    'computer', 'swivel chair', 'boat', 'bar', 'arcade machine',
    'hovel, hut, hutch, shack, shanty', 'bus', 'towel', 'light', 'truck', 'tower', 'chandelier',
    'awning, sunshade, sunblind', 'street lamp', 'booth', 'tv', 'airplane', 'dirt track',
    'clothes', 'pole', 'land, ground, soil',
    'bannister, banister, balustrade, balusters, handrail',
    'escalator, moving staircase, moving stairway', 'ottoman, pouf, pouffe, puff, hassock',
    'bottle', 'buffet, counter, sideboard', 'poster, posting, placard, notice, bill, card',
    'stage', 'van', 'ship', 'fountain',
    'conveyer belt, conveyor belt, conveyer, conveyor, transporter', 'canopy',
    'washer, automatic washer, washing machine', 'plaything, toy', 'pool', 'stool',
    'barrel, cask', 'basket, handbasket', 'falls', 'tent', 'bag', 'minibike, motorbike', 'cradle',
    'oven', 'ball', 'food, solid food', 'step, stair', 'tank, storage tank', 'trade name',
    'microwave', 'pot', 'animal', 'bicycle', 'lake', 'dishwasher', 'screen', 'blanket, cover',
    'sculpture', 'hood, exhaust hood', 'sconce', 'vase', 'traffic light', 'tray', 'trash can',
    'fan', 'pier', 'crt screen', 'plate', 'monitor', 'bulletin board', 'shower', 'radiator',
    'glass, drinking glass', 'clock', 'flag',
]
# fmt: on

scenario = dict(
    setting='{{$SETTING:overlap}}',
    thing_classes=thing_classes,
    stuff_classes=stuff_classes,
    class_order=class_order,
    step=step,
)
