#!/usr/bin/env python3
"""What the Linux kernel's own NBD client makes of a gateway: runs as root in a Linux whose /dev/nbd0 is free.

  nbd-guest.py HOST PORT EXPORT CONTROL_PORT

Attaches the export with four connections (netlink, as the tools do that survive a restart of their server: requests wait
for a new connection and are sent again), makes ext4, copies, trims, and has fio write and verify while whoever listens on
CONTROL_PORT restarts the gateway. One line for each thing seen; exit code 0 when all of it held.
"""
import hashlib, os, re, shutil, socket, struct, subprocess, sys, time

HOST, PORT, EXPORT, CONTROL = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
DEVICE, MOUNT, CONNECTIONS = '/dev/nbd0', '/run/shoal-nbd-mount', 4
REQUEST_SECONDS, RECONNECT_SECONDS = 10, 120
ATTR = dict(index=1, size=2, block=3, timeout=4, server_flags=5, client_flags=6, sockets=7, dead_timeout=8)
CONNECT, DISCONNECT, RECONFIGURE = 1, 2, 3


def run(*words, **options):
    return subprocess.run(words, check=True, capture_output=True, text=True, **options).stdout


def exactly(connection, count):
    data = b''
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise ConnectionError('the gateway hung up')
        data += part
    return data


def attach():
    """A connection that is ready for the kernel, the size of the export and its flags."""
    connection = socket.create_connection((HOST, PORT), 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    exactly(connection, 18)
    name = EXPORT.encode()
    body = struct.pack('>I', len(name)) + name + struct.pack('>H', 0)
    connection.sendall(struct.pack('>I', 3) + b'IHAVEOPT' + struct.pack('>II', 7, len(body)) + body)
    size = flags = None
    while True:
        kind, length = struct.unpack('>II', exactly(connection, 20)[12:])
        data = exactly(connection, length)
        if kind == 1:
            connection.settimeout(None)
            return connection, size, flags
        if kind >= 0x80000000:
            raise ConnectionError(data.decode())
        if kind == 3 and data[:2] == b'\0\0':
            size, flags = struct.unpack('>QH', data[2:12])


class Netlink:
    """Generic netlink, as far as the family `nbd` needs it."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
        self.socket.bind((0, 0))
        answer = self.ask(16, 3, self.attribute(2, b'nbd\0'))
        at = 20
        while at < len(answer):
            length, kind = struct.unpack_from('=HH', answer, at)
            if kind == 1:
                self.family = struct.unpack_from('=H', answer, at + 4)[0]
            at += (length + 3) & ~3

    @staticmethod
    def attribute(kind, value):
        return struct.pack('=HH', 4 + len(value), kind) + value + b'\0' * (-len(value) % 4)

    def number(self, name, value, form='=Q'):
        return self.attribute(ATTR[name], struct.pack(form, value))

    def ask(self, family, command, body):
        self.socket.send(struct.pack('=IHHII', 20 + len(body), family, 5, 1, 0) + struct.pack('=BBH', command, 1, 0) + body)
        answer = b''
        while True:
            data = self.socket.recv(65536)
            if struct.unpack_from('=H', data, 4)[0] != 2:
                answer = data
                continue
            error = struct.unpack_from('=i', data, 16)[0]
            if error != 0:
                raise OSError(-error, os.strerror(-error))
            return answer

    def connect(self, command, connections, size, flags):
        sockets = b''.join(self.attribute(1 | 0x8000, self.attribute(1, struct.pack('=I', one.fileno()))) for one in connections)
        body = self.number('index', 0, '=I') + self.number('size', size) + self.number('block', 4096)
        body += self.number('timeout', REQUEST_SECONDS) + self.number('dead_timeout', RECONNECT_SECONDS)
        body += self.number('server_flags', flags) + self.attribute(ATTR['sockets'] | 0x8000, sockets)
        self.ask(self.family, command, body)

    def disconnect(self):
        self.ask(self.family, DISCONNECT, self.number('index', 0, '=I'))


def attach_all():
    opened = [attach() for _ in range(CONNECTIONS)]
    return [connection for connection, _, _ in opened], opened[0][1], opened[0][2]


def attach_again(seconds):
    until = time.monotonic() + seconds
    while True:
        try:
            return attach_all()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def control(word):
    """Asks whoever started us, and waits until it is done."""
    with socket.create_connection((HOST, CONTROL), 10) as connection:
        connection.settimeout(180)
        connection.sendall(word.encode() + b'\n')
        return connection.makefile().readline().strip()


def digest(path):
    hashed = hashlib.sha256()
    with open(path, 'rb') as file:
        for part in iter(lambda: file.read(1 << 20), b''):
            hashed.update(part)
    return hashed.hexdigest()


def seen(text):
    print(text, flush=True)


def main():
    if not os.path.exists(DEVICE) and shutil.which('modprobe'):
        run('modprobe', 'nbd')
    netlink = Netlink()
    connections, size, flags = attach_all()
    netlink.connect(CONNECT, connections, size, flags)
    for _ in range(100):
        if int(open('/sys/block/nbd0/size').read()) * 512 == size:
            break
        time.sleep(0.1)
    queue = '/sys/block/nbd0/queue/'
    limits = {name: open(queue + name).read().strip() for name in ('write_cache', 'fua', 'discard_max_bytes')}
    seen(f'Linux {os.uname().release}: {DEVICE} of {size >> 20} MiB with {CONNECTIONS} connections, {limits}')
    assert limits['write_cache'] == 'write back' and limits['discard_max_bytes'] != '0'

    # Lazily, the kernel would write the tables of inodes while we look at what the image takes.
    run('mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0', DEVICE)
    os.makedirs(MOUNT, exist_ok=True)
    run('mount', DEVICE, MOUNT)
    source = '/run/shoal-nbd-source'
    with open(source, 'wb') as file:
        file.write(os.urandom(24 << 20))
    run('cp', source, MOUNT + '/copied')
    run('sync')
    open('/proc/sys/vm/drop_caches', 'w').write('3')
    assert digest(source) == digest(MOUNT + '/copied')
    seen(f'ext4: 24 MiB copied and read back equal, sha256 {digest(source)[:16]}')

    before = int(control('used'))
    os.remove(MOUNT + '/copied')
    run('sync')
    trimmed = run('fstrim', '-v', MOUNT).strip()
    after = int(control('used'))
    seen(f'fstrim: {trimmed}; the image takes {after >> 20} MiB after {before >> 20} MiB')
    assert before - after > 20 << 20

    job = ['fio', '--name=verify', f'--directory={MOUNT}', '--rw=randwrite', '--bs=8k', '--size=32m', '--direct=1', '--iodepth=16',
           '--ioengine=libaio', '--verify=crc32c', '--verify_fatal=1', '--fallocate=none', '--end_fsync=1', '--output-format=terse']
    writer = subprocess.Popen(job, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    time.sleep(1)
    started = time.monotonic()
    assert writer.poll() is None, 'fio was over before the restart'
    control('restart')
    connections, size, flags = attach_again(90)
    netlink.connect(RECONFIGURE, connections, size, flags)
    seen(f'gateway restarted under fio, attached again after {time.monotonic() - started:.1f} s')
    output, _ = writer.communicate()
    assert writer.returncode == 0, output
    seen('fio: wrote and verified 32 MiB across the restart without an error')

    assert control('kill') == 'done'
    connections, size, flags = attach_again(90)
    netlink.connect(RECONFIGURE, connections, size, flags)
    run('cp', source, MOUNT + '/again')
    run('sync')
    open('/proc/sys/vm/drop_caches', 'w').write('3')
    assert digest(source) == digest(MOUNT + '/again')
    seen('gateway killed with -9 and started: what is written then is read back equal')

    run('umount', MOUNT)
    check = run('e2fsck', '-fn', DEVICE).strip().splitlines()[-1]
    errors = [line for line in run('dmesg').splitlines() if re.search(r'(I/O error|EXT4-fs error|Remounting)', line)]
    seen(f'e2fsck: clean, {check}; errors in the kernel log: {len(errors)}')
    assert errors == [], errors
    netlink.disconnect()


main()
