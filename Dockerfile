# An image with the command line of dipole, for processors or, by an argument, for CUDA:
#   docker build -t dipole .
#   docker build -t dipole:cuda --build-arg DEVICE=cu130 .
#   docker run --rm -v "$PWD:/home/dipole/here" -w /home/dipole/here dipole train simclr --out runs/first
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
WORKDIR /source
COPY constraints.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt hatchling
COPY . .
RUN python -m hatchling build --target wheel --directory /dist

FROM python:${PYTHON}-slim
# `cpu`, or a version of CUDA as PyTorch names its wheels (`cu130`).
ARG DEVICE=cpu
ARG EXTRAS=vision,text
COPY constraints.txt /tmp/constraints.txt
# What torch depends on comes with dipole, from the ordinary index.
RUN pip install --no-cache-dir --no-deps --constraint /tmp/constraints.txt \
    --index-url "https://download.pytorch.org/whl/${DEVICE}" torch torchvision
COPY --from=build /dist /tmp/dist
RUN pip install --no-cache-dir --constraint /tmp/constraints.txt "$(ls /tmp/dist/*.whl)[${EXTRAS}]" \
    && rm -r /tmp/dist && dipole --version
RUN useradd --create-home dipole
USER dipole
WORKDIR /home/dipole
ENTRYPOINT ["dipole"]
CMD ["--help"]
