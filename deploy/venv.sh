#!/bin/sh
# Create .venv, or leave it as it is while the lock has not changed. Usage: venv.sh run|all
set -eu
cd "$(dirname "$0")/.."
what=${1:-run}
venv=.venv
wanted="$(cat requirements.lock pyproject.toml | cksum)"
for stamp in "$venv/.installed-all" "$venv/.installed-$what"; do
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi
done

fits() { # is $1 a Python 3.11 to 3.13?
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

python=
for candidate in ${AEGIS_PYTHON:-} "python$(cat .python-version)" python3.13 python3.11 python3 python; do
    if fits "$candidate"; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
    echo "AegisRAG needs Python 3.11, 3.12 or 3.13, and none was found on the PATH." >&2
    echo "Install one (for instance: apt install python3 python3-venv), or name it: AEGIS_PYTHON=/path/to/python make $what" >&2
    exit 1
fi

if [ "$what" = all ]; then extras='.[studio,bench,onnx]'; groups='--group test --group lint'; else extras='.'; groups=; fi
echo "Installing into $venv with $("$python" --version); the first time takes a minute or two ..."
if command -v uv >/dev/null 2>&1; then
    [ -x "$venv/bin/python" ] && fits "$venv/bin/python" || uv venv --quiet --clear --python "$(command -v "$python")" "$venv"
    # shellcheck disable=SC2086
    VIRTUAL_ENV=$venv uv pip install --quiet --compile-bytecode -c requirements.lock -e "$extras" $groups
else
    if ! { [ -x "$venv/bin/python" ] && fits "$venv/bin/python" && [ -x "$venv/bin/pip" ]; }; then
        rm -rf "$venv"
        if ! "$python" -m venv "$venv"; then
            rm -rf "$venv"
            echo "Python cannot make a virtual environment: install its venv module (Debian, Ubuntu: apt install python3-venv)." >&2
            exit 1
        fi
    fi
    # Groups need pip 25.1 or later.
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
    # shellcheck disable=SC2086
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --compile -c requirements.lock -e "$extras" $groups
fi
# Ours too: where PYTHONDONTWRITEBYTECODE is set they would be compiled at every start.
"$venv/bin/python" -m compileall -q aegis agents api evals graphs inference memory retrieval ui || true
rm -f "$venv"/.installed-*
echo "$wanted" >"$venv/.installed-$what"
