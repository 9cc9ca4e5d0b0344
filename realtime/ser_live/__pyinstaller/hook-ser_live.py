"""Modules and files of ser_live that PyInstaller cannot see: names loaded late, models, data."""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules

from ser_live import _HOMES
from ser_live.model.catalog import model_files

hiddenimports = [*_HOMES.values(), *collect_submodules("ser_live.doctor")]
# The models lie in the package, or beside it in a checkout; a frozen program has them inside.
datas = [*collect_data_files("ser_live"), *((str(f), "ser_live/models") for f in model_files())]
