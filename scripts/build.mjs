// `npm run build`: compiles what has changed, while no process of this checkout loads it.
import { build } from './lib/prepare.mjs'

build()
