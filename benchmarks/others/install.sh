#!/bin/sh
# Install what this package is compared with, each into an environment of its own.
#
#     sh benchmarks/others/install.sh FOLDER [PYTHON]
#
# What does not install is left out; compare.py then says so and goes on.
set -u
folder=${1:?give a folder for the environments}
python=${2:-python3.11}
mkdir -p "$folder"
for entry in geoai:geoai-py geo_inference:geo-inference; do
    name=${entry%%:*}
    package=${entry##*:}
    if "$python" -m venv "$folder/$name" && "$folder/$name/bin/pip" install -q "$package"; then
        echo "$package: installed in $folder/$name"
    else
        rm -rf "${folder:?}/$name"
        echo "$package: does not install here, left out" >&2
    fi
done
