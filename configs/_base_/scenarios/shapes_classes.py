step = {{'$STEP:0'}}

scenario = dict(
    setting='{{$SETTING:overlap}}',
    thing_classes=['disc', 'square', 'triangle', 'ring', 'cross', 'star', 'half-disc', 'bar'],
    stuff_classes=['stripes', 'checker', 'dots', 'waves'],
    # every step teaches a stuff class, and its label is not where it is in the learning order
    class_order=[
        'disc',
        'stripes',
        'square',
        'triangle',
        'checker',
        'ring',
        'cross',
        'dots',
        'star',
        'half-disc',
        'waves',
        'bar',
    ],
    step=step,
)
