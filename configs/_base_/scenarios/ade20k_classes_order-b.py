# ADE20K in the class order "b" of the paper's study of orders
_base_ = './ade20k_classes.py'

# fmt: off
class_order = [
    'kitchen island', 'curtain', 'oven', 'arcade machine', 'boat', 'seat', 'coffee table',
    'crt screen', 'hill', 'light', 'stool', 'person', 'lamp', 'grass', 'chair',
    'pool table, billiard table, snooker table', 'fountain', 'bench',
    'case, display case, showcase, vitrine', 'sculpture', 'field', 'bicycle', 'sea', 'lake',
    'blanket, cover', 'shower', 'plaything, toy', 'monitor', 'counter', 'armchair',
    'painting, picture', 'table', 'toilet, can, commode, crapper, pot, potty, stool, throne',
    'sidewalk, pavement', 'column, pillar', 'radiator', 'grandstand, covered stand', 'mirror',
    'tree', 'fence', 'plate', 'chandelier', 'awning, sunshade, sunblind', 'mountain, mount',
    'cabinet', 'towel', 'hood, exhaust hood', 'tray', 'swivel chair', 'pool',
    'escalator, moving staircase, moving stairway',
    'conveyer belt, conveyor belt, conveyer, conveyor, transporter', 'flower', 'wall',
    'tank, storage tank', 'book', 'rug', 'base, pedestal, stand',
    'chest of drawers, chest, bureau, dresser', 'river', 'trade name', 'shelf', 'house', 'sofa',
    'land, ground, soil', 'cushion', 'bannister, banister, balustrade, balusters, handrail',
    'cradle', 'sink', 'ottoman, pouf, pouffe, puff, hassock', 'falls', 'desk', 'trash can', 'stage',
    'bookcase', 'tower', 'clock', 'stairs', 'ceiling', 'pole', 'barrel, cask', 'fireplace',
    'wardrobe, closet, press', 'bus', 'bar', 'rock, stone', 'tent', 'bed', 'signboard, sign',
    'countertop', 'bottle', 'food, solid food', 'truck', 'sconce', 'vase', 'tv', 'window',
    'earth, ground', 'ball', 'pot', 'floor', 'plant', 'rail', 'palm, palm tree', 'traffic light',
    'road, route', 'basket, handbasket', 'poster, posting, placard, notice, bill, card', 'sky',
    'blind, screen', 'runway', 'animal', 'refrigerator, icebox', 'bag', 'sand', 'fan',
    'bridge, span', 'glass, drinking glass', 'hovel, hut, hutch, shack, shanty',
    'stairway, staircase', 'dirt track', 'box', 'screen door, screen', 'airplane', 'skyscraper',
    'booth', 'washer, automatic washer, washing machine', 'microwave', 'water', 'pillow',
    'bulletin board', 'dishwasher', 'tub', 'pier', 'building', 'path', 'screen', 'ship',
    'buffet, counter, sideboard', 'minibike, motorbike', 'street lamp', 'computer', 'step, stair',
    'flag', 'car', 'stove', 'canopy', 'door', 'clothes', 'van',
]
# fmt: on

scenario = dict(class_order=class_order)
