"""The names and shapes that a configuration asks for are those of the network that it builds."""

from hypothesis import given, settings
from small_networks import small_config, stacks

from jasper.config import NetworkConfig
from jasper.nn.weights import model_state, network_shape
from jasper.parameters import weight_shapes


@given(stacks())
@settings(max_examples=50, deadline=None)
def test_shapes_are_the_networks(blocks):
    config = small_config().model_copy(update={"network": NetworkConfig(blocks=blocks)})
    state = model_state(network_shape(config))
    assert list(weight_shapes(config).items()) == [
        (name, tuple(value.shape)) for name, value in state.items()
    ]
