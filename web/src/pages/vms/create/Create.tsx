// SPDX-License-Identifier: Apache-2.0
// A new virtual machine in four steps. Enter goes on from step to step; nothing needs a mouse.
import { ActionList, ActionListGroup, Button, Form, useWizardContext, Wizard, WizardFooterWrapper, WizardStep } from '@patternfly/react-core'
import { useEffect, useRef, useState, type ReactNode } from 'react'
import { useBlocker, useNavigate, useSearchParams } from 'react-router-dom'
import { kindLabel, t } from '@/i18n'
import { ErrorAlert } from '@/ui/ErrorAlert'
import { Confirm } from '@/ui/Confirm'
import { Page } from '@/ui/Page'
import { Compute } from './Compute'
import { Network } from './Network'
import { usePlan, type Plan } from './plan'
import { Review } from './Review'
import { Source } from './Source'
import { showProblem } from '@/ui/submit'
import '../vms.css'

type StepId = 'source' | 'compute' | 'network' | 'review'
const STEPS: StepId[] = ['source', 'compute', 'network', 'review']

interface StepProps {
  plan: Plan
  id: StepId
  onTry: () => boolean
  busy: string
  error: unknown
  onCreate: () => void
  children: ReactNode
}

function Step({ plan, id, onTry, busy, error, onCreate, children }: StepProps) {
  const { goToNextStep } = useWizardContext()
  const box = useRef<HTMLDivElement>(null)
  useEffect(() => {
    // The first thing to fill in, so that one may type at once.
    const input = box.current?.querySelector<HTMLElement>('input:not([type=hidden]):not(:disabled), select, textarea')
    if (id !== 'review') input?.focus({ preventScroll: true })
    else document.getElementById('create-now')?.focus({ preventScroll: true })
  }, [id])
  return (
    <div ref={box}>
      <Form
        noValidate
        isWidthLimited
        maxWidth="46rem"
        onSubmit={(event) => {
          event.preventDefault()
          if (id === 'review') onCreate()
          else if (onTry()) void goToNextStep()
        }}
      >
        <ErrorAlert error={error} />
        {children}
        <button type="submit" hidden tabIndex={-1} disabled={!!busy || (id === 'source' && plan.upload?.state.state === 'cancelled')} />
      </Form>
    </div>
  )
}

function Footer({ id, onTry, busy, onCreate, onCancel }: { id: StepId; onTry: () => boolean; busy: string; onCreate: () => void; onCancel: () => void }) {
  const { goToNextStep, goToPrevStep } = useWizardContext()
  return (
    <WizardFooterWrapper>
      <ActionList>
        <ActionListGroup>
          {id === 'review' ? (
            <Button id="create-now" isLoading={!!busy} isDisabled={!!busy} onClick={onCreate}>
              {busy || t('vms.create_now')}
            </Button>
          ) : (
            <Button onClick={() => onTry() && void goToNextStep()}>{t('vms.next')}</Button>
          )}
          <Button variant="secondary" isDisabled={id === 'source' || !!busy} onClick={() => void goToPrevStep()}>
            {t('vms.back')}
          </Button>
          <Button variant="link" onClick={onCancel}>
            {t('ui.cancel')}
          </Button>
        </ActionListGroup>
      </ActionList>
    </WizardFooterWrapper>
  )
}

/** Which step a field that the API refused belongs to. */
function stepOf(field: string | undefined): StepId {
  if (!field) return 'review'
  if (/^(template|clone|cdrom)/.test(field)) return 'source'
  return /^(nics|cloud_init)/.test(field) ? 'network' : 'compute'
}

export function Component() {
  const [address] = useSearchParams()
  const plan = usePlan({ template: address.get('template') ?? undefined, iso: address.get('iso') ?? undefined, server: address.get('server') ?? undefined })
  const navigate = useNavigate()
  const [tried, setTried] = useState<ReadonlySet<StepId>>(new Set())
  const [busy, setBusy] = useState('')
  const latest = useRef(plan)
  latest.current = plan

  // What has been filled in is not lost by a slip: Back, or a click in the tree.
  const leaving = useRef(false)
  const blocker = useBlocker(({ currentLocation, nextLocation }) => !leaving.current && (tried.size > 0 || !!plan.upload) && currentLocation.pathname !== nextLocation.pathname)
  const leave = (to: string) => {
    leaving.current = true
    navigate(to)
  }

  const attempt = (id: StepId) => {
    setTried((old) => new Set(old).add(id))
    // Fields say themselves what is wrong with them.
    if (id === 'compute' || id === 'network') plan.form.validate()
    const good = id === 'review' || !Object.keys(plan.problems[id]).length
    if (!good) showProblem()
    return good
  }
  const create = async () => {
    if (busy) return
    setBusy(t('vms.create_making'))
    try {
      const job = await plan.create(setBusy)
      leave(`/vms/${job.object!.id}`)
    } catch (error) {
      plan.form.fail(error)
      setBusy('')
      showProblem()
    }
  }
  const cancel = () => {
    void plan.upload?.cancel()
    leave('/vms')
  }
  const content: Record<StepId, ReactNode> = {
    source: <Source plan={plan} tried={tried.has('source')} />,
    compute: <Compute plan={plan} tried={tried.has('compute')} />,
    network: <Network plan={plan} />,
    review: <Review plan={plan} />,
  }
  // A later step is open once those before it have nothing wrong.
  const open = (index: number) => STEPS.slice(0, index).every((id) => id === 'review' || !Object.keys(plan.problems[id]).length)
  const wrong = plan.form.problem ? stepOf((plan.form.problem as { field?: string }).field) : undefined
  return (
    <Page title={t('vms.create')} crumbs={[[kindLabel('vm', true), '/vms']]}>
      <Wizard className="tarn-wizard" shouldFocusContent={false} navAriaLabel={t('vms.steps')} onClose={cancel}>
        {STEPS.map((id, index) => (
          <WizardStep
            key={id}
            id={id}
            name={t(`vms.step_${id}`)}
            isDisabled={!open(index) || !!busy}
            status={wrong === id && id !== 'review' ? 'error' : 'default'}
            footer={<Footer id={id} busy={busy} onTry={() => attempt(id)} onCreate={() => void create()} onCancel={cancel} />}
          >
            <Step plan={plan} id={id} busy={busy} error={wrong === id || id === 'review' ? plan.form.problem : undefined} onTry={() => attempt(id)} onCreate={() => void create()}>
              {content[id]}
            </Step>
          </WizardStep>
        ))}
      </Wizard>
      {blocker.state === 'blocked' ? (
        <Confirm
          title={t('vms.create_leave')}
          text={t('vms.create_leave_text')}
          names={[]}
          button={t('vms.create_leave_yes')}
          onConfirm={() => {
            void plan.upload?.cancel()
            blocker.proceed()
          }}
          onClose={() => blocker.reset()}
        />
      ) : null}
    </Page>
  )
}
