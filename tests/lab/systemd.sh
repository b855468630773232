#!/bin/bash
# A real systemd for tests: PID 1 of a pid namespace of its own, with its own mounts and cgroup, its bus socket reachable
# from outside. Ready in about half a second. Needs root, systemd and dbus; touches nothing of the machine's own systemd.
#
#   systemd.sh start DIR   units are read from DIR/units; the bus is DIR/dbus/system_bus_socket
#   systemd.sh stop DIR    ends everything that was started, and removes DIR
set -euo pipefail

inside() { # runs as the namespace's first process; becomes systemd
    local dir=$1
    mount --make-rprivate /
    mount -t tmpfs tmpfs /run -o mode=755,size=32m
    mkdir -p /run/lock /run/dbus /run/systemd
    mount --bind "$dir/dbus" /run/dbus
    mount --bind "$dir/systemd" /run/systemd
    umount -R /sys/fs/cgroup 2>/dev/null || true
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    # Without a colon at the end of SYSTEMD_UNIT_PATH: with one, the machine's own units would be started as well.
    exec env -i PATH="$PATH" LANG=C container=guardian-lab container_uuid="$(cat /proc/sys/kernel/random/uuid)" \
        SYSTEMD_UNIT_PATH="$dir/units" SYSTEMD_LOG_TARGET=console SYSTEMD_PROC_CMDLINE="" \
        /lib/systemd/systemd --system --unit=guardian-lab.target --show-status=no --log-target=console
}

start() {
    local dir group root=/sys/fs/cgroup system=/lib/systemd/system
    mkdir -p "$1"/{dbus,systemd,units/sockets.target.wants}
    dir=$(realpath "$1")
    [ -d $root/unified ] && root=$root/unified
    group=$root/guardian-lab-$$
    mkdir "$group"
    echo "$group" >"$dir/cgroup"
    # A closed set of units: nothing of the machine (a database, a getty, timers) gets started.
    for unit in dbus.service dbus.socket systemd-exit.service {sysinit,basic,shutdown,sockets,paths,timers,slices,umount,final,exit,poweroff,halt,reboot,local-fs,local-fs-pre,network}.target; do
        if [ -f "$system/$unit" ]; then cp "$system/$unit" "$dir/units/"; fi
    done
    ln -sf ../dbus.socket "$dir/units/sockets.target.wants/dbus.socket"
    printf '[Unit]\nRequires=basic.target\nAfter=basic.target\nWants=dbus.service\nAllowIsolate=yes\n' >"$dir/units/guardian-lab.target"
    setsid bash -c 'echo $$ >"$1/cgroup.procs"; echo $$ >"$2/outer.pid"
        exec unshare --pid --mount --cgroup --uts --ipc --fork --kill-child --mount-proc "$3" inside "$2"' \
        lab "$group" "$dir" "$(realpath "$0")" >"$dir/console" 2>&1 </dev/null &
    for _ in $(seq 1 500); do
        if [ -S "$dir/dbus/system_bus_socket" ] && busctl --address="unix:path=$dir/dbus/system_bus_socket" --timeout=1 \
            get-property org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager SystemState \
            2>/dev/null | grep -qE 'running|degraded'; then
            exit 0
        fi
        sleep 0.02
    done
    echo "systemd did not come up:" >&2
    cat "$dir/console" >&2
    exit 1
}

stop() {
    local dir pid group
    dir=$(realpath "$1")
    pid=$(cat "$dir/outer.pid")
    group=$(cat "$dir/cgroup")
    kill -9 "$pid" 2>/dev/null || true # its --kill-child takes the namespace with it
    for _ in $(seq 1 100); do
        if [ ! -d "$group" ]; then break; fi
        find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
        sleep 0.02
    done
    rm -rf "$dir"
}

case ${1:-} in
start | stop | inside) "$1" "${2:?a directory}" ;;
*) echo "usage: systemd.sh start|stop DIR" >&2; exit 2 ;;
esac
