#!/bin/sh
# make deps: installs the Debian packages named as arguments that are not there yet.
missing=
for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0
command -v apt-get >/dev/null || {
    echo "deps: this is not Debian or Ubuntu; install what these packages hold:$missing" >&2
    exit 1
}
sudo=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "deps: run as root: apt-get install$missing" >&2; exit 1; }
    sudo=sudo
fi
echo "deps: installing$missing"
$sudo apt-get -qq update &&
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 install -y \
        --no-install-recommends $missing >/dev/null
