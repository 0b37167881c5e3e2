"""What a labelled data set is like, and what is wrong with it, before anything is trained.

:func:`measure` reads each image once; each module of findings has one function, from what was measured to
:class:`Finding`.
"""

from bundle.data.doctor.facts import facts, quartiles
from bundle.data.doctor.finding import LEVELS, Finding
from bundle.data.doctor.labels import label_findings, nothing_to_learn
from bundle.data.doctor.misplaced import shifted_labels, turned_labels
from bundle.data.doctor.sheet import Sheet, measure
from bundle.data.doctor.twins import twins
from bundle.data.doctor.unlike import unlike_others

__all__ = [
    "LEVELS",
    "Finding",
    "Sheet",
    "facts",
    "label_findings",
    "measure",
    "nothing_to_learn",
    "quartiles",
    "shifted_labels",
    "turned_labels",
    "twins",
    "unlike_others",
]
