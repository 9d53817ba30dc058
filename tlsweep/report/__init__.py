"""What a person sees: tables on the terminal, the curve, one self-contained page."""

from tlsweep.report.write import write_report

__all__ = ["write_report"]
