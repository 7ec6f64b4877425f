from .config import LabelsConfig as LabelsConfig
from .config import label_config as label_config
from .errors import LabelErrors as LabelErrors
from .find import find_label_errors as find_label_errors
from .judge import judge_labels as judge_labels
from .judge import require_cleanlab as require_cleanlab
from .pool import examined as examined
