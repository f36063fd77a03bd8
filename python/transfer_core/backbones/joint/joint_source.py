"""Several backbones at once as a source: `joint:mobilenet_v2+timm/tf_efficientnet_lite0`."""

from transfer_core.backbones.registry import Source, register

register(Source(name="joint", loading="transfer_core.backbones.joint.joint_loading", prefixes=("joint",)))
