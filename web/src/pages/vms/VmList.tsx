// SPDX-License-Identifier: Apache-2.0
import { SearchInput, ToolbarItem } from '@patternfly/react-core'
import { useEffect, useState } from 'react'
import { Link, useSearchParams } from 'react-router-dom'
import { useCan } from '@/api/session'
import type { Kind } from '@/api/types'
import { fieldLabel, kindLabel, t } from '@/i18n'
import { useList } from '@/live/hooks'
import { eq, type Term } from '@/live/match'
import { Empty } from '@/ui/Empty'
import { LinkButton } from '@/ui/LinkButton'
import { ObjectTable, useSettled } from '@/ui/ObjectTable'
import { Page } from '@/ui/Page'
import { RefPicker } from '@/ui/RefPicker'
import { Dash, RefLink, Size, StateLabel, Tags, Time } from '@/ui/text'
import { haText } from '@/ui/ha'
import './vms.css'

const BY: Kind[] = ['server', 'pool']

/** Narrows the list by server, pool and tag; all of it is in the address. */
function useNarrow() {
  const [address, setAddress] = useSearchParams()
  const set = (name: string, value: string | undefined) =>
    setAddress(
      (old) => {
        const next = new URLSearchParams(old)
        if (value) next.set(name, value)
        else next.delete(name)
        return next
      },
      { replace: true },
    )
  const tag = address.get('tag') ?? ''
  const [typed, setTyped] = useState(tag)
  const settled = useSettled(typed)
  useEffect(() => {
    if (settled !== tag) set('tag', settled)
    // Only what was typed leads to a new address.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [settled])
  const filter: Term[] = BY.flatMap((kind) => (address.get(kind) ? [eq(kind, address.get(kind)!)] : []))
  if (tag) filter.push(eq('tags', tag))
  const clear = () => {
    setTyped('')
    setAddress({}, { replace: true })
  }
  const servers = useList('server', { limit: 2 })
  const pools = useList('pool', { limit: 1 })
  // What there is no choice of takes no room.
  const offered = BY.filter((kind) => address.get(kind) || (kind === 'pool' ? pools.items.length > 0 : servers.items.length > 1))
  const node = (
    <>
      {offered.map((kind) => (
        <ToolbarItem key={kind} className="tarn-wide">
          <RefPicker id={`by-${kind}`} kind={kind} label={fieldLabel('Vm', kind)} placeholder={t('vms.any_of', { kind: fieldLabel('Vm', kind) })} value={address.get(kind) ?? undefined} onChange={(id) => set(kind, id)} />
        </ToolbarItem>
      ))}
      <ToolbarItem>
        <SearchInput className="tarn-tag-filter" aria-label={t('vms.tag')} placeholder={t('vms.tag')} value={typed} onChange={(_e, v) => setTyped(v.trim())} onClear={() => setTyped('')} resetButtonLabel={t('ui.clear')} />
      </ToolbarItem>
    </>
  )
  return { filter, narrow: { node, active: filter.length > 0, clear } }
}

export function Component() {
  const { filter, narrow } = useNarrow()
  const can = useCan()
  const create = can('vm_create') ? <LinkButton to="/vms/create">{t('vms.create')}</LinkButton> : null
  return (
    <Page title={kindLabel('vm', true)}>
      <ObjectTable
        kind="vm"
        filter={filter}
        narrow={narrow}
        tools={create}
        empty={<Empty title={t('vms.none')} text={create ? t('vms.none_text') : undefined} actions={create} />}
        columns={[
          { key: 'name', sort: 'name', width: 25, render: (vm) => <Link to={`/vms/${vm.id}`}>{vm.name}</Link> },
          { key: 'state', sort: 'state', choose: true, render: (vm) => <StateLabel compact schema="VmState" state={vm.state} reason={vm.state_reason} /> },
          { key: 'cpus', sort: 'cpus', optional: 'shown' },
          { key: 'memory', sort: 'memory', optional: 'shown', render: (vm) => <Size value={vm.memory} /> },
          { key: 'server', sort: 'server', optional: 'shown', render: (vm) => <RefLink kind="server" id={vm.server} /> },
          { key: 'pool', optional: 'hidden', render: (vm) => <RefLink kind="pool" id={vm.pool} /> },
          { key: 'template', wide: true, optional: 'shown', render: (vm) => <RefLink kind="template" id={vm.template} /> },
          { key: 'ha', wide: true, optional: 'shown', render: (vm) => (vm.ha?.enabled ? haText(vm) : <Dash />) },
          { key: 'tags', wide: true, optional: 'shown', render: (vm) => <Tags tags={vm.tags} /> },
          { key: 'started', sort: 'started', optional: 'hidden', render: (vm) => <Time value={vm.started} /> },
          { key: 'created', sort: 'created', optional: 'hidden', render: (vm) => <Time value={vm.created} /> },
          { key: 'description', optional: 'hidden' },
        ]}
      />
    </Page>
  )
}
