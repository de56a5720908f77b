"""Reactions to what happens in training."""

from torchkeras_fn.callbacks.backup_and_restore import BackupAndRestore
from torchkeras_fn.callbacks.base import CallbackList
from torchkeras_fn.callbacks.base_logger import BaseLogger
from torchkeras_fn.callbacks.callback import Callback
from torchkeras_fn.callbacks.csv_logger import CSVLogger
from torchkeras_fn.callbacks.early_stopping import EarlyStopping
from torchkeras_fn.callbacks.history import History
from torchkeras_fn.callbacks.lambda_callback import LambdaCallback
from torchkeras_fn.callbacks.learning_rate_scheduler import LearningRateScheduler
from torchkeras_fn.callbacks.model_checkpoint import ModelCheckpoint
from torchkeras_fn.callbacks.monitoring import MonitorCallback
from torchkeras_fn.callbacks.progress import ProgbarLogger
from torchkeras_fn.callbacks.reduce_lr_on_plateau import ReduceLROnPlateau
from torchkeras_fn.callbacks.remote_monitor import RemoteMonitor
from torchkeras_fn.callbacks.swap_ema_weights import SwapEMAWeights
from torchkeras_fn.callbacks.tensorboard import TensorBoard
from torchkeras_fn.callbacks.terminate_on_nan import TerminateOnNaN

__all__ = [
    "BackupAndRestore",
    "BaseLogger",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "MonitorCallback",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "RemoteMonitor",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
]
