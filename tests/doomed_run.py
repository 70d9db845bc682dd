"""Trains, and kills itself at a chosen moment: python tests/doomed_run.py MOMENT STEP WORKDIR ROOT

MOMENT: before, during or after the save of STEP (SIGKILL), `asked` (SIGTERM at STEP), or `never`.
"""

import os
import pathlib
import signal
import sys

import tiny

from amvur_jax import checkpoint, startup, train
from amvur_jax.journal import Journal


def die(number=signal.SIGKILL):
    os.kill(os.getpid(), number)


def at_save(step, moment):
    """Die when the save of `step` is asked for, half done, or done and the next step under way."""
    save, add = checkpoint.Saver.save, Journal.add

    def doomed_save(self, number, *rest):
        if number == step and moment == "before":
            self.finish()  # the one before it
            die()
        if number == step and moment == "during":
            # The last thing that a save does is to give the folder its name.
            self._checkpoints._checkpointer._handler.finalize = lambda directory: die()
        save(self, number, *rest)
        if number == step:
            self.finish()

    def doomed_add(self, number, metrics):
        if number == step and moment == "asked":
            die(signal.SIGTERM)
        if number == step + 1 and moment == "after":
            die()
        add(self, number, metrics)

    checkpoint.Saver.save, Journal.add = doomed_save, doomed_add


def main():
    moment, step, workdir, root = sys.argv[1:]
    if moment != "never":
        at_save(int(step), moment)
    startup.meet_processes()
    config = tiny.tiniest_config(root, batch_size=8, steps=8, ema_decay=0.9)
    train.train(config, pathlib.Path(workdir))


if __name__ == "__main__":
    main()
