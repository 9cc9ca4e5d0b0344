"""Hook for PyInstaller, which finds it by the entry point ``pyinstaller40`` of the wheel."""

from pathlib import Path


def get_hook_dirs() -> list[str]:
    """Return the folder of the hook."""
    return [str(Path(__file__).parent)]
