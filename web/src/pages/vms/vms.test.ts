// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest'
import { t } from '@/i18n'
import { cloudConfig, cloudProblem, noUser } from './cloudconfig'
import { haText } from '../../ui/ha'

describe('cloud-config', () => {
  test('of nothing is nothing', () => expect(cloudConfig(noUser)).toBe(''))
  test('of a user with a key', () => {
    const text = cloudConfig({ ...noUser, name: 'ann', keys: ' ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFxx ann@home \n\n' })
    expect(text.split('\n')[0]).toBe('#cloud-config')
    expect(text).toContain('  - name: "ann"')
    expect(text).toContain('      - "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFxx ann@home"\n')
    expect(text).not.toContain('passwd')
  })
  test('quotes what would end a string', () => {
    expect(cloudConfig({ ...noUser, password: 'a"b\\c: #d' })).toContain('plain_text_passwd: "a\\"b\\\\c: #d"')
  })
  test('names what is wrong', () => {
    expect(cloudProblem({ ...noUser, name: 'Ann', keys: 'nonsense' })).toEqual({ name: 'vms.cloud_bad_user', keys: 'vms.cloud_bad_key' })
    expect(cloudProblem(noUser)).toEqual({})
  })
})

test('what high availability is worth now', () => {
  expect(haText({})).toBe(t('vms.ha_off'))
  expect(haText({ ha: { enabled: true }, guarded: true })).toBe(t('vms.ha_on'))
  expect(haText({ ha: { enabled: true }, guarded: false, guarded_reason: 'it is in no server pool' })).toBe(t('vms.ha_unguarded'))
  expect(haText({ ha: { enabled: true }, guarded: false })).toBe(t('vms.ha_stopped'))
})
