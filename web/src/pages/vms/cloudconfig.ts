// SPDX-License-Identifier: Apache-2.0
// A #cloud-config of what most people want of it: a user who can sign in.

export interface CloudUser {
  name: string
  password: string
  /** One in each line. */
  keys: string
  /** Whether the password is good for SSH too. */
  sshPassword: boolean
}

export const noUser: CloudUser = { name: '', password: '', keys: '', sshPassword: false }

/** JSON's strings are YAML's double-quoted ones. */
const text = (value: string) => JSON.stringify(value)

export function keysOf(user: CloudUser) {
  return user.keys.split('\n').map((line) => line.trim()).filter(Boolean)
}

/** "" while nothing is filled in. */
export function cloudConfig(user: CloudUser): string {
  const keys = keysOf(user)
  if (!user.name && !user.password && !keys.length) return ''
  const lines = ['#cloud-config', 'users:', `  - name: ${text(user.name || 'admin')}`, '    groups: [sudo, wheel]', '    sudo: "ALL=(ALL) NOPASSWD:ALL"', '    shell: /bin/bash']
  if (user.password) lines.push('    lock_passwd: false', `    plain_text_passwd: ${text(user.password)}`)
  if (keys.length) lines.push('    ssh_authorized_keys:', ...keys.map((key) => `      - ${text(key)}`))
  if (user.password) lines.push(`ssh_pwauth: ${user.sshPassword}`)
  return lines.join('\n') + '\n'
}

/** What is wrong with it, as the key of a text. */
export function cloudProblem(user: CloudUser): Partial<Record<keyof CloudUser, string>> {
  const out: Partial<Record<keyof CloudUser, string>> = {}
  if (user.name && !/^[a-z_][a-z0-9_-]{0,31}$/.test(user.name)) out.name = 'vms.cloud_bad_user'
  if (keysOf(user).some((key) => !/^(ssh-(rsa|ed25519|dss)|ecdsa-sha2-\S+|sk-\S+)\s+[A-Za-z0-9+/=]{20,}(\s.*)?$/.test(key))) out.keys = 'vms.cloud_bad_key'
  return out
}
