_base_ = './shapes_classes.py'

scenario = dict(increments=[6, 3, 3])
