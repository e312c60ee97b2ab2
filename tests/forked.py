"""Run a script with many command lines, each in a fork that has the libraries imported already.

``python forked.py SCRIPT`` reads a JSON object ``{name: [arguments, environment]}`` and writes
``{name: [exit code, output]}``.
"""

import json
import os
import runpy
import sys
import tempfile
import traceback

import mmcomformer.components
import mmcomformer.engine.driver  # noqa: F401


def run_and_exit(script: str) -> None:
    """Run a script and end the process as the script would, without a second of tidying up."""
    code = 0
    try:
        runpy.run_path(script, run_name='__main__')
    except SystemExit as error:
        code = error.code
        if not isinstance(code, int):
            sys.stderr.write('' if code is None else f'{code}\n')
            code = 0 if code is None else 1
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    """Run the command."""
    script = sys.argv[1]
    outcomes = {}
    for name, (arguments, variables) in json.load(sys.stdin).items():
        with tempfile.TemporaryFile('w+', encoding='utf-8') as output:
            child = os.fork()
            if child == 0:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                os.environ.update(variables)
                sys.argv = [script, *arguments]
                run_and_exit(script)
            _, status = os.waitpid(child, 0)
            output.seek(0)
            outcomes[name] = os.waitstatus_to_exitcode(status), output.read()
    sys.stdout.write(json.dumps(outcomes))


if __name__ == '__main__':
    main()
