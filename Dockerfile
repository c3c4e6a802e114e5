# An image that trains on CPUs: docker build -t ablate . && docker run -v "$PWD/outputs:/data/outputs" ablate train
# On GPUs, build from an image of CUDA and without the version of torch in constraints.txt. Neither was ever built in CI.
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends git g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /data
COPY . /opt/ablate
RUN pip install --no-cache-dir -c /opt/ablate/constraints.txt /opt/ablate
ENTRYPOINT ["ablate"]
