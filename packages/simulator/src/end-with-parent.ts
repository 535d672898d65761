/**
 * A worker that runs seeds ends when the process that started it does, however that ended: its standard input says so only
 * between two seeds, and a seed may take minutes. Needs an `ipc` channel among the streams it was started with.
 */
export function endWithParent(): void {
  // It may have ended while this process was still loading.
  if (process.send !== undefined && !process.connected) process.exit(1)
  process.once('disconnect', () => process.exit(1))
  // The listener alone would keep a worker that has nothing more to do.
  process.channel?.unref()
}
