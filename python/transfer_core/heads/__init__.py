"""Heads: the new layers and their fit on features of a frozen backbone."""

from transfer_core.heads.fit import FittedHead, fit_head
from transfer_core.heads.modules import build_head
from transfer_core.heads.rows import Rows, rows_of

__all__ = ["FittedHead", "Rows", "build_head", "fit_head", "rows_of"]
