#!/bin/sh
# A machine of its own: Linux in user mode, with the disk of this one below it and the spool from the file server.
#
#     machine.sh NAME ADDRESS LINK SERVER SPOOL PROGRAM [ARGUMENT]...
#
# boots it, and becomes it; inside it, where the kernel runs this without arguments, it mounts the spool and becomes the program.
set -eu

if [ $# -gt 0 ]; then
    work=$(mktemp -d "$5.XXXXXX")
    printf '%s\n' "$@" >"$work/words"
    exec linux.uml mem=384M root=/dev/root rootfstype=hostfs rw quiet "uml_dir=$work/" "init=$0" "WORK=$work" \
        con=null con0=fd:0,fd:1 "eth0=tuntap,$3,52:54:00:00:02:${2##*.}"
fi

export PATH=/usr/sbin:/usr/bin:/sbin:/bin
while IFS= read -r word; do
    set -- "$@" "$word"
done <"$WORK/words"
name=$1 address=$2 server=$4 spool=$5
shift 5

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mkdir -p /run/kernel/lib
ln -s /usr/lib/uml/modules /run/kernel/lib/modules
modprobe -d /run/kernel nfsv4
hostname "$name" # NFS tells its clients apart by it
ip link set lo up
ip address add "$address/24" dev eth0
ip link set eth0 up
mount -i -t nfs4 -o "vers=4.2,hard,addr=$server,clientaddr=$address" "$server:/spool" "$spool"
exec "$@"
