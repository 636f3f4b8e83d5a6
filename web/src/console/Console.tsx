// SPDX-License-Identifier: Apache-2.0
// A virtual machine's console: its screen, what can be sent to it, its power, and what is going on when there is no picture.
import { Alert, Button, Divider, Dropdown, DropdownGroup, DropdownItem, DropdownList, Form, FormGroup, MenuToggle, Modal, ModalBody, ModalFooter, ModalHeader, Spinner, TextArea, Tooltip } from '@patternfly/react-core'
import CameraIcon from '@patternfly/react-icons/dist/esm/icons/camera-icon'
import CompressIcon from '@patternfly/react-icons/dist/esm/icons/compress-icon'
import CopyIcon from '@patternfly/react-icons/dist/esm/icons/copy-icon'
import ExpandArrowsAltIcon from '@patternfly/react-icons/dist/esm/icons/expand-arrows-alt-icon'
import ExpandIcon from '@patternfly/react-icons/dist/esm/icons/expand-icon'
import ExternalLinkAltIcon from '@patternfly/react-icons/dist/esm/icons/external-link-alt-icon'
import KeyboardIcon from '@patternfly/react-icons/dist/esm/icons/keyboard-icon'
import MinusIcon from '@patternfly/react-icons/dist/esm/icons/minus-icon'
import PasteIcon from '@patternfly/react-icons/dist/esm/icons/paste-icon'
import PlusIcon from '@patternfly/react-icons/dist/esm/icons/plus-icon'
import { lazy, Suspense, useEffect, useMemo, useRef, useState, useSyncExternalStore, type ComponentType, type ReactNode, type RefObject } from 'react'
import { actionsFor, isEnabled } from '@/actions'
import { useRunAction } from '@/actions/ActionHost'
import type { Vm } from '@/api/types'
import { enumLabel, hasText, said, t } from '@/i18n'
import { hasConsole, hasDisplay } from '@/pages/vms/model'
import { useToasts } from '@/ui/Toasts'
import { StateIcon } from '@/ui/StateIcon'
import { COMBINATIONS, SYSRQS, VIRTUAL_TERMINALS, untypable, type Key } from './keys'
import { ConsoleLink, ROLE_CHANGED, SESSION_ENDED, VM_STOPPED, type ConsoleType, type LinkState } from './link'
import './console.css'

/** What the frame may ask of the screen; what a screen lacks is not offered. */
export interface Screen {
  focus: () => void
  /** Types a text; the characters that it could not. */
  type: (text: string) => string[]
  selection: () => string
  send?: (text: string) => void
  press?: (keys: Key[]) => void
  picture?: () => Promise<Blob | null>
  clear?: () => void
  zoom?: (step: number) => void
  size?: () => { rows: number; columns: number }
}

export interface ScreenProps {
  link: ConsoleLink
  /** Whether there is something to connect to. */
  wanted: boolean
  scale: 'fit' | 'full'
  screen: RefObject<Screen | undefined>
  /** The keys are to go to the page again. */
  onRelease: () => void
  /** There is something to copy, or not any more. */
  onSelection: (any: boolean) => void
}

const SCREENS = { serial: lazy(() => import('./SerialScreen')), vnc: lazy(() => import('./DisplayScreen')) }
const POWER = ['vm.start', 'vm.resume', 'vm.stop', 'vm.restart', 'vm.suspend', 'vm.kill']

/** Where what lies above the page belongs, in full screen as well. */
const onTop = () => (document.fullscreenElement as HTMLElement | null) ?? document.body

function IconButton({ label, icon: Icon, onClick, disabled, pressed }: { label: string; icon: ComponentType; onClick: () => void; disabled?: boolean; pressed?: boolean }) {
  return (
    <Tooltip content={label} position="bottom-end" enableFlip={false} appendTo={onTop}>
      <Button variant="plain" size="sm" aria-label={label} aria-pressed={pressed} isAriaDisabled={disabled} icon={<Icon />} onClick={onClick} />
    </Tooltip>
  )
}

function Menu({ label, icon, disabled, children }: { label: string; icon: ReactNode; disabled?: boolean; children: ReactNode }) {
  const [open, setOpen] = useState(false)
  return (
    <Dropdown
      isOpen={open}
      onSelect={() => setOpen(false)}
      onOpenChange={setOpen}
      isScrollable
      maxMenuHeight="24rem"
      // Inside, so that it is seen in full screen too.
      popperProps={{ appendTo: 'inline' }}
      toggle={(ref) => (
        <MenuToggle ref={ref} size="sm" isExpanded={open} isDisabled={disabled} icon={icon} onClick={() => setOpen(!open)}>
          {label}
        </MenuToggle>
      )}
    >
      {open ? children : null}
    </Dropdown>
  )
}

function Keys({ screen, disabled }: { screen: RefObject<Screen | undefined>; disabled: boolean }) {
  const press = (keys: Key[]) => {
    screen.current?.press?.(keys)
    screen.current?.focus()
  }
  return (
    <Menu label={t('console.send_keys')} icon={<KeyboardIcon />} disabled={disabled}>
      <DropdownList>
        {COMBINATIONS.map((one) => (
          <DropdownItem key={one.id} onClick={() => press(one.keys)}>
            {one.label}
          </DropdownItem>
        ))}
      </DropdownList>
      <Divider />
      <DropdownGroup label={t('console.terminals')}>
        <DropdownList>
          {VIRTUAL_TERMINALS.map((one) => (
            <DropdownItem key={one.id} onClick={() => press(one.keys)}>
              {one.label}
            </DropdownItem>
          ))}
        </DropdownList>
      </DropdownGroup>
      <Divider />
      <DropdownGroup label={t('console.sysrq')}>
        <DropdownList>
          {SYSRQS.map((one) => (
            <DropdownItem key={one.id} description={t(`console.sysrq_${one.id}`)} onClick={() => press(one.keys)}>
              {one.label}
            </DropdownItem>
          ))}
        </DropdownList>
      </DropdownGroup>
    </Menu>
  )
}

const CONTROLS: [label: string, text: string, key: string][] = [
  ['Ctrl+C', '\x03', 'interrupt'],
  ['Ctrl+D', '\x04', 'end'],
  ['Ctrl+Z', '\x1a', 'pause'],
  ['Ctrl+\\', '\x1c', 'quit'],
  ['Esc', '\x1b', 'escape'],
]

function SerialKeys({ screen, disabled }: { screen: RefObject<Screen | undefined>; disabled: boolean }) {
  const send = (text: string) => {
    screen.current?.send?.(text)
    screen.current?.focus()
  }
  const fitShell = () => {
    const { rows, columns } = screen.current!.size!()
    send(`stty rows ${rows} columns ${columns}\r`)
  }
  return (
    <Menu label={t('console.send_keys')} icon={<KeyboardIcon />} disabled={disabled}>
      <DropdownList>
        {CONTROLS.map(([label, text, key]) => (
          <DropdownItem key={key} description={t(`console.control_${key}`)} onClick={() => send(text)}>
            {label}
          </DropdownItem>
        ))}
        <Divider component="li" />
        <DropdownItem description={t('console.fit_shell_help')} onClick={fitShell}>
          {t('console.fit_shell')}
        </DropdownItem>
      </DropdownList>
    </Menu>
  )
}

function PasteDialog({ type, onSend, onClose }: { type: ConsoleType; onSend: (text: string) => void; onClose: () => void }) {
  const [text, setText] = useState('')
  const bad = type === 'vnc' ? untypable(text) : []
  return (
    <Modal isOpen variant="medium" onClose={onClose} aria-labelledby="paste-title" elementToFocus="#paste-text" appendTo={onTop}>
      <ModalHeader title={t('console.paste_title')} labelId="paste-title" description={t(type === 'vnc' ? 'console.paste_vnc' : 'console.paste_serial')} />
      <ModalBody>
        {bad.length ? <Alert isInline variant="warning" title={t('console.paste_untypable', { chars: bad.slice(0, 20).join(' ') })} /> : null}
        <Form>
          <FormGroup label={t('console.paste_text')} fieldId="paste-text">
            <TextArea id="paste-text" className="tarn-mono" rows={8} value={text} onChange={(_e, v) => setText(v)} spellCheck={false} resizeOrientation="vertical" />
          </FormGroup>
        </Form>
      </ModalBody>
      <ModalFooter>
        <Button isDisabled={!text} onClick={() => onSend(text)}>
          {t('console.paste_send')}
        </Button>
        <Button variant="link" onClick={onClose}>
          {t('ui.cancel')}
        </Button>
      </ModalFooter>
    </Modal>
  )
}

function Countdown({ until }: { until: number }) {
  const [now, setNow] = useState(Date.now())
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), 250)
    return () => window.clearInterval(timer)
  }, [])
  const seconds = Math.max(0, Math.ceil((until - now) / 1000))
  return <>{seconds ? t('console.again_in', { count: seconds }) : t('console.again_now')}</>
}

function whyBroken({ code, reason }: LinkState) {
  if (code === SESSION_ENDED || code === ROLE_CHANGED || hasText(`console.end_${code}`)) return t(`console.end_${code}`)
  return said(reason) || t('console.end_lost')
}

/** What lies over the screen while it shows nothing that is true. */
function Veil({ vm, type, state, link }: { vm: Vm; type: ConsoleType; state: LinkState; link: ConsoleLink }) {
  const run = useRunAction()
  let title = ''
  let text: ReactNode = null
  let buttons: ReactNode = null
  if (!hasConsole(vm)) {
    const ways = actionsFor('vm').filter((action) => action.id === 'vm.start' && isEnabled(action, [vm]))
    title = t('console.not_running', { name: vm.name, state: enumLabel('VmState', vm.state) })
    text = vm.state === 'unknown' ? said(vm.state_reason) : t('console.connects_itself')
    buttons = ways.map((action) => (
      <Button key={action.id} onClick={() => run(action, [vm])}>
        {t(`action.${action.id}`)}
      </Button>
    ))
  } else if (type === 'vnc' && !hasDisplay(vm)) {
    title = t('console.no_display')
    text = t('console.no_display_help')
  } else if (state.phase === 'waiting' || state.phase === 'ended') {
    title = whyBroken(state)
    text = state.retryAt && state.code !== VM_STOPPED ? <Countdown until={state.retryAt} /> : null
    buttons = (
      <Button variant="secondary" onClick={link.retry}>
        {t('console.reconnect')}
      </Button>
    )
  } else if (state.phase === 'connecting') {
    title = t('console.connecting')
    text = <Spinner size="lg" aria-label={t('console.connecting')} />
  } else {
    return null
  }
  return (
    <div className="tarn-console__veil" role="status">
      <div className="tarn-console__message">
        <h2>{title}</h2>
        {text ? <div>{text}</div> : null}
        {buttons ? <div className="tarn-console__buttons">{buttons}</div> : null}
      </div>
    </div>
  )
}

function useFullScreen(box: RefObject<HTMLElement | null>): [boolean, () => void] {
  const [full, setFull] = useState(false)
  useEffect(() => {
    const changed = () => setFull(document.fullscreenElement === box.current && !!box.current)
    document.addEventListener('fullscreenchange', changed)
    return () => document.removeEventListener('fullscreenchange', changed)
  }, [box])
  return [full, () => void (full ? document.exitFullscreen() : box.current?.requestFullscreen())]
}

function Power({ vm }: { vm: Vm }) {
  const run = useRunAction()
  const actions = actionsFor('vm').filter((action) => POWER.includes(action.id) && isEnabled(action, [vm]))
  if (!actions.length) return null
  return (
    <Menu label={t('console.power')} icon={<StateIcon state={vm.state} />}>
      <DropdownList>
        {actions.map((action) => (
          <DropdownItem
            key={action.id}
            isDanger={action.danger}
            onClick={() => {
              // Questions are asked by the page, which full screen hides.
              if (document.fullscreenElement && action.confirm) void document.exitFullscreen()
              run(action, [vm])
            }}
          >
            {t(`action.${action.id}`)}
          </DropdownItem>
        ))}
      </DropdownList>
    </Menu>
  )
}

/** windowed: it has a window of its own, and offers none. */
export function Console({ vm, type, windowed }: { vm: Vm; type: ConsoleType; windowed?: boolean }) {
  const link = useMemo(() => new ConsoleLink(vm.id!, type), [vm.id, type])
  const state = useSyncExternalStore(link.subscribe, link.snapshot)
  const box = useRef<HTMLDivElement>(null)
  const bar = useRef<HTMLDivElement>(null)
  const screen = useRef<Screen | undefined>(undefined)
  const [full, toggleFull] = useFullScreen(box)
  const [scale, setScale] = useState<'fit' | 'full'>('fit')
  const [pasting, setPasting] = useState(false)
  const [copyable, setCopyable] = useState(false)
  const toasts = useToasts()
  const Screen = SCREENS[type]
  const wanted = hasConsole(vm) && (type === 'serial' || hasDisplay(vm))
  const open = state.phase === 'open'

  const copy = async () => {
    try {
      await navigator.clipboard.writeText(screen.current!.selection())
      toasts.add({ variant: 'success', title: t('console.copied') })
    } catch {
      toasts.add({ variant: 'danger', title: t('console.copy_refused') })
    }
  }
  const paste = (text: string) => {
    setPasting(false)
    const bad = screen.current?.type(text) ?? []
    if (bad.length) toasts.add({ variant: 'warning', title: t('console.paste_untypable', { chars: bad.slice(0, 20).join(' ') }) })
    screen.current?.focus()
  }
  const savePicture = async () => {
    const blob = await screen.current?.picture?.()
    if (!blob) return
    const anchor = document.createElement('a')
    anchor.href = URL.createObjectURL(blob)
    anchor.download = `${vm.name}.png`
    anchor.click()
    window.setTimeout(() => URL.revokeObjectURL(anchor.href), 10000)
  }
  const openWindow = () => {
    window.open(`/vms/${encodeURIComponent(vm.name)}/console?type=${type}`, `tarn-console-${vm.id}-${type}`, 'popup,width=1100,height=800')
  }
  return (
    <div className={`tarn-console${windowed ? ' tarn-console--window' : ''}`} ref={box}>
      <div className="tarn-console__bar" ref={bar} role="toolbar" aria-label={t('console.toolbar')}>
        {type === 'vnc' ? <Keys screen={screen} disabled={!open} /> : <SerialKeys screen={screen} disabled={!open} />}
        <Power vm={vm} />
        <span className="tarn-console__hint">{t('console.release_hint')}</span>
        <span className="tarn-grow" />
        <IconButton label={t('console.paste')} icon={PasteIcon} disabled={!open} onClick={() => setPasting(true)} />
        <IconButton label={t(type === 'vnc' ? 'console.copy_vnc' : 'console.copy')} icon={CopyIcon} disabled={!copyable} onClick={() => void copy()} />
        {type === 'serial' ? (
          <>
            <IconButton label={t('console.smaller')} icon={MinusIcon} onClick={() => screen.current?.zoom?.(-1)} />
            <IconButton label={t('console.larger')} icon={PlusIcon} onClick={() => screen.current?.zoom?.(1)} />
          </>
        ) : (
          <>
            <IconButton label={t('console.save_picture')} icon={CameraIcon} disabled={!open} onClick={() => void savePicture()} />
            <IconButton label={t(scale === 'fit' ? 'console.scale_full' : 'console.scale_fit')} icon={scale === 'fit' ? ExpandIcon : CompressIcon} onClick={() => setScale(scale === 'fit' ? 'full' : 'fit')} />
          </>
        )}
        {windowed ? null : <IconButton label={t('console.window')} icon={ExternalLinkAltIcon} onClick={openWindow} />}
        <IconButton label={t(full ? 'console.leave_full_screen' : 'console.full_screen')} icon={ExpandArrowsAltIcon} pressed={full} onClick={toggleFull} />
      </div>
      <div className="tarn-console__screen">
        <Suspense fallback={null}>
          <Screen link={link} wanted={wanted} scale={scale} screen={screen} onSelection={setCopyable} onRelease={() => bar.current?.querySelector<HTMLElement>('button:not(:disabled)')?.focus()} />
        </Suspense>
        <Veil vm={vm} type={type} state={state} link={link} />
      </div>
      {pasting ? <PasteDialog type={type} onSend={paste} onClose={() => setPasting(false)} /> : null}
    </div>
  )
}
