step = {{'$STEP:0'}}

scenario = dict(
    setting='{{$SETTING:overlap}}',
    thing_classes=['disc', 'square', 'triangle', 'ring', 'cross', 'star', 'half-disc', 'bar'],
    stuff_classes=[],
    step=step,
)
