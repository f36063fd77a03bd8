"""Heads: the new layers and their fit on features of a frozen backbone."""

from transfer_core.heads.fit import HeadFit, fit_head
from transfer_core.heads.head import Head
from transfer_core.heads.rows import Rows, rows_of

__all__ = ["Head", "HeadFit", "Rows", "fit_head", "rows_of"]
