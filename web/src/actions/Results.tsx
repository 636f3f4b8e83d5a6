// SPDX-License-Identifier: Apache-2.0
// An action done to several objects, and what becomes of each.
import { Button, Modal, ModalBody, ModalFooter, ModalHeader, Progress } from '@patternfly/react-core'
import { Table, Tbody, Td, Th, Thead, Tr } from '@patternfly/react-table'
import { useEffect, useRef, useState } from 'react'
import { Link } from 'react-router-dom'
import type { Job, Kind, Kinds } from '@/api/types'
import { fieldLabel, said, t } from '@/i18n'
import { live } from '@/live/store'
import { errorText } from '@/ui/ErrorAlert'
import { isEnded, JobBadge } from '@/ui/JobBadge'
import { StateIcon } from '@/ui/StateIcon'
import { actionName, nameOf, type Action } from './index'
import { requestAction } from './perform'

/** Five at a time: a selection of a hundred must not take all of the browser's connections. */
const AT_ONCE = 5

interface Result {
  job?: Job
  error?: unknown
  /** Done without a job. */
  done?: boolean
}

const over = (result: Result | undefined) => !!result && (result.done || !!result.error || (!!result.job && isEnded(result.job)))
const failed = (result: Result | undefined) => !!result && (!!result.error || (!!result.job && isEnded(result.job) && result.job.state !== 'done'))

/** Asks for each, and follows the jobs that come of it. */
function useResults(action: Action, objects: Kinds[Kind][]) {
  const [results, setResults] = useState<ReadonlyMap<string, Result>>(new Map())
  const begun = useRef(false)
  const jobs = useRef(new Map<string, string>())
  const put = (id: string, result: Result) => setResults((old) => new Map(old).set(id, result))
  useEffect(
    () =>
      live.tap('job', (message) => {
        const id = message.id && jobs.current.get(message.id)
        const job = message.object as Job | undefined
        if (id && job) setResults((old) => ((old.get(id)?.job?.revision ?? 0) <= (job.revision ?? 0) ? new Map(old).set(id, { job }) : old))
      }),
    [],
  )
  useEffect(() => {
    if (begun.current) return
    begun.current = true
    const queue = [...objects]
    const work = async () => {
      for (let object = queue.shift(); object; object = queue.shift()) {
        const id = object.id!
        try {
          const { job } = await requestAction(action, object)
          if (job) jobs.current.set(job.id!, id)
          put(id, job ? { job } : { done: true })
        } catch (error) {
          put(id, { error })
        }
      }
    }
    void Promise.all(Array.from({ length: AT_ONCE }, work))
  }, [action, objects])
  return results
}

function Outcome({ result }: { result: Result | undefined }) {
  if (!result) return <StateIcon state="queued" label={t('ui.waiting')} />
  if (result.error) return <span className="tarn-bad">{errorText(result.error)}</span>
  if (!result.job) return <StateIcon state="done" label={t('ui.done')} />
  return (
    <>
      <Link to={`/jobs/${result.job.id}`}>
        <JobBadge job={result.job} />
      </Link>
      {result.job.error ? <div className="tarn-bad">{said(result.job.error)}</div> : null}
      {result.job.state === 'done' ? result.job.warnings.map((text) => <div key={text}>{said(text)}</div>) : null}
    </>
  )
}

export default function Results({ action, objects, onClose }: { action: Action; objects: Kinds[Kind][]; onClose: () => void }) {
  const results = useResults(action, objects)
  const ended = objects.filter((object) => over(results.get(object.id!))).length
  const bad = objects.filter((object) => failed(results.get(object.id!))).length
  return (
    <Modal isOpen variant="medium" onClose={onClose} aria-labelledby="results-title">
      <ModalHeader title={t('ui.action_many', { action: actionName(action), count: objects.length })} labelId="results-title" />
      <ModalBody>
        <Progress aria-label={t('ui.results')} value={ended} min={0} max={objects.length} label={t('ui.results_of', { done: ended, all: objects.length })} variant={bad ? 'danger' : ended === objects.length ? 'success' : undefined} measureLocation="outside" />
        <Table aria-label={t('ui.results')} variant="compact">
          <Thead>
            <Tr>
              <Th width={40}>{fieldLabel('Job', 'object')}</Th>
              <Th>{t('ui.result')}</Th>
            </Tr>
          </Thead>
          <Tbody>
            {objects.map((object) => (
              <Tr key={object.id}>
                <Td modifier="truncate">{nameOf(action.kind, object)}</Td>
                <Td>
                  <Outcome result={results.get(object.id!)} />
                </Td>
              </Tr>
            ))}
          </Tbody>
        </Table>
      </ModalBody>
      <ModalFooter>
        <span className="tarn-dim tarn-grow">{ended < objects.length ? t('ui.results_go_on') : bad ? t('ui.results_failed', { count: bad }) : null}</span>
        <Button variant="primary" onClick={onClose}>
          {t('ui.close')}
        </Button>
      </ModalFooter>
    </Modal>
  )
}
