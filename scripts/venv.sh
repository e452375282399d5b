# Sourced by the other scripts: `make_venv EXTRA` makes .venv and installs jaxwd with
# that extra, once; the next call sees that nothing changed and does nothing.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
VENV="${JAXWD_VENV:-.venv}"

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.12 python3.11 python3.13; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "error: Python 3.11 or newer is needed; install it, or set PYTHON=/path/to/python" >&2
    return 1
}

make_venv() {
    local extra="$1" python stamp want
    if [ ! -x "$VENV/bin/python" ]; then
        python="$(find_python)" || exit 2
        echo "making $VENV with $("$python" --version)"
        if ! "$python" -m venv "$VENV" >/dev/null 2>&1; then
            rm -rf "$VENV"
            # Debian's python3 comes without its venv module.
            if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
                apt-get install -y -q python3-venv >/dev/null 2>&1 || true
            fi
            if ! "$python" -m venv "$VENV"; then
                rm -rf "$VENV"
                echo "error: $python cannot make virtual environments; apt-get install python3-venv" >&2
                exit 2
            fi
        fi
    fi
    stamp="$VENV/.jaxwd-${extra:-plain}"
    want="$(sha256sum pyproject.toml | cut -d' ' -f1)"
    if [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
        echo "installing jaxwd${extra:+[$extra]} (a minute or so, about 1 GB)"
        "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
            --editable ".${extra:+[$extra]}" || exit 1
        echo "$want" >"$stamp"
    fi
}
