"""What a command prints, and what only its log file holds."""

import contextlib
import io
import logging
import os
import pty
import sys
import warnings

import pytest
from mmengine.logging import MMLogger

from mmcomformer.engine.console import Console, command_console, tell


@pytest.fixture
def logger(tmp_path):
    name = f'console-{tmp_path.name}'
    yield MMLogger.get_instance(name, log_file=str(tmp_path / 'run.log'))
    MMLogger._instance_dict.pop(name)


def shown_on_terminal(monkeypatch, show):
    """Return what a function writes to a standard output that is a terminal."""
    ours, theirs = pty.openpty()
    monkeypatch.setenv('TERM', 'xterm')
    with monkeypatch.context() as patch, os.fdopen(theirs, 'w') as stream:
        patch.setattr(sys, 'stdout', stream)
        show()
    shown = b''
    # what was written can be read until the end of the terminal is an error
    with contextlib.suppress(OSError):
        while part := os.read(ours, 10000):
            shown += part
    os.close(ours)
    return shown.decode()


def test_only_what_is_for_users_is_printed(logger, tmp_path, capsys):
    with command_console():
        logger.info('System environment: ...')
        tell('step 1 of 0..2: training')
        logger.warning('class cat has no image')
    assert capsys.readouterr().out == (
        'step 1 of 0..2: training\nwarning: class cat has no image\n'
    )
    logged = (tmp_path / 'run.log').read_text()
    for text in ('System environment: ...', 'step 1 of 0..2: training', 'class cat has no image'):
        assert text in logged


def test_verbose_prints_all(logger, capsys):
    handlers = list(logger.handlers)
    with command_console(verbose=True):
        assert logger.handlers == handlers


def test_logger_is_given_back(logger):
    handlers = list(logger.handlers)
    with command_console():
        assert logger.handlers != handlers
    assert logger.handlers == handlers


def test_other_processes_print_errors_only(logger, capsys):
    logger.handlers[0].setLevel(logging.ERROR)
    with command_console():
        tell('step 1')
        logger.warning('told by the first process')
        logger.error('lost')
    assert capsys.readouterr().out == 'error: lost\n'


@pytest.mark.parametrize(
    'message',
    [
        'torch.meshgrid: in an upcoming release, it will be required to pass the indexing',
        '"FileClient" will be deprecated in future. Please use io functions',
    ],
)
def test_warnings_of_libraries_are_silenced_by_message(logger, message, capsys, tmp_path):
    with warnings.catch_warnings(record=True) as seen, command_console():
        warnings.warn(message, UserWarning, stacklevel=1)
        warnings.warn('meshgrid of ours', UserWarning, stacklevel=1)
        logger.warning(message)
    assert [str(warning.message) for warning in seen] == ['meshgrid of ours']
    assert capsys.readouterr().out == ''
    assert message in (tmp_path / 'run.log').read_text()


def test_a_name_in_brackets_is_no_markup(logger, capsys):
    with command_console():
        tell('[red]class[/red] :cat:')
    assert capsys.readouterr().out == '[red]class[/red] :cat:\n'


class TestProgress:
    def test_no_bar_in_a_pipe(self, monkeypatch, capsys):
        monkeypatch.setenv('FORCE_COLOR', '1')
        console = Console()
        for done in range(1, 4):
            console.progress('evaluating', done, 3)
        console.end_progress()
        assert capsys.readouterr().out == ''

    def test_line_now_and_then_in_a_pipe(self, monkeypatch, capsys):
        now = iter([100.0, 120.0, 131.0, 140.0])
        monkeypatch.setattr('mmcomformer.engine.console.time.monotonic', lambda: next(now))
        console = Console()
        for done in range(1, 5):
            console.progress('evaluating', done, 4, 'left 0:10')
        assert capsys.readouterr().out == '  evaluating 3/4  left 0:10\n'

    def test_bar_on_a_terminal(self, monkeypatch):
        def show():
            console = Console()
            console.progress('step 1', 20, 50)
            console.print('iter 20/50')
            console.end_progress()

        shown = shown_on_terminal(monkeypatch, show)
        assert 'step 1' in shown
        assert '20/50' in shown
        assert 'iter 20/50' in shown
        # the cursor is there again
        assert shown.rindex('\x1b[?25h') > shown.rindex('\x1b[?25l')

    def test_none_if_verbose(self, monkeypatch):
        def show():
            console = Console(verbose=True)
            console.progress('step 1', 20, 50)
            console.print('end')

        assert shown_on_terminal(monkeypatch, show).strip() == 'end'


def test_stream_that_is_no_file(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, 'stdout', stream)
    Console().print('text')
    assert stream.getvalue() == 'text\n'
