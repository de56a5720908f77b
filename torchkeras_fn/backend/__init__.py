"""Keras 2's `backend`, the `K` of ported programs: a table of functions over tensors, real or symbolic, and over arrays.

They are torch's own functions under Keras' names and arguments; on a symbolic tensor each draws the torch functions it
is made of. `K.shape(x)` is a tuple, of symbolic sizes where they are unknown, and what is made in that shape, such as
`K.random_normal(K.shape(x))`, is made anew in every run. A tensor that comes from no other is put where Keras puts it,
on the accelerator if there is one. What makes no sense without a TensorFlow graph says what to do instead.

>>> import torch
>>> from torchkeras_fn import backend as K
>>> K.mean(K.square(torch.tensor([1.0, 3.0])))
tensor(5.)
"""

# ruff: noqa: F401 - the names are here to be found

from torchkeras_fn.absent import of_backend as __getattr__
from torchkeras_fn.backend.derivatives import gradients
from torchkeras_fn.backend.elements import (
    argmax,
    argmin,
    batch_normalization,
    clip,
    cumprod,
    cumsum,
    exp,
    hard_sigmoid,
    in_top_k,
    l2_normalize,
    normalize_batch_in_training,
    relu,
    sigmoid,
    softmax,
    sqrt,
    tanh,
)
from torchkeras_fn.backend.loops import ctc_batch_cost, ctc_decode, foldl, foldr, map_fn, rnn
from torchkeras_fn.backend.noise import (
    dropout,
    random_bernoulli,
    random_binomial,
    random_normal,
    random_normal_variable,
    random_uniform,
    random_uniform_variable,
    truncated_normal,
)
from torchkeras_fn.backend.pairs import (
    dot,
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    maximum,
    minimum,
    not_equal,
    one_hot,
    pow,
    stop_gradient,
)
from torchkeras_fn.backend.session import (
    Function,
    backend,
    clear_session,
    function,
    get_session,
    get_uid,
    in_test_phase,
    in_train_phase,
    learning_phase,
    manual_variable_initialization,
    name_scope,
    print_tensor,
    reset_uids,
    set_learning_phase,
    set_session,
    switch,
)
from torchkeras_fn.backend.shaping import (
    batch_dot,
    batch_flatten,
    concatenate,
    gather,
    permute_dimensions,
    repeat,
    repeat_elements,
    reshape,
    resize_images,
    resize_volumes,
    reverse,
    slice,
    spatial_2d_padding,
    spatial_3d_padding,
    temporal_padding,
    tile,
)
from torchkeras_fn.backend.state import (
    arange,
    batch_get_value,
    batch_set_value,
    cast_to_floatx,
    constant,
    count_params,
    eval,
    eye,
    get_value,
    get_variable_shape,
    identity,
    int_shape,
    is_keras_tensor,
    is_placeholder,
    is_sparse,
    is_variable,
    moving_average_update,
    ones,
    ones_like,
    placeholder,
    set_value,
    to_dense,
    update,
    update_add,
    update_sub,
    variable,
    zeros,
    zeros_like,
)
from torchkeras_fn.backend.windows import (
    bias_add,
    conv1d,
    conv2d,
    conv2d_transpose,
    conv3d,
    conv3d_transpose,
    depthwise_conv2d,
    local_conv1d,
    local_conv2d,
    pool2d,
    pool3d,
    separable_conv1d,
    separable_conv2d,
)
from torchkeras_fn.config import epsilon, floatx, image_data_format, set_epsilon, set_floatx, set_image_data_format
from torchkeras_fn.ops.conversion import is_tensor
from torchkeras_fn.ops.core import cast, dtype
from torchkeras_fn.ops.elementwise import abs, cos, log, round, sign, sin, square, tan
from torchkeras_fn.ops.nn import binary_crossentropy, categorical_crossentropy, elu, softplus, softsign, sparse_categorical_crossentropy
from torchkeras_fn.ops.reductions import all, any, logsumexp, max, mean, min, prod, std, sum, var
from torchkeras_fn.ops.shaping import expand_dims, ndim, shape, size, squeeze, stack, transpose
from torchkeras_fn.ops.shaping import ravel as flatten
