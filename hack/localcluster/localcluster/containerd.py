"""The configuration of containerd and BuildKit, for builds and for nodes."""

from pathlib import Path

from localcluster.errors import LocalClusterError

NAMESPACE = "k8s.io"
PAUSE_IMAGE = "localhost/pause:dev"
SNAPSHOTTER = "overlayfs"
BUILD_CACHE_LIMIT = "16GB"
# The kernel's limit for the path of a socket, less a zero byte and the ".ttrpc" of the second socket.
SOCKET_PATH_LIMIT = 107 - 6


def socket_path(path: Path) -> Path:
    """Check that a socket can have this path."""
    if len(str(path)) > SOCKET_PATH_LIMIT:
        raise LocalClusterError(
            f"{path} is longer than a socket's path may be ({SOCKET_PATH_LIMIT}): "
            "set XDG_CACHE_HOME to a shorter one."
        )
    return path


def builder_config(root: Path, state: Path, socket: Path) -> str:
    """Configure containerd as BuildKit's worker: no CRI, no network."""
    return f"""version = 3
root = "{root}"
state = "{state}"
disabled_plugins = [
  "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images"
]
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
"""


def buildkit_config(root: Path, socket: Path, containerd_socket: Path, cgroup: str) -> str:
    """Configure buildkitd to run build steps in containerd, with this machine's network."""
    return f"""root = "{root}"
[grpc]
  address = ["unix://{socket}"]
[worker.oci]
  enabled = false
[worker.containerd]
  enabled = true
  address = "{containerd_socket}"
  namespace = "{NAMESPACE}"
  networkMode = "host"
  snapshotter = "{SNAPSHOTTER}"
  defaultCgroupParent = "{cgroup}"
  gc = true
[[worker.containerd.gcpolicy]]
  all = true
  maxUsedSpace = "{BUILD_CACHE_LIMIT}"
"""


def node_config(root: Path, state: Path, socket: Path, cni_binaries: Path, cni_config: Path) -> str:
    """Configure containerd for a kubelet: pinned sandbox image, own CNI folders, OOM scores left."""
    return f"""version = 3
root = "{root}"
state = "{state}"
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "{SNAPSHOTTER}"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{PAUSE_IMAGE}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{cni_binaries}"]
    conf_dir = "{cni_config}"
"""
