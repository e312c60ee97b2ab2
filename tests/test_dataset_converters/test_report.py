from mmcomformer.dataset_converters.report import Report, summary


def test_lines():
    report = Report('train', 5, 9, num_written=3, num_reused=2)
    for name in 'abcd':
        report.add_notes(name, {'crowds': 2})
    report.add_notes('a', {'empty': 1})
    report.faults = [f'fault {number}' for number in range(12)]
    assert report.lines() == [
        'train: 5 images, 3 files written, 2 files were there',
        '  note: the set as published has 9 images here; if this is not a part of it on purpose, '
        'the download is incomplete',
        '  crowds: 8 in 4 images (a, b, c, ...)',
        '  empty: 1 in 1 images (a)',
        '  12 faults, to correct:',
        *(f'    fault {number}' for number in range(10)),
        '    and 2 more',
    ]
    assert summary([report]).endswith(
        '\nnot complete: correct the faults and run the command again'
    )
    report.left_out = True
    assert '12 faults, left out' in summary([report])
    assert summary([report]).endswith('\ncomplete')


def test_as_published():
    assert summary([Report('val', 5, 5)]) == 'val: 5 images\ncomplete'
