// SPDX-License-Identifier: Apache-2.0

/** A name from a file's: debian-12-genericcloud-amd64.qcow2 → debian-12-genericcloud-amd64 */
export function nameOfFile(file: string) {
  return file.replace(/\.(qcow2?|img|raw|vmdk|vdi|vhdx?|iso|gz|xz)$/i, '').slice(0, 100)
}
