// `npm test`: install, build, install the Debian programs that tests compare with, run the checks, run every test.
// Arguments go to vitest (`npm test -- packages/crush`).
import { join } from 'node:path'
import { prepare, root, run } from './lib/prepare.mjs'

/** Debian packages that tests run for real. Tests that lack one say so and are skipped, unless CI is set. */
const debianPackages = [
  'ceph-base',
  'ceph-osd',
  'libnbd-bin',
  'python3-libnbd',
  'openssl',
  'nbdkit',
  'qemu-utils',
  'fio',
]

prepare()
run('bash', [join(root, 'scripts', 'install-test-tools.sh'), ...debianPackages])
if (process.argv.length === 2) run(process.execPath, [join(root, 'scripts', 'check.mjs')])
run(join(root, 'node_modules', '.bin', 'vitest'), ['run', ...process.argv.slice(2)])
