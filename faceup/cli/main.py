"""`faceup`: the group of commands, loaded one by one, and the only place where exceptions become exit codes."""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence

import click

from faceup import __version__
from faceup.errors import FaceupError
from faceup.runtime.threads import wait_passively

# Name of the command and the line that `faceup --help` shows, so that help needs none of the modules.
COMMANDS = {
    "run": "Compare the faces of probes with a gallery, through SR backends.",
    "evaluate": "Measure run folders: error rates, intervals, comparisons, plots.",
    "batch": "Find the people of a gallery in archives of video and pictures; resumable.",
    "gallery": "Build, change, search and expire galleries of embeddings.",
    "audit": "Check the audit log of a gallery.",
    "simulate": "Make surveillance-like crops from high-definition pictures.",
    "manifest": "Make, check and lock manifests of data sets you hold.",
    "evaluate-sr": "Measure SR backends against original pictures (PSNR, SSIM, LPIPS, MPS).",
    "train": "Train a super-resolution network or a recogniser from a recipe.",
    "models": "List, pull and verify the weight files.",
    "bench": "Measure crops a second of SR backends, detector and recogniser here.",
    "doctor": "Print versions, devices, backends and weights found.",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"faceup.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="faceup")
def cli() -> None:
    """Recognise faces in poor surveillance pictures and compare SR methods by what they do for it.

    A similarity is an investigative lead, never an identification.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0, 1 the user's, 2 usage, 3 a bug of faceup, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that has no letter for what is printed, a table's frame or a name, must not cost the result.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = cli.main(args=arguments, prog_name="faceup", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except FaceupError as error:
        click.echo(f"faceup: {error}", err=True)
        return 1
    except (KeyboardInterrupt, click.Abort):
        click.echo("faceup: interrupted; nothing half-written was left.", err=True)
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) went away; keep Python from complaining when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception:
        traceback.print_exc()
        click.echo(f"faceup {__version__}: this is a bug in faceup; please report it with the lines above.", err=True)
        return 3


def entry_point() -> None:
    """Run `faceup` as a program."""
    wait_passively()  # No command has imported torch yet.
    _collect_rarely()
    sys.exit(main())


def _collect_rarely() -> None:
    """Spend less on Python's collector of reference cycles.

    Importing torch makes very many objects that stay until the end. With the usual thresholds they are searched for
    garbage over and over while it is imported, and once more when the process ends: a fifth of a short command's time.
    """
    gc.set_threshold(50_000, 10, 10)
    atexit.register(gc.freeze)
