#!/bin/sh
# The first process of a machine: loads modules, overlays the host's files, mounts the folder, runs the command server.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
if grep -q probe /proc/cmdline; then
    echo 'machine: it runs'
    poweroff -f
fi
. /machine
mount -t sysfs sys /sys
for module in $(cat /modules/order); do
    insmod "/modules/$module" || echo "machine: no $module"
done
# Every machine has this same address, behind its own emulated router. NFS distinguishes machines by their host names.
hostname "$NAME"
ip link set lo up
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2

mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 host /host
mount -t tmpfs changes /changes
mkdir /changes/upper /changes/work
mount -t overlay -o lowerdir=/host,upperdir=/changes/upper,workdir=/changes/work overlay /root
for folder in proc sys dev; do
    mount --move "/$folder" "/root/$folder"
done
mkdir -p /root/mnt/models /root/dev/shm
mount -t tmpfs run /root/run
(umask 077 && echo "$TOKEN" > /root/run/token)
mount -t tmpfs shm /root/dev/shm
if ! chroot /root /bin/mount -i -t "$TYPE" -o "$OPTIONS" "$SOURCE" /mnt/models; then
    dmesg | tail -n 20
    echo 'machine: the folder cannot be mounted'
    poweroff -f
fi
# The shell stays the first process and reaps orphans. When it ends, the kernel panics, which ends QEMU.
exec switch_root /root /bin/sh -c "cd '$PROJECT' && '$PYTHON' -I '$PROJECT/tests/volumes/machines/guest.py'; exit 1"
