"""Start weights: a model file, a checkpoint or a repository of the Hugging Face hub.

In:   a network with random weights and the run's `init`.
Out:  the same network, its weights replaced; what was left random is returned in words.

Names and shapes must be the network's. One exception: a classifier of another width (ImageNet's
1000 classes) is left out, since its outputs mean something else.
"""

from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from mspt.errors import ConfigError, DownloadError, MissingExtraError
from mspt.inference.models import embedded_models, find_model
from mspt.training.backbones import Network
from mspt.training.checkpoint import WEIGHTS, load_tensors
from mspt.training.network import MsptNetwork
from mspt.training.unfold import learn_statistics, read_model_file

_HUB = "hub:"
_HUB_FILE = "model.safetensors"
_CLASSIFIER = "classifier."
_COUNTER = "num_batches_tracked"  # batch-norm's; old files lack it, and it changes no score


def load_start_weights(network: Network, init: str, batches: Iterable[Tensor] = ()) -> str:
    """Replace the network's weights by those that `init` names; return a remark, or "".

    Args:
        network: changed in place.
        init: a model (`base`, FILE.onnx), a .safetensors file, a checkpoint's folder, or
            hub:OWNER/REPO[@REVISION].
        batches: uint8, (N, S, S, 3), of the images to train on; drawn only for a model.

    Raises:
        ConfigError: if the weights cannot be had, or names or shapes differ, listing them.
        ModelError: if the file is damaged.
    """
    if is_model(init):
        _start_from_model(network, init, batches)
        return ""
    found = load_tensors(_find_file(init))
    wanted = network.state_dict()
    remark = ""
    if _classifier_differs(found, wanted):
        found = {name: t for name, t in found.items() if not name.startswith(_CLASSIFIER)}
        found |= {name: t for name, t in wanted.items() if name.startswith(_CLASSIFIER)}
        remark = f"{init}: its classifier has other outputs; ours starts random"
    _check_names_and_shapes(init, found, wanted)
    network.load_state_dict({name: found.get(name, wanted[name]) for name in wanted})
    return remark


def check_start(init: str) -> None:
    """Raise what `load_start_weights` would of weights that are not on this machine's disk.

    Those of a hub are fetched when the training begins, not before.

    Raises:
        ConfigError: if there is neither a model nor a file of that name.
    """
    if is_model(init):
        find_model(init)
    elif not init.startswith(_HUB):
        _find_file(init)


def is_model(init: str) -> bool:
    """Tell whether `init` names an embedded model or an exported file."""
    return init in embedded_models() or init.endswith(".onnx")


def _start_from_model(network: Network, init: str, batches: Iterable[Tensor]) -> None:
    if not isinstance(network, MsptNetwork):
        raise ConfigError(f'init {init!r}: model files start network "mspt" alone; drop init')
    found, _ = read_model_file(find_model(init))
    network.load_state_dict(found.state_dict())
    learn_statistics(network, batches)


def _find_file(init: str) -> Path:
    if init.startswith(_HUB):
        return _fetch(init.removeprefix(_HUB))
    path = Path(init)
    if path.is_dir():
        path /= WEIGHTS
    if not path.is_file():
        models = ", ".join(sorted(embedded_models()))
        raise ConfigError(f"init {init!r}: there is no file {path}; embedded models: {models}")
    return path


def _fetch(address: str) -> Path:
    """Return the file of a hub repository, from the user's cache or over the network."""
    repository, _, revision = address.partition("@")
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError as error:
        raise MissingExtraError.of("train", error) from error
    try:
        return Path(hf_hub_download(repository, _HUB_FILE, revision=revision or None))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DownloadError(
            f"init 'hub:{address}': {_HUB_FILE} cannot be fetched ({reason}). Connect to the "
            f"network once, or download the file elsewhere and set init to its path"
        ) from error


def _classifier_differs(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    name = f"{_CLASSIFIER}weight"
    return name in found and name in wanted and found[name].shape != wanted[name].shape


def _check_names_and_shapes(init: str, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    problems = {
        "missing": [n for n in wanted if n not in found and not n.endswith(_COUNTER)],
        "unexpected": [n for n in found if n not in wanted],
        "of another shape": [
            f"{n} {list(found[n].shape)} instead of {list(wanted[n].shape)}"
            for n in found
            if n in wanted and found[n].shape != wanted[n].shape
        ],
    }
    said = [f"{len(names)} {what} ({_some(names)})" for what, names in problems.items() if names]
    if said:
        raise ConfigError(
            f"init {init!r} is not of this network: {'; '.join(said)}. Name a file made for the "
            "run's network"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
