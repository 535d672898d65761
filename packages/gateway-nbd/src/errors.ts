/** The one place where Shoal's error codes become NBD's. */
import { ClusterError, type ErrorCode } from '@shoal/base'
import type { NbdError } from './protocol.ts'

const nbdErrorOf: Partial<Record<ErrorCode, NbdError>> = {
  EPERM: 'EPERM',
  EACCES: 'EPERM',
  EROFS: 'EPERM',
  EINVAL: 'EINVAL',
  E2BIG: 'EINVAL',
  EFBIG: 'ENOSPC',
  ENOSPC: 'ENOSPC',
  EDQUOT: 'ENOSPC',
  EOVERFLOW: 'EOVERFLOW',
  EOPNOTSUPP: 'ENOTSUP',
  ESHUTDOWN: 'ESHUTDOWN',
}

/** What has no counterpart, a lost image or a timeout among them, is EIO: the client must not take it for success. */
export function toNbdError(error: unknown): NbdError {
  return error instanceof ClusterError ? (nbdErrorOf[error.code] ?? 'EIO') : 'EIO'
}
