"""What is asked of each example: one of several classes, labels, or numbers."""

from tlsweep.task.base import Kind as Kind
from tlsweep.task.base import Task as Task
from tlsweep.task.classes import Classes as Classes
from tlsweep.task.labels import Labels as Labels
from tlsweep.task.metric import Beside as Beside
from tlsweep.task.metric import Measure as Measure
from tlsweep.task.metric import Metric as Metric
from tlsweep.task.metric import Outputs as Outputs
from tlsweep.task.metric import Scores as Scores
from tlsweep.task.metric import Truth as Truth
from tlsweep.task.numbers import Numbers as Numbers
from tlsweep.task.unit import PERCENT as PERCENT
from tlsweep.task.unit import Unit as Unit
