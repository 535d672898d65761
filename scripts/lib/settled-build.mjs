// Loaded before built code (`import`, or `node --import` for daemons): waits for a build that is under way, and finishes
// one that was cut off.
import { currentBuild, markLoading, unmarkLoading } from './build-lock.mjs'
import { prepare } from './prepare.mjs'

const waitMsMax = 120_000
const loadedAfterMs = 10_000
const pollMs = 50

const deadlineMs = Date.now() + waitMsMax
while (markLoading()) {
  const build = currentBuild()
  if (build === undefined) {
    process.once('exit', unmarkLoading)
    setTimeout(unmarkLoading, loadedAfterMs).unref()
    break
  }
  unmarkLoading()
  if (!build.isAlive) {
    prepare()
  } else if (Date.now() > deadlineMs) {
    process.stderr.write(`process ${build.pid} has been building for two minutes; not waiting any longer\n`)
    break
  } else {
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}
