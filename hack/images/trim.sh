#!/bin/sh
# trim.sh PACKAGES: takes out of a folder of Python packages what serving on a CPU does not need.
# Each entry was found by serving text without it; hack/images/README.md has the sizes.
set -eu
packages=$1
cd "$packages"

# Empty files for the libraries that torch names and a CPU never calls. Python binds every function when it loads
# a library, so it must be told to bind at the first call instead.
python3 "$(dirname "$0")/empty_library.py" torch/lib \
    libcublas.so.13 libcublasLt.so.13 libcudnn.so.9 libcufft.so.12 libcufile.so.0 libcurand.so.10 \
    libcusolver.so.12 libcusparse.so.12 libcusparseLt.so.0 libnccl.so.2 libnvrtc.so.13 libnvshmem_host.so.3
echo 'import os, sys; sys.setdlopenflags(os.RTLD_LAZY)' > triton_cpu_lazy_binding.pth

# Headers, static libraries, debug symbols, compilers' parts, tests.
find torch/bin -type f ! -name torch_shm_manager -delete
rm -rf torch/include torch/share nvidia/cu13/include nvidia/cu13/bin bin include
rm -rf lib/*.a lib/*.dbg lib/libomptarget* lib/libur_* lib/clang
rm -f nvidia/cu13/lib/*.a nvidia/cu13/lib/libnvperf* nvidia/cu13/lib/libcheckpoint* nvidia/cu13/lib/libpcsampling*
find . -type d \( -name tests -o -name test \) -not -path './torch/*' -prune -exec rm -rf {} +
find . -type d -name __pycache__ -prune -exec rm -rf {} +

# Nothing that torch needs for its start is missing.
python3 -B -c 'import torch, torchvision, transformers, safetensors'
