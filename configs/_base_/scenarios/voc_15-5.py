_base_ = './voc_classes.py'

scenario = dict(increments=[15, 5])
