# An image with the command line of dipole. The index has builds of PyTorch for CUDA; another index, as PyTorch's
# installation page names it for processors alone, makes a smaller image:
#   docker build -t dipole .
#   docker build -t dipole:cpu --build-arg TORCH_INDEX=ADDRESS .
#   docker run --rm -v "$PWD:/home/dipole/here" -w /home/dipole/here dipole train simclr --out runs/first
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
WORKDIR /source
COPY constraints.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt hatchling
COPY . .
RUN python -m hatchling build --target wheel --directory /dist

FROM python:${PYTHON}-slim
# The address of an index with other builds of torch and torchvision; the ordinary one if it is empty.
ARG TORCH_INDEX=
ARG EXTRAS=vision,text
COPY constraints.txt /tmp/constraints.txt
# What torch depends on comes with dipole, from the ordinary index.
RUN pip install --no-cache-dir --no-deps --constraint /tmp/constraints.txt \
    ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch torchvision
COPY --from=build /dist /tmp/dist
RUN pip install --no-cache-dir --constraint /tmp/constraints.txt "$(ls /tmp/dist/*.whl)[${EXTRAS}]" \
    && rm -r /tmp/dist && dipole --version
RUN useradd --create-home dipole
USER dipole
WORKDIR /home/dipole
ENTRYPOINT ["dipole"]
CMD ["--help"]
