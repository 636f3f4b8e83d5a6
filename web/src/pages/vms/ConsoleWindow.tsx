// SPDX-License-Identifier: Apache-2.0
// A console in a window of its own: /vms/NAME/console?type=serial|vnc
import { ToggleGroup, ToggleGroupItem } from '@patternfly/react-core'
import { useParams, useSearchParams } from 'react-router-dom'
import { Console } from '@/console/Console'
import { t } from '@/i18n'
import { NotFound } from '@/shell/Errors'
import { Loading } from '@/ui/Empty'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { useTitle } from '@/ui/Page'
import { StateLabel } from '@/ui/text'
import { hasDisplay } from './model'
import { useVm } from './useVm'

export function Component() {
  const { id } = useParams()
  const [search, setSearch] = useSearchParams()
  const { object: vm, gone, error } = useVm(id)
  const wanted = search.get('type')
  const type = wanted === 'vnc' || wanted === 'serial' ? wanted : vm && hasDisplay(vm) ? 'vnc' : 'serial'
  useTitle(vm ? `${vm.name} · ${t(`console.${type}`)}` : '')
  if (gone) return <NotFound />
  if (!vm) return error ? <ErrorAlert error={error} /> : <Loading />
  return (
    <div className="tarn-console-window">
      <header className="tarn-console-window__head">
        <h1>{vm.name}</h1>
        <StateLabel schema="VmState" state={vm.state} reason={vm.state_reason} />
        <span className="tarn-grow" />
        {hasDisplay(vm) ? (
          <ToggleGroup isCompact aria-label={t('console.which')}>
            {(['vnc', 'serial'] as const).map((one) => (
              <ToggleGroupItem key={one} text={t(`console.${one}`)} isSelected={type === one} onChange={() => setSearch({ type: one }, { replace: true })} />
            ))}
          </ToggleGroup>
        ) : null}
      </header>
      <main className="tarn-console-window__body">
        <Console key={`${vm.id}/${type}`} vm={vm} type={type} windowed />
      </main>
    </div>
  )
}
