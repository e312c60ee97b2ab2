_base_ = './coco_classes.py'

scenario = dict(increments=[83] + [10] * 5)
