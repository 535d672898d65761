/** Commands that read and edit the CRUSH map, in Ceph's words. The edits themselves are the crush package's. */
import { ClusterError } from '@shoal/base'
import type { OsdMap } from '@shoal/cluster-map'
import {
  addBucket,
  addItem,
  type CrushMap,
  checkCrushMap,
  createOrMove,
  createReplicatedRule,
  decodeCrushMap,
  encodeCrushMap,
  moveItem,
  removeItem,
  removeRule,
  renameBucket,
  reweightItem,
  rmDeviceClass,
  ruleIdOf,
  setDeviceClass,
  setTunables,
  treeOf,
  tunableProfiles,
  updateItem,
} from '@shoal/crush'
import { z } from 'zod'
import {
  type Command,
  done,
  locationArgument,
  noArguments,
  numberArgument,
  osdArgument,
  osdsArgument,
  readCommand,
  type WriteView,
  writeCommand,
} from './command.ts'
import { base64, fromBase64 } from './osd-reports.ts'

const weight = numberArgument(z.number().min(0).max(10_000))

/** Applies an edit; the same map back means that there was nothing to do. */
function edit(view: WriteView, change: (map: CrushMap) => CrushMap, status: string) {
  const { draft } = view
  const before = draft.map.crush
  const after = change(before)
  if (after === before) return done(`nothing to do: ${status} already`)
  draft.osd.setCrush(after)
  draft.log('info', `crush: ${status}`)
  return done(status)
}

const placed = z.object({ id: osdArgument, weight, args: locationArgument })

const hierarchy: readonly Command[] = [
  writeCommand(
    'osd crush add-bucket',
    z.object({ name: z.string(), type: z.string(), args: locationArgument.optional() }),
    (args, view) =>
      edit(view, (map) => addBucket(map, args.name, args.type, args.args ?? {}), `added bucket ${args.name}`),
  ),
  writeCommand('osd crush add', placed, (args, view) =>
    edit(view, (map) => addItem(map, args.id, `osd.${args.id}`, args.weight, args.args), `added osd.${args.id}`),
  ),
  writeCommand('osd crush set', placed, (args, view) =>
    edit(view, (map) => updateItem(map, args.id, `osd.${args.id}`, args.weight, args.args), `placed osd.${args.id}`),
  ),
  writeCommand('osd crush create-or-move', placed, (args, view) =>
    edit(view, (map) => createOrMove(map, args.id, `osd.${args.id}`, args.weight, args.args), `placed osd.${args.id}`),
  ),
  writeCommand('osd crush move', z.object({ name: z.string(), args: locationArgument }), (args, view) =>
    edit(view, (map) => moveItem(map, args.name, args.args), `moved ${args.name}`),
  ),
  ...['rm', 'remove'].map((verb) =>
    writeCommand(`osd crush ${verb}`, z.object({ name: z.string() }), (args, view) =>
      edit(view, (map) => removeItem(map, args.name), `removed ${args.name} from the CRUSH map`),
    ),
  ),
  writeCommand('osd crush reweight', z.object({ name: z.string(), weight }), (args, view) =>
    edit(view, (map) => reweightItem(map, args.name, args.weight), `${args.name} weighs ${args.weight}`),
  ),
  writeCommand('osd crush rename-bucket', z.object({ srcname: z.string(), dstname: z.string() }), (args, view) =>
    edit(view, (map) => renameBucket(map, args.srcname, args.dstname), `${args.srcname} is now ${args.dstname}`),
  ),
]

const classes: readonly Command[] = [
  writeCommand('osd crush set-device-class', z.object({ class: z.string(), ids: osdsArgument }), (args, view) => {
    const reply = edit(
      view,
      (map) => args.ids.reduce((edited, id) => setDeviceClass(edited, id, args.class), map),
      `${args.ids.map((id) => `osd.${id}`).join(', ')} have class ${args.class}`,
    )
    for (const id of args.ids) setClassOf(view, id, args.class)
    return reply
  }),
  writeCommand('osd crush rm-device-class', z.object({ ids: osdsArgument }), (args, view) => {
    const reply = edit(
      view,
      (map) => args.ids.reduce((edited, id) => rmDeviceClass(edited, id), map),
      `${args.ids.map((id) => `osd.${id}`).join(', ')} have no class`,
    )
    for (const id of args.ids) setClassOf(view, id, undefined)
    return reply
  }),
  readCommand('osd crush class ls', noArguments, (_args, { map }) =>
    done('', [...map.crush.classNames.values()].sort()),
  ),
]

function setClassOf(
  { draft }: WriteView,
  id: Parameters<typeof draft.map.osds.get>[0],
  deviceClass: string | undefined,
): void {
  const osd = draft.map.osds.get(id)
  if (osd !== undefined && osd.deviceClass !== deviceClass) draft.osd.setOsd({ ...osd, deviceClass })
}

function requireRule(map: OsdMap, name: string): number {
  const id = ruleIdOf(map.crush, name)
  if (id === undefined) throw new ClusterError('ENOENT', `there is no rule '${name}'`, { hint: 'shoal crush rule ls' })
  return id
}

function ruleRow(map: OsdMap, id: number) {
  const rule = map.crush.rules[id]
  const pools = [...map.pools.values()].filter((pool) => pool.crushRule === id).map((pool) => pool.name)
  return { id, name: map.crush.ruleNames.get(id) ?? String(id), type: rule?.type, steps: rule?.steps, pools }
}

const rules: readonly Command[] = [
  readCommand('osd crush rule ls', noArguments, (_args, { map }) =>
    done(
      '',
      map.crush.rules.flatMap((rule, id) => (rule === undefined ? [] : [ruleRow(map, id)])),
    ),
  ),
  readCommand('osd crush rule dump', z.object({ name: z.string().optional() }), (args, { map }) =>
    done(
      '',
      args.name === undefined
        ? map.crush.rules.flatMap((rule, id) => (rule === undefined ? [] : [ruleRow(map, id)]))
        : ruleRow(map, requireRule(map, args.name)),
    ),
  ),
  writeCommand(
    'osd crush rule create-replicated',
    z.object({
      name: z.string(),
      root: z.string().default('default'),
      type: z.string().default('host'),
      class: z.string().optional(),
    }),
    (args, view) => {
      if (ruleIdOf(view.map.crush, args.name) !== undefined) return done(`rule ${args.name} exists already`)
      const { name, root, type: failureDomain } = args
      const deviceClass = args.class === undefined ? {} : { deviceClass: args.class }
      return edit(
        view,
        (map) => createReplicatedRule(map, { name, root, failureDomain, ...deviceClass }),
        `created rule ${name}`,
      )
    },
  ),
  writeCommand('osd crush rule rm', z.object({ name: z.string() }), (args, view) => {
    const { pools } = ruleRow(view.draft.map, requireRule(view.draft.map, args.name))
    if (pools.length > 0) {
      throw new ClusterError('EBUSY', `rule ${args.name} is used by ${pools.join(', ')}`, {
        hint: `shoal pool set ${pools[0]} crush_rule OTHER`,
      })
    }
    return edit(view, (map) => removeRule(map, args.name), `removed rule ${args.name}`)
  }),
]

const wholeMap: readonly Command[] = [
  readCommand('osd crush dump', noArguments, (_args, { map }) =>
    done('', {
      tree: treeOf(map.crush),
      rules: map.crush.rules.flatMap((rule, id) => (rule === undefined ? [] : [ruleRow(map, id)])),
      types: Object.fromEntries(map.crush.types),
      tunables: map.crush.tunables,
    }),
  ),
  readCommand('osd crush tree', noArguments, (_args, { map }) => done('', treeOf(map.crush))),
  readCommand('osd crush show-tunables', noArguments, (_args, { map }) => done('', map.crush.tunables)),
  writeCommand(
    'osd crush tunables',
    z.object({ profile: z.enum(Object.keys(tunableProfiles) as [keyof typeof tunableProfiles]) }),
    (args, view) => edit(view, (map) => setTunables(map, args.profile), `tunables are those of ${args.profile}`),
  ),
  readCommand('osd getcrushmap', noArguments, (_args, { map }) =>
    done(`got crush map of epoch ${map.epoch}`, { epoch: map.epoch, crushmap: base64(encodeCrushMap(map.crush)) }),
  ),
  writeCommand(
    'osd setcrushmap',
    z.object({
      crushmap: z.string().max(16 * 1024 * 1024),
      prior_version: numberArgument(z.number().int()).optional(),
    }),
    (args, view) => {
      const { draft } = view
      if (args.prior_version !== undefined && args.prior_version !== draft.osd.base.epoch) {
        throw new ClusterError('ERANGE', `the map is at epoch ${draft.osd.base.epoch}, not ${args.prior_version}`, {
          hint: 'get it again, edit, and set it',
        })
      }
      const crush = decodeCrushMap(fromBase64(args.crushmap))
      checkCrushMap(crush)
      for (const pool of draft.map.pools.values()) {
        if (crush.rules[pool.crushRule] === undefined) {
          throw new ClusterError('EINVAL', `pool '${pool.name}' uses rule ${pool.crushRule}, which this map lacks`)
        }
      }
      return edit(view, () => crush, `crush map replaced`)
    },
  ),
]

export const crushCommands: readonly Command[] = [...hierarchy, ...classes, ...rules, ...wholeMap]
