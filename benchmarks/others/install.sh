#!/bin/sh
# Install what this package is compared with, each into an environment of its own.
#
#     sh benchmarks/others/install.sh FOLDER [PYTHON]
#
# With uv where it is found (or where $UV says), which shares what other environments have downloaded
# already; else with pip. What does not install is left out; compare.py then says so and goes on.
set -u
folder=${1:?give a folder for the environments}
python=${2:-python3.11}
uv=${UV:-$(command -v uv || true)}

install_into() {
    if [ -n "$uv" ]; then
        "$uv" venv -q --python "$python" "$1" && "$uv" pip install -q --python "$1/bin/python" "$2"
    else
        "$python" -m venv "$1" && "$1/bin/pip" install -q "$2"
    fi
}

mkdir -p "$folder"
for entry in geoai:geoai-py geo_inference:geo-inference; do
    name=${entry%%:*}
    package=${entry##*:}
    if install_into "$folder/$name" "$package"; then
        echo "$package: installed in $folder/$name"
    else
        rm -rf "${folder:?}/$name"
        echo "$package: does not install here, left out" >&2
    fi
done
