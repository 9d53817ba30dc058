"""What a person sees: tables on the terminal, pictures, one self-contained page."""

from tlsweep.report.material import Material
from tlsweep.report.write import write_report, write_survey

__all__ = ["Material", "write_report", "write_survey"]
